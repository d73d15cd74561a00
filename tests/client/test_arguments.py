"""What a client sends is what the method gets, or an error here."""

from typing import Annotated, Any

import pytest
from fastapi import Cookie, FastAPI, Header, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Json, Secret, SecretBytes, SecretStr, computed_field, model_validator
from pydantic.dataclasses import dataclass

from fastapi_poto import Poto, PotoModule, poto_router, public, rpc
from fastapi_poto.client import PotoClient
from tests.secret import SECRET

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


class Filter(BaseModel):
    page_number: int = 1
    tags: list[str] = []


class Circle(BaseModel):
    model_config = ConfigDict(extra="forbid")
    radius: int

    @model_validator(mode="before")
    @classmethod
    def as_given(cls, value: Any) -> Any:
        return value

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return 3 * self.radius**2


@dataclass(config=ConfigDict(extra="forbid"))
class Measured:
    size: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def doubled(self) -> int:
        return 2 * self.size


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

    async def get_chosen(self, ids: list[int] | None = None, but: set[int] = set()) -> list[Any]:  # noqa: B006
        return [ids, sorted(but)]

    async def fields(
        self,
        *,
        tags: Annotated[list[int], Header()] = [1],  # noqa: B006
        raw: Annotated[bytes, Header()] = b"",
        more: Annotated[bytes | None, Query()] = None,
    ) -> list[Any]:
        return [tags, raw.hex(), more and more.hex()]

    async def get_filtered(self, by: Annotated[Filter, Query()]) -> Filter:
        return by

    async def filtered(self, by: Annotated[Filter, Header()]) -> Filter:
        return by

    @rpc(path="told/{key}/end")
    async def in_path(self, key: str) -> str:
        return key

    @rpc(path="rest/{rest:path}")
    async def rest_of_path(self, rest: str) -> str:
        return rest

    async def in_cookie(self, key: Annotated[str, Cookie()]) -> str:
        return key

    async def in_header(self, key: Annotated[str, Header()]) -> str:
        return key

    async def drawn(self, circle: Circle) -> list[dict[str, Circle]]:
        return [{"one": circle}]

    async def measured(self, size: int) -> Measured:
        return Measured(size)

    async def form_of(self, file: UploadFile, raw: bytes = b"", note: str = "none", ids: list[int] = [1]) -> list[Any]:  # noqa: B006
        return [raw.hex(), note, ids]


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


async def test_a_list_is_as_many_headers(sent: Told) -> None:
    """All of them arrive, not the last."""
    assert await sent.fields(tags=[2, 3]) == [[2, 3], "", None]


async def test_bytes_outside_of_json(sent: Told) -> None:
    """FastAPI reads the text of headers, queries of its own and form fields as UTF-8; other bytes do not go."""
    tea = "té".encode()
    assert await sent.fields(raw=b"tea", more=tea) == [[1], b"tea".hex(), tea.hex()]
    assert await sent.form_of(b"", tea) == [tea.hex(), "none", [1]]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="utf-8"):
        await sent.fields(raw=b"\xff")


async def test_what_would_arrive_as_the_default(sent: Told) -> None:
    """An empty list in a query, header or form, and an empty form field, are left out: an error, if it differs."""
    assert await sent.get_chosen(None, set()) == [None, []]
    assert await sent.fields(raw=b"", more=None) == [[1], "", None]
    assert await sent.form_of(b"", b"", ids=[1]) == ["", "none", [1]]  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"Told\.get_chosen: a query cannot carry \[\] as 'ids', which is not its default"
    ):
        await sent.get_chosen([])
    with pytest.raises(ValueError, match=r"a header cannot carry \[\]"):
        await sent.fields(tags=[])
    with pytest.raises(ValueError, match=r"a form cannot carry ''"):
        await sent.form_of(b"", note="")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a form cannot carry \[\]"):
        await sent.form_of(b"", ids=[])  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a", "é", "a b", "a%2e%2e", "...", ".a", "a?b#c"])
async def test_what_a_path_carries(sent: Told, text: str) -> None:
    """Any text but a segment that is none; of the rest of a path, slashes too."""
    assert await sent.in_path(text) == text
    assert await sent.rest_of_path(f"x/{text}/y") == f"x/{text}/y"


@pytest.mark.parametrize("text", [".", "..", "", "a/b"])
async def test_what_a_path_does_not_carry(sent: Told, text: str) -> None:
    """On its way the URL would become another one, or reach no method."""
    with pytest.raises(ValueError, match=r"Told\.in_path: a path cannot carry '.*' as 'key', for"):
        await sent.in_path(text)


@pytest.mark.parametrize("text", ["..", "a/../b", "a/.", "./a"])
async def test_what_the_rest_of_a_path_does_not_carry(sent: Told, text: str) -> None:
    """Dot segments would lead to another method."""
    with pytest.raises(ValueError, match=r"Told\.rest_of_path: a path cannot carry '.*' as 'rest', for . and .. are"):
        await sent.rest_of_path(text)


@pytest.mark.parametrize("text", ["a", "a=b", "a b", "a,b", "{}"])
async def test_what_cookies_and_headers_carry(sent: Told, text: str) -> None:
    """What arrives as it was."""
    assert await sent.in_cookie(text) == text
    assert await sent.in_header(text) == text


@pytest.mark.parametrize("text", ["a;b", "a; admin=1", '"a"', " a", "a\r\nb", "é", "a\0"])
async def test_what_cookies_do_not_carry(sent: Told, text: str) -> None:
    """A separator, a quote that is taken away, what no header may have: refused before it is sent."""
    with pytest.raises(ValueError, match=r"Told\.in_cookie: a cookie cannot carry .* as 'key', which would arrive as"):
        await sent.in_cookie(text)


@pytest.mark.parametrize("text", [" a", "a\t", "a\r\nx: y", "é", "a\0"])
async def test_what_headers_do_not_carry(sent: Told, text: str) -> None:
    """Blanks at its ends, line ends and what is not ASCII."""
    with pytest.raises(ValueError, match=r"Told\.in_header: a header cannot carry .* as 'key', which would arrive as"):
        await sent.in_header(text)


async def test_results_that_compute_members(sent: Told) -> None:
    """A model that forbids other members comes back, nested and in a dataclass; what it computed, it computes again."""
    circle = Circle(radius=2)
    assert await sent.drawn(circle) == [{"one": circle}]
    assert (await sent.drawn(circle))[0]["one"].area == 12
    assert await sent.measured(3) == Measured(3)


async def test_a_model_of_parameters(sent: Told) -> None:
    """Its members are parameters of their own, in headers with hyphens."""
    by = Filter(page_number=2, tags=["a", "b"])
    assert await sent.get_filtered(by) == by
    assert await sent.filtered(by) == by
