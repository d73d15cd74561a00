"""Schemathesis calls as an admin, who signs in again after a call that ends the sign-in."""

import urllib.request
from typing import Any

import schemathesis


class Admin:
    token: str | None = None

    def get(self, case: Any, context: Any) -> str:
        if Admin.token is None:
            with urllib.request.urlopen(f"{case.operation.base_url.rstrip('/')}/token") as answer:
                Admin.token = answer.read().decode().strip('"')
        return Admin.token

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


schemathesis.auth(refresh_interval=None)(Admin)


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """A call that waits for a millisecond is answered with 504, as it should be: no answer to check others by."""
    for item in raw_schema["paths"].values():
        for operation in item.values():
            parameters = operation.get("parameters", [])
            parameters[:] = [one for one in parameters if one["name"] != "Poto-Timeout-Ms"]
    # Pydantic documents a decimal as any string: none that was made up would ever be a price.
    price = {"type": "string", "pattern": r"^[0-9]{1,5}(\.[0-9]{2})?$"}
    raw_schema["components"]["schemas"]["ArticleInput"]["properties"]["price"] = price


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A stream that waits for others ends with the call's deadline, and not with the patience of the tool."""
    case.headers = {**(case.headers or {}), "Poto-Timeout-Ms": "1500"}


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    if case.operation.path in ("/auth/logout", "/auth/refresh", "/auth/upgrade"):
        Admin.token = None
