"""The tree of errors, their codes, and the one form in which they are sent.

ConfigurationError            a mistake seen at start-up: names Class.method and the cure
NoContextError                current_context() outside a call
PotoError                     anything a caller is told: {"code", "detail"}, and "data" where it is declared
├── BadRequest            400
│   └── SessionValueError      a session key that is none, or a sum past 64 bits
├── InvalidArguments      422  what the Python client makes of it; `errors` is FastAPI's list
├── Unauthenticated       401  no credentials, or none that hold
│   └── RefreshReused          a refresh token came back after it was spent
├── Forbidden             403  signed in, but not allowed
│   └── CrossSiteRequest       a cookie-authenticated write from a foreign page
├── NotFound              404
├── Conflict              409
│   ├── UsernameTaken          a name that somebody else signs in with
│   ├── PastReplay             the stream cannot be resumed from there
│   ├── StreamLost             the stream's generator is gone
│   ├── SessionConflict        an update kept colliding with others
│   └── SessionEnded           the session was ended while the call ran
├── RequestTimeout        408  a body that stalls
├── TooLarge              413  a body, a session value or a session past its limit
├── RetryLater                 with Retry-After
│   ├── TooManyRequests   429
│   └── Unavailable       503  a store or the hashing queue
│       └── ShuttingDown       the server is going away; another may be tried
├── InternalError         500  all that a caller is told of an exception that is no HTTP error
│   └── SessionUnsupported     the store cannot keep the promise that was asked of it
└── DeadlineExceeded      504
StreamCut                     the Python client: a stream ended without saying how
UnexpectedResponse            the Python client: a response is not what the annotation says

What never reached a server is httpx's own error (`httpx.ConnectError`, …).
"""

from functools import cache
from typing import Any, ClassVar, Self, cast, get_type_hints

from fastapi.exceptions import HTTPException
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python


class ConfigurationError(Exception):
    """A mistake that is seen before the first request is served."""


class NoContextError(LookupError):
    """There is no call in progress here."""


class PotoError(HTTPException):
    """An error that the caller is told about. Subclass it, and set `code` and `status`.

    Being an `HTTPException`, it reaches the application's own exception handlers. Where there is none it is answered
    with `payload()`: `{"code", "detail"}`, and `"data"` if the subclass annotates it. Without data, where the
    annotation does not take None, the constructor raises `TypeError`.
    The first line of the subclass's docstring is the `detail` where none is given.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    data: Any = None

    def __init__(
        self,
        detail: str | None = None,
        *,
        data: BaseModel | Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        if data is not None:
            self.data = data
        elif self.data is None and _needs_data(own := cast("Any", type(self))):
            name = own.__name__
            raise TypeError(
                f"{name} is sent with data, and has none. Write {name}(data=...), or annotate data as optional"
            )
        super().__init__(self.status, detail=self.default_detail() if detail is None else detail, headers=headers)

    @classmethod
    def received(cls, *, code: str, status: int, detail: Any, data: Any = None) -> Self:
        """An error as somebody else told of it."""
        # Not through the class's own constructor: an application's may take anything.
        error = cls.__new__(cls)
        own = {"status": status, "code": code, "data": data}
        vars(error).update({name: value for name, value in own.items() if getattr(cls, name) != value})
        HTTPException.__init__(error, status, detail=detail)
        return error

    @classmethod
    def default_detail(cls) -> str:
        lines = (cls.__doc__ or "").strip().splitlines()
        return lines[0].rstrip(".") if lines else cls.code

    @classmethod
    def declares_data(cls) -> bool:
        """Whether every error of this class is sent with a `data` member."""
        bases = cls.__mro__[: cls.__mro__.index(PotoError)]
        return any("data" in getattr(base, "__annotations__", ()) for base in bases)

    def payload(self) -> dict[str, Any]:
        """The body of the response, in JSON's types: what a handler of the application's own sends on."""
        payload: dict[str, Any] = {"code": self.code, "detail": self.detail}
        if self.data is not None or self.declares_data():
            payload["data"] = to_jsonable_python(self.data, by_alias=True, inf_nan_mode="strings", fallback=str)
        return payload

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


@cache
def _needs_data(error: Any) -> bool:
    """Whether an error of this class without data would break what its annotation says."""
    if not error.declares_data():
        return False
    try:
        TypeAdapter(get_type_hints(error, include_extras=True)["data"]).validate_python(None)
    except ValidationError:
        return True
    except (NameError, TypeError, PydanticUserError):  # names that only a type checker knows
        return False
    return False


class BadRequest(PotoError):
    """The request could not be understood."""

    code = "bad_request"
    status = 400


class SessionValueError(BadRequest, ValueError):
    """The session cannot keep this."""

    code = "session_value"


class Unauthenticated(PotoError):
    """Not authenticated."""

    code = "unauthenticated"
    status = 401

    def __init__(self, message: str | None = None, *, data: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message, data=data, headers=challenge("poto") if headers is None else headers)


class RefreshReused(Unauthenticated):
    """Not authenticated."""

    def __init__(self, user_id: str, family: str, *, was_last: bool) -> None:
        self.user_id = user_id
        self.family = family
        self.was_last = was_last
        """Whether the sign-in that it ended was the user's last."""
        super().__init__()


class InvalidArguments(PotoError):
    """The server did not accept the arguments."""

    code = "validation_error"
    status = 422

    @property
    def errors(self) -> list[dict[str, Any]]:
        """As FastAPI lists them: `loc`, `msg`, `type`, `input`."""
        found: Any = self.detail
        return [one if isinstance(one, dict) else {"msg": str(one)} for one in found]

    def __str__(self) -> str:
        return "; ".join(f"{'.'.join(map(str, error.get('loc', ())))}: {error.get('msg')}" for error in self.errors)


class Forbidden(PotoError):
    """Not allowed."""

    code = "forbidden"
    status = 403


class CrossSiteRequest(Forbidden):
    """The request comes from a foreign page."""

    code = "cross_site_request"


class NotFound(PotoError):
    """Not found."""

    code = "not_found"
    status = 404


class Conflict(PotoError):
    """The state does not allow this."""

    code = "conflict"
    status = 409


class SessionConflict(Conflict):
    """The session value kept changing while it was updated."""

    code = "session_conflict"


class SessionEnded(Conflict):
    """The session has ended."""

    code = "session_ended"


class RequestTimeout(PotoError):
    """The request took too long to arrive."""

    code = "request_timeout"
    status = 408


class TooLarge(PotoError):
    """Too large."""

    code = "too_large"
    status = 413


class RetryLater(PotoError):
    """An error that tells when to try again."""

    code = "retry_later"
    status = 503

    def __init__(self, detail: str | None = None, *, retry_after: float = 1, data: Any = None) -> None:
        """`retry_after` is in seconds and is rounded up to whole ones (RFC 9110, 10.2.3)."""
        self.retry_after = max(1, -int(-retry_after // 1))
        super().__init__(detail, data=data, headers={"Retry-After": str(self.retry_after)})


class TooManyRequests(RetryLater):
    """Too many requests."""

    code = "too_many_requests"
    status = 429


class Unavailable(RetryLater):
    """Temporarily unavailable."""

    code = "unavailable"
    status = 503


class ShuttingDown(Unavailable):
    """The server is shutting down."""

    code = "shutting_down"


class InternalError(PotoError):
    """Internal Server Error."""

    code = "internal_error"
    status = 500


class SessionUnsupported(InternalError):
    """This session store cannot do that."""

    code = "session_unsupported"


class DeadlineExceeded(PotoError):
    """The caller's deadline has passed."""

    code = "deadline_exceeded"
    status = 504


class PastReplay(Conflict):
    """The stream cannot be resumed from there."""

    code = "past_replay"


class StreamLost(Conflict):
    """The stream's generator is no longer there to go on."""

    code = "stream_lost"


class UsernameTaken(Conflict):
    """This name is taken."""

    code = "username_taken"


class StreamCut(ConnectionError):
    """The stream ended without `close` or `error`: there may have been more. `items` of it have been received."""

    def __init__(self, operation: str, items: int, last_event_id: str | None, reason: str) -> None:
        super().__init__(f"{operation} was cut off after {items} items: {reason}")
        self.operation = operation
        self.items = items
        self.last_event_id = last_event_id


class UnexpectedResponse(Exception):
    """The response is not what the method's annotation says: another server, or another version of the class."""


def known_errors() -> list[type[PotoError]]:
    """Every error of this module that has a code of its own."""
    found: list[Any] = list(globals().values())
    return [
        one
        for one in found
        if isinstance(one, type) and issubclass(one, PotoError) and one is not PotoError and "code" in vars(one)
    ]


def challenge(realm: str, error: str | None = None) -> dict[str, str]:
    """Headers of a 401. `error="invalid_token"` when a token came but does not hold."""
    value = f'Bearer realm="{realm}"'
    if error is not None:
        value += f', error="{error}"'
    return {"WWW-Authenticate": value, "Cache-Control": "no-store"}


def insufficient() -> dict[str, str]:
    """Headers of a 403 for a caller who lacks a role."""
    return {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
