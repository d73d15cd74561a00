"""`python -m fastapi_poto audit module:app`."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import ConfigurationError
from .report import audit


def main(arguments: Sequence[str] | None = None) -> int:
    """0: nothing is wrong. 1: there are errors (with `--strict`, warnings). 2: there is no such application."""
    parsed = _parser().parse_args(arguments)
    directory = os.path.abspath(parsed.app_dir)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        app = load(parsed.app, factory=parsed.factory)
        roles = None if parsed.roles is None else [role for role in parsed.roles.split(",") if role]
        report = audit(app, roles=roles, workers=parsed.workers)
    except ConfigurationError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except LookupError as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return 2
    sys.stdout.write(f"{report}\n")
    return 1 if report.errors or (parsed.strict and report.warnings) else 0


def load(target: str, *, factory: bool = False) -> Any:
    """The application that `module:attribute` names. Raises `LookupError` if there is none.

    What importing it raises is not hidden.
    """
    module_name, separator, path = target.partition(":")
    if not (module_name and separator and path):
        raise LookupError(f"{target!r} is not module:app")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise LookupError(f"There is no module {error.name!r} in {sys.path[0]}") from None
    for name in path.split("."):
        if not hasattr(found, name):
            raise LookupError(f"{module_name} has no {path!r}")
        found = getattr(found, name)
    app = found() if factory else found
    if not hasattr(app, "routes"):
        hint = "" if factory or not callable(app) else "; if it makes one, add --factory"
        raise LookupError(f"{target} is no FastAPI application but of type {type(app).__name__}{hint}")
    return app


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fastapi_poto", description="fastapi_poto's commands")
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser(
        "audit", help="the routes of an application, who may call them, and what is wrong with them"
    )
    command.add_argument("app", help="module:attribute, as uvicorn takes it")
    command.add_argument("--factory", action="store_true", help="the attribute is a function that makes the app")
    command.add_argument("--app-dir", default=".", help="where to import from; the current directory by default")
    command.add_argument("--roles", help="all the roles that users can have, with commas between them")
    command.add_argument("--workers", type=int, help="how many processes will serve; WEB_CONCURRENCY by default")
    command.add_argument("--strict", action="store_true", help="warnings count as errors")
    return parser
