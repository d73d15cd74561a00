"""The OpenAPI document: FastAPI's own, its poto routes refined, so that generators make clean clients of it."""

from .docs_page import poto_docs
from .install import refine_openapi
from .openapi_3_2 import openapi_3_2

__all__ = ["openapi_3_2", "poto_docs", "refine_openapi"]
