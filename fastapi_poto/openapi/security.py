"""How the document shows who may call."""

from collections.abc import Sequence
from typing import Any

from fastapi.encoders import jsonable_encoder
from fastapi.security.base import SecurityBase

from ..auth.dependencies import bearer_scheme, password_scheme

_OWN = {bearer_scheme.scheme_name, password_scheme.scheme_name}


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
        for scheme in security:
            model = jsonable_encoder(scheme.model, by_alias=True, exclude_none=True)
            schemes.setdefault(scheme.scheme_name, model)
