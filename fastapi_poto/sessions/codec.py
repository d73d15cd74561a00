"""Session values as JSON that gives back what was put in, rich types included.

Plain JSON values are plain JSON; an integer is its ASCII digits, so that stores can count with it. Everything
else is an object with the member `~` that names its type. Models, dataclasses and enums carry the name of
their class, which is looked up among the modules that are loaded already: reading never imports or runs
anything that the application has not.
"""

import base64
import dataclasses
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from functools import partial
from math import isfinite
from typing import Any, TypeGuard
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, TzInfo

from .._compat.pydantic import generic_arguments, has_private_values

_TAG = "~"


class UndecodableError(ValueError):
    """Bytes that are no value of this codec, or name a class that is not there any more."""


def encode(value: Any) -> bytes:
    """The value's bytes. Raises `TypeError` for what would not come back equal."""
    kind = type(value)
    if kind is int:
        return b"%d" % value
    if kind is bool or value is None:
        return b"null" if value is None else b"true" if value else b"false"
    if kind is str:
        return _json(value)
    packer = _Packer()
    return _kept(packer, packer.pack, value, decode)


def encode_field(shape: type[BaseModel], name: str, model: BaseModel) -> bytes:
    """The bytes of a model's field, for `decode_field`: also of types that only its model can write and read."""
    packer = _Packer()
    packer.builds = True
    return _kept(packer, partial(packer.member, model, name), getattr(model, name), partial(decode_field, shape, name))


def decode(data: bytes) -> Any:
    """The value whose bytes these are. Raises `UndecodableError` for any others, and nothing else."""
    if data.isdigit() and len(data) < 20 and (data[0] != 48 or len(data) == 1):
        return int(data)
    try:
        return _unpack(_decoder.decode(data.decode("utf-8", "surrogatepass")))
    except UndecodableError:
        raise
    except Exception as error:  # a model's validators may raise anything
        raise UndecodableError(f"{type(error).__name__} while decoding") from error


def _refuse(constant: str) -> Any:
    raise UndecodableError(f"{constant} is not JSON")


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_decoder = json.JSONDecoder(parse_constant=_refuse)


def _json(packed: Any) -> bytes:
    return _encoder.encode(packed).encode("utf-8", "surrogatepass")


def decode_field(shape: type[BaseModel], name: str, data: bytes) -> Any:
    """The value of the field `name` of `shape` whose bytes these are. Raises `UndecodableError` for any others."""
    value = decode(data)
    try:
        return getattr(shape.model_validate({name: value}, by_alias=False, by_name=True), name)
    except Exception as error:  # validators may raise anything
        raise UndecodableError(f"not valid for {shape.__name__}") from error


def _kept(packer: "_Packer", pack: Callable[[Any], Any], value: Any, read: Callable[[bytes], Any]) -> bytes:
    """The value's bytes, once it is known that they will be read as what it is."""
    kind = type(value).__qualname__
    try:
        packed = pack(value)
        data = _json(packed)
    except RecursionError:
        raise TypeError(f"{kind} is nested too deeply, or contains itself") from None
    if packer.builds or packer.hides:
        try:
            back = read(data)
        except UndecodableError:
            same = False
        else:
            # What has NaN in it, or is a dataclass without equality, does not equal what was made of the same.
            same = back == value or (not packer.hides and _Packer().pack(back) == packed)
        if not same:
            raise TypeError(
                f"{kind} would not come back equal from a session: it has state besides its fields, "
                "or validators that do not take what they gave"
            )
    return data


class _Packer:
    """Turns a value into JSON types.

    `builds`: there are classes whose validators and constructors run again when it is read. `hides`: there is state
    that is not in the JSON, or that was left to Pydantic.
    """

    def __init__(self) -> None:
        self.builds = False
        self.hides = False

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if kind is str or kind is int or kind is bool or value is None:
            return value
        pack = _PACKERS.get(kind)
        if pack is not None:
            return pack(self, value)
        for base, pack in _BASES:
            if isinstance(value, base):
                return pack(self, value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value)
        raise TypeError(f"A session cannot keep a {kind.__module__}.{kind.__qualname__}")

    def _float(self, value: float) -> Any:
        return value if isfinite(value) else {_TAG: "float", "v": repr(value)}

    def _list(self, value: list[Any]) -> Any:
        return [self.pack(item) for item in value]

    def _items(self, value: Any) -> Any:
        return {_TAG: _ITEM_NAMES[type(value)], "v": [self.pack(item) for item in value]}

    def _dict(self, value: dict[Any, Any]) -> Any:
        if _TAG not in value and all(type(key) is str for key in value):
            return {key: self.pack(item) for key, item in value.items()}
        return {_TAG: "dict", "v": [[self.pack(key), self.pack(item)] for key, item in value.items()]}

    def _moment(self, value: datetime | time) -> Any:
        packed: dict[str, Any] = {_TAG: type(value).__name__, "v": value.replace(tzinfo=None).isoformat()}
        if _has_name(value.tzinfo):
            packed["zone"] = value.tzinfo.key
        elif (offset := value.utcoffset()) is not None:  # not in the text: fromisoformat reads "+00:00:00.5" as UTC
            packed["offset"] = offset.total_seconds()
        if value.fold:
            packed["fold"] = 1
        return packed

    def _timedelta(self, value: timedelta) -> Any:
        return {_TAG: "timedelta", "v": [value.days, value.seconds, value.microseconds]}

    def _bytes(self, value: bytes) -> Any:
        return {_TAG: "bytes", "v": base64.b64encode(value).decode("ascii")}

    def _decimal(self, value: Decimal) -> Any:
        return {_TAG: "decimal", "v": str(value)}

    def _uuid(self, value: UUID) -> Any:
        return {_TAG: "uuid", "v": value.hex}

    def _enum(self, value: Enum) -> Any:
        return {_TAG: "enum", "type": _class_name(type(value)), "v": self.pack(value.value)}

    def _dataclass(self, value: Any) -> Any:
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        self.builds = True
        self.hides = self.hides or any(not field.init for field in dataclasses.fields(value))
        return {
            _TAG: "dataclass",
            "type": _class_name(type(value)),
            "v": {name: self.pack(item) for name, item in fields.items()},
        }

    def _model(self, value: BaseModel) -> Any:
        self.builds = True
        if has_private_values(value):
            self.hides = True
        members = {name: self.member(value, name, item) for name, item in value.__dict__.items()}
        members |= {name: self.pack(item) for name, item in (value.model_extra or {}).items()}
        packed: dict[str, Any] = {_TAG: "model", "type": _class_name(type(value)), "v": members}
        unset = [name for name in type(value).model_fields if name not in value.model_fields_set]
        if unset:
            packed["unset"] = unset
        return packed

    def member(self, model: BaseModel, name: str, item: Any) -> Any:
        if name not in type(model).model_fields:  # a cached property
            self.hides = True
            return None
        try:
            return self.pack(item)
        except TypeError:
            # Not a type of ours, but Pydantic may know how to write and read it: AnyUrl, IPv4Address, Path.
            self.hides = True
            with suppress(PydanticSerializationError, KeyError):
                return self.pack(model.model_dump(mode="json", include={name}, by_alias=False)[name])
            raise


def _has_name(zone: tzinfo | None) -> TypeGuard[ZoneInfo]:
    """Whether a zone is kept by its name; else by its offset. Raises `TypeError` for one that would lose its rules."""
    if zone is None or isinstance(zone, timezone | TzInfo):
        return False
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        return True
    kind = f"{type(zone).__module__}.{type(zone).__qualname__}"
    raise TypeError(f"A session cannot keep a zone of {kind}: use zoneinfo.ZoneInfo, with a key, or datetime.timezone")


def _unpack(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_unpack(item) for item in value]
    if kind is not dict:
        return value
    tag = value.get(_TAG)
    if tag is None:
        if _TAG in value:
            raise UndecodableError("a null type")
        return {key: _unpack(item) for key, item in value.items()}
    unpack = _UNPACKERS.get(tag) if type(tag) is str else None
    if unpack is None:
        raise UndecodableError("an unknown type")
    return unpack(value)


_ClassName = str | list["_ClassName"]
"""Of a generic model with arguments, a list: its own name and theirs."""


def _class_name(cls: Any) -> _ClassName:
    origin, arguments = generic_arguments(cls)
    if arguments:
        return [_class_name(origin), *(_class_name(argument) for argument in arguments)]
    name = f"{cls.__module__}:{getattr(cls, '__qualname__', cls)}"
    if _find_class(name) is not cls:
        raise TypeError(f"A session cannot keep a {cls}: define the class at the top of a module")
    return name


def _find_class(name: _ClassName) -> Any:
    if isinstance(name, list):
        generic, *arguments = map(_find_class, name)
        if not (isinstance(generic, type) and issubclass(generic, BaseModel)):
            raise UndecodableError(f"{name[0]!r} is no model")
        return generic[tuple(arguments)]  # type: ignore[index] # only generic models were written so
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _class_of(packed: dict[str, Any], base: type) -> Any:
    cls = _find_class(packed["type"])
    if not isinstance(cls, type) or not issubclass(cls, base):
        raise UndecodableError(f"no {base.__name__} {packed['type']!r} in the loaded modules")
    return cls


def _unpack_moment(kind: type[datetime | time], packed: dict[str, Any]) -> datetime | time:
    value = kind.fromisoformat(packed["v"])
    if "zone" in packed:
        value = value.replace(tzinfo=ZoneInfo(packed["zone"]))
    elif "offset" in packed:
        value = value.replace(tzinfo=timezone(timedelta(seconds=packed["offset"])))
    return value.replace(fold=1) if "fold" in packed else value


def _unpack_float(packed: dict[str, Any]) -> float:
    return {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}[packed["v"]]


def _unpack_enum(packed: dict[str, Any]) -> Any:
    return _class_of(packed, Enum)(_unpack(packed["v"]))


def _unpack_dataclass(packed: dict[str, Any]) -> Any:
    cls: Any = _class_of(packed, object)
    if not hasattr(cls, "__dataclass_fields__"):
        raise UndecodableError("not a dataclass")
    return cls(**{name: _unpack(item) for name, item in packed["v"].items()})


def _unpack_model(packed: dict[str, Any]) -> BaseModel:
    cls = _class_of(packed, BaseModel)
    members = {name: _unpack(item) for name, item in packed["v"].items()}
    content = members["root"] if cls.__pydantic_root_model__ else members
    model: BaseModel = cls.model_validate(content, by_alias=False, by_name=True)
    for name in packed.get("unset", ()):
        model.model_fields_set.discard(name)
    return model


_ITEM_NAMES: dict[type, str] = {set: "set", frozenset: "frozenset", tuple: "tuple"}

_PACKERS: dict[type, Callable[[_Packer, Any], Any]] = {
    float: _Packer._float,
    list: _Packer._list,
    dict: _Packer._dict,
    set: _Packer._items,
    frozenset: _Packer._items,
    tuple: _Packer._items,
    bytes: _Packer._bytes,
    datetime: _Packer._moment,
    date: lambda _, value: {_TAG: "date", "v": value.isoformat()},
    time: _Packer._moment,
    timedelta: _Packer._timedelta,
    Decimal: _Packer._decimal,
    UUID: _Packer._uuid,
}

# Subclasses come back as what they equal: a NamedTuple as a tuple, an OrderedDict as a dict.
_BASES: list[tuple[type, Callable[[_Packer, Any], Any]]] = [
    (BaseModel, _Packer._model),
    (Enum, _Packer._enum),
    (str, lambda _, value: str.__str__(value)),
    (int, lambda _, value: int(value)),
    (float, lambda self, value: self.pack(float(value))),
    (dict, lambda self, value: self.pack(dict(value))),
    (tuple, lambda self, value: self.pack(tuple(value))),
    (list, lambda self, value: self.pack(list(value))),
    (bytearray, lambda self, value: self.pack(bytes(value))),
]

_UNPACKERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "float": _unpack_float,
    "dict": lambda packed: {_unpack(key): _unpack(item) for key, item in packed["v"]},
    "set": lambda packed: {_unpack(item) for item in packed["v"]},
    "frozenset": lambda packed: frozenset(_unpack(item) for item in packed["v"]),
    "tuple": lambda packed: tuple(_unpack(item) for item in packed["v"]),
    "bytes": lambda packed: base64.b64decode(packed["v"], validate=True),
    "datetime": partial(_unpack_moment, datetime),
    "date": lambda packed: date.fromisoformat(packed["v"]),
    "time": partial(_unpack_moment, time),
    "timedelta": lambda packed: timedelta(*packed["v"]),
    "decimal": lambda packed: Decimal(packed["v"]),
    "uuid": lambda packed: UUID(packed["v"]),
    "enum": _unpack_enum,
    "dataclass": _unpack_dataclass,
    "model": _unpack_model,
}
