"""A session with a shape: a Pydantic model says what its keys are."""

import asyncio
import logging
from decimal import Decimal
from ipaddress import IPv4Address

import pytest

from fastapi_poto.errors import ConfigurationError, SessionValueError
from fastapi_poto.sessions import Session, SessionManager
from tests.sessions.calls import call_of
from tests.sessions.models import Cart, CartOfTomorrow, Hashed, Line, NeedsMore, Settings, Split, Tally

pytestmark = pytest.mark.anyio


async def test_a_shape(session: Session) -> None:
    """Each field of the model is a key of its own: validated, with the model's default, read together by load()."""
    cart = session.typed(Cart)
    assert await cart.load() == Cart()
    assert await cart.get("stock") == 10
    await cart.set("lines", [{"sku": "a"}])
    await cart.set("note", "  gift ")
    assert await cart.update("lines", lambda lines: [*lines, Line(sku="b")]) == [Line(sku="a"), Line(sku="b")]
    assert await cart.increment("count") == 1
    assert await cart.increment("stock", -1) == 9
    assert await cart.load() == Cart(lines=[Line(sku="a"), Line(sku="b")], count=1, stock=9, note="gift")
    assert await cart.all() == {"lines": [Line(sku="a"), Line(sku="b")], "count": 1, "stock": 9, "note": "gift"}
    assert await session.get("count") == 1
    await cart.delete("lines")
    assert await cart.get("lines") == []


async def test_a_shape_refuses(session: Session) -> None:
    """A key that is no field is a KeyError; a value that does not validate is a ValidationError."""
    cart = session.typed(Cart)
    for operation in (cart.get("typo"), cart.set("typo", 1), cart.increment("typo"), cart.delete("typo")):
        with pytest.raises(KeyError, match="Cart has no field 'typo'"):
            await operation
    for key, value in (("count", "many"), ("discount", Decimal(2)), ("lines", [{"quantity": 1}])):
        with pytest.raises(ValueError, match="validation error"):
            await cart.set(key, value)
    with pytest.raises(ValueError, match="validation error"):
        await cart.update("discount", lambda value: value - 1)
    assert await cart.all() == {}


async def test_counting_in_a_shape(session: Session) -> None:
    """`increment` starts at the field's default and stops where the model says."""
    tally = session.typed(Tally)
    assert [await tally.increment("free") for _ in range(3)] == [1, 2, 3]
    assert [await tally.increment("started") for _ in range(3)] == [6, 7, 8]
    for key in ("checked", "limited"):
        assert [await tally.increment(key) for _ in range(2)] == [1, 2]
        with pytest.raises(ValueError, match="validation error"):
            await tally.increment(key)
    assert await tally.load() == Tally(free=3, started=8, checked=2, limited=2)


async def test_counting_what_an_older_shape_left(session: Session) -> None:
    """A value that is no integer any more is absent for `increment` as it is for `get`; 64 bits hold for all."""
    tally = session.typed(Tally)
    for key, first in (("free", 1), ("checked", 1), ("started", 6)):
        await session.set(key, "many")
        assert await tally.increment(key) == first
        assert await tally.increment(key) == first + 1
    for key in ("free", "started"):
        with pytest.raises(SessionValueError):
            await tally.increment(key, 2**63)
    assert await tally.load() == Tally(free=2, checked=2, started=7)


async def test_types_that_the_shape_knows(session: Session) -> None:
    """A field may be of any type that Pydantic can write and read."""
    settings = session.typed(Settings)
    await settings.set("home", "https://example.com/")
    await settings.update("address", lambda address: address + 1)
    assert await settings.get("address") == IPv4Address("127.0.0.2")
    assert await settings.load() == Settings(home="https://example.com/", address="127.0.0.2")
    await settings.save(Settings(address="10.0.0.1"))
    assert await settings.get("address") == IPv4Address("10.0.0.1")
    with pytest.raises(TypeError, match="come back equal"):
        await settings.set("secret", "x")


async def test_validators_that_do_not_take_what_they_gave(session: Session) -> None:
    """A value that could not be read again is refused at the write; one that is there already is absent."""
    for shape, key, value in ((Hashed, "password", "x"), (Split, "tags", "a,b"), (Split, "numbers", "[1]")):
        typed = session.typed(shape)
        for write in (
            typed.set(key, value),
            typed.update(key, lambda _, new=value: new),
            typed.save(shape(**{key: value})),
        ):
            with pytest.raises(TypeError, match="come back equal"):
                await write
    await session.set("tags", ["a"])
    assert await session.typed(Split).get("tags") == []


async def test_save_writes_the_fields_only(session: Session) -> None:
    """What a model takes beyond its fields is no key: it may be a client's."""
    await session.typed(Settings).save(Settings(address="10.0.0.1", more=1, **{"~seen": 1}))
    assert list(await session.all()) == ["address"]


async def test_save(session: Session) -> None:
    """`save` writes the fields that were given, in one step, and leaves the others."""
    cart = session.typed(Cart)
    await cart.set("count", 3)
    await cart.save(Cart(note="x", discount=Decimal("0.5")))
    assert await cart.load() == Cart(note="x", discount=Decimal("0.5"), count=3)
    with pytest.raises(TypeError, match="save"):
        await cart.save(Line(sku="a"))  # type: ignore[arg-type]


async def test_keys_outside_the_shape_are_not_its_business(session: Session) -> None:
    """Other parts of an application may keep other keys in the same session."""
    await session.set("other", 1)
    cart = session.typed(Cart)
    await cart.set("count", 2)
    assert await cart.all() == {"count": 2}
    assert await session.all() == {"other": 1, "count": 2}


async def test_a_shape_that_changed(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    """Values of an older shape that do not fit the new one are absent, with a log line."""
    await session.typed(Cart).save(Cart(lines=[Line(sku="a")], count=2))
    later = session.typed(CartOfTomorrow)
    with caplog.at_level(logging.WARNING, "fastapi_poto.sessions"):
        assert await later.load() == CartOfTomorrow(lines=7, count=2)
    assert len(caplog.records) == 1


async def test_concurrent_writes_to_a_shape(sessions: SessionManager, user_id: str) -> None:
    """Fields are keys: writes to different ones do not undo each other, and counting loses nothing."""

    async def one(number: int) -> None:
        cart = sessions.handle(call_of(user_id)).typed(Cart)
        await cart.increment("stock", -1)
        await cart.update("lines", lambda lines: [*lines, Line(sku=str(number))])
        await cart.increment("count")

    await asyncio.gather(*(one(number) for number in range(10)))
    found = await sessions.handle(call_of(user_id)).typed(Cart).load()
    assert (found.stock, found.count, len(found.lines)) == (0, 10, 10)


async def test_what_cannot_be_a_shape(session: Session) -> None:
    """A field without a default, or no model at all, is an error that names it."""
    with pytest.raises(ConfigurationError, match="sku needs a default"):
        session.typed(NeedsMore)
    with pytest.raises(ConfigurationError, match="Pydantic model"):
        session.typed(dict)
    with pytest.raises(TypeError, match="no shape"):
        await session.load()
