"""The whole document: which parts of it are ours, and in which order they are refined."""

import copy
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, cast

from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute

from ..errors import PotoError
from ..module import PotoModule
from ..operations import Operation
from .docstrings import doc_of_class
from .errors import ANY_OTHER, ErrorComponents, errors_of
from .operation_objects import OperationObject, OperationRefiner, errors_as_json
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
from .security import require_caller, show_credentials

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ours:
    """One of our operations in a document."""

    shown: OperationObject
    route: Any
    operation: Operation | None
    """None for a sign-in route."""


def is_poto_route(context: RouteContext) -> bool:
    """Whether a route is a module's method or a sign-in route."""
    return getattr(context.original_route, "poto", None) is not None


def has_poto_routes(routes: Sequence[BaseRoute]) -> bool:
    """Whether an application serves any module."""
    return any(map(is_poto_route, iter_route_contexts(routes)))


def poto_operations(document: Document, routes: Sequence[BaseRoute]) -> list[Ours]:
    """Where the document has our routes."""
    found: dict[tuple[str, str], Ours | None] = {}
    for context in iter_route_contexts(routes):
        route = context.original_route
        path = context.path_format
        if path is None or not isinstance(route, APIRoute) or not context.include_in_schema:
            continue
        for method in context.methods or ():
            shown = document.get("paths", {}).get(path, {}).get(method.lower())
            if shown is None:
                continue
            # Of two routes with one path FastAPI documents the later.
            found[path, method] = Ours(shown, route, cast("Any", route).poto_spec) if is_poto_route(context) else None
    return [one for one in found.values() if one is not None]


def refine(document: Document, routes: Sequence[BaseRoute], *, alone: Document | None = None) -> Document:
    """Make the wire's rules hold for our operations of `document`, in place, and give it back.

    Other operations, and the components that they use, stay as they are. A refined document stays as it is.
    `alone` is what the other operations are without ours beside them: FastAPI names the components of all
    operations together, so that a model of ours can make it rename one of theirs.
    """
    ours = poto_operations(document, routes)
    if not ours or _is_refined(ours):
        return document
    document.setdefault("components", {}).setdefault("schemas", {})
    workshop = _Workshop(document, ours, alone)
    workshop.refine_schemas()
    refiner = OperationRefiner(workshop.own, workshop.add, ErrorComponents(workshop.add, _documented_errors(ours)))
    for one in ours:
        errors_as_json(one.shown, "200" if one.operation is None else str(one.operation.status_code))
        if one.operation is None:
            refiner.sign_in(one.shown, one.route, has_cookies=one.route.poto.cookies is not None)
        else:
            if not one.operation.guard.public:
                require_caller(document, one.shown, one.route.poto.authenticator.security)
            refiner.method(one.shown, one.operation, has_cookies=one.route.poto.cookies is not None)
    workshop.give_back()
    _describe_tags(document, ours)
    _place_sign_in(document, ours)
    show_credentials(document, ours[0].route.poto.authenticator.security)
    return document


def _documented_errors(ours: list[Ours]) -> Iterator[type[PotoError]]:
    for one in ours:
        if one.operation is None:
            yield from getattr(one.route, "poto_errors", ())
        else:
            yield from one.operation.errors
            yield from errors_of(one.operation, has_cookies=one.route.poto.cookies is not None)


def _is_refined(ours: list[Ours]) -> bool:
    return any(one.shown["responses"].get("default", {}).get("description") == ANY_OTHER for one in ours)


class _Workshop:
    """The components that are ours, apart from the others while they are changed."""

    def __init__(self, document: Document, ours: list[Ours], alone: Document | None) -> None:
        self.document = document
        self.operations = [one.shown for one in ours]
        self.ours = ours
        schemas: dict[str, Schema] = document["components"]["schemas"]
        others = self._others()
        mine = reachable(self.operations, schemas)
        self.inputs = reachable(
            [part for one in self.operations for part in (one.get("requestBody"), one.get("parameters"))], schemas
        )
        self.forms = {
            name
            for one in self.operations
            for media_type, content in ((one.get("requestBody") or {}).get("content") or {}).items()
            if "json" not in media_type
            for name in references(content)
        }
        self.own = {name: copy.deepcopy(schemas[name]) for name in mine}
        if alone is None:
            used = reachable([*others.values(), document.get("webhooks")], schemas)
            self.theirs = {name: schema for name, schema in schemas.items() if name in used or name not in mine}
        else:
            self.theirs = alone.get("components", {}).get("schemas", {})
            for path, method in others:
                document["paths"][path][method] = alone["paths"][path][method]
            if "webhooks" in alone:
                document["webhooks"] = alone["webhooks"]

    def _others(self) -> dict[tuple[str, str], OperationObject]:
        own = {id(shown) for shown in self.operations}
        return {
            (path, method): part
            for path, item in self.document.get("paths", {}).items()
            for method, part in (item.items() if isinstance(item, dict) else ())
            if id(part) not in own
        }

    def refine_schemas(self) -> None:
        titles = {name: schema.get("title") for name, schema in self.own.items()}
        require_discriminators(self.own, [*self.own.values(), *_inline(self.operations)])
        for name, schema in self.own.items():
            integers_as_strings(schema)
            mark_binary(schema, is_form=name in self.forms)
            if name in self.inputs:
                describe_defaults(schema)
            else:
                require_defaults(schema)
            drop_titles(schema)
        changed = self._let_go_of_unchanged()
        self._say_which_numbers_are_texts()
        self._rename(titles, changed)
        for name in sorted(self.own):
            hoist_unions(self.own[name], name, self.add)

    def _say_which_numbers_are_texts(self) -> None:
        for shown in self.operations:
            for schema in _inline([{key: shown.get(key) for key in ("parameters", "requestBody")}]):
                numbers_as_they_are(schema, comes_out=False)
            for schema in _inline([shown["responses"]]):
                numbers_as_they_are(schema, comes_out=True)
        for name, schema in self.own.items():
            numbers_as_they_are(schema, comes_out=name not in self.inputs)

    def _let_go_of_unchanged(self) -> set[str]:
        """Of the components that others use too, keep those that the wire's rules make different."""
        shared = self.own.keys() & self.theirs.keys()
        changed = {name for name in shared if not same_for_clients(self.own[name], self.theirs[name])}
        size = -1
        while size != len(changed):
            size = len(changed)
            changed |= {name for name in shared if changed & set(references(self.own[name]))}
        for name in shared - changed:
            del self.own[name]
        return changed

    def _rename(self, titles: Mapping[str, Any], changed: set[str]) -> None:
        wanted = {name: ("Poto" if name in changed else "") + _clean(name, titles[name]) for name in self.own}
        wanted |= self._form_names()
        uses = Counter(wanted.values())
        names = {
            name: new for name, new in wanted.items()
            if new != name and uses[new] == 1 and new not in self.theirs and (new not in self.own or name in changed)
        }  # fmt: skip
        self.own = {names.get(name, name): renamed(schema, names) for name, schema in self.own.items()}
        for shown in self.operations:
            shown.update(renamed(shown, names))

    def _form_names(self) -> dict[str, str]:
        found = {}
        for one in self.ours:
            if one.operation is not None and one.operation.form:
                for content in one.shown.get("requestBody", {}).get("content", {}).values():
                    for name in references(content.get("schema")):
                        if name.startswith("Body_"):
                            found[name] = f"{camel(one.shown['operationId'])}Request"
        return found

    def add(self, schema: Schema, *names: str) -> str:
        """Add a component under the first of these names that is free, and give the name.

        One that says the same is taken for it; one that says something else is kept.
        """
        for name in chain(names, (f"Poto{names[-1]}{number or ''}" for number in count())):
            there = self.own.get(name)
            if there is None:
                there = self.theirs.get(name)
            if there is None:
                self.own[name] = copy.deepcopy(schema)
                return name
            if _without_words(there) == _without_words(schema):
                return name
        raise AssertionError  # pragma: no cover - there is no end of names

    def give_back(self) -> None:
        needed = reachable(self.operations, {**self.theirs, **self.own})
        schemas = {**self.theirs, **{name: schema for name, schema in self.own.items() if name in needed}}
        self.document["components"]["schemas"] = {name: schemas[name] for name in sorted(schemas)}


def _without_words(schema: Schema) -> Any:
    return {key: value for key, value in schema.items() if key != "description"}


def _inline(operations: list[OperationObject]) -> Iterator[Schema]:
    """The schemas that stand in operations, not in components."""

    def find(node: Any) -> Iterator[Schema]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "schema" and isinstance(value, dict):
                    yield value
                else:
                    yield from find(value)
        elif isinstance(node, list):
            for item in node:
                yield from find(item)

    for shown in operations:
        yield from find(shown)


def _clean(name: str, title: Any) -> str:
    """A component's name as an identifier: `Page_Line_` is `PageLine`, `Line-Input` is `LineInput`."""
    stem, dash, mode = name.rpartition("-")
    if not dash:
        stem = name
    if stem.endswith("_") and isinstance(title, str) and re.sub(r"[^A-Za-z0-9.\-_]", "_", title) == stem:
        title = re.sub(r"FieldInfo\([^()]*\)|\b(Annotated|Union|Optional)\b", "", title)
        stem = "".join(part[:1].upper() + part[1:] for part in re.findall(r"\w+", title))
    return stem + mode if dash else stem


def _describe_tags(document: Document, ours: list[Ours]) -> None:
    """A module's docstring describes the tag that has its name."""
    tags: list[dict[str, Any]] = document.get("tags", [])
    known = {tag.get("name") for tag in tags}
    for one in ours:
        if one.operation is None:
            name, text = "Auth", "Signing in and out."
        else:
            name, text = one.operation.module_name, doc_of_class(one.operation.cls, PotoModule)
        if name not in known and name in one.shown.get("tags", ()):
            known.add(name)
            tags.append({"name": name, "description": text} if text else {"name": name})
    if tags:
        document["tags"] = tags


def _place_sign_in(document: Document, ours: list[Ours]) -> None:
    """The password flow names the sign-in route where it is mounted."""
    operations = {id(one.shown): one for one in ours}
    for path, item in document["paths"].items():
        for shown in item.values():
            one = operations.get(id(shown))
            if one is None or one.operation is not None or shown.get("operationId") != "Auth_login":
                continue
            scheme = document["components"].get("securitySchemes", {}).get("PotoPassword", {})
            flow = scheme.get("flows", {}).get("password")
            if flow is not None:
                flow["tokenUrl"] = path.removeprefix("/")
