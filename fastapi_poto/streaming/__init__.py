"""Generators as answers: server-sent events, lines of JSON, bytes."""

from .byte_stream import ByteStream, describe_download
from .channel import PastReplay, StreamLost
from .deadline import parse_deadline
from .event_stream import EventStream
from .frames import Event
from .options import StreamOptions
from .replay import Replays
from .resume import resume

__all__ = [
    "ByteStream",
    "Event",
    "EventStream",
    "PastReplay",
    "Replays",
    "StreamLost",
    "StreamOptions",
    "describe_download",
    "parse_deadline",
    "resume",
]
