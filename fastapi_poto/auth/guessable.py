"""Whether a secret can be guessed: it was published, says that it is to be replaced, repeats itself, or is prose."""

import base64
import re
from contextlib import suppress

# From tutorials, templates and other projects' defaults, this one's documentation too. Compared without case,
# punctuation and repetition, so that longer spellings of one are found as well.
_PUBLISHED = """
09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7
404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970
3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b
9a4f2c8d3b7a1e6f45c8a0b3f267d8b1d4e6f3c8a9d2b5f8e3a9c8b5f6v8a3d9
586e3272357538782f413f4428472b4b6250655368566b597033733676397924
5367566b59703373367639792f423f4528482b4d6251655468576d5a71347437
28482b4d6251655468576d5a7134743777217a25432a462d4a614e645267556b yn2kjibddfawtnpj2afll8wxmohjmcvigqggaeypa5e
255d861b5ea1599693aa922530ec40b1 6116487bcda152c2b5b5c8022c45e263 astringsecretatleast256bitslong
astringsecretatleast512bitslongwhichiswaymorethanjustyoursecretkey supersecretjwttokenwithatleast32characterslong
bezkoderspring bezkodersecretkey xq3fv9tkz7lwpe2rbym5hdnc8ju4sga 6q3xv0tvkzq0m2o1rj8c9yb4weuhs7fl
n3w0qgj5mxb7vtzr2kld9wycp4shf6a 0ld8ueok1jny3ivx5amg7tqrz2bwl4s secret secretkey jwtsecret jwtsecretkey
supersecret supersecretkey mysecret mysecretkey mysupersecretkey topsecret verysecret password passw0rd default
admin qwerty letmein
"""
_PLACEHOLDER = re.compile(
    r"change.?(me|this|it\b|in.?production)|replace.?(me|this|with)|place.?holder|django.?insecure|"
    r"(your|insert|put|enter|set).{0,12}(secret|key|password)|do.?not.?use.?in.?production|<.{0,40}(secret|key).{0,40}>",
    re.IGNORECASE,
)
_ROWS = "qwertyuiop asdfghjkl zxcvbnm 1234567890 qazwsxedcrfvtgbyhnujmikolp"
_ROWS += _ROWS[::-1]
# The pairs of letters that make up most of what people write in European languages.
_PAIRS = """
th he in er an re nd at on nt ha es st en ed to it ou ea hi is or ti as te et ng of al de se le sa si ar ve ra ld
ur me ne wa ec ro ke ey ss cr ho li ri co io ma be om ch ce ca no ta us ut la el ow so wi wh pa sw wo rd fo tr ui
ot il mo ic ac su up pe un ly na ge we ad ay lo em pl ep ap pp ct od du my
"""
_published = frozenset(_PUBLISHED.split())
_pairs = frozenset(_PAIRS.split())
_LEAST_NOVEL, _LEAST_DISTINCT, _LEAST_RANDOM = 9, 7, 32


def is_guessable(raw: bytes) -> bool:
    """What `secrets` draws is never guessable; the odds are under one in many millions for 32 characters and more."""
    texts = [raw.decode("latin-1")]
    with suppress(ValueError):
        decoded = base64.b64decode(b"".join(raw.split()) + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        texts.append(decoded.decode("ascii"))  # prose in disguise
    return any(_is_guessable(text) for text in texts)


def _is_guessable(text: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    if {plain, _once(plain)} & _published:
        return True
    # A long random string may contain any short word by chance; one with few other characters is prose.
    if _PLACEHOLDER.search(text) and len(re.sub(r"[^a-z0-9]", "", _PLACEHOLDER.sub("", text).lower())) < _LEAST_RANDOM:
        return True
    piece = _once(text)
    novel = min(_novel(piece), _novel(piece[::2]) + _novel(piece[1::2]))
    return len(piece) < 16 or novel < _LEAST_NOVEL or len(set(text)) < _LEAST_DISTINCT or _is_prose(text)


def _once(text: str) -> str:
    """The piece that a text repeats, cut off at its end or not; else the text."""
    sizes = range(1, len(text) // 2 + 1)
    return next((text[:size] for size in sizes if text == (text[:size] * len(text))[: len(text)]), text)


def _novel(text: str) -> int:
    """How many characters do not follow from those before: by counting, along a keyboard, or by repetition."""
    return len(text) - sum(
        abs(ord(text[at]) - ord(text[at - 1])) <= 1
        or text[at - 1 : at + 1].lower() in _ROWS
        or _repeats(text, at)
        or (at > 1 and ord(text[at]) - ord(text[at - 1]) == ord(text[at - 1]) - ord(text[at - 2]))
        for at in range(1, len(text))
    )


def _repeats(text: str, at: int) -> bool:
    return at > 3 and text[at - 3 : at + 1] in text[:at]


def _is_prose(text: str) -> bool:
    """Whether most of it is pairs of letters as words have them, breaks between words, counting and repetition."""
    if re.fullmatch("[0-9a-fA-F-]+", text):
        return False  # digits in base 16 have few pairs of letters, most of them usual ones
    if not re.search("[a-z]", text):
        text = text.lower()
    breaks = len(re.findall(r"(?<=[A-Za-z])[ _.-](?=[A-Za-z])", text))
    usual = 2 * breaks + sum(
        (text[at].islower() and text[at - 1 : at + 1].lower() in _pairs)
        or (text[at - 1 : at + 1].isdigit() and abs(ord(text[at]) - ord(text[at - 1])) <= 1)
        or _repeats(text, at)
        for at in range(1, len(text))
    )
    return usual >= (0.45 if breaks > 2 else 0.55) * (len(text) - 1)
