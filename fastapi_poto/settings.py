"""The numbers and switches of the runtime, and how the environment sets them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .auth.settings import DAY, AuthSettings
from .errors import ConfigurationError

PREFIX = "POTO_"

_MAY_BE_ZERO = frozenset({"ping_interval", "validity_interval", "retry", "replay_grace", "purge_interval"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Times are in seconds, sizes in bytes."""

    max_body_size: int = 16 * 1024 * 1024
    """Of a call. A limit of the router or of its inclusion goes before."""
    session_idle: float = 14 * DAY
    session_absolute: float = 30 * DAY
    session_value_bytes: int = 64 * 1024
    session_keys: int = 256
    ping_interval: float = 15.0
    """Silence after which a stream sends a keep-alive; 0: none."""
    send_timeout: float = 30.0
    """So long a stream waits for a reader that has stopped reading."""
    cleanup_timeout: float = 10.0
    """So long a generator's `finally` may take."""
    stream_buffer: int = 64 * 1024
    validity_interval: float = 15.0
    """Between two looks at whether an open stream's caller may still call."""
    retry: float | None = None
    """What streams tell a browser to wait before it reconnects."""
    replay_items: int = 1_000
    """Of a resumable stream, the items kept for a client that comes back."""
    replay_grace: float = 30.0
    """So long a resumable generator runs on without a reader."""
    purge_interval: float = 300.0
    """Between two rounds that remove what has expired; 0: none."""
    auth: AuthSettings = field(default_factory=AuthSettings)

    def __post_init__(self) -> None:
        for name, value in ((one.name, getattr(self, one.name)) for one in fields(self)):
            if isinstance(value, int | float) and not (value > 0 or (value == 0 and name in _MAY_BE_ZERO)):
                least = "0 or more" if name in _MAY_BE_ZERO else "above 0"
                raise ConfigurationError(f"Settings: {name} must be {least}, not {value!r}.")

    @property
    def realm(self) -> str:
        return self.auth.realm


def with_options(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """The settings with some of their numbers, or of sign-in's, replaced. Raises `TypeError` for an unknown name."""
    own = {one.name for one in fields(Settings)} - {"auth"}
    auth = {one.name for one in fields(AuthSettings)}
    both = own & auth
    for name in options:
        if name not in own | auth:
            raise TypeError(f"Poto() has no option {name!r}. There are: {', '.join(sorted(own | auth))}.")
    hints = _hints()
    checked = {
        name: _checked(hints[name], value, f"Poto({name}={value!r})", "Change or remove it.")
        for name, value in options.items()
    }
    for_auth = {name: value for name, value in checked.items() if name in auth - both}
    for_own = {name: value for name, value in checked.items() if name in own}
    return replace(settings, auth=replace(settings.auth, **for_auth), **for_own)


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The options that `POTO_<NAME>` variables set: `POTO_VISITORS_PER_HOUR=0`; of lists, the items by commas."""
    options: dict[str, Any] = {}
    for name, hint in _hints().items():
        sent = environment.get(PREFIX + name.upper())
        if sent is None:
            continue
        listed = "Sequence" in str(hint)
        value: Any = [item.strip() for item in sent.split(",") if item.strip()] if listed else sent
        options[name] = _checked(hint, value, f"{PREFIX}{name.upper()}={sent!r}", "Change or unset the variable.")
    return options


def _hints() -> dict[str, Any]:
    hints = {**get_type_hints(AuthSettings), **get_type_hints(Settings)}
    del hints["auth"]
    return hints


def _checked(hint: Any, value: Any, shown: str, cure: str) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise ConfigurationError(f"{shown}: {error.errors()[0]['msg'].lower()}. {cure}") from None
