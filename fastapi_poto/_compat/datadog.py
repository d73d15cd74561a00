"""What is read of ddtrace without being published: where its middleware keeps a request's spans.

It learns of routes from a method of FastAPI's that is not gone through here.
"""

from starlette.types import Scope


def tell_datadog(scope: Scope, path: str) -> None:
    """Tell the request's spans, of which each mounted application has one, which route was found."""
    told = scope["datadog"]
    mounts = told.get("resource_paths", [])
    route = "".join(mounts) + path
    for span in told.get("request_spans", ()):
        span.resource = f"{scope['method']} {route}"
        span.set_tag("http.route", route)
