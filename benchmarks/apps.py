"""The applications that are compared: one order method behind a bearer token, written four ways.

Each function returns an ASGI application and a token for it. `count` is the number of routes of the
same shape beside the one that is called (which comes last).
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel

SECRET = "kZ3nQ0vT8rW5yB1xF6hJ9mL2pS4uD7aE-gC_iKoNqRt"
BODY = b'{"sku": "apple", "quantity": 3, "note": "ripe"}'


class Order(BaseModel):
    sku: str
    quantity: int
    note: str | None = None


class Receipt(BaseModel):
    sku: str
    quantity: int
    total: float
    user: str


def fastapi_by_hand(count: int) -> tuple[Any, str, str, bytes]:
    """FastAPI as its tutorial writes it: OAuth2PasswordBearer, python-jose, a dependency for the user."""
    from fastapi import APIRouter, Depends, FastAPI, HTTPException
    from fastapi.security import OAuth2PasswordBearer
    from jose import JWTError, jwt

    oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")

    async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> str:
        unauthorized = HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"})
        try:
            payload = jwt.decode(token, SECRET, algorithms=["HS256"])
        except JWTError:
            raise unauthorized from None
        username = payload.get("sub")
        if username is None:
            raise unauthorized
        return username

    router = APIRouter()

    def add(number: int) -> None:
        @router.post(f"/Shop/order_{number}")
        async def order(order: Order, user: Annotated[str, Depends(get_current_user)]) -> Receipt:
            return Receipt(sku=order.sku, quantity=order.quantity, total=order.quantity * 1.5, user=user)

    for number in range(count):
        add(number)
    app = FastAPI()
    app.include_router(router)
    token = jwt.encode({"sub": "ada", "exp": datetime.now(UTC) + timedelta(hours=1)}, SECRET, algorithm="HS256")
    return app, f"/Shop/order_{count - 1}", token, BODY


def poto(count: int) -> tuple[Any, str, str, bytes]:
    """The same as methods of a module."""
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from fastapi_poto import Poto, PotoModule, poto_router

    def method(number: int) -> Any:
        async def order(self: PotoModule, sku: str, quantity: int, note: str | None = None) -> Receipt:
            return Receipt(sku=sku, quantity=quantity, total=quantity * 1.5, user=self.user.id)

        order.__name__ = f"order_{number}"
        return order

    shop = type("Shop", (PotoModule,), {f"order_{number}": method(number) for number in range(count)})
    app = FastAPI()
    app.include_router(poto_router(shop, poto=Poto(SECRET)))
    with TestClient(app) as client:
        token = client.post("/auth/visitor").json()["access_token"]
    return app, f"/Shop/order_{count - 1}", token, BODY


def mount(count: int) -> tuple[Any, str, str, bytes]:
    """The floor: a FastAPI application that hands the request to an ASGI application that does nothing."""
    from fastapi import FastAPI

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    app = FastAPI()
    app.mount("/Shop", nothing)
    return app, "/Shop/order", "none", BODY


def raw(count: int) -> tuple[Any, str, str, bytes]:
    """The limit of a server: an ASGI application that reads the body and answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    return app, "/Shop/order", "none", BODY


def litestar(count: int) -> tuple[Any, str, str, bytes]:
    """Litestar with its own JWT authentication."""
    from litestar import Litestar, Request, post
    from litestar.connection import ASGIConnection
    from litestar.security.jwt import JWTAuth, Token

    async def user_of(token: Token, connection: ASGIConnection[Any, Any, Any, Any]) -> str:
        return token.sub

    auth = JWTAuth[str](retrieve_user_handler=user_of, token_secret=SECRET)

    def handler(number: int) -> Any:
        @post(f"/Shop/order_{number}", status_code=200)
        async def order(data: Order, request: Request[str, Any, Any]) -> Receipt:
            return Receipt(sku=data.sku, quantity=data.quantity, total=data.quantity * 1.5, user=request.user)

        return order

    app = Litestar([handler(number) for number in range(count)], on_app_init=[auth.on_app_init], logging_config=None)
    return app, f"/Shop/order_{count - 1}", auth.create_token(identifier="ada"), BODY


BUILDERS = {"raw": raw, "fastapi": fastapi_by_hand, "poto": poto, "mount": mount, "litestar": litestar}
