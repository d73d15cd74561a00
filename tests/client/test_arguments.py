"""What a client sends is what the method gets, or an error here."""

from typing import Any

import pytest
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel, ConfigDict, Json, Secret, SecretBytes, SecretStr, computed_field

from fastapi_poto import Poto, PotoModule, poto_router, public
from fastapi_poto.client import PotoClient

from .app import SECRET

pytestmark = pytest.mark.anyio


class Credentials(BaseModel):
    model_config = ConfigDict(extra="forbid")
    password: SecretStr
    key: SecretBytes = SecretBytes(b"")
    pin: Secret[int] | None = None
    scopes: Json[list[str]] | None = None

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorated properties
    @property
    def length(self) -> int:
        return len(self.password)


def told(credentials: Credentials) -> list[Any]:
    pin = credentials.pin and credentials.pin.get_secret_value()
    password, key = credentials.password.get_secret_value(), credentials.key.get_secret_value()
    return [password, key.hex(), pin, credentials.scopes]


@public
class Told(PotoModule):
    """Answers what arrived."""

    async def credentials(self, several: list[Credentials], again: SecretStr) -> list[Any]:
        return [*map(told, several), again.get_secret_value()]

    async def get_secret(self, secret: SecretStr) -> str:
        return secret.get_secret_value()

    async def form(self, file: UploadFile, secret: SecretStr, credentials: Credentials) -> list[Any]:
        return [secret.get_secret_value(), told(credentials)]

    async def parsed(self, value: Json[list[int]]) -> list[int]:
        return value


@pytest.fixture
async def client_of_told() -> Any:
    app = FastAPI()
    app.include_router(poto_router(Told, poto=Poto(SECRET)))
    async with PotoClient(app=app) as client:
        yield client


@pytest.fixture
def sent(client_of_told: PotoClient) -> Told:
    return client_of_told.module(Told)


async def test_secrets_arrive(sent: Told) -> None:
    """Not the asterisks that Pydantic writes for them; and without what the server computes itself."""
    secret = SecretStr("tea")
    credentials = Credentials(password=secret, key=SecretBytes(b"\xff"), pin=Secret[int](7), scopes='["a"]')  # type: ignore[arg-type]
    expected = ["tea", "ff", 7, ["a"]]
    assert await sent.credentials([credentials, credentials], secret) == [expected, expected, "tea"]
    assert await sent.get_secret(secret) == "tea"
    assert await sent.form(b"", secret, credentials) == ["tea", expected]  # type: ignore[arg-type]


async def test_json_texts(sent: Told) -> None:
    """`Json[…]` is what the text says, in the method and for its caller."""
    assert await sent.parsed([1, 2]) == [1, 2]
