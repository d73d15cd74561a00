"""The client of openapi-python-client, generated as `poto_client`."""

import datetime
import io
import json

from poto_client import AuthenticatedClient, Client, models
from poto_client.api.auth import auth_login, auth_logout, auth_me, auth_refresh, auth_upgrade, auth_visitor
from poto_client.api.feed import feed_fail, feed_talk, feed_words
from poto_client.api.files import files_export, files_get_download, files_upload
from poto_client.api.shop import (
    shop_add_line,
    shop_buy,
    shop_close,
    shop_delete_basket,
    shop_echo,
    shop_find,
    shop_get_search,
    shop_get_status,
    shop_name_pet,
    shop_old,
    shop_put_tree,
    shop_square,
)
from poto_client.types import File
from steps import EVERYTHING, URL, run

anonymous = Client(base_url=URL)
client = AuthenticatedClient(base_url=URL, token="")


def visitor() -> None:
    global client
    tokens = auth_visitor.sync(client=anonymous)
    assert isinstance(tokens, models.VisitorTokens), tokens
    client = AuthenticatedClient(base_url=URL, token=tokens.access_token)
    me = auth_me.sync(client=client)
    assert isinstance(me, models.Me) and me.user_id == tokens.user_id
    assert shop_get_status.sync(client=anonymous) == "open"


def body() -> None:
    line = models.Line(sku="tea", quantity=2)
    assert shop_add_line.sync(client=client, body=models.ShopAddLineRequest(line=line)) == 2


def optional() -> None:
    line = models.Line(sku="tea")
    assert shop_add_line.sync(client=client, body=models.ShopAddLineRequest(line=line, note="abc")) == 6
    assert shop_add_line.sync(client=client, body=models.ShopAddLineRequest(line=line, note=None)) == 4
    assert shop_old.sync(client=client, body=models.ShopOldRequest()) == "a"


def query() -> None:
    page = shop_get_search.sync(
        client=client,
        text="t",
        limit=1,
        colours=[models.Colour.RED, models.Colour.GREEN],
        since=datetime.date(2026, 1, 2),
    )
    assert isinstance(page, models.PageLine), page
    assert page.items == [models.Line(sku="tredgreen2026-01-02-0", quantity=0)]
    more = shop_get_search.sync(client=client, text="t")
    assert isinstance(more, models.PageLine) and more.next_ == "more"


def union() -> None:
    dog = models.Dog(kind="dog", name="Rex")
    assert shop_name_pet.sync(client=client, body=models.ShopNamePetRequest(pet=dog)) == models.Cat("cat", 3)


def nullable() -> None:
    assert shop_find.sync(client=client, body=models.ShopFindRequest(sku="coffee")) is None
    assert shop_find.sync(client=client, body=models.ShopFindRequest(sku="tea")) == models.Line("tea", 1)


def types() -> None:
    value = models.EverythingInput.from_dict(EVERYTHING)
    assert isinstance(value.at, datetime.datetime) and isinstance(value.pet, models.Dog)
    answer = shop_echo.sync(client=client, body=models.ShopEchoRequest(value=value))
    assert isinstance(answer, models.EverythingOutput), answer
    given = answer.to_dict()
    assert datetime.datetime.fromisoformat(given["at"]) == value.at
    assert given | {"at": EVERYTHING["at"]} == EVERYTHING
    tree = models.TreeInput(value=1, children=[models.TreeInput(value=2)])
    assert shop_put_tree.sync(client=client, body=models.ShopPutTreeRequest(tree=tree)) == 2


def big_integer() -> None:
    number = str(2**53 + 1)
    assert shop_square.sync(client=client, body=models.ShopSquareRequest(number)) == str((2**53 + 1) ** 2)


def no_content() -> None:
    answer = shop_delete_basket.sync_detailed(client=client)
    assert answer.status_code == 204 and answer.parsed is None


def unauthenticated() -> None:
    request = models.ShopAddLineRequest(line=models.Line(sku="tea"))
    answer = shop_add_line.sync_detailed(client=AuthenticatedClient(base_url=URL, token="x"), body=request)
    assert answer.status_code == 401
    assert isinstance(answer.parsed, models.UnauthenticatedError), answer
    assert answer.parsed.code == "unauthenticated"


def forbidden() -> None:
    answer = shop_close.sync(client=client)
    assert isinstance(answer, models.ForbiddenError) and answer.code == "forbidden", answer


def declared_errors() -> None:
    answer = shop_buy.sync(client=client, body=models.ShopBuyRequest(sku="coffee"))
    assert isinstance(answer, models.UnknownArticleError), answer
    gone = shop_buy.sync(client=client, body=models.ShopBuyRequest(sku="gone"))
    assert isinstance(gone, models.SoldOutError), gone
    assert gone.data.sku == "gone"


def refused(sku: str) -> str:
    answer = shop_buy.sync(client=client, body=models.ShopBuyRequest(sku=sku))
    if isinstance(answer, models.UnknownArticleError | models.SoldOutError):
        name: str = answer.data.sku
        return f"{answer.code} {name}"
    if isinstance(answer, models.TooDearError):
        price: int = answer.data.price
        return f"{answer.code} {price}"
    return "other"


def one() -> None:
    assert refused("coffee") == "unknown_article coffee"


def several() -> None:
    assert (refused("gone"), refused("gold")) == ("sold_out gone", "too_dear 7")


def other() -> None:
    assert refused("new") == "other"


def early() -> None:
    answer = feed_words.sync(client=client, body=models.FeedWordsRequest(sku="gold", after=0))
    assert isinstance(answer, models.TooDearError) and answer.data.price == 7


def invalid() -> None:
    request = models.ShopAddLineRequest(line=models.Line(sku=1))  # type: ignore[arg-type]  # mypy sees it first
    answer = shop_add_line.sync(client=client, body=request)
    assert isinstance(answer, models.ValidationError), answer
    assert answer.detail[0].loc == ["body", "line", "sku"]


def upload() -> None:
    file = File(payload=io.BytesIO(b"12345"), file_name="five.txt")
    answer = files_upload.sync(client=client, body=models.FilesUploadRequest(file=file, title="five"))
    assert answer == "five: 5 bytes", answer


def download() -> None:
    answer = files_get_download.sync(client=client, size=300)
    assert isinstance(answer, File) and len(answer.payload.read()) == 300, answer


def byte_stream() -> None:
    answer = files_export.sync(client=client, body=models.FilesExportRequest(rows=3))
    assert answer == "0,tea\n1,tea\n2,tea\n", answer


def stream() -> None:
    answer = feed_talk.sync(client=client, body=models.FeedTalkRequest(words=["a"]))
    assert isinstance(answer, models.Token), json.dumps(str(answer))


def stream_early_error() -> None:
    answer = feed_fail.sync(client=client, body=models.FeedFailRequest(after=0))
    assert isinstance(answer, models.SoldOutError), answer


def sign_in() -> None:
    name = models.UpgradeRequest("openapi-python-client", "a long password")
    pair = auth_upgrade.sync(client=client, body=name)
    assert isinstance(pair, models.TokenPair), pair
    pair = auth_login.sync(client=anonymous, body=models.LoginForm(name.username, name.password))
    assert isinstance(pair, models.TokenPair), pair
    pair = auth_refresh.sync(client=anonymous, body=models.RefreshRequest(pair.refresh_token))
    assert isinstance(pair, models.TokenPair), pair
    mine = AuthenticatedClient(base_url=URL, token=pair.access_token)
    me = auth_me.sync(client=mine)
    assert isinstance(me, models.Me) and not me.visitor
    assert auth_logout.sync_detailed(client=mine).status_code == 204
    assert auth_me.sync_detailed(client=mine).status_code == 401


if __name__ == "__main__":
    run(
        visitor,
        body,
        optional,
        query,
        union,
        nullable,
        types,
        big_integer,
        no_content,
        unauthenticated,
        forbidden,
        declared_errors,
        one,
        several,
        other,
        early,
        invalid,
        upload,
        download,
        byte_stream,
        stream,
        stream_early_error,
        sign_in,
    )
