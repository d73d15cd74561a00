"""The ids and names of users: how they are made, and when two names are one."""

import re
import secrets
import unicodedata

VISITOR_PREFIX = "visitor_"
MAX_NAME_BYTES = 512


def new_visitor_id() -> str:
    return VISITOR_PREFIX + secrets.token_urlsafe(16)


def new_user_id() -> str:
    return "user_" + secrets.token_urlsafe(16)


# What Unicode calls default-ignorable and Python printable: fillers and variation selectors; and the blanks of Braille,
# music and Khitan. One blank looks like several.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d159"
    "\U000e0100-\U000e01ef]|(?<= ) +"
)


def name_key(username: str) -> str:
    """What must differ between two names: neither letter case nor Unicode's spellings nor what is invisible does."""
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", username))
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", visible.casefold()))


def storable(name: str) -> bool:
    """Whether a name that was sent can be part of a record's name: databases refuse NUL, surrogates and long keys."""
    return name.isprintable() and 0 < len(name_key(name).encode()) <= MAX_NAME_BYTES
