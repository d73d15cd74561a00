"""How the document shows who may call."""

from collections.abc import Sequence
from typing import Any

from fastapi.encoders import jsonable_encoder
from fastapi.security.base import SecurityBase

from ..auth.dependencies import bearer_scheme, password_scheme

_OWN = {bearer_scheme.scheme_name, password_scheme.scheme_name}


def require_caller(document: dict[str, Any], operation: dict[str, Any], security: Sequence[SecurityBase]) -> None:
    """Write that an operation needs a caller, who is known in one of these ways.

    FastAPI would document it of dependencies: two for each method, of which none is ever called.
    """
    operation["security"] = [*operation.get("security", ()), *({scheme.scheme_name: []} for scheme in security)]
    _add_schemes(document, security)


def _add_schemes(document: dict[str, Any], security: Sequence[SecurityBase]) -> None:
    schemes = document["components"].setdefault("securitySchemes", {})
    for scheme in security:
        if scheme.scheme_name not in schemes:
            schemes[scheme.scheme_name] = jsonable_encoder(scheme.model, by_alias=True, exclude_none=True)


def show_credentials(document: dict[str, Any], security: Sequence[SecurityBase]) -> None:
    """Let the operations that take `CurrentUser` name all the ways to know a caller that this application has.

    The dependency is one for all applications, and shows the sign-in routes' tokens wherever it stands.
    """
    names = [scheme.scheme_name for scheme in security]
    if set(names) == _OWN:
        return
    shown = False
    for item in document.get("paths", {}).values():
        for operation in item.values():
            listed = operation.get("security", []) if isinstance(operation, dict) else []
            if any(_OWN & one.keys() for one in listed):
                others = [one for one in listed if not one.keys() <= {*_OWN, *names}]
                operation["security"] = [*({name: []} for name in names), *others]
                shown = True
    if shown:
        schemes = document["components"].setdefault("securitySchemes", {})
        for name in _OWN - set(names):
            schemes.pop(name, None)
        _add_schemes(document, security)
