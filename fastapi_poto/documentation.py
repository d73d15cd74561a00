"""What FastAPI is told of a method, so that its document has it: the arguments of a route."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from .methods import MethodSpec


class OctetStream(Response):
    media_type = "application/octet-stream"


class EventStreamBody(Response):
    media_type = "text/event-stream"


def route_arguments(spec: MethodSpec) -> Mapping[str, Any]:
    """The arguments of `APIRouter.add_api_route` that describe a method."""
    summary, _, description = spec.doc.partition("\n")
    arguments: dict[str, Any] = {
        "name": spec.where,
        "operation_id": spec.operation_id,
        "tags": list(spec.tags) if spec.tags is not None else [spec.module_name],
        "summary": spec.summary or summary.strip().rstrip(".") or None,
        "description": description.strip() if spec.doc else "",
        "deprecated": spec.deprecated,
        "openapi_extra": dict(spec.openapi_extra) if spec.openapi_extra else None,
        "response_model": None,
    }
    if spec.kind == "empty":
        arguments["status_code"] = 204
    elif spec.kind == "unary":
        arguments["response_model"] = spec.result
    elif spec.kind == "stream":
        arguments |= {"response_model": spec.result, "response_class": EventStreamBody}
    elif spec.kind in ("bytes", "byte_stream"):
        arguments["response_class"] = (
            type("Bytes", (Response,), {"media_type": spec.media_type}) if spec.media_type else OctetStream
        )
    return arguments
