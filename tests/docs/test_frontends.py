"""The JavaScript of docs/frontends.md, in pages of Chromium that have another origin than the application."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Request

from .blocks import Block, read_blocks
from .runner import Page as DocsPage
from tests.browsers import chromium

pytestmark = pytest.mark.browser

PAGE = Path(__file__).parent.parent.parent / "docs" / "frontends.md"
ORIGIN = "http://localhost:5173"
BLOCKS = [block for block in read_blocks(PAGE) if block.language == "js"]


def block(text: str) -> Block:
    (found,) = [one for one in BLOCKS if text in one.code]
    return found


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """The application of the page."""
    with ExitStack() as stack:
        page = DocsPage(stack)
        page.run(next(one for one in read_blocks(PAGE) if one.run == "server"))
        assert page.url
        yield page.url


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    """A browser in which `ORIGIN` has a page with the functions of the docs."""
    script = "\n".join(one.code for one in BLOCKS)
    # A page that no server sent may not call this machine; one of a development server may.
    local = "--disable-features=LocalNetworkAccessChecks"
    with chromium(local) as browser:
        context = browser.new_context()
        body = f"<!doctype html><script>{script}</script>"
        context.route(f"{ORIGIN}/", lambda route: route.fulfill(body=body, content_type="text/html"))
        yield context


def opened(context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto(f"{ORIGIN}/")
    return page


def test_every_block_is_here() -> None:
    """Which of them the pages use is below; none is forgotten."""
    assert len(BLOCKS) == 3
    assert [block(name) for name in ("function ticks", "function accessToken", "function upload")] == BLOCKS


def test_event_source(context: BrowserContext, api: str) -> None:
    """Items, and the end, after which it does not come back."""
    asked: list[Request] = []
    page = opened(context)
    page.on("request", lambda request: asked.append(request))
    seen = page.evaluate(
        """api => new Promise((resolve) => {
            const seen = []
            ticks(api, (item) => seen.push(item), (end) => resolve([...seen, end]))
        })""",
        api,
    )
    assert seen == [0, 1, 2, "complete"]
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 50))")
    assert len(asked) == 1


def test_one_refresh_for_all_tabs(context: BrowserContext, api: str) -> None:
    """Fifteen calls in three tabs with an expired token: one refresh, and one token for all."""
    refreshes: list[str] = []
    tabs = [opened(context) for _ in range(3)]
    for tab in tabs:
        tab.on("request", lambda request: refreshes.append(request.method) if "/refresh" in request.url else None)
    pair = httpx.post(f"{api}/auth/visitor").json()
    tabs[0].evaluate("pair => keep({ ...pair, expires_in: 0 })", pair)
    for tab in tabs:
        tab.evaluate("api => { window.calls = Array.from({ length: 5 }, () => accessToken(api)) }", api)
    tokens = [token for tab in tabs for token in tab.evaluate("() => Promise.all(calls)")]
    assert len(tokens) == 15
    (token,) = set(tokens)
    assert token != pair["access_token"]
    assert refreshes.count("POST") == 1
    answer = httpx.get(f"{api}/Desk/name", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == pair["user_id"]


def test_upload_progress(context: BrowserContext, api: str) -> None:
    """The last tick says that all is sent; the method's answer comes; an error has its code."""
    token = httpx.post(f"{api}/auth/visitor").json()["access_token"]
    call = """async ([api, token]) => {
        const ticks = []
        const file = new File([new Uint8Array(500_000)], 'five.bin')
        const size = await upload(api, token, file, (part) => ticks.push(part))
        return [size, ticks.at(-1)]
    }"""
    page = opened(context)
    assert page.evaluate(call, [api, token]) == [500_000, 1]
    with pytest.raises(Exception, match="unauthenticated"):
        page.evaluate(call, [api, "nobody"])


@pytest.mark.parametrize("origin", [ORIGIN, "http://elsewhere.example"])
def test_a_deadline_from_another_origin(context: BrowserContext, api: str, origin: str) -> None:
    """A listed origin may set a deadline and read the challenge; another one gets nothing."""
    context.route(f"{origin}/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page = context.new_page()
    page.goto(f"{origin}/")
    call = """async (api) => {
        const answer = await fetch(`${api}/Desk/name`, { headers: { 'Poto-Timeout-Ms': '5000' } })
        return [answer.status, answer.headers.get('WWW-Authenticate')]
    }"""
    if origin == ORIGIN:
        found: Any = page.evaluate(call, api)
        assert found[0] == 401
        assert found[1].startswith("Bearer")
    else:
        with pytest.raises(Exception, match="Failed to fetch"):
            page.evaluate(call, api)
