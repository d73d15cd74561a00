"""The URL of a server, which may have a password in it."""

import re
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigurationError

_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")


def split_url(url: str) -> SplitResult:
    """The parts of a server's URL.

    Raises `ConfigurationError`, which repeats nothing of it, where a sign of a password has cut it in two.
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        is_whole = not parts.fragment and not (parts.netloc and "@" in parts.path)
        if is_whole and all(map(_HOST.fullmatch, hosts)):
            return parts
    raise ConfigurationError(
        "Host and port of the store's URL cannot be read. Write what is no letter or digit in a name or a password in "
        "percent-encoding: urllib.parse.quote(password, safe='')."
    )
