"""Sessions in a cookie: what it hides, what it refuses, and what it says it cannot do."""

import asyncio
import base64
import logging
import secrets
from typing import Any

import pytest

from fastapi_poto.context import CallContext
from fastapi_poto.errors import ConfigurationError, SessionEnded, SessionUnsupported, TooLarge, Unavailable
from fastapi_poto.sessions.cookie import COOKIE, COOKIE_BYTES, CookieSessions
from fastapi_poto.stores import MemoryStore
from fastapi_poto.testing import Clock
from tests.sessions.calls import call_of
from tests.sessions.models import Cart, Line

pytestmark = pytest.mark.anyio

DAY = 86_400
KEY = secrets.token_bytes(32)


class Browser:
    """Keeps the session cookie from one call to the next."""

    def __init__(self) -> None:
        self.cookie: str | None = None

    def call(self, user_id: str = "ada", identity: Any = None) -> CallContext:
        headers = [] if self.cookie is None else [(b"cookie", f"other=1; {COOKIE}={self.cookie}; x=y".encode())]
        return call_of(user_id, identity=identity, headers=headers)

    def take(self, context: CallContext) -> None:
        """Do what the answer's Set-Cookie says; there is at most one."""
        sent = [value.decode() for name, value in context.response_headers if name == b"set-cookie"]
        assert len(sent) <= 1
        for header in sent:
            pair, *attributes = header.split("; ")
            name, _, value = pair.partition("=")
            assert name == COOKIE
            assert {"Path=/", "HttpOnly", "Secure", "SameSite=Lax"} < set(attributes)
            assert len(header) <= COOKIE_BYTES
            self.cookie = value if "Max-Age=0" not in attributes else None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> CookieSessions:
    return CookieSessions([KEY], MemoryStore(clock=clock), clock=clock)


@pytest.fixture
async def browser(sessions: CookieSessions) -> Browser:
    """One that has the session {"a": 1} of ada."""
    browser = Browser()
    context = browser.call()
    await sessions.handle(context).set("a", 1)
    browser.take(context)
    return browser


async def read(sessions: CookieSessions, browser: Browser, user_id: str = "ada") -> dict[str, Any]:
    """What a call of the user sees; the browser then does as it was told."""
    context = browser.call(user_id)
    found = await sessions.handle(context).all()
    browser.take(context)
    return found


async def test_values_travel(sessions: CookieSessions) -> None:
    """What one call writes the next one reads, rich types and shapes included, and nobody else can read it."""
    browser = Browser()
    context = browser.call()
    session = sessions.handle(context)
    await session.set("secret", ("word", 1))
    await session.set("b", 2)
    await session.delete("b")
    await session.typed(Cart).save(Cart(lines=[Line(sku="a")]))
    assert await session.all() == {"secret": ("word", 1), "lines": [Line(sku="a")]}
    browser.take(context)
    assert await read(sessions, browser) == {"secret": ("word", 1), "lines": [Line(sku="a")]}
    raw = base64.urlsafe_b64decode((browser.cookie or "") + "==")
    assert b"word" not in raw
    assert b"ada" not in raw


async def test_a_session_that_is_not_written_sends_nothing(sessions: CookieSessions) -> None:
    """No cookie for a caller who keeps nothing, none again for one whose session did not change."""
    browser = Browser()
    context = browser.call()
    assert await sessions.handle(context).get("a") is None
    await sessions.handle(context).delete("a")
    assert context.response_headers == []
    context = browser.call()
    await sessions.handle(context).set("a", 1)
    browser.take(context)
    context = browser.call()
    await sessions.handle(context).set("a", 1)
    assert context.response_headers == []


async def test_clear_takes_the_cookie_back(sessions: CookieSessions, browser: Browser) -> None:
    """An empty session is no cookie."""
    context = browser.call()
    await sessions.handle(context).clear()
    browser.take(context)
    assert browser.cookie is None


@pytest.mark.parametrize("operation", ["increment", "update"])
async def test_what_it_cannot_promise_it_refuses(sessions: CookieSessions, browser: Browser, operation: str) -> None:
    """Requests at once would undo each other's counts: these are errors, not lost updates."""
    session = sessions.handle(browser.call())
    with pytest.raises(SessionUnsupported, match=operation):
        await (session.increment("a") if operation == "increment" else session.update("a", lambda value: value))
    with pytest.raises(SessionUnsupported):
        await session.typed(Cart).increment("stock")


async def test_too_large(sessions: CookieSessions, browser: Browser) -> None:
    """A write past 4,096 bytes raises; the session and the cookie are as before."""
    context = browser.call()
    session = sessions.handle(context)
    for size in (4096, 3500, 70_000):
        with pytest.raises(TooLarge):
            await session.set("big", secrets.token_hex(size))
    assert context.response_headers == []
    assert await session.all() == {"a": 1}
    await session.set("fits", "x" * 2800)
    with pytest.raises(TooLarge, match="4096"):
        await session.set("more", "x" * 200)
    browser.take(context)
    assert await read(sessions, browser) == {"a": 1, "fits": "x" * 2800}


async def test_after_the_answer_began(sessions: CookieSessions, browser: Browser) -> None:
    """A stream can read the session, not write it."""
    context = browser.call()
    context.has_begun = True
    session = sessions.handle(context)
    assert await session.get("a") == 1
    for operation in (session.set("a", 2), session.delete("a"), session.clear()):
        with pytest.raises(SessionUnsupported, match="begun"):
            await operation
    assert context.response_headers == []


def changed(cookie: str, at: int) -> str:
    letter = "A" if cookie[at] != "A" else "B"
    return cookie[:at] + letter + cookie[at + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cookie: changed(cookie, 0),
        lambda cookie: changed(cookie, 3),
        lambda cookie: changed(cookie, 12),
        lambda cookie: changed(cookie, 20),
        lambda cookie: changed(cookie, 50),
        lambda cookie: changed(cookie, len(cookie) - 1),
        lambda cookie: cookie[:-1],
        lambda cookie: cookie[:-4],
        lambda cookie: cookie[:20],
        lambda cookie: cookie[:4],
        lambda cookie: "A",
        lambda cookie: cookie + "A",
        lambda cookie: cookie + "=",
        lambda cookie: cookie + "AAAA",
        lambda cookie: "AAAA" + cookie,
        lambda cookie: "A" * 4096,
        lambda cookie: "A" * 70_000,
        lambda cookie: "é%&\x00",
        lambda cookie: "null",
    ],
)
async def test_tampered(
    sessions: CookieSessions, browser: Browser, caplog: pytest.LogCaptureFixture, spoil: Any
) -> None:
    """Any other cookie is an empty session, is cleared, and leaves one line in the log that does not show it."""
    original = browser.cookie or ""
    browser.cookie = spoil(original)
    with caplog.at_level(logging.INFO, "fastapi_poto.sessions"):
        assert await read(sessions, browser) == {}
    assert browser.cookie is None
    assert len(caplog.records) == 1
    assert original[:20] not in caplog.text
    context = browser.call()
    await sessions.handle(context).set("b", 1)
    browser.take(context)
    assert await read(sessions, browser) == {"b": 1}


async def test_sent_twice(sessions: CookieSessions, browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """Of two cookies of that name neither counts: one of them is not ours."""
    context = call_of("ada", headers=[(b"cookie", f"{COOKIE}={browser.cookie}".encode())] * 2)
    with caplog.at_level(logging.WARNING, "fastapi_poto.sessions"):
        assert await sessions.handle(context).all() == {}
    assert len(caplog.records) == 1


async def test_another_users(sessions: CookieSessions, browser: Browser) -> None:
    """A cookie opens for the user it was made for, and for no other."""
    assert await read(sessions, browser, "eve") == {}
    assert browser.cookie is None


async def test_another_purpose(sessions: CookieSessions, browser: Browser) -> None:
    """Something else that was sealed with the same key for the same user is not a session."""
    cipher = next(iter(sessions._ciphers.values()))
    raw = base64.urlsafe_b64decode((browser.cookie or "") + "==")
    head, nonce = raw[:13], raw[13:25]
    body = cipher.decrypt(nonce, raw[25:], b"poto session cookie\0" + head + b"ada")
    sealed = cipher.encrypt(nonce, body, b"poto refresh cookie\0" + head + b"ada")
    browser.cookie = base64.urlsafe_b64encode(head + nonce + sealed).rstrip(b"=").decode()
    assert await read(sessions, browser) == {}


async def test_a_longer_life_cannot_be_written_in(sessions: CookieSessions, browser: Browser, clock: Clock) -> None:
    """The expiry stands in the open part of the cookie, and is bound: changing it spoils the cookie."""
    raw = bytearray(base64.urlsafe_b64decode((browser.cookie or "") + "=="))
    raw[5:13] = (2**40).to_bytes(8, "big")
    browser.cookie = base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
    clock.now += 20 * DAY
    assert await read(sessions, browser) == {}


async def test_replayed_after_logout(sessions: CookieSessions, browser: Browser, clock: Clock) -> None:
    """A cookie from before the sign-out is refused, today and when the mark of the sign-out is gone."""
    kept = browser.cookie
    await sessions.end("ada")
    assert await read(sessions, browser) == {}
    assert browser.cookie is None
    fresh = Browser()
    context = fresh.call()
    await sessions.handle(context).set("b", 2)
    fresh.take(context)
    assert await read(sessions, fresh) == {"b": 2}
    for days in (1, 13, 16, 5):
        clock.now += days * DAY
        browser.cookie = kept
        assert await read(sessions, browser) == {}
    await sessions.end("eve")


async def test_a_session_outlives_the_mark_of_an_older_logout(sessions: CookieSessions, clock: Clock) -> None:
    """What began after a sign-out does not end when the sign-out is forgotten."""
    await sessions.end("ada")
    clock.now += 25 * DAY
    browser = Browser()
    context = browser.call()
    await sessions.handle(context).set("a", 1)
    browser.take(context)
    clock.now += 6 * DAY
    assert await sessions.epoch("ada") is None
    assert await read(sessions, browser) == {"a": 1}


async def test_a_slow_writer_beside_a_logout(clock: Clock) -> None:
    """A call that began before the sign-out cannot hand out a session that counts after it."""
    ended: set[str] = set()

    async def is_active(identity: str) -> bool:
        return identity not in ended

    sessions = CookieSessions([KEY], MemoryStore(clock=clock), clock=clock, is_active=is_active)
    browser = Browser()
    context = browser.call(identity="phone")
    slow = sessions.handle(context)
    await slow.set("a", 1)
    untouched = sessions.handle(browser.call(identity="phone"))
    ended.add("phone")
    await sessions.end("ada")
    await slow.set("a", 2)  # into a cookie that is already worthless
    browser.take(context)
    assert await read(sessions, browser) == {}
    with pytest.raises(SessionEnded):
        await untouched.set("a", 3)


async def test_expiry(sessions: CookieSessions, browser: Browser, clock: Clock) -> None:
    """14 days idle and 30 days in all, inside the cookie: a browser that keeps it longer gains nothing."""
    for _ in range(2):
        clock.now += 13 * DAY
        assert await read(sessions, browser) == {"a": 1}
    clock.now += 4 * DAY
    assert await read(sessions, browser) == {}
    context = browser.call()
    await sessions.handle(context).set("b", 1)
    browser.take(context)
    kept = browser.cookie
    clock.now += 14 * DAY
    browser.cookie = kept
    assert await read(sessions, browser) == {}


async def test_use_is_noted_once_a_minute(sessions: CookieSessions, browser: Browser, clock: Clock) -> None:
    """A call that reads sends a new cookie only when the last one is a minute old."""
    clock.now += 59
    context = browser.call()
    await sessions.handle(context).get("a")
    assert context.response_headers == []
    clock.now += 1
    context = browser.call()
    await sessions.handle(context).get("a")
    assert len(context.response_headers) == 1


async def test_keys_rotate(browser: Browser, clock: Clock) -> None:
    """A cookie under the previous key opens and is sealed with the current one; a removed key's is empty."""
    new = secrets.token_bytes(32)
    both = CookieSessions([new, KEY], MemoryStore(clock=clock), clock=clock)
    context = browser.call()
    assert await both.handle(context).get("a") == 1
    await both.handle(context).set("b", 2)
    browser.take(context)
    only_new = CookieSessions([new], MemoryStore(clock=clock), clock=clock)
    assert await read(only_new, browser) == {"a": 1, "b": 2}
    only_old = CookieSessions([KEY], MemoryStore(clock=clock), clock=clock)
    assert await read(only_old, browser) == {}


async def test_one_call_shares_its_cookie(sessions: CookieSessions, browser: Browser) -> None:
    """Tasks of one call write one session: the answer carries all of it."""
    context = browser.call()
    session = sessions.handle(context)
    await asyncio.gather(*(session.set(f"k{number}", number) for number in range(20)))
    browser.take(context)
    assert await read(sessions, browser) == {"a": 1} | {f"k{number}": number for number in range(20)}


async def test_the_store_is_down(browser: Browser, clock: Clock) -> None:
    """Without the store nobody can say who has signed out: the session fails closed."""

    class Down(MemoryStore):
        async def read(self, record: str, fields: Any = None) -> Any:
            raise Unavailable

    sessions = CookieSessions([KEY], Down(clock=clock), clock=clock)
    with pytest.raises(Unavailable):
        await sessions.handle(browser.call()).get("a")


async def test_stats(sessions: CookieSessions, browser: Browser) -> None:
    """There is nothing to count on the server, and no id to change."""
    assert not (await sessions.stats()).complete
    assert await read(sessions, browser) == {"a": 1}


async def test_keys_are_checked() -> None:
    """A key of another length, or none, is an error that says what is needed."""
    for keys in ([], [b"short"]):
        with pytest.raises(ConfigurationError, match="32 bytes"):
            CookieSessions(keys, MemoryStore())
