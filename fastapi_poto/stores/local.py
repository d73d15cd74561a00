"""What stores share that read a field and change it in one place: this process's memory, a file."""

from collections.abc import Callable, Mapping
from typing import Any, Unpack

from .base import Terms, check_integer, parse_integer

Changes = Mapping[str, bytes | None]
Plan = Callable[[Callable[[str], bytes | None]], tuple[Any, Changes | None]]
"""From a record's fields, one by one, to a result and what changes; None: nothing, and no record is made."""


class LocalStore:
    """`write`, `add` and `swap` of a `Store`, by one operation."""

    async def _change(self, record: str, plan: Plan, terms: Terms) -> Any:
        """Carry out a plan, and give its result; None if there is no such record."""
        raise NotImplementedError

    async def write(self, record: str, changes: Changes, **terms: Unpack[Terms]) -> bool:
        return await self._change(record, lambda _: (True, changes), terms) is not None

    async def add(self, record: str, field: str, by: int, **terms: Unpack[Terms]) -> int | None:
        check_integer(by)

        def plan(value: Callable[[str], bytes | None]) -> tuple[int, Changes]:
            old = value(field)
            total = check_integer((0 if old is None else parse_integer(old)) + by)
            return total, {field: b"%d" % total}

        total: int | None = await self._change(record, plan, terms)
        return total

    async def swap(
        self, record: str, field: str, old: bytes | None, new: bytes | None, **terms: Unpack[Terms]
    ) -> bool | None:
        done: bool | None = await self._change(
            record, lambda value: (True, {field: new}) if value(field) == old else (False, None), terms
        )
        return done
