"""The component schemas of poto routes, apart from those of other routes while the wire's rules change them."""

import copy
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, count
from typing import Any

from .poto_routes import Document, OperationObject, PotoOperation
from .schemas import (
    Schema,
    camel,
    describe_defaults,
    drop_titles,
    hoist_unions,
    integers_as_strings,
    mark_binary,
    numbers_as_they_are,
    reachable,
    references,
    renamed,
    require_defaults,
    require_discriminators,
    same_for_clients,
)


class Components:
    def __init__(self, document: Document, operations: list[PotoOperation], alone: Document | None) -> None:
        """`alone` is the document of the other routes, made without the poto routes beside them."""
        self._document = document
        self._operations = operations
        self._shown = [one.shown for one in operations]
        schemas: dict[str, Schema] = document["components"]["schemas"]
        needed = reachable(self._shown, schemas)
        self.schemas = {name: copy.deepcopy(schemas[name]) for name in needed}
        """Of poto routes, by their names."""
        self._inputs = reachable(
            [part for one in self._shown for part in (one.get("requestBody"), one.get("parameters"))], schemas
        )
        others = self._other_operations()
        if alone is None:
            used = reachable([*others.values(), document.get("webhooks")], schemas)
            self._other = {name: schema for name, schema in schemas.items() if name in used or name not in needed}
        else:
            self._other = alone.get("components", {}).get("schemas", {})
            for path, method in others:
                document["paths"][path][method] = alone["paths"][path][method]
            if "webhooks" in alone:
                document["webhooks"] = alone["webhooks"]

    def _other_operations(self) -> dict[tuple[str, str], OperationObject]:
        own = {id(shown) for shown in self._shown}
        return {
            (path, method): part
            for path, item in self._document.get("paths", {}).items()
            for method, part in (item.items() if isinstance(item, dict) else ())
            if id(part) not in own
        }

    def refine(self) -> None:
        """Make the wire's rules hold for each, and give them names that generators make good types of."""
        titles = {name: schema.get("title") for name, schema in self.schemas.items()}
        forms = {name for shown in self._shown for name in _forms(shown)}
        require_discriminators(self.schemas, [*self.schemas.values(), *_inline(self._shown)])
        for name, schema in self.schemas.items():
            integers_as_strings(schema)
            mark_binary(schema, is_form=name in forms)
            if name in self._inputs:
                describe_defaults(schema)
            else:
                require_defaults(schema)
            drop_titles(schema)
        changed = self._drop_unchanged()
        self._describe_floats()
        self._rename(titles, changed)
        for name in sorted(self.schemas):
            hoist_unions(self.schemas[name], name, self.add)

    def _describe_floats(self) -> None:
        for shown in self._shown:
            for schema in _inline([{key: shown.get(key) for key in ("parameters", "requestBody")}]):
                numbers_as_they_are(schema, comes_out=False)
            for schema in _inline([shown["responses"]]):
                numbers_as_they_are(schema, comes_out=True)
        for name, schema in self.schemas.items():
            numbers_as_they_are(schema, comes_out=name not in self._inputs)

    def _drop_unchanged(self) -> set[str]:
        """Of the components that other routes use too, keep those that the wire's rules make different."""
        shared = self.schemas.keys() & self._other.keys()
        changed = {name for name in shared if not same_for_clients(self.schemas[name], self._other[name])}
        size = -1
        while size != len(changed):
            size = len(changed)
            changed |= {name for name in shared if changed & set(references(self.schemas[name]))}
        for name in shared - changed:
            del self.schemas[name]
        return changed

    def _rename(self, titles: Mapping[str, Any], changed: set[str]) -> None:
        wanted = {name: ("Poto" if name in changed else "") + _clean(name, titles[name]) for name in self.schemas}
        for one in self._operations:
            if one.operation is not None:
                made = f"{camel(one.shown['operationId'])}Request"
                wanted |= {name: made for name in _forms(one.shown) if name.startswith("Body_")}
        uses = Counter(wanted.values())
        names = {
            name: new for name, new in wanted.items()
            if new != name and uses[new] == 1 and new not in self._other
            and (new not in self.schemas or name in changed)
        }  # fmt: skip
        self.schemas = {names.get(name, name): renamed(schema, names) for name, schema in self.schemas.items()}
        for shown in self._shown:
            shown.update(renamed(shown, names))

    def add(self, schema: Schema, *names: str) -> str:
        """Add a component under the first of these names that is free, and give the name.

        One that says the same is taken for it; one that says something else is kept.
        """
        for name in chain(names, (f"Poto{names[-1]}{number or ''}" for number in count())):
            present = self.schemas.get(name, self._other.get(name))
            if present is None:
                self.schemas[name] = copy.deepcopy(schema)
                return name
            if _without_words(present) == _without_words(schema):
                return name
        raise AssertionError  # pragma: no cover - there is no end of names

    def put_back(self) -> None:
        """Write them into the document, beside those of other routes; what nothing needs is left out."""
        needed = reachable(self._shown, {**self._other, **self.schemas})
        schemas = {**self._other, **{name: schema for name, schema in self.schemas.items() if name in needed}}
        self._document["components"]["schemas"] = {name: schemas[name] for name in sorted(schemas)}


def _forms(shown: OperationObject) -> Iterator[str]:
    """The components of an operation's body that is no JSON."""
    for media_type, content in ((shown.get("requestBody") or {}).get("content") or {}).items():
        if "json" not in media_type:
            yield from references(content)


def _without_words(schema: Schema) -> Any:
    return {key: value for key, value in schema.items() if key != "description"}


def _inline(node: Any) -> Iterator[Schema]:
    """The schemas that operations have, not components."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "schema" and isinstance(value, dict):
                yield value
            else:
                yield from _inline(value)
    elif isinstance(node, list):
        for item in node:
            yield from _inline(item)


def _clean(name: str, title: Any) -> str:
    """A component's name as an identifier: `Page_Line_` is `PageLine`, `Line-Input` is `LineInput`."""
    stem, dash, mode = name.rpartition("-")
    if not dash:
        stem = name
    if stem.endswith("_") and isinstance(title, str) and re.sub(r"[^A-Za-z0-9.\-_]", "_", title) == stem:
        title = re.sub(r"FieldInfo\([^()]*\)|\b(Annotated|Union|Optional)\b", "", title)
        stem = "".join(part[:1].upper() + part[1:] for part in re.findall(r"\w+", title))
    return stem + mode if dash else stem
