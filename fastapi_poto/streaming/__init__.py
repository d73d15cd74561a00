"""Generators as responses: server-sent events, lines of JSON, bytes."""

from .byte_stream import describe_download
from .frames import Event

__all__ = ["Event", "describe_download"]
