"""Where records are kept: the protocol, its implementations, and the URLs that name them."""

from .base import Store
from .memory import MemoryStore
from .urls import store_from_url

__all__ = ["MemoryStore", "Store", "store_from_url"]
