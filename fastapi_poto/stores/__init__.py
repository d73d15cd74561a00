"""Where records are kept: the protocol, its implementations, and the URLs that name them."""

from .base import Life, Page, Store
from .log import Appended, Batch, Entry, EventLog
from .memory import MemoryStore
from .urls import store_from_url

__all__ = ["Appended", "Batch", "Entry", "EventLog", "Life", "MemoryStore", "Page", "Store", "store_from_url"]
