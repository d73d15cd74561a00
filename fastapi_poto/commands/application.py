"""The application, or the runtime, that a command is about."""

import importlib
import os
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from ..auth.dependencies import poto_of
from ..errors import ConfigurationError
from ..runtime import Poto, default_poto


def add_app_options(parser: ArgumentParser) -> None:
    """Where an application is imported from."""
    parser.add_argument("--factory", action="store_true", help="the attribute is a function that makes the app")
    parser.add_argument("--app-dir", default=".", help="where to import from; the current directory by default")


def add_runtime_options(parser: ArgumentParser) -> None:
    """Whose users and sessions: an application's, or those of the environment's store."""
    parser.add_argument("--app", help="module:attribute of the application; else POTO_SECRET, POTO_STORE, … are used")
    parser.add_argument("--store", metavar="URL", help="in place of POTO_STORE")
    add_app_options(parser)


def runtime_of(parsed: Namespace) -> Poto:
    """The runtime that the options name. Raises `ConfigurationError` for one that keeps nothing."""
    if parsed.app is not None:
        if parsed.store is not None:
            raise ConfigurationError("--app has a store of its own; leave out --store.")
        return poto_of(load(parsed.app, factory=parsed.factory, directory=parsed.app_dir))  # type: ignore[no-any-return]
    if parsed.store is not None:
        os.environ["POTO_STORE"] = parsed.store
    if os.environ.get("POTO_STORE", "memory://").startswith("memory:"):
        raise ConfigurationError(
            "In memory:// there is nothing of another process. Give --store URL, or --app module:app."
        )
    return default_poto()


def load(target: str, *, factory: bool = False, directory: str = ".") -> Any:
    """The application that `module:attribute` names. Raises `LookupError` if there is none.

    What importing it raises is not hidden.
    """
    directory = os.path.abspath(directory)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module_name, separator, path = target.partition(":")
    if not (module_name and separator and path):
        raise LookupError(f"{target!r} is not module:app")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise LookupError(f"There is no module {error.name!r} in {directory}") from None
    for name in path.split("."):
        if not hasattr(found, name):
            raise LookupError(f"{module_name} has no {path!r}")
        found = getattr(found, name)
    app = found() if factory else found
    if not hasattr(app, "routes"):
        hint = "" if factory or not callable(app) else "; if it makes one, add --factory"
        raise LookupError(f"{target} is no FastAPI application but of type {type(app).__name__}{hint}")
    return app
