"""The client of openapi-generator's python, generated as `poto_client`."""

import datetime

import poto_client as api
from steps import EVERYTHING, URL, run

anonymous = api.ApiClient(api.Configuration(host=URL))
client = anonymous


def shop() -> api.ShopApi:
    return api.ShopApi(client)


def visitor() -> None:
    global client
    tokens = api.AuthApi(anonymous).auth_visitor()
    client = api.ApiClient(api.Configuration(host=URL, access_token=tokens.access_token))
    assert api.AuthApi(client).auth_me().user_id == tokens.user_id
    assert api.ShopApi(anonymous).shop_get_status() == "open"


def body() -> None:
    assert shop().shop_add_line(api.ShopAddLineRequest(line=api.Line(sku="tea", quantity=2))) == 2


def optional() -> None:
    assert shop().shop_add_line(api.ShopAddLineRequest(line=api.Line(sku="tea"), note="abc")) == 6
    assert shop().shop_add_line(api.ShopAddLineRequest(line=api.Line(sku="tea"), note=None)) == 4
    assert shop().shop_old(shop_old_request=api.ShopOldRequest()) == "a"


def query() -> None:
    colours = [api.Colour.RED, api.Colour.GREEN]
    page = shop().shop_get_search("t", limit=1, colours=colours, since=datetime.date(2026, 1, 2))
    assert page.items == [api.Line(sku="tredgreen2026-01-02-0", quantity=0)]
    assert shop().shop_get_search("t").next == "more"


def union() -> None:
    pet = api.CatOrDog(api.Dog(kind="dog", name="Rex"))
    assert shop().shop_name_pet(api.ShopNamePetRequest(pet=pet)).actual_instance == api.Cat(kind="cat", lives=3)


def nullable() -> None:
    assert shop().shop_find(api.ShopFindRequest(sku="coffee")) is None
    assert shop().shop_find(api.ShopFindRequest(sku="tea")) == api.Line(sku="tea", quantity=1)


def types() -> None:
    value = api.EverythingInput.from_dict(EVERYTHING)
    assert value is not None
    answer = shop().shop_echo(api.ShopEchoRequest(value=value))
    assert answer.at == value.at
    assert answer.to_dict() | {key: EVERYTHING[key] for key in ("at", "day", "id")} == EVERYTHING, answer.to_dict()
    tree = api.TreeInput(value=1, children=[api.TreeInput(value=2)])
    assert shop().shop_put_tree(api.ShopPutTreeRequest(tree=tree)) == 2


def big_integer() -> None:
    assert shop().shop_square(api.ShopSquareRequest(number=str(2**53 + 1))) == str((2**53 + 1) ** 2)


def no_content() -> None:
    answer = shop().shop_delete_basket_with_http_info()
    assert answer.status_code == 204 and answer.data is None


def unauthenticated() -> None:
    try:
        api.ShopApi(anonymous).shop_add_line(api.ShopAddLineRequest(line=api.Line(sku="tea")))
    except api.exceptions.UnauthorizedException as error:
        assert isinstance(error.data, api.UnauthenticatedError), error.data
        return
    raise AssertionError("it did not fail")


def forbidden() -> None:
    try:
        shop().shop_close()
    except api.exceptions.ForbiddenException as error:
        assert isinstance(error.data, api.ForbiddenError), error.data
        return
    raise AssertionError("it did not fail")


def declared_errors() -> None:
    try:
        shop().shop_buy(api.ShopBuyRequest(sku="coffee"))
    except api.exceptions.NotFoundException as error:
        assert isinstance(error.data.actual_instance, api.UnknownArticleError), error.data
    try:
        shop().shop_buy(api.ShopBuyRequest(sku="gone"))
    except api.exceptions.ConflictException as error:
        assert isinstance(error.data.actual_instance, api.SoldOutError), error.data
        assert error.data.actual_instance.data.sku == "gone"
        return
    raise AssertionError("it did not fail")


def invalid() -> None:
    request = api.ShopAddLineRequest.model_construct(line={})  # its own models see it first
    try:
        shop().shop_add_line.__wrapped__(shop(), request)  # type: ignore[attr-defined]
    except api.exceptions.UnprocessableEntityException as error:
        assert isinstance(error.data, api.ValidationError), error.data
        return
    raise AssertionError("it did not fail")


def upload() -> None:
    assert api.FilesApi(client).files_upload(("five.txt", b"12345"), title="five") == "five: 5 bytes"


def download() -> None:
    assert len(api.FilesApi(client).files_get_download(300)) == 300


def byte_stream() -> None:
    assert api.FilesApi(client).files_export(api.FilesExportRequest(rows=3)) == "0,tea\n1,tea\n2,tea\n"


def stream() -> None:
    raw = api.FeedApi(client).feed_talk_without_preload_content(api.FeedTalkRequest(words=["a"]))
    assert raw.read().endswith(b"event: close\n\n")
    raise NotImplementedError("gives the raw answer only")


def stream_early_error() -> None:
    try:
        api.FeedApi(client).feed_fail(api.FeedFailRequest(after=0))
    except api.exceptions.ConflictException as error:
        assert isinstance(error.data.actual_instance, api.SoldOutError), error.data
        return
    raise AssertionError("it did not fail")


def sign_in() -> None:
    name, password = "openapi-generator", "a long password"
    api.AuthApi(client).auth_upgrade(api.UpgradeRequest(username=name, password=password))
    pair = api.AuthApi(anonymous).auth_login(name, password)
    pair = api.AuthApi(anonymous).auth_refresh(api.RefreshRequest(refresh_token=pair.refresh_token))
    mine = api.AuthApi(api.ApiClient(api.Configuration(host=URL, access_token=pair.access_token)))
    assert not mine.auth_me().visitor
    assert mine.auth_logout_with_http_info().status_code == 204
    try:
        mine.auth_me()
    except api.exceptions.UnauthorizedException:
        return
    raise AssertionError("it did not fail")


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
        invalid,
        upload,
        download,
        byte_stream,
        stream,
        stream_early_error,
        sign_in,
    )
