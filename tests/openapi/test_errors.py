"""Rule 5: errors in the document."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import UploadFile
from pydantic import BaseModel

from fastapi_poto import ConfigurationError, Poto, PotoError, PotoModule, public, roles, rpc
from fastapi_poto.errors import Conflict, Forbidden, TooManyRequests
from tests.secret import SECRET

from .conftest import Document, app_of, document_of, ref


class SoldOutData(BaseModel):
    sku: str


class SoldOut(PotoError):
    """The article is gone.

    More.
    """

    code = "sold_out"
    status = 409
    data: SoldOutData | None = None


class Moved(SoldOut):
    """Somewhere else."""

    code = "moved"


class QuotaError(PotoError):
    code = "quota"
    status = 402


class Shop(PotoModule):
    @rpc(errors=[SoldOut, Moved, QuotaError, TooManyRequests])
    async def buy(self, sku: str) -> None: ...

    @rpc(errors=[SoldOut])
    async def watch(self) -> AsyncIterator[int]:
        yield 1

    @rpc(errors=[Forbidden, Conflict])
    @roles("admin")
    async def close(self) -> None: ...

    @public
    async def get_status(self) -> str: ...

    @public
    async def get_item(self, sku: str) -> str: ...

    async def upload(self, file: UploadFile) -> None: ...

    @rpc(resumable=True)
    async def follow(self) -> AsyncIterator[int]:
        yield 1


document = document_of(Shop)


def statuses(operation: str) -> set[str]:
    return {status for status in document.operations[operation]["responses"] if status not in ("200", "204")}


def test_a_component_per_code() -> None:
    """The body of an error: its code is a required constant, and `data` that is annotated is always there."""
    assert document.schemas["SoldOutError"] == {
        "type": "object",
        "description": "The article is gone",
        "properties": {
            "code": {"type": "string", "const": "sold_out", "enum": ["sold_out"]},
            "detail": {"type": "string"},
            "data": {"anyOf": [ref("SoldOutData"), {"type": "null"}]},
        },
        "required": ["code", "detail", "data"],
    }
    assert document.schemas["QuotaError"]["properties"].keys() == {"code", "detail"}


def test_a_union_per_status() -> None:
    """A status with declared errors is a union told apart by `code`, in which anything else has a place."""
    assert document.answer("Shop_buy", "409") == ("application/json", ref("ShopBuyFailure409"))
    union = document.schemas["ShopBuyFailure409"]
    assert union["oneOf"] == [ref("SoldOutError"), ref("MovedError"), ref("GeneralError")]
    assert union["discriminator"]["propertyName"] == "code"
    mapping = union["discriminator"]["mapping"]
    assert mapping["sold_out"] == ref("SoldOutError")["$ref"]
    other_codes = document.schemas["GeneralError"]["properties"]["code"]["enum"]
    assert set(mapping) == {"sold_out", "moved", *other_codes}
    assert document.schemas["ShopBuyFailure402"]["oneOf"] == [ref("QuotaError"), ref("GeneralError")]
    assert document.schemas["ShopWatchFailure409"]["oneOf"] == [ref("SoldOutError"), ref("GeneralError")]
    assert document.answer("Shop_buy", "504") == ("application/json", ref("DeadlineExceededError"))
    assert document.operations["Shop_buy"]["responses"]["409"]["description"] == (
        "`sold_out`: The article is gone; `moved`: Somewhere else"
    )


def test_where_an_error_can_occur() -> None:
    """Errors before the method runs are documented where they can happen, and the general one everywhere."""
    assert statuses("Shop_get_status") == {"401", "504", "default"}
    assert statuses("Shop_get_item") == {"401", "422", "504", "default"}
    assert statuses("Shop_buy") == {"401", "402", "409", "413", "422", "429", "503", "504", "default"}
    assert statuses("Shop_upload") == {"401", "413", "422", "503", "504", "default"}
    assert statuses("Shop_close") == {"401", "403", "409", "503", "504", "default"}
    assert statuses("Shop_follow") == {"401", "403", "409", "429", "503", "504", "default"}
    for operation in document.operations.values():
        assert operation["responses"]["default"]["content"]["application/json"]["schema"] == ref("AnyError")


def test_the_roles_that_a_method_needs() -> None:
    """A reader of the document sees which roles open a method, where nothing else can refuse it."""

    class Desk(PotoModule):
        @roles("clerk", "admin")
        async def sell(self) -> None: ...

        @roles("admin")
        @rpc(errors=[Forbidden])
        async def close(self) -> None: ...

    operations = Document(app_of(Desk)).operations
    texts = [operations[name]["responses"]["403"]["description"] for name in ("Desk_sell", "Desk_close")]
    assert texts == ["`forbidden`: Needs the role `admin` or `clerk`", "`forbidden`: Not allowed"]


def test_a_declared_error_that_occurs_anyway() -> None:
    """It is documented once, and its code is none of those that have no schema of their own."""
    assert document.schemas["ShopCloseFailure403"]["oneOf"] == [ref("ForbiddenError"), ref("GeneralError")]
    assert "forbidden" not in document.schemas["GeneralError"]["properties"]["code"]["enum"]
    assert "internal_error" in document.schemas["GeneralError"]["properties"]["code"]["enum"]


def test_headers() -> None:
    """401 and a role's 403 challenge; 429 and 503 say when to come back."""
    responses = document.operations["Shop_close"]["responses"]
    assert list(responses["401"]["headers"]) == list(responses["403"]["headers"]) == ["WWW-Authenticate"]
    responses = document.operations["Shop_buy"]["responses"]
    assert responses["429"]["headers"]["Retry-After"]["schema"] == {"type": "integer"}
    assert responses["503"]["headers"].keys() == {"Retry-After"}


def test_the_sign_in_routes() -> None:
    """They have typed errors, named bodies and summaries too."""
    assert statuses("Auth_login") >= {"401", "422", "429", "503", "default"}
    assert document.answer("Auth_upgrade", "409")[1] == ref("AuthUpgradeFailure409")
    assert document.answer("Auth_login") == ("application/json", ref("TokenPair"))
    (content,) = document.operations["Auth_refresh"]["requestBody"]["content"].values()
    assert content["schema"] == ref("RefreshRequest")
    assert all(one.get("description") != one["summary"] for one in document.operations.values())


def test_what_the_application_says_of_a_status() -> None:
    """`responses` of the router stand, unless the method declares an error of that status; a body is filled in."""
    operation = document_of(
        Shop, responses={401: {"description": "Sign in first"}, 409: {"description": "No"}, 418: {"description": "Tea"}}
    ).operations["Shop_buy"]
    described = {status: response["description"] for status, response in operation["responses"].items()}
    assert described["401"] == "Sign in first"
    assert operation["responses"]["401"]["content"]["application/json"]["schema"] == ref("UnauthenticatedError")
    assert described["418"] == "Tea"
    assert described["409"].startswith("`sold_out`")


def test_errors_of_one_name() -> None:
    """Two classes of one name are two components; one that is called like ours does not change ours."""

    class Unauthenticated(PotoError):
        code = "own"
        status = 401

    class Own(PotoModule):
        @rpc(errors=[Unauthenticated])
        async def act(self) -> None: ...

    found = document_of(Own)
    union = found.resolve(found.answer("Own_act", "401")[1])["oneOf"][:2]
    codes = [found.resolve(one)["properties"]["code"]["const"] for one in union]
    assert codes == ["own", "unauthenticated"]


def test_a_declared_422_stands_beside_the_list() -> None:
    """Bad arguments are answered with FastAPI's list, whatever a method declares for the same status."""

    class Refused(PotoError):
        code = "refused"
        status = 422

    class Strict(PotoModule):
        @rpc(errors=[Refused])
        async def take(self, text: str) -> None: ...

        @rpc(errors=[Refused])
        async def plain(self) -> None: ...

    found = Document(app_of(Strict))
    schemas = found.content["components"]["schemas"]

    def names(operation: str) -> list[str]:
        schema = found.answer(operation, "422")[1]
        union = schemas[schema["$ref"].rpartition("/")[2]]
        return [one["$ref"].rpartition("/")[2] for one in union["oneOf"]]

    assert names("Strict_take") == ["RefusedError", "ValidationError", "GeneralError"]
    assert names("Strict_plain") == ["RefusedError", "GeneralError"]


def test_the_types_of_data() -> None:
    """Any type will do, an inherited one too; one that cannot be resolved is refused, with the cure."""

    class Many(PotoError):
        code = "many"
        data: list[SoldOutData] | dict[str, int] | None = None

    class Fewer(Many):
        code = "fewer"

    class Untyped(PotoError):
        code = "untyped"
        data: Any = None

    class Lost(PotoError):
        code = "lost"
        data: "Nowhere"  # type: ignore[name-defined]  # noqa: F821

    class Own(PotoModule):
        @rpc(errors=[Many, Fewer, Untyped])
        async def act(self) -> None: ...

    found = document_of(Own)
    for name in ("ManyError", "FewerError"):
        some, nothing = found.schemas[name]["properties"]["data"]["anyOf"]
        assert [one["type"] for one in found.resolve(some)["anyOf"]] == ["array", "object"]
        assert nothing == {"type": "null"}
    assert found.schemas["UntypedError"]["properties"]["data"] == {}

    class Broken(PotoModule):
        @rpc(errors=[Lost])
        async def act(self) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Lost\.data: the annotation names 'Nowhere'"):
        document_of(Broken)


@pytest.mark.anyio
async def test_errors_are_what_they_are_documented_as() -> None:
    """A live answer of each kind fits its schema."""
    import jsonschema

    class Live(PotoModule):
        @rpc(errors=[SoldOut])
        async def buy(self, sku: str) -> None:
            raise SoldOut(data=SoldOutData(sku=sku))

    app = app_of(Live, poto=Poto(SECRET))
    found = Document(app)

    def check(status: str, body: object) -> None:
        schema = {**found.answer("Live_buy", status)[1], "components": found.content["components"]}
        jsonschema.Draft202012Validator(schema).validate(body)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/Live/buy", json={"sku": "a"})
        check("401", answer.json())
        token = (await client.post("/auth/visitor")).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        answer = await client.post("/Live/buy", json={"sku": "a"})
        assert answer.status_code == 409
        check("409", answer.json())
        answer = await client.post("/Live/buy", json={"sku": 1})
        assert answer.status_code == 422
        check("422", answer.json())
        answer = await client.post("/Live/buy", json={"sku": "a"}, headers={"Poto-Timeout-Ms": "x"})
        assert answer.status_code == 400
        check("default", answer.json())
