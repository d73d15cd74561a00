"""What is known of a method before the first call."""

from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, NamedTuple

from ..errors import PotoError
from ..module import PotoModule, RpcOptions
from ..wire import Decoder

Kind = Literal["unary", "bytes", "empty", "response", "stream", "byte_stream"]
Events = Literal["all", "some", "none"]
CarriedIn = Literal["body", "query", "form"] | None


class Guard(NamedTuple):
    """Who may call: anybody, anybody signed in (`roles` empty), or who has one of `roles`; `named`: no visitors."""

    public: bool = False
    roles: frozenset[str] = frozenset()
    named: bool = False

    def __str__(self) -> str:
        if self.public:
            return "public"
        if self.roles:
            return f"{'named, ' if self.named else ''}roles: {', '.join(sorted(self.roles))}"
        return "named" if self.named else "signed in"


class Source(Enum):
    """Where the value of a parameter comes from."""

    WIRE = "the JSON body, or the query for GET and DELETE"
    DEPENDENCY = "FastAPI: Depends, Header, Request, Path, forms, …"
    USER = "the call's user"
    SESSION = "the call's session"
    CONTEXT = "the call's context"


class Parameter(NamedTuple):
    """One parameter of a method or a constructor."""

    name: str
    annotation: Any
    """With `Annotated` metadata, and a `FieldInfo` default moved into it."""
    source: Source
    required: bool
    default: Any = None
    default_factory: Callable[[], Any] | None = None
    """Where the default is made per call: `Field(default_factory=list)`, or a copy of a mutable one."""
    shape: type | None = None
    """The model of a `Session[Model]` parameter."""


class Operation(NamedTuple):
    """A method as it is served: one per mounted class and method."""

    cls: type[PotoModule]
    module_name: str
    """The class's name: the tag, and the first part of `operation_id`."""
    name: str
    """The attribute: `getattr(instance, name)` is what runs."""
    verb: str
    """GET, POST, PUT, PATCH or DELETE."""
    path: str
    """`/<Module>/<name>`, before any prefix; may have `{parameters}` if `@rpc(path=…)` says so."""
    operation_id: str
    function: Callable[..., Any]
    in_thread: bool
    """A plain function, which may block: it runs in a worker thread. Making a generator does not block."""
    kind: Kind
    result: Any
    """The return annotation; of a stream, the item's."""
    events: Events
    """Which of a stream's items are annotated as `Event`s."""
    parameters: tuple[Parameter, ...]
    constructor: tuple[Parameter, ...]
    carried_in: CarriedIn
    """Where the wire parameters are; None: there are none. A form is multipart, and FastAPI reads it."""
    guard: Guard
    errors: tuple[type[PotoError], ...]
    doc: str
    options: RpcOptions
    """What was said of it and of what it overrides, as it was said."""
    status_code: int
    """Of an answer that succeeds."""
    resumable: bool
    first_item_timeout: float
    cancel_on_disconnect: bool
    decoder: Decoder[dict[str, Any]] | None
    """Of the body, the query or the form; None if the call reads none of them."""
    encode: Callable[[Any], bytes]
    """The JSON of the result, or of an item. Raises Pydantic's `ValidationError` for what breaks the annotation."""

    @property
    def where(self) -> str:
        """`Class.method`, as errors name it."""
        return f"{self.cls.__qualname__}.{self.name}"

    @property
    def needs_dependencies(self) -> bool:
        """Whether FastAPI has to find some of the parameters."""
        return self.carried_in == "form" or any(
            parameter.source is Source.DEPENDENCY for parameter in (*self.parameters, *self.constructor)
        )

    @property
    def wire_parameters(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if parameter.source is Source.WIRE)

    @property
    def is_stream(self) -> bool:
        return self.kind in ("stream", "byte_stream")
