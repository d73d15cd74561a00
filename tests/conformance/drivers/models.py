"""The models that datamodel-code-generator makes, as `poto_models`: the same JSON there and back."""

import json
import urllib.request

import poto_models as models
from steps import EVERYTHING, URL, run

token = ""


def post(path: str, body: str = "") -> str:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(URL + path, body.encode(), headers, method="POST")
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def visitor() -> None:
    global token
    token = models.VisitorTokens.model_validate_json(post("/auth/visitor")).access_token


def types() -> None:
    text = EVERYTHING | {"blob": "aGVsbG8="}  # its Base64Str is of text: other bytes are refused
    value = models.EverythingInput.model_validate(text)
    request = models.ShopEchoRequest(value=value).model_dump_json(by_alias=True, exclude_unset=True)
    answer = models.EverythingOutput.model_validate_json(post("/Shop/echo", request))
    assert json.loads(answer.model_dump_json(by_alias=True)) == json.loads(value.model_dump_json(by_alias=True))
    tree = models.TreeInput(value=1, children=[models.TreeInput(value=2)])
    assert json.loads(post("/Shop/echo", request)) == text
    assert models.TreeInput.model_validate_json(tree.model_dump_json()) == tree


def union() -> None:
    pet = models.CatOrDog(models.Dog(kind="dog", name="Rex"))
    request = models.ShopNamePetRequest(pet=pet).model_dump_json(exclude_unset=True)
    answer = models.CatOrDog.model_validate_json(post("/Shop/name_pet", request))
    assert answer.root == models.Cat(kind="cat", lives=3)


def declared_errors() -> None:
    try:
        post("/Shop/buy", models.ShopBuyRequest(sku="gone").model_dump_json())
    except urllib.error.HTTPError as error:
        found = models.SoldOutError.model_validate_json(error.read())
        assert found.data and found.data.sku == "gone"
        return
    raise AssertionError("it did not fail")


if __name__ == "__main__":
    run(visitor, types, union, declared_errors)
