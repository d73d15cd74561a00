"""Users, their sessions, sign-ins and keys."""

import getpass
import sys
from argparse import Namespace
from dataclasses import asdict
from typing import Any

from ..auth import StoreUsers
from ..auth.external_users import is_external
from ..errors import ConfigurationError, NotFound
from ..runtime import Poto
from ..sessions import SessionManager
from ..users import Account
from .output import Output


async def create(poto: Poto, parsed: Namespace, output: Output) -> None:
    password = None if parsed.no_password else _password()
    user = await poto.accounts.create(parsed.name, password, parsed.roles)
    output.result({"id": user.id, "name": user.name, "roles": user.roles}, f"{parsed.name} is {user.id}")


def _password() -> str:
    if sys.stdin.isatty():
        first, second = getpass.getpass("Password: "), getpass.getpass("Again: ")
        if first != second:
            raise ConfigurationError("The two are not the same. Nothing was done.")
        return first
    return sys.stdin.readline().rstrip("\n")


async def list_all(poto: Poto, parsed: Namespace, output: Output) -> None:
    users = _store_users(poto)
    cursor: str | None = None
    while True:
        accounts, cursor = await users.page(cursor)
        for account in accounts:
            if parsed.visitors or not account.user.visitor:
                output.row(_row(account))
        if cursor is None:
            return


async def disable(poto: Poto, parsed: Namespace, output: Output) -> None:
    await _set_disabled(poto, parsed.who, output, disabled=True)


async def enable(poto: Poto, parsed: Namespace, output: Output) -> None:
    await _set_disabled(poto, parsed.who, output, disabled=False)


async def _set_disabled(poto: Poto, who: str, output: Output, *, disabled: bool) -> None:
    user_id = await _id_of(poto, who)
    await _method(poto, "set_disabled")(user_id, disabled)
    output.result({"id": user_id, "disabled": disabled}, f"{who} is {'disabled' if disabled else 'enabled'}")


async def set_roles(poto: Poto, parsed: Namespace, output: Output) -> None:
    user_id = await _id_of(poto, parsed.who)
    await _method(poto, "set_roles")(user_id, parsed.roles)
    output.result({"id": user_id, "roles": parsed.roles}, f"{parsed.who} has {', '.join(parsed.roles) or 'no roles'}")


async def remove(poto: Poto, parsed: Namespace, output: Output) -> None:
    user_id = await _id_of(poto, parsed.who)
    output.confirm(f"Remove {parsed.who} ({user_id}) and all that is theirs")
    await poto.accounts.remove(user_id)
    output.result({"id": user_id, "removed": True}, f"{parsed.who} is gone")


async def export(poto: Poto, parsed: Namespace, output: Output) -> None:
    user_id = await _id_of(poto, parsed.who)
    account = await _account(poto, user_id)
    user = account.user if account is not None else await poto.users.get(user_id)
    kept: dict[str, Any] = {"id": user_id}
    if user is not None:
        kept |= {"name": user.name, "roles": user.roles, "visitor": user.visitor}
    if account is not None:
        kept |= {"disabled": account.disabled, "has_password": account.password_hash is not None}
    if isinstance(poto.sessions, SessionManager):
        kept["session"] = await poto.sessions.of_user(user_id).all()
    kept["keys"] = [asdict(key) for key in await poto.keys.list(user_id)]
    output.document(kept)


async def end_session(poto: Poto, parsed: Namespace, output: Output) -> None:
    user_id = await _id_of(poto, parsed.who)
    output.confirm(f"Empty the session of {parsed.who} ({user_id})")
    await poto.sessions.end(user_id)
    output.result({"id": user_id}, f"The session of {parsed.who} has ended")


async def end_sign_ins(poto: Poto, parsed: Namespace, output: Output) -> None:
    if parsed.who is not None:
        user_id = await _id_of(poto, parsed.who)
        output.confirm(f"Sign {parsed.who} ({user_id}) out everywhere")
        await poto.accounts.end_sign_ins(user_id)
        output.result({"users": 1}, f"{parsed.who} is signed out everywhere")
        return
    output.confirm("Sign everybody out")
    ended = await poto.accounts.end_all_sign_ins(on_each=lambda: output.progress("users"))
    output.result({"users": ended}, f"{ended} users are signed out everywhere")


async def list_keys(poto: Poto, parsed: Namespace, output: Output) -> None:
    for key in await poto.keys.list(await _id_of(poto, parsed.who)):
        output.row(asdict(key))


async def create_key(poto: Poto, parsed: Namespace, output: Output) -> None:
    life = None if parsed.days is None else parsed.days * 86_400
    user_id = await _id_of(poto, parsed.who)
    key = await poto.keys.create(user_id, name=parsed.name, roles=parsed.roles, expires_in=life)
    output.result({"key": key}, key)


async def rotate_key(poto: Poto, parsed: Namespace, output: Output) -> None:
    key = await poto.keys.rotate(parsed.id, overlap=parsed.overlap)
    output.result({"key": key}, key)


async def revoke_key(poto: Poto, parsed: Namespace, output: Output) -> None:
    output.confirm(f"Revoke the key {parsed.id}")
    await poto.keys.revoke(parsed.id)
    output.result({"id": parsed.id, "revoked": True}, f"The key {parsed.id} is revoked")


async def purge(poto: Poto, parsed: Namespace, output: Output) -> None:
    await poto.purge()
    output.result({"purged": True}, "What had expired is gone")


async def _id_of(poto: Poto, who: str) -> str:
    """Raises `NotFound`. An issuer's users are known here by their id alone."""
    account = await poto.accounts.find(who)
    if account is not None:
        return account.user.id
    if is_external(who) or await _account(poto, who) is not None or await poto.users.get(who) is not None:
        return who
    raise NotFound(f"There is no user {who!r}")


async def _account(poto: Poto, user_id: str) -> Account | None:
    return await poto.users.account(user_id) if isinstance(poto.users, StoreUsers) else None


def _row(account: Account) -> dict[str, Any]:
    user = account.user
    return {
        "id": user.id,
        "name": user.name,
        "roles": user.roles,
        "visitor": user.visitor,
        "disabled": account.disabled,
    }


def _store_users(poto: Poto) -> StoreUsers:
    if not isinstance(poto.users, StoreUsers):
        raise ConfigurationError(f"The users are in {type(poto.users).__name__}, which cannot be listed here.")
    return poto.users


def _method(poto: Poto, name: str) -> Any:
    found = getattr(poto.users, name, None)
    if found is None:
        raise ConfigurationError(f"{type(poto.users).__name__} has no {name}(). Write it, or do it there.")
    return found
