"""Generators as responses: server-sent events, lines of JSON, bytes."""

from .byte_stream import describe_download
from .frames import Event
from .presence import Member, PresenceChange
from .streams import RunningStream
from .topics import Channel, Topic

__all__ = ["Channel", "Event", "Member", "PresenceChange", "RunningStream", "Topic", "describe_download"]
