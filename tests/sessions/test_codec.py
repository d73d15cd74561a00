"""What comes out of a session equals what went in."""

import json
import math
from collections import OrderedDict, defaultdict, deque
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fastapi_poto.sessions.codec import UndecodableError, decode, encode
from tests.sessions import models
from tests.sessions.models import (
    Aliased,
    Cart,
    Colour,
    Counted,
    Gift,
    Hashed,
    Hidden,
    Home,
    Kind,
    Line,
    Link,
    Measured,
    MountPoint,
    Numbers,
    Order,
    Page,
    Password,
    Point,
    Remembering,
    Shelf,
    Size,
    Split,
    Unequal,
)

# On a machine that is busy with other things, slowness says nothing.
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

BERLIN = ZoneInfo("Europe/Berlin")
offsets = st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.datetimes()
    | st.datetimes(timezones=st.timezones() | st.just(UTC) | offsets)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.sampled_from([*Colour, *Size, *Kind])
)
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6)
values = st.recursive(
    scalars | st.sets(hashable, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.just("~"), inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same type at every level: 1, 1.0, True and Decimal(1) are not the same."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one.items(), other.items(), strict=True))
    if isinstance(one, datetime | time):
        return bool(one == other) and one.fold == other.fold and one.utcoffset() == other.utcoffset()
    return bool(one == other)


@patiently
@given(values)
def test_round_trip(value: Any) -> None:
    """Every value of the types in the docs, nested as you like, comes back equal and of the same types."""
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize(
    "value",
    [
        Line(sku="a"),
        Gift(sku="a", quantity=2, message="hi"),
        Order(lines=[Line(sku="a"), Gift(sku="b")], total=Decimal("1.10"), at=datetime(2026, 1, 1, tzinfo=BERLIN)),
        Aliased(outer=1, more=[1, (2,)]),
        Page[Line](items=[Line(sku="x")]),
        Shelf(page=Page[Line](items=[Line(sku="x")]), pages=Page[Page[int]](items=[Page[int](items=[1])])),
        Home("here", datetime(2026, 1, 1, tzinfo=UTC)),
        Numbers([1, 2]),
        Link(url="https://example.com/a?b=c", address="127.0.0.1"),
        MountPoint("here", datetime(2026, 1, 1, tzinfo=UTC)),
        {"orders": [Order(), (Line(sku="é"),)], Colour.BLUE: {Size.SMALL, Kind.BOOK}},
        float("inf"),
        -0.0,
        2**200,
        Decimal("Infinity"),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN),
        time(1, 2, tzinfo=UTC),
        time(1, 2, tzinfo=timezone(timedelta(microseconds=1))),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(milliseconds=-500))),
        [{"~": "datetime", "v": "not one"}],
        "\ud800 lone surrogate",
        UUID(int=0),
        bytearray(b"x"),
        Point(1, 2),
        OrderedDict(a=1),
        defaultdict(list, a=[1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_models_and_edges(value: Any) -> None:
    """Models, dataclasses and enums come back as themselves; subclasses of plain types as what they equal."""
    back = decode(encode(value))
    assert back == value
    if not isinstance(value, bytearray | Point | OrderedDict | defaultdict):
        assert type(back) is type(value)


def test_zones_are_kept_by_name() -> None:
    """A datetime comes back in its zone, so that adding a day gives the same wall time."""
    back = decode(encode(datetime(2026, 3, 28, 12, tzinfo=BERLIN)))
    assert back.tzinfo is BERLIN
    assert back + timedelta(days=1) == datetime(2026, 3, 29, 12, tzinfo=BERLIN)


def test_what_was_not_set_stays_unset() -> None:
    """`model_dump(exclude_unset=True)` gives the same before and after."""
    order = Order(total=Decimal(3))
    assert decode(encode(order)).model_dump(exclude_unset=True) == {"total": Decimal(3)}


def test_not_a_number() -> None:
    """NaN comes back as NaN."""
    assert math.isnan(decode(encode(float("nan"))))
    assert decode(encode(Decimal("NaN"))).is_nan()


def test_integers_are_their_digits() -> None:
    """Stores count with them as they are."""
    assert [encode(number) for number in (0, -5, 2**70)] == [b"0", b"-5", b"%d" % 2**70]
    assert encode(True) == b"true"


class Local:
    pass


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Local(),
        Hidden(address="10.0.0.1"),
        deque([1]),
        len,
        Local,
        1j,
        [object()],
        {"a": Password(value="secret")},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept(value: Any) -> None:
    """It is a TypeError at the write, not a surprise at the read."""
    with pytest.raises(TypeError, match="session"):
        encode(value)


def test_private_state_is_not_lost_silently() -> None:
    """A model whose private attributes differ would not come back equal, and is refused."""
    plain, changed = Remembering(name="a"), Remembering(name="a")
    changed._seen = 5
    assert decode(encode(plain)) == plain
    with pytest.raises(TypeError, match="come back equal"):
        encode(changed)


@pytest.mark.parametrize(
    "value",
    [
        Hashed(password="x"),
        Split(tags="a,b"),
        [Split(numbers="[1]")],
        {"a": (Counted(1),)},
        Order.model_construct(total="much"),
    ],
    ids=str,
)
def test_validators_that_do_not_take_what_they_gave(value: Any) -> None:
    """What reading would change or refuse is refused at the write."""
    with pytest.raises(TypeError, match="come back equal"):
        encode(value)


def test_what_does_not_equal_itself() -> None:
    """A model with NaN in it and a dataclass without equality are kept."""
    assert math.isnan(decode(encode(Measured(value=math.nan))).value)
    assert decode(encode(Unequal(3))).number == 3


def test_generic_models() -> None:
    """Those with arguments are found by theirs, wherever they were first written; arguments are plain classes."""
    shelf = Shelf(page=Page[Line](items=[Line(sku="x")]))
    assert json.loads(encode(shelf))["v"]["page"]["type"] == [
        "tests.sessions.models:Page",
        "tests.sessions.models:Line",
    ]
    assert decode(encode(shelf)).page.model_fields_set == {"items"}
    for page in (Page[list[int]](items=[[1]]), Page[int | None](items=[1])):
        with pytest.raises(TypeError, match="top of a module"):
            encode(page)
    for forged in (
        ["os:environ", "builtins:int"],
        ["builtins:list", "builtins:int"],
        ["tests.sessions.models:Line"],
        [],
    ):
        with pytest.raises(UndecodableError):
            decode(json.dumps({"~": "model", "type": forged, "v": {}}).encode())


def test_classes_inside_functions() -> None:
    """A class that a reader cannot find is refused at the write."""

    class Inner(Line):
        pass

    with pytest.raises(TypeError, match="top of a module"):
        encode(Inner(sku="a"))


def test_endless_values() -> None:
    """A value that contains itself is a TypeError."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="contains itself"):
        encode(endless)


@patiently
@given(st.binary() | st.text().map(str.encode))
def test_any_bytes(data: bytes) -> None:
    """Whatever a store gives back decodes or is refused; nothing else is raised."""
    with suppress(UndecodableError):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaN",
        b"Infinity",
        b"01",
        b"\x80\x04K\x01.",  # a pickle
        b'{"~": null}',
        b'{"~": ["set"]}',
        b'{"~": "wormhole", "v": 1}',
        b'{"~": "set", "v": [[]]}',
        b'{"~": "set"}',
        b'{"~": "datetime", "v": "yesterday"}',
        b'{"~": "datetime", "v": "2026-01-01", "zone": "../../etc/passwd"}',
        b'{"~": "bytes", "v": "***"}',
        b'{"~": "model", "type": "os:system", "v": {}}',
        b'{"~": "model", "type": "subprocess:Popen", "v": {"args": "true"}}',
        b'{"~": "dataclass", "type": "subprocess:Popen", "v": {"args": "true"}}',
        b'{"~": "enum", "type": "builtins:eval", "v": "1"}',
        b'{"~": "model", "type": "tests.sessions.models:Gone", "v": {}}',
        b'{"~": "model", "type": "tests.sessions.models:Line", "v": {"sku": 5}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda data: data[:40].decode("latin-1"),
)
def test_bytes_that_do_not_parse(data: bytes) -> None:
    """Foreign formats, forged types and nesting without end are refused; no code is run or imported."""
    with pytest.raises(UndecodableError):
        decode(data)


def test_reading_imports_nothing() -> None:
    """A class in a module that the application has not loaded stays unloaded."""
    import sys

    name = "this"  # prints a poem when it is imported
    assert name not in sys.modules
    with pytest.raises(UndecodableError):
        decode(json.dumps({"~": "model", "type": f"{name}:Anything", "v": {}}).encode())
    assert name not in sys.modules


def test_a_renamed_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a deployment that moved a model, its old values do not decode."""
    data = encode(Cart())
    monkeypatch.delattr(models, "Cart")
    with pytest.raises(UndecodableError):
        decode(data)


def test_random_ids_are_cheap_to_read() -> None:
    """A UUID is 32 digits, not a list of fields."""
    assert len(encode(uuid4())) < 60


def test_dates_are_not_datetimes() -> None:
    """A date inside a datetime field's place stays a date."""
    assert type(decode(encode(date(2026, 1, 1)))) is date


class Lunar(tzinfo):
    """A zone of another library: with rules of its own, and no name that `zoneinfo` knows."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        return timedelta(hours=1 if at is None or at.day < 15 else 2)

    def dst(self, at: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, at: datetime | None) -> str:
        return "lunar"


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 3, 29, 12, tzinfo=Lunar()),
        time(12, tzinfo=Lunar()),
        {"at": [datetime(2026, 3, 29, 12, tzinfo=Lunar())]},
    ],
)
def test_zones_that_would_become_offsets(value: Any) -> None:
    """A zone whose rules would be lost is refused at the write, with the zones that are kept."""
    with pytest.raises(TypeError, match="zoneinfo"):
        encode(value)


def test_offsets_that_pydantic_made() -> None:
    """The offset of a time that Pydantic read is an offset."""
    value = TypeAdapter(datetime).validate_python("2026-03-29T12:00:00+02:00")
    assert decode(encode(value)) == value
