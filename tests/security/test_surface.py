"""Threats 26, 28 and 32: what goes over the wire, what is in the code, and what can be called."""

import ast
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

import fastapi_poto
from fastapi_poto import Event, PotoModule
from tests.security.world import Vault, World

PACKAGE = Path(fastapi_poto.__file__).parent


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "\r\ndata: forged", "x\n\nevent: close"])
def test_26_no_line_breaks_in_names_and_ids(shared: World, bad: str) -> None:
    """Threat 26: a ValueError on the server, so an error to the caller, and nothing of the name on the wire."""
    for field in ("event", "id"):
        with pytest.raises(ValueError, match=field):
            Event(data=1, **{field: bad})
        answer = shared.post("/Vault/say", shared.visitor(), **{field: bad})
        assert answer.status_code == 500
        assert "forged" not in answer.text


@pytest.mark.parametrize("data", ["a\nb", "a\r\nb", "\n\n", "x\n\nevent: close\n\n", "\ndata: forged", "a\rid: 5"])
def test_26_line_breaks_in_data(shared: World, data: str) -> None:
    """Threat 26: data is one event, whatever is in it."""
    answer = shared.post("/Vault/say", shared.visitor(), data=data, event="said")
    assert answer.status_code == 200
    frames = [frame for frame in answer.text.split("\n\n") if frame and not frame.startswith(":")]
    assert len(frames) == 2
    assert frames[0].startswith("event: said\ndata: ")
    assert frames[1] == "event: close"
    assert not [line for line in answer.text.splitlines() if line.startswith(("id:", "data: forged"))]


FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def test_28_no_pickle_and_no_eval() -> None:
    """Threat 28: nothing in the package can turn bytes into code."""
    found = []
    for path, tree in sources():
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").partition(".")[0]] if node.level == 0 else []
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = [node.func.id] if node.func.id in FORBIDDEN_CALLS else []
            if FORBIDDEN_MODULES.intersection(names) or FORBIDDEN_CALLS.intersection(names):
                found.append(f"{path.name}:{node.lineno}")  # type: ignore[attr-defined]
    assert found == []


OPEN = {
    "status", "anybody", "me", "whoami", "reports", "tick_for_admins", "tick", "ticks", "numbers", "keep", "keep_text",
    "keep_slowly", "count", "kept", "say",
}  # fmt: skip


def names_that_are_no_methods() -> list[str]:
    everything = {name for cls in (Vault, PotoModule, object) for name in vars(cls)}
    calls = OPEN | {f"get_{name}" for name in OPEN}
    return sorted(everything - calls)


def test_32_only_what_is_published_can_be_called(shared: World) -> None:
    """Threat 32: methods of PotoModule, private names, dunders, properties and attributes are 404 under any verb."""
    pair = shared.visitor()
    names = names_that_are_no_methods()
    assert {"_private", "prop", "attribute", "helper", "__init__", "__class__", "session", "user"} <= set(names)
    assert {"get_current_user", "set_session_value", "get_session_value", "is_request_cancelled"} <= set(names)
    for name in names:
        # A prefix may have been dropped from the path: get_current_user would be GET /Vault/current_user.
        for path in {name, name.removeprefix("get_"), name.lstrip("_")} - OPEN:
            for verb in ("GET", "POST", "PUT", "DELETE", "PATCH"):
                answer = shared.http.request(
                    verb, f"/Vault/{path}", headers={"Authorization": f"Bearer {pair['access_token']}"}
                )
                assert answer.status_code == 404, (verb, path, answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/vault/whoami", "/VAULT/whoami", "/Vault/WHOAMI", "/Vault/Whoami", "/Vault/whoami/", "/Vault//whoami",
        "//Vault/whoami", "/Vault/whoami%00", "/Vault/whoami%20", "/Vault/who%2561mi", "/Vault/..%2fVault/whoami",
        "/Vault/%5f%5finit%5f%5f", "/Vault/_private", "/Vault/%5Fprivate", "/Vault/whoami.__call__",
        "/Vault/whoami/__globals__",
        "/Vault.whoami", "/Vault:whoami", "/PotoModule/whoami", "/Vault/get_me", "/Vault/get_status",
        "/Vault/helper",
        "/Vault/" + quote("\uff57hoami"), "/Vault/" + quote("whoami\u0000"),
        "/Vault/prop/fget", "/object/__subclasses__",
    ],
)  # fmt: skip
def test_32_spellings_of_a_path(shared: World, path: str) -> None:
    """Threat 32: a path is what it is, in its own case and encoding; nothing else finds a method."""
    token = shared.visitor()["access_token"]
    for verb in (b"GET", b"POST"):
        answer = shared.raw(
            verb + b" " + path.encode() + b" HTTP/1.1",
            b"Authorization: Bearer " + token.encode(),
            b"Content-Type: application/json",
            body=b"{}",
        )
        status = int(answer.split(b" ", 2)[1])
        assert status in (400, 404, 405, 307), (verb, answer)
        if status == 307:  # FastAPI sends a path with a slash too many to the one without
            assert b"/Vault/whoami\r\n" in answer


def test_32_an_encoded_path_is_the_same_method_with_the_same_guard(shared: World) -> None:
    """Threat 32: percent-encoding of plain letters is the same path (RFC 3986), so it must not lose its guard."""
    assert shared.raw(b"GET /Vault/%6De HTTP/1.1").startswith(b"HTTP/1.1 401")
    assert shared.raw(b"GET /Vault/%72eports HTTP/1.1").startswith(b"HTTP/1.1 401")
    assert shared.raw(b"GET /Vault%2Freports HTTP/1.1").startswith(b"HTTP/1.1 401")
    visitor = f"Authorization: Bearer {shared.visitor()['access_token']}".encode()
    assert shared.raw(b"GET /Vault/%72eports HTTP/1.1", visitor).startswith(b"HTTP/1.1 403")
    assert shared.raw(b"GET /Vault/repor%74s HTTP/1.1", visitor).startswith(b"HTTP/1.1 403")
