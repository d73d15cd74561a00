"""The keyword arguments of `Poto()` and `poto_router()` as type checkers see them: `acess_ttl` fails in the editor."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any, Literal, TypedDict

from fastapi import Response
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute


class PotoOptions(TypedDict, total=False):
    """The fields of `Settings` and `AuthSettings`."""

    max_body_size: int
    body_timeout: float
    session_idle: float
    session_absolute: float
    session_value_bytes: int
    session_keys: int
    ping_interval: float
    send_timeout: float
    cleanup_timeout: float
    stream_buffer: int
    recheck_interval: float
    retry: float | None
    replay_items: int
    replay_grace: float
    streams_per_user: int | None
    streams_per_address: int | None
    detached_streams: int | None
    subscriptions_per_user: int | None
    subscriptions_per_address: int | None
    purge_interval: float
    namespace: str | None

    realm: str
    issuer: str
    audience: str
    access_ttl: float
    refresh_idle: float
    refresh_absolute: float
    refresh_grace: float
    sign_ins_per_user: int
    visitors: bool
    registration: bool
    visitors_per_hour: int | None
    visitor_idle: float
    free_failures: int
    first_delay: float
    longest_delay: float
    failures_per_address: int | None
    sign_ins_per_account: int | None
    address_window: float
    trusted_proxies: Sequence[str]
    cookies: bool
    allowed_origins: Sequence[str]
    cookie_name: str
    cookie_same_site: Literal["lax", "strict", "none"]
    remembered_tokens: int


class RouterOptions(TypedDict, total=False):
    """The arguments of FastAPI's `APIRouter`."""

    prefix: str
    tags: list[str | Enum] | None
    dependencies: Sequence[Depends] | None
    default_response_class: type[Response]
    responses: dict[int | str, dict[str, Any]] | None
    callbacks: list[BaseRoute] | None
    redirect_slashes: bool
    default: Callable[..., Any] | None
    lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None
    deprecated: bool | None
    include_in_schema: bool
    generate_unique_id_function: Callable[[APIRoute], str]
    strict_content_type: bool
    max_body_size: int | None
    form_limits: Any
