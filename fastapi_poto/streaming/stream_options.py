"""What is settled of a method's streams before the first one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class StreamOptions(NamedTuple):
    """How one method's streams behave. Times are in seconds; one instance serves all streams of a method."""

    first_item_timeout: float = 1.0
    """How long the status line waits for the first item. 0: not at all, for channels that are idle by nature."""
    ping_interval: float = 15.0
    """Silence after which a keep-alive goes out; 0: never. Bytes have none."""
    send_timeout: float = 30.0
    """How long one write may wait for a client that does not read, before the stream is given up."""
    buffer_bytes: int = 65536
    """What may be ready and unsent before the generator has to wait."""
    retry_ms: int | None = None
    """What a browser is told to wait before it reconnects; None: it decides (3 s in most)."""
    cleanup_timeout: float = 10.0
    """How long a generator's cleanup may take when its client has left."""
    ndjson: bool = False
    """Lines of JSON even if the client did not ask for `application/x-ndjson`."""
    recheck_interval: float | None = None
    """How often it is asked whether the caller's credentials still stand; None: as often as pings may go out."""
    streams: Any = None
    """The `Streams` of a resumable method; None: it is not resumable."""
    stream_key: Callable[[Mapping[str, Any]], str] | None = None
    """From the arguments of a call: under which key its stream is found again."""
    path: str = ""
    """The operation's, within its router: what is before it in a request's path is before `/streams`, too."""
