"""Where records are kept: the protocol, its implementations, and the URLs that name them."""

from .base import SessionStore
from .memory import MemoryStore
from .urls import open_store

__all__ = ["MemoryStore", "SessionStore", "open_store"]
