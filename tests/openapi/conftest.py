"""The document of an application that serves some modules, and the ways into it."""

from typing import Any

from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from fastapi_poto import Poto, PotoModule, poto_router
from tests.secret import SECRET

SCHEMAS = "#/components/schemas/"


def app_of(*modules: type[PotoModule], app: FastAPI | None = None, **arguments: Any) -> FastAPI:
    app = app or FastAPI()
    app.include_router(poto_router(*modules, poto=arguments.pop("poto", None) or Poto(SECRET), **arguments))
    return app


class Document:
    """An application's document, validated."""

    def __init__(self, app: FastAPI) -> None:
        self.content = app.openapi()
        OpenAPIV31SpecValidator(self.content).validate()
        self.schemas: dict[str, Any] = self.content["components"]["schemas"]
        self.operations: dict[str, Any] = {
            operation["operationId"]: operation
            for item in self.content["paths"].values()
            for operation in item.values()
        }

    def resolve(self, schema: dict[str, Any]) -> Any:
        return self.schemas[schema["$ref"].removeprefix(SCHEMAS)] if "$ref" in schema else schema

    def body(self, operation: str) -> Any:
        """The schema of a request's body, its reference followed."""
        (content,) = self.operations[operation]["requestBody"]["content"].values()
        return self.resolve(content["schema"])

    def answer(self, operation: str, status: str = "200") -> tuple[str, Any]:
        """The media type and the schema of an answer."""
        ((media_type, content),) = self.operations[operation]["responses"][status]["content"].items()
        return media_type, content["schema"]

    def parameters(self, operation: str) -> dict[str, Any]:
        return {one["name"]: one for one in self.operations[operation].get("parameters", ())}


def document_of(*modules: type[PotoModule], **arguments: Any) -> Document:
    return Document(app_of(*modules, **arguments))


def ref(name: str) -> dict[str, str]:
    return {"$ref": SCHEMAS + name}
