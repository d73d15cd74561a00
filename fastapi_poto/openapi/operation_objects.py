"""One operation of the document, as the wire's rules want it."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, cast

from ..errors import PotoError, Unavailable
from ..operations import Operation, is_upload, is_value
from .docstrings import Docstring, parse_docstring
from .errors import ErrorComponents, errors_of, reasons_of
from .headers import COOKIE_MODE, LAST_EVENT_ID, add_headers, headers_of, stream_words
from .poto_routes import OperationObject
from .route_arguments import EventStreamBody
from .schemas import (
    NULL,
    Add,
    Schema,
    camel,
    drop_titles,
    hoist_unions,
    integers_as_strings,
    is_union,
    mark_binary,
    named,
    reachable,
    ref,
    renamed,
    say_default,
    union_names,
    walk,
    without_null,
)


class OperationRefiner:
    """Refines the operations of one document. `schemas` are the components of poto routes."""

    def __init__(self, schemas: dict[str, Schema], add: Add, errors: ErrorComponents) -> None:
        self.schemas = schemas
        self.add = add
        self.errors = errors

    def method(self, shown: OperationObject, operation: Operation, *, has_cookies: bool) -> None:
        """A module's method."""
        doc = parse_docstring(operation.doc)
        self._texts(shown, operation, doc)
        self._parameters(shown, doc)
        order = [parameter.name for parameter in operation.parameters]
        shown.get("parameters", []).sort(key=lambda one: order.index(one["name"]) if one["name"] in order else -1)
        self._body(shown, operation, doc)
        automatic = errors_of(operation, has_cookies=has_cookies)
        self._result(shown, operation, doc, [*operation.errors, *automatic])
        self.errors.add_responses(shown, operation.errors, automatic, reasons=reasons_of(operation))
        add_headers(shown, headers_of(operation, has_cookies=has_cookies))
        _in_order(shown)

    def sign_in(self, shown: OperationObject, route: Any, *, has_cookies: bool) -> None:
        """A sign-in route."""
        if shown.get("description") == shown.get("summary"):
            shown.pop("description", None)
        self._parameters(shown, Docstring())
        self._body(shown, None, Docstring())
        automatic = [Unavailable] if "503" in shown["responses"] else []
        response = shown["responses"].get("200", {})
        for media_type, content, schema in _schemas(response):
            drop_titles(schema)
            if media_type == EventStreamBody.media_type:
                content["schema"] = self._stream(shown, response, schema, [*route.poto_errors, *automatic])
                add_headers(shown, [LAST_EVENT_ID])
            else:
                content["schema"] = self._named(schema, f"{camel(shown['operationId'])}Response")
        self.errors.add_responses(shown, (), [*route.poto_errors, *automatic])
        if has_cookies and route.methods != {"GET"}:
            add_headers(shown, [COOKIE_MODE])
        _in_order(shown)

    def _texts(self, shown: OperationObject, operation: Operation, doc: Docstring) -> None:
        said = operation.options.openapi_extra or {}
        if "summary" not in said:
            shown["summary"] = operation.options.summary or doc.summary or _words(operation.name)
        if "description" not in said:
            shown.pop("description", None)
            if doc.description:
                shown["description"] = doc.description

    def _parameters(self, shown: OperationObject, doc: Docstring) -> None:
        for parameter in shown.get("parameters", ()):
            schema = parameter.get("schema")
            if not isinstance(schema, dict):
                continue
            integers_as_strings(schema)
            drop_titles(schema)
            if not parameter.get("required"):
                parameter["schema"] = schema = without_null(schema)
            text = schema.pop("description", None) or doc.arguments.get(parameter["name"])
            if text:
                parameter.setdefault("description", text)

    def _body(self, shown: OperationObject, operation: Operation | None, doc: Docstring) -> None:
        body = shown.get("requestBody")
        if not isinstance(body, dict):
            return
        for media_type, content, sent in _schemas(body):
            content["schema"] = schema = without_null(sent)
            drop_titles(schema)
            name = named(schema)
            if operation is None or name not in self.schemas:
                continue
            self._members(self.schemas[name], operation, doc)
            if media_type == "multipart/form-data":
                self._form(self.schemas[name], content, operation)

    @staticmethod
    def _members(schema: Schema, operation: Operation, doc: Docstring) -> None:
        """What the docstring and the signature say of the members of a body."""
        properties: Mapping[str, Schema] = schema.get("properties") or {}
        for parameter in operation.parameters:
            member = properties.get(parameter.name)
            if member is None:
                continue
            text = doc.arguments.get(parameter.name)
            if text and "description" not in member:
                member["description"] = text
            if not parameter.required:
                say_default(member, parameter.default)

    @staticmethod
    def _form(schema: Schema, content: dict[str, Any], operation: Operation) -> None:
        required = schema.get("required", [])
        properties: dict[str, Schema] = schema.get("properties") or {}
        for name in properties:
            if name not in required:
                properties[name] = without_null(properties[name])
        encoding = {
            one.name: {"contentType": "application/json"}
            for one in operation.wire_parameters
            if one.name in properties and not is_upload(one.annotation) and not is_value(one.annotation)
        }
        if encoding:
            content.setdefault("encoding", encoding)

    def _result(
        self, shown: OperationObject, operation: Operation, doc: Docstring, errors: list[type[PotoError]]
    ) -> None:
        response = shown["responses"].get(str(operation.status_code))
        if response is None:
            return
        if doc.result and response.get("description") == "Successful Response":
            response["description"] = doc.result
        base = camel(shown["operationId"])
        for media_type, content, schema in _schemas(response):
            integers_as_strings(schema)
            drop_titles(schema)
            if operation.kind == "stream" and media_type == EventStreamBody.media_type:
                content["schema"] = self._stream(shown, response, schema, errors, operation, said=doc.result)
            elif operation.kind == "unary":
                mark_binary(schema, is_form=False)
                content["schema"] = self._named(schema, f"{base}Response")
            parts = [schema, *(self.schemas[name] for name in reachable([content["schema"]], self.schemas))]
            if operation.options.response_model_exclude_none and any(
                _required_and_nullable(one) for part in parts for one in walk(part)
            ):
                content["schema"] = self._without_none(content["schema"], {})
            elif schema == {"type": "string"} and not media_type.startswith(("text/", "application/json")):
                schema["format"] = "binary"

    def _stream(
        self,
        shown: OperationObject,
        response: dict[str, Any],
        schema: Schema,
        errors: list[type[PotoError]],
        operation: Operation | None = None,
        *,
        said: str = "",
    ) -> Schema:
        """The items of a stream, or its failure. `schema` is an item's; a stream that is followed has no operation."""
        item = self._named(schema, f"{camel(shown['operationId'])}Item")
        failure = self.errors.stream_failure(shown, errors)
        if not said:
            response["description"] = stream_words(operation)
        shown["x-poto-stream"] = {
            "resumable": operation is None or operation.resumable,
            "ndjson": operation is not None,
        }
        # A generator (typescript-fetch) does not compile a union that is told apart within another.
        union = self.schemas.get(named(item) or "", {})
        items = union["oneOf"] if "discriminator" in union else [item]
        return {"anyOf" if self._takes_anything(item) else "oneOf": [*items, failure]}

    def _without_none(self, schema: Schema, names: dict[str, str]) -> Schema:
        """The schema of a result whose members that are None are left out: components have versions of their own."""
        schema = copy.deepcopy(schema)
        for one in walk(schema):
            if optional := _required_and_nullable(one):
                one["required"] = [name for name in one["required"] if name not in optional]
            name = named(one)
            if name in self.schemas and name not in names:
                names[name] = f"{name}WithoutNone"
                self.schemas[names[name]] = self._without_none(self.schemas[name], names)
        return cast("Schema", renamed(schema, names))

    def _takes_anything(self, item: Schema) -> bool:
        """Whether what an item is documented as could be the object of a failure, too."""
        schema = self.schemas.get(named(item) or "", item)
        return schema.keys() <= {"description"} or (schema.get("type") == "object" and not schema.get("required"))

    def _named(self, schema: Schema, name: str) -> Schema:
        """The schema of an answer or an item: named where a generator would have to make up a name."""
        mark_binary(schema, is_form=False)
        hoist_unions(schema, name, self.add)
        if is_union(schema) or schema.get("type") == "object" or "prefixItems" in schema:
            if NULL in schema.get("anyOf", ()):
                members = [one for one in schema["anyOf"] if one != NULL]
                return {"anyOf": [self._named({"anyOf": members}, name), dict(NULL)]}
            return ref(self.add(schema, *union_names(schema), name))
        return schema


def _schemas(part: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], Schema]]:
    """The media types of a body or a response, what is said of each, and its schema."""
    for media_type, content in (part.get("content") or {}).items():
        if isinstance(content.get("schema"), dict):
            yield media_type, content, content["schema"]


def _required_and_nullable(schema: Schema) -> set[str]:
    members = schema.get("properties") or {}
    return {name for name in schema.get("required", ()) if NULL in members.get(name, {}).get("anyOf", ())}


def errors_as_json(shown: OperationObject, success: str) -> None:
    """FastAPI documents a method's other responses under the media type of its answer."""
    for status, response in shown["responses"].items():
        contents: dict[str, Any] = response.get("content") or {}
        if status != success and len(contents) == 1 and "application/json" not in contents:
            response["content"] = {"application/json": next(iter(contents.values()))}


def _in_order(shown: OperationObject) -> None:
    """As a reader wants it: what it is, what it takes, what it gives."""
    keys = ("tags", "summary", "description", "deprecated", "operationId", "security", "parameters", "requestBody")
    shown.setdefault("security", [])  # public on purpose, for readers and linters
    ordered = {key: shown[key] for key in keys if key in shown}
    rest = {key: value for key, value in shown.items() if key not in ordered and key != "responses"}
    responses = dict(sorted(shown["responses"].items(), key=lambda one: (one[0] == "default", one[0])))
    shown.clear()
    shown |= {**ordered, "responses": responses, **rest}


def _words(name: str) -> str:
    return name.replace("_", " ").strip().capitalize()
