"""The Python client: the same module classes, called over the wire. Needs `pip install fastapi-poto[client]`."""

from ..errors import ConfigurationError

try:
    import httpx as _  # noqa: F401
except ImportError as error:
    raise ConfigurationError('The client needs httpx. Run: pip install "httpx>=0.28"') from error

from ..auth.token_pair import TokenPair
from ..errors import InvalidArguments, StreamCut, UnexpectedResponse
from .client import PotoClient
from .proxy import remote
from .streams import events, stop

__all__ = [
    "InvalidArguments",
    "PotoClient",
    "StreamCut",
    "TokenPair",
    "UnexpectedResponse",
    "events",
    "remote",
    "stop",
]
