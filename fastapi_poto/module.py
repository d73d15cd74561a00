"""`PotoModule`, and the decorators that say how its methods are called. They record, no more."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar, overload

from .context import CallContext, current_context
from .errors import ConfigurationError, Forbidden, PotoError
from .sessions import Session, SessionStats
from .streaming import Event
from .streaming.presence import PresenceChange
from .streaming.topics import After, Channel, Policy
from .users import User

A = TypeVar("A")
B = TypeVar("B")
F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__poto_rpc__"


class RpcOptions(NamedTuple):
    """What `@rpc`, `@public`, `@roles` and `@named` recorded for one method or class. None: not said."""

    method: str | None = None
    path: str | None = None
    expose: bool | str | Sequence[str] | None = None
    errors: Sequence[type[PotoError]] | None = None
    media_type: str | None = None
    status_code: int | None = None
    responses: Mapping[int | str, Mapping[str, Any]] | None = None
    response_model_exclude_none: bool | None = None
    resumable: bool | None = None
    key: str | None = None
    first_item_timeout: float | None = None
    cancel_on_disconnect: bool | None = None
    summary: str | None = None
    tags: Sequence[str] | None = None
    deprecated: bool | None = None
    include_in_schema: bool | None = None
    openapi_extra: Mapping[str, Any] | None = None
    public: bool | None = None
    roles: frozenset[str] | None = None
    named: bool | None = None

    @property
    def is_guard(self) -> bool:
        """Whether it says who may call."""
        return self.public is not None or bool(self.named)


def options_of(target: object) -> RpcOptions | None:
    """What was recorded on this very function or class; not what a base recorded."""
    recorded: RpcOptions | None = vars(target).get(_ATTRIBUTE) if hasattr(target, "__dict__") else None
    return recorded


def _record(target: F, **changes: Any) -> F:
    try:
        setattr(target, _ATTRIBUTE, (options_of(target) or RpcOptions())._replace(**changes))
    except AttributeError:
        name = getattr(getattr(target, "fget", None), "__qualname__", repr(target))
        raise ConfigurationError(
            f"{name} is a {type(target).__name__}, and so is never exposed, but is decorated. "
            "Make it a method, or remove the decorator."
        ) from None
    return target


@overload
def rpc(target: F, /) -> F: ...
@overload
def rpc(
    *,
    method: str | None = None,
    path: str | None = None,
    expose: bool | Sequence[str] | None = None,
    errors: Sequence[type[PotoError]] | None = None,
    media_type: str | None = None,
    status_code: int | None = None,
    responses: Mapping[int | str, Mapping[str, Any]] | None = None,
    response_model_exclude_none: bool | None = None,
    resumable: bool | None = None,
    key: str | None = None,
    first_item_timeout: float | None = None,
    cancel_on_disconnect: bool | None = None,
    summary: str | None = None,
    tags: Sequence[str] | None = None,
    deprecated: bool | None = None,
    include_in_schema: bool | None = None,
    openapi_extra: Mapping[str, Any] | None = None,
) -> Callable[[F], F]: ...
def rpc(target: Any = None, /, **options: Any) -> Any:
    """How a method is called, where its name does not say it.

    `method` and `path` override the verb and the last path segment. `expose=False` keeps a method
    (or, on a class, `expose=("a", "b")` the named methods) from the wire. `errors` are the `PotoError` classes that it
    may raise. `media_type` is that of a byte answer. `resumable` streams number their items and can
    be picked up again; with a `key` such as `"chat:{chat_id}"`, of the method's arguments, another call of the same
    user follows the stream that runs already. `first_item_timeout` is in seconds (None: 1; 0 for channels that are
    idle by nature). `cancel_on_disconnect` cancels a plain method when its caller has gone. `status_code`, `responses`,
    `response_model_exclude_none`, `tags`, `deprecated`, `include_in_schema` and `openapi_extra` are FastAPI's.
    Raises `ConfigurationError` for an option that there is not.
    """

    def decorate(target: Any) -> Any:
        name = getattr(target, "__qualname__", repr(target))
        if not callable(target) and not hasattr(target, "__get__"):
            raise ConfigurationError(f"@rpc({target!r}): options have names. Write `@rpc(summary={target!r})`, say.")
        for option in options:
            if option not in _RPC:
                raise ConfigurationError(f"{name}: @rpc has no {option}. {_INSTEAD.get(option, _NO_SUCH)}")
        return _record(target, **{name: value for name, value in options.items() if value is not None})

    return decorate if target is None else decorate(target)


_RPC = set(RpcOptions._fields) - {"public", "roles", "named"}
_NO_SUCH = f"It takes {', '.join(sorted(_RPC))}."
_OF_THE_RESULT = "The response has all of its annotation: annotate a model that has what callers may see."
_INSTEAD = {
    "response_model": "The return annotation is the response's schema.",
    "response_model_include": _OF_THE_RESULT,
    "response_model_exclude": _OF_THE_RESULT,
    "response_model_by_alias": "Responses have the aliases of their models.",
    "response_model_exclude_unset": "Say response_model_exclude_none=True, or annotate a model without these members.",
    "response_model_exclude_defaults": "Say response_model_exclude_none=True, or annotate a model without them.",
    "response_class": "Return a Response of that class, or give bytes a media_type.",
    "response_description": "Write a section `Returns:` in the docstring.",
    "description": "It is the docstring, after its first line.",
    "methods": 'A method has one verb: method="PUT".',
    "name": "It is the class's and the method's: give the method another name, or another path=….",
    "operation_id": "It is the class's and the method's: give poto_router() a generate_unique_id_function.",
    "generate_unique_id_function": "Give it to poto_router().",
    "dependencies": "Take them in the constructor or in the method, or give them to poto_router() or include_router().",
    "callbacks": "Give them to poto_router().",
    "route_class_override": "Wrap the method in a decorator, or take a dependency.",
    "max_body_size": "Give it to poto_router().",
    "form_limits": "Give them to poto_router().",
    "strict_content_type": "Give it to poto_router().",
}


@overload
def public(target: F, /) -> F: ...
@overload
def public() -> Callable[[F], F]: ...
def public(target: Any = None, /) -> Any:
    """Let callers without credentials in: to a method, or to all methods of a class."""
    return public if target is None else _guard(target, public=True, roles=None)


def roles(*names: str) -> Callable[[F], F]:
    """Let in only callers who have at least one of these roles."""
    if not names or not all(name and type(name) is str for name in names):
        raise TypeError('@roles takes the names of one or more roles: @roles("admin")')
    return lambda target: _guard(target, public=False, roles=frozenset(names))


def named(target: F) -> F:
    """Let in only callers who have signed in with a name, and no visitors; beside `@roles`, who has one of them."""
    return _guard(target, named=True)


def _guard(target: F, **guard: Any) -> F:
    before = options_of(target) or RpcOptions()
    if before.public or (before.is_guard and guard.get("public")) or (before.roles and guard.get("roles")):
        raise ConfigurationError(
            f"{getattr(target, '__qualname__', target)} has two guards, of @public, @roles and @named. Keep one: "
            '@roles("admin", "clerk") lets in who has any of the roles, @public everybody.'
        )
    return _record(target, **guard)


class PotoModule:
    """A class whose public methods are called over the wire. There is one instance per call."""

    route: ClassVar[str | None] = None
    """The module's path segment; None: the class's name."""

    _poto_context: CallContext | None = None

    @property
    def context(self) -> CallContext:
        """The call in progress."""
        return self._poto_context or current_context()

    @property
    def user(self) -> User:
        """Who calls. 401 without credentials, in a `@public` method too: there ask `get_current_user()`."""
        context = self._poto_context or current_context()
        return context.user or context.need_user()

    @property
    def session(self) -> Session[Any]:
        """What the caller keeps between calls. 401 without credentials."""
        return self.context.session

    def get_current_user(self) -> User | None:
        """Who calls; None without credentials."""
        return self.context.user

    async def get_session_value(self, key: str, default: Any = None) -> Any:
        """One value of the caller's session."""
        return await self.context.session.get(key, default)

    async def set_session_value(self, key: str, value: Any) -> None:
        """Set one value of the caller's session."""
        await self.context.session.set(key, value)

    async def get_session_stats(self) -> SessionStats:
        """How many sessions are alive, for a caller with the role `admin`. Raises `Forbidden` for others."""
        context = self.context
        if context.user is None or context.sessions is None or "admin" not in context.user.roles:
            raise Forbidden("Session statistics are for administrators")
        return await context.sessions.stats()

    # Topics

    @overload
    def subscribe(
        self, channel: Channel[A], /, *, after: After = None, policy: Policy = "gap", presence: bool = False
    ) -> AsyncIterator[Event[A]]: ...
    @overload
    def subscribe(
        self, one: Channel[A], other: Channel[B], /, *,
        after: After = None, policy: Policy = "gap", presence: bool = False,
    ) -> AsyncIterator[Event[A | B]]: ...  # fmt: skip
    @overload
    def subscribe(
        self, *channels: Channel[Any], after: After = None, policy: Policy = "gap", presence: bool = False
    ) -> AsyncIterator[Event[Any]]: ...
    def subscribe(
        self, *channels: Channel[Any], after: After = None, policy: Policy = "gap", presence: bool = False
    ) -> AsyncIterator[Event[Any]]:
        """The events of some channels, from where the client lost them if it reconnects, else from `after`.

        `after` is an event's id, `"start"` for all that is kept, a `timedelta`, or None: from now on. `policy` says
        what becomes of a reader for whom events were dropped: the client is told (`event: gap`) and gets what there is
        (`gap`) or only what is new (`latest`), or the stream ends with `past_replay` (`fail`). With `presence` the user
        is on these channels for as long as the stream is open. One subscription a stream. Raises `TooManyRequests`.
        """
        context = self.context
        listening: AsyncIterator[Event[Any]] = context.runtime.broker.subscribe_in(
            context, channels, after, policy, presence
        )
        return listening

    def watch_presence(self, channel: Channel[Any]) -> AsyncIterator[PresenceChange]:
        """Who is on a channel, as so many joins, and from then on who comes and goes."""
        watching: AsyncIterator[PresenceChange] = self.context.runtime.broker.watch_presence(channel)
        return watching

    def is_request_cancelled(self) -> bool:
        """Whether the caller has gone. May be asked from a thread."""
        return self.context.is_request_cancelled()
