"""The OpenAPI document: FastAPI's own, refined where our routes are, so that generators make clean clients of it."""

from .install import refine_openapi
from .offline import offline_docs
from .openapi_3_2 import openapi_3_2

__all__ = ["offline_docs", "openapi_3_2", "refine_openapi"]
