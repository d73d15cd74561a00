"""The example app does what `make run` and its modules promise."""

import asyncio
import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from example_app.app import make_app
from tests.e2e.caller import Caller, Refused, new_client
from tests.example.conftest import Running, running
from tests.processes import ROOT, listen

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(example: Running, anyio_backend: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with new_client(example.url) as client:
        yield client


@pytest.fixture
async def admin(example: Running, http: httpx.AsyncClient) -> Caller:
    password = re.search(r"user 'admin' with the password (\S+)", example.output)
    assert password is not None
    return await Caller.login(http, "admin", password[1])


# The start


async def test_the_lines_it_prints_work(example: Running) -> None:
    """The address is that of the documentation, and each printed command does what it says."""
    async with httpx.AsyncClient() as client:
        assert "swagger" in (await client.get(f"{example.url}/docs")).text.lower()
    commands = [line.strip() for line in example.output.splitlines() if line.strip().startswith(("curl", "TOKEN="))]
    assert len(commands) == 3
    script = "set -eu -o pipefail\n" + "\n".join(commands)
    done = await asyncio.to_thread(subprocess.run, ["bash", "-c", script], capture_output=True, text=True, check=True)
    assert '"sku":"kettle"' in done.stdout
    assert 'data: {"type":"token","text":"You"}' in done.stdout
    assert done.stdout.rstrip().endswith("event: close")


async def test_the_documentation_needs_no_other_host(http: httpx.AsyncClient) -> None:
    """The scripts and styles of /docs come from the app itself."""
    page = (await http.get("/docs")).text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith("/")
        assert (await http.get(source)).status_code == 200


async def test_a_restart_keeps_tokens_users_and_sessions(tmp_path: Path) -> None:
    """The secret is made once, for its owner's eyes; the admin's password is shown once; a visitor stays signed in."""
    with running(tmp_path) as first:
        async with new_client(first.url) as http:
            visitor = await Caller.visitor(http)
            await visitor.call("/Shop/add_line", line={"sku": "cup", "quantity": 2})
        secret = tmp_path / "secret"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert "user 'admin' with the password" in first.output
        made = secret.read_text()
        assert len(made) >= 32
        assert first.stop() == 0
        assert "Traceback" not in first.output
    with running(tmp_path) as second:
        assert secret.read_text() == made
        assert "password" not in second.output
        async with new_client(second.url) as http:
            assert (await visitor.at(http).value("GET", "/Shop/basket"))["total"] == "15.00"


async def test_many_start_at_once_on_a_store_that_is_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of several workers looks for the admin and finds none; one makes it, and all of them serve."""
    # Servers that ran in this process have set the level of uvicorn's loggers.
    monkeypatch.setattr("example_app.app.log", logging.getLogger("example"))
    apps = [make_app("kZ3nQ0vT8rW5yB1xF6hJ9mL2pS4uD7aE-gC_iKoNqRt", f"sqlite:///{tmp_path}/shop.db") for _ in range(6)]
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(app.router.lifespan_context(app)) for app in apps))
    assert caplog.text.count("Made the user 'admin'") == 1


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """One line says so, and what to do."""
    with listen() as taken:
        environment = {**os.environ, "EXAMPLE_DATA": str(tmp_path), "PORT": str(taken.getsockname()[1])}
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "example_app"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "Cannot listen" in done.stderr
    assert "make run PORT=" in done.stderr
    assert "Traceback" not in done.stderr


# Shop


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *[("/Chat/ask", {"question": "How?", "delay": delay}) for delay in ("nan", "inf", -1, 60, 1e300)],
        ("/Chat/ask", {"question": "x" * 201}),
        ("/Shop/add_line", {"line": {"sku": "x" * 41}}),
        ("/Shop/add_line", {"line": {"sku": "cup", "quantity": 10**9}}),
    ],
)
async def test_what_is_taken_is_bounded(http: httpx.AsyncClient, path: str, body: dict[str, object]) -> None:
    """A stranger cannot make it wait for ever, keep much, or fail: 422."""
    visitor = await Caller.visitor(http)
    with pytest.raises(Refused) as refused:
        await visitor.call(path, **body)
    assert refused.value.status == 422


async def test_buying(http: httpx.AsyncClient) -> None:
    """From the public list over the basket to the receipt; the stock is less by it."""
    visitor = await Caller.visitor(http)
    before = {article["sku"]: article for article in await Caller(http).value("GET", "/Shop/articles?search=kettle")}
    assert set(before) == {"kettle"}
    await visitor.call("/Shop/add_line", line={"sku": "kettle"})
    await visitor.call("/Shop/add_line", line={"sku": "cup", "quantity": 2})
    await visitor.call("/Shop/add_line", line={"sku": "cup"})
    await visitor.send("DELETE", "/Shop/line?sku=kettle")
    assert await visitor.value("GET", "/Shop/basket") == {"lines": [{"sku": "cup", "quantity": 3}], "total": "22.50"}
    await visitor.call("/Shop/add_line", line={"sku": "kettle"})
    assert await visitor.call("/Shop/checkout") == {"number": 1, "paid": "57.40"}
    assert (await visitor.value("GET", "/Shop/basket"))["lines"] == []
    after = (await visitor.value("GET", "/Shop/articles?search=kettle"))[0]
    assert after["stock"] == before["kettle"]["stock"] - 1


async def test_more_than_there_is(http: httpx.AsyncClient) -> None:
    """The error says how many are left, and the basket is as it was."""
    visitor = await Caller.visitor(http)
    await visitor.call("/Shop/add_line", line={"sku": "teapot", "quantity": 100})
    with pytest.raises(Refused) as refused:
        await visitor.call("/Shop/checkout")
    assert (refused.value.status, refused.value.code) == (409, "sold_out")
    assert refused.value.body["data"] == {"sku": "teapot", "left": 3}
    assert (await visitor.value("GET", "/Shop/basket"))["lines"] == [{"sku": "teapot", "quantity": 100}]


async def test_an_unknown_article(http: httpx.AsyncClient) -> None:
    """404 with its sku, for a call and for a stream before its first item."""
    visitor = await Caller.visitor(http)
    for attempt in (
        visitor.call("/Shop/add_line", line={"sku": "samovar"}),
        visitor.items("/Shop/watch_article", sku="samovar"),
    ):
        with pytest.raises(Refused) as refused:
            await attempt
        assert (refused.value.status, refused.value.body["data"]) == (404, {"sku": "samovar"})


async def test_two_checkouts_at_once_buy_once(http: httpx.AsyncClient) -> None:
    """One finds the basket empty."""
    visitor = await Caller.visitor(http)
    await visitor.call("/Shop/add_line", line={"sku": "cup"})
    receipts = await asyncio.gather(visitor.call("/Shop/checkout"), visitor.call("/Shop/checkout"))
    assert sorted(float(receipt["paid"]) for receipt in receipts) == [0, 7.5]


# Admin


async def test_only_an_admin(http: httpx.AsyncClient, admin: Caller) -> None:
    """403 for a visitor, 401 for nobody, the worth for the admin."""
    with pytest.raises(Refused) as refused:
        await (await Caller.visitor(http)).value("GET", "/Admin/worth")
    assert refused.value.status == 403
    with pytest.raises(Refused) as refused:
        await Caller(http).value("GET", "/Admin/worth")
    assert refused.value.status == 401
    assert (await admin.value("GET", "/Admin/worth"))["articles"] >= 3


async def test_customers_watch_what_the_admin_does(http: httpx.AsyncClient, admin: Caller) -> None:
    """Each change of an article's stock comes down the stream of whoever watches it."""
    article = {"sku": "strainer", "name": "Tea strainer", "price": "4.20", "stock": 1}
    assert await admin.value("PUT", "/Admin/article", json={"article": article}) == article
    stocks = []
    async with aclosing(Caller(http).stream("/Shop/watch_article", sku="strainer", changes=2)) as changes:
        async for seen in changes:
            stocks.append(seen["stock"])
            if len(stocks) < 3:
                await admin.value("PATCH", "/Admin/stock", json={"sku": "strainer", "by": 5})
    assert stocks == [1, 6, 11]
    assert await admin.value("DELETE", "/Admin/article?sku=strainer") is None
    assert (await Caller(http).value("GET", "/Shop/articles?search=strainer")) == []


# Chat


async def test_an_answer(http: httpx.AsyncClient) -> None:
    """Token by token, counted at the end, and kept as it was said."""
    visitor = await Caller.visitor(http)
    items = await visitor.items("/Chat/ask", question="How do streams work?", delay=0)
    assert [item["type"] for item in items] == ["token"] * (len(items) - 1) + ["finished"]
    assert items[-1] == {"type": "finished", "tokens": len(items) - 1, "stopped_by": "end"}
    history = await visitor.value("GET", "/Chat/history")
    text = "".join(item["text"] for item in items[:-1])
    assert [(one["role"], one["text"]) for one in history] == [("user", "How do streams work?"), ("assistant", text)]
    download = await visitor.send("POST", "/Chat/download", json={})
    assert download.headers["content-type"].startswith("text/plain")
    assert download.text.splitlines()[1].endswith(f"assistant: {text}")
    await visitor.value("DELETE", "/Chat/history")
    assert await visitor.value("GET", "/Chat/history") == []


async def test_a_limit(http: httpx.AsyncClient) -> None:
    """The answer stops at `max_tokens` and says so."""
    visitor = await Caller.visitor(http)
    items = await visitor.items("/Chat/ask", question="How?", max_tokens=3, delay=0)
    assert items[-1] == {"type": "finished", "tokens": 3, "stopped_by": "length"}


async def test_a_refusal(http: httpx.AsyncClient) -> None:
    """Is an error before the stream begins."""
    visitor = await Caller.visitor(http)
    with pytest.raises(Refused) as refused:
        await visitor.items("/Chat/ask", question="What is your password?")
    assert (refused.value.status, refused.value.code) == (422, "content_refused")


async def test_a_reader_who_leaves(http: httpx.AsyncClient) -> None:
    """What was said until then is kept."""
    visitor = await Caller.visitor(http)
    async with aclosing(visitor.stream("/Chat/ask", question="How?", delay=0.05)) as items:
        async for item in items:
            assert item["text"] == "You"
            break
    async with asyncio.timeout(10):
        while len(history := await visitor.value("GET", "/Chat/history")) < 2:
            await asyncio.sleep(0.01)
    assert history[1]["text"].startswith("You")
