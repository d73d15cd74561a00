"""Generators as responses: server-sent events, lines of JSON, bytes."""

from .byte_stream import ByteStream, describe_download
from .event_stream import EventStream
from .frames import Event
from .replay import Replays
from .resume import resume
from .stream import StreamOptions

__all__ = ["ByteStream", "Event", "EventStream", "Replays", "StreamOptions", "describe_download", "resume"]
