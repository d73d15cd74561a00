"""The end-to-end suites' application, with every way to know a caller."""

import os

from fastapi import FastAPI

from fastapi_poto import OIDC, ApiKeys, OwnSignIn, Poto, poto_router
from fastapi_poto.openapi import poto_docs
from tests.e2e.app import Files, Keep, Llm, Verbs, Who
from tests.secret import SECRET


def make_poto() -> Poto:
    """From the environment: `STORE` and `ISSUER`."""
    corp = OIDC(os.environ["ISSUER"], audience="shop", name="corp", roles="realm_access.roles")
    return Poto(SECRET, store=os.environ["STORE"], credentials=[OwnSignIn(), corp, ApiKeys()], recheck_interval=0.2)


def make_app() -> FastAPI:
    app = FastAPI(swagger_ui_init_oauth={"clientId": "docs", "usePkceWithAuthorizationCodeGrant": True})
    app.include_router(poto_router(Who, Keep, Verbs, Llm, Files, poto=make_poto()))
    poto_docs(app)
    return app
