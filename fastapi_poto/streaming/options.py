"""What can be set for a stream."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .replay import Replays


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How one method's streams behave. Times are in seconds; one instance serves all streams of a method."""

    first_item_timeout: float = 1.0
    """How long the status line waits for the first item. 0: not at all, for channels that are idle by nature."""
    ping_interval: float = 15.0
    """Silence after which a keep-alive goes out; 0: never. Lines of JSON and bytes have none."""
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
    validity_interval: float | None = None
    """How often it is asked whether the caller's credentials still stand; None: as often as pings may go out."""
    replays: "Replays | None" = None
    """Where a resumable method keeps its items; None: it is not resumable."""
