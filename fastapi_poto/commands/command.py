"""The commands, their options, and how they end: 0 done, 1 not done, 2 not understood."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from ..audit import audit
from ..errors import ConfigurationError, PotoError
from ..runtime import Poto
from . import stores, users
from .application import add_app_options, add_runtime_options, load, runtime_of
from .output import Output

OfPoto = Callable[[Poto, argparse.Namespace, Output], Awaitable[None]]
OfStores = Callable[[argparse.Namespace, Output], Awaitable[None]]

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done, nothing is wrong. 1: not done, or errors were found. 2: not understood, or there is no such application.

    What importing an application raises is not hidden.
    """
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except (ConfigurationError, PotoError, ValueError) as error:
        sys.stderr.write(f"error: {error.detail if isinstance(error, PotoError) else error}\n")
        return 1
    except LookupError as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return 2
    return code


def _audit(parsed: argparse.Namespace) -> int:
    app = load(parsed.app, factory=parsed.factory, directory=parsed.app_dir)
    roles = None if parsed.roles is None else [role for role in parsed.roles.split(",") if role]
    report = audit(app, roles=roles, workers=parsed.workers)
    sys.stdout.write(f"{report}\n")
    return 1 if report.errors or (parsed.strict and report.warnings) else 0


def _of_poto(command: OfPoto) -> Callable[[argparse.Namespace], int]:
    def run(parsed: argparse.Namespace) -> int:
        poto = runtime_of(parsed)

        async def work() -> None:
            await poto.open()
            try:
                await command(poto, parsed, Output(as_json=parsed.json, yes=getattr(parsed, "yes", False)))
            finally:
                await poto.close()

        asyncio.run(work())
        return 0

    return run


def _of_stores(command: OfStores) -> Callable[[argparse.Namespace], int]:
    def run(parsed: argparse.Namespace) -> int:
        asyncio.run(_awaited(command(parsed, Output(as_json=parsed.json, yes=getattr(parsed, "yes", False)))))
        return 0

    return run


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fastapi_poto", description="fastapi_poto's commands")
    groups = parser.add_subparsers(required=True, metavar="command")

    def group(name: str, about: str) -> "_Commands":
        return groups.add_parser(name, help=about, description=about).add_subparsers(required=True, metavar="what")

    def command(
        among: "_Commands", name: str, about: str, run: OfPoto, *, ask: bool = False
    ) -> argparse.ArgumentParser:
        added = among.add_parser(name, help=about, description=about)
        _add_output_options(added, ask=ask)
        add_runtime_options(added)
        added.set_defaults(run=_of_poto(run))
        return added

    who = "the user's name, or their id"
    among = group("users", "those who sign in here")
    added = command(among, "create", "a new named user; the password is read from stdin", users.create)
    added.add_argument("name")
    added.add_argument("--role", action="append", default=[], dest="roles", help="may be given several times")
    added.add_argument("--no-password", action="store_true", help="a service account, which only has API keys")
    added = command(among, "list", "all users", users.list_all)
    added.add_argument("--visitors", action="store_true", help="visitors too")
    command(among, "disable", "refuse a user from the next call on", users.disable).add_argument("who", help=who)
    command(among, "enable", "let a user in again", users.enable).add_argument("who", help=who)
    added = command(among, "roles", "the roles that a user has from the next call on", users.set_roles)
    added.add_argument("who", help=who)
    added.add_argument("roles", nargs="*", help="all of them; none to take all away")
    command(among, "remove", "forget a user and all that is theirs", users.remove, ask=True).add_argument(
        "who", help=who
    )
    command(among, "export", "what is kept of a user, as JSON", users.export).add_argument("who", help=who)

    among = group("sessions", "what users keep between calls")
    command(among, "end", "empty a user's session", users.end_session, ask=True).add_argument("who", help=who)

    among = group("sign-ins", "who is signed in")
    added = command(among, "end-all", "sign everybody out, or one user everywhere", users.end_sign_ins, ask=True)
    added.add_argument("who", nargs="?", help=f"{who}; everybody without it")

    among = group("keys", "API keys")
    command(among, "list", "a user's keys", users.list_keys).add_argument("who", help=who)
    added = command(among, "create", "a new key, shown this once", users.create_key)
    added.add_argument("who", help=who)
    added.add_argument("--name", required=True, help="what it is for")
    added.add_argument("--role", action="append", dest="roles", help="some of the owner's; all without it")
    added.add_argument("--days", type=float, help="how long it is good; for ever without it")
    added = command(among, "rotate", "a key with a new secret, shown this once", users.rotate_key)
    added.add_argument("id")
    added.add_argument("--overlap", type=float, default=0, help="seconds for which the old secret is good too")
    command(among, "revoke", "refuse a key from the next call on", users.revoke_key, ask=True).add_argument("id")

    command(groups, "purge", "remove what has expired", users.purge)

    among = group("store", "where everything is kept")
    for name, about, run in (
        ("check", "whether a store can be read and written, and what is in it", stores.check),
        ("migrate", "make a store's tables, or bring them up to date", stores.migrate),
    ):
        added = among.add_parser(name, help=about, description=about)
        _add_output_options(added)
        added.add_argument("url", nargs="?", help="POTO_STORE without it")
        added.set_defaults(run=_of_stores(run))
    about = "everything but event logs from one store to another; stop the application first"
    added = among.add_parser("copy", help=about, description=about)
    _add_output_options(added, ask=True)
    added.add_argument("source", metavar="from")
    added.add_argument("target", metavar="to")
    added.set_defaults(run=_of_stores(stores.copy))

    about = "the routes of an application, who may call them, and what is wrong with them"
    added = groups.add_parser("audit", help=about, description=about)
    added.add_argument("app", help="module:attribute, as uvicorn takes it")
    add_app_options(added)
    added.add_argument("--roles", help="all the roles that users can have, with commas between them")
    added.add_argument("--workers", type=int, help="how many processes will serve; WEB_CONCURRENCY by default")
    added.add_argument("--strict", action="store_true", help="warnings count as errors")
    added.set_defaults(run=_audit)
    return parser


def _add_output_options(parser: argparse.ArgumentParser, *, ask: bool = False) -> None:
    parser.add_argument("--json", action="store_true", help="JSON, for programs; of a list, a line for each")
    if ask:
        parser.add_argument("--yes", action="store_true", help="do not ask")
