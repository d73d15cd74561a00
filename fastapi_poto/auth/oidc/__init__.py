"""Tokens of external OpenID Connect issuers."""

from .issuer import OIDC

__all__ = ["OIDC"]
