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


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    if case.operation.path in ("/auth/logout", "/auth/refresh", "/auth/upgrade"):
        Admin.token = None
