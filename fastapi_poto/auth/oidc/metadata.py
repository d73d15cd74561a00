"""Where agents and clients find out which issuers' tokens are good here (RFC 9728)."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ..routes import AuthRoute


class ResourceMetadata(BaseModel):
    resource: str
    authorization_servers: list[str]
    bearer_methods_supported: list[str] = ["header"]


def with_resource_metadata(router: APIRouter, issuers: Sequence[str]) -> APIRouter:
    """The sign-in router, and beside its prefix `GET /.well-known/oauth-protected-resource`."""
    both = APIRouter(route_class=AuthRoute, tags=["Auth"])
    both.include_router(router)

    @both.get(
        "/.well-known/oauth-protected-resource",
        operation_id="Auth_protected_resource",
        summary="Which issuers' tokens are good here",
    )
    async def protected_resource(request: Request) -> ResourceMetadata:
        resource = str(request.base_url).rstrip("/")
        return ResourceMetadata(resource=resource, authorization_servers=list(issuers))

    return both
