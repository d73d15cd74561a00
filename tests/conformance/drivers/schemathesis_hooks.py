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
def after_call(context: Any, case: Any, response: Any) -> None:
    if case.operation.path in ("/auth/logout", "/auth/refresh", "/auth/upgrade"):
        Admin.token = None
