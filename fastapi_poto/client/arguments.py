"""From a method's arguments to a request: the server's binding the other way round."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

from ..operations import Operation, arguments_type
from ..wire import WireType, with_secrets
from .carriers import AS_SENT, carrier_of, default_of, not_carried, texts
from .outgoing import Outgoing


class Arguments:
    """How one method is called. What can be known before a call has been worked out here."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self.signature = inspect.signature(operation.function)
        carriers = {parameter.name: carrier_of(parameter, operation) for parameter in operation.parameters}
        self._carriers = {name: carrier for name, carrier in carriers.items() if carrier is not None}
        self._defaults = {parameter.name: default_of(parameter) for parameter in operation.parameters}
        is_one = operation.carried_in in ("body", "query")
        self._to_json = WireType[Any](arguments_type(operation) if is_one else Any, rewire=with_secrets).to_json
        required = (parameter.name for parameter in operation.parameters if parameter.required)
        self._required = [name for name in required if name in self._carriers]

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outgoing:
        """Raises `TypeError` as Python does, and for what the server fills itself.

        Values are not checked: the server does that, by its version of the class. `ValueError` for what would
        arrive as something else.
        """
        operation = self._operation
        try:
            given = self.signature.bind_partial(None, *args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{operation.where}: {error}") from None
        given = dict(list(given.items())[1:])
        if missing := [name for name in self._required if name not in given]:
            raise TypeError(f"{operation.where} misses {', '.join(map(repr, missing))}")
        outgoing = Outgoing(operation.verb, operation.path)
        for name, value in given.items():
            carrier = self._carriers.get(name)
            if carrier is None:
                raise TypeError(f"{operation.where}: {name!r} is filled by the server; leave it out")
            carrier(outgoing, value)
        if operation.carried_in == "query":
            outgoing.query += self._query(outgoing.members)
        elif operation.carried_in == "body":
            outgoing.set_json(self._to_json(outgoing.members, **AS_SENT))
        return outgoing

    def _query(self, members: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for name, value in json.loads(self._to_json(members, **AS_SENT)).items():
            found = texts(value)
            if not found and members[name] != self._defaults[name]:
                raise not_carried(self._operation, "query", name, members[name], "which is not its default")
            yield from ((name, text) for text in found)
