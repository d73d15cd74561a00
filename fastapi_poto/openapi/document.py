"""The whole document: in which order the poto routes of it are refined."""

from collections.abc import Iterator, Sequence

from starlette.routing import BaseRoute

from ..errors import PotoError
from ..module import PotoModule
from .components import Components
from .docstrings import doc_of_class
from .errors import ANY_OTHER, ErrorComponents, errors_of
from .operation_objects import OperationRefiner, errors_as_json
from .poto_routes import Document, PotoOperation, poto_operations
from .security import require_caller, show_credentials


def refine(document: Document, routes: Sequence[BaseRoute], *, alone: Document | None = None) -> Document:
    """Make the wire's rules hold for the poto routes of `document`, in place, and give it back.

    Other operations, and the components that they use, stay as they are. A refined document stays as it is.
    `alone` is the document of the other routes, made without the poto routes beside them: FastAPI names the
    components of all routes together, so that a model of one can make it rename one of another.
    """
    operations = poto_operations(document, routes)
    if not operations or _is_refined(operations):
        return document
    document.setdefault("components", {}).setdefault("schemas", {})
    components = Components(document, operations, alone)
    components.refine()
    errors = ErrorComponents(components.add, _documented_errors(operations))
    refiner = OperationRefiner(components.schemas, components.add, errors)
    for one in operations:
        errors_as_json(one.shown, "200" if one.operation is None else str(one.operation.status_code))
        if one.operation is None:
            refiner.sign_in(one.shown, one.route, has_cookies=one.has_cookies)
        else:
            if not one.operation.guard.public:
                require_caller(document, one.shown, one.route.poto.authenticator.security)
            refiner.method(one.shown, one.operation, has_cookies=one.has_cookies)
    components.put_back()
    _describe_tags(document, operations)
    _name_the_token_url(document, operations)
    show_credentials(document, operations[0].route.poto.authenticator.security)
    return document


def _documented_errors(operations: list[PotoOperation]) -> Iterator[type[PotoError]]:
    for one in operations:
        if one.operation is None:
            yield from getattr(one.route, "poto_errors", ())
        else:
            yield from one.operation.errors
            yield from errors_of(one.operation, has_cookies=one.has_cookies)


def _is_refined(operations: list[PotoOperation]) -> bool:
    return any(one.shown["responses"].get("default", {}).get("description") == ANY_OTHER for one in operations)


def _describe_tags(document: Document, operations: list[PotoOperation]) -> None:
    """A module's docstring describes the tag that has its name."""
    tags = document.get("tags", [])
    known = {tag.get("name") for tag in tags}
    for one in operations:
        if one.operation is None:
            name, text = "Auth", "Signing in and out."
        else:
            name, text = one.operation.module_name, doc_of_class(one.operation.cls, PotoModule)
        if name not in known and name in one.shown.get("tags", ()):
            known.add(name)
            tags.append({"name": name, "description": text} if text else {"name": name})
    if tags:
        document["tags"] = tags


def _name_the_token_url(document: Document, operations: list[PotoOperation]) -> None:
    """The password flow names the sign-in route where it is mounted."""
    sign_in = {id(one.shown) for one in operations if one.operation is None}
    for path, item in document["paths"].items():
        for shown in item.values():
            if id(shown) in sign_in and shown.get("operationId") == "Auth_login":
                scheme = document["components"].get("securitySchemes", {}).get("PotoPassword", {})
                flow = scheme.get("flows", {}).get("password")
                if flow is not None:
                    flow["tokenUrl"] = path.removeprefix("/")
