"""Swagger UI in a real browser, without the internet."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Locator, Page, Request, Route, expect
from pydantic import BaseModel, Field

from fastapi_poto import Poto, PotoError, PotoModule, poto_router, public, roles
from fastapi_poto.openapi import poto_docs
from fastapi_poto.testing import serve
from tests.browsers import chromium
from tests.secret import SECRET

pytestmark = pytest.mark.browser

SHOTS = os.environ.get("SCREENSHOTS")
"""A folder to keep screenshots in."""


class Line(BaseModel):
    sku: str = Field(examples=["apple"])
    quantity: int = Field(1, ge=1)


class SoldOut(PotoError):
    """Nothing is left."""

    code = "sold_out"
    status = 409


class Shop(PotoModule):
    """Orders and **stock**."""

    @public
    async def get_status(self) -> str:
        """Whether the shop is open."""
        return "open"

    async def add_line(self, line: Line, note: str | None = None) -> list[str]:
        """Add a line to the basket.

        Args:
            line: What to add.
            note: For the packer.
        """
        return [self.user.id, line.sku, str(line.quantity)]

    async def watch(self, limit: int = 3) -> AsyncIterator[Line]:
        """Watch the lines as they come."""
        for number in range(limit):
            yield Line(sku=f"item-{number}")

    @public
    async def tick(self, pause: float = 0.2, count: int = 10, then: str = "end") -> AsyncIterator[int]:
        """Numbers, one after the other; and then an end or a failure."""
        for number in range(count):
            yield number
            await asyncio.sleep(pause)
        if then == "fail":
            raise SoldOut


class Admin(PotoModule):
    """For administrators."""

    @roles("admin")
    async def close(self) -> None:
        """Close the shop."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app, mounted = FastAPI(title="A shop"), FastAPI()
    app.include_router(poto_router(Shop, Admin, poto=Poto(SECRET)))
    mounted.include_router(poto_router(Shop, poto=Poto(SECRET), prefix="/v1"))
    closed = FastAPI()
    closed.include_router(poto_router(Shop, poto=Poto(SECRET, visitors=False)))
    for one in (app, mounted, closed):
        poto_docs(one)
    app.mount("/sub", mounted)
    app.mount("/closed", closed)
    with serve(app) as live:
        yield live.url


@pytest.fixture(scope="module")
def pages() -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(15_000)
        yield page


class Docs:
    """/docs, open in the browser."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        # What React catches, it logs.
        page.on("console", lambda one: self.problems.append(one.text) if "TypeError" in one.text else None)
        self.open("/docs")

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)
        expect(self.page.locator(".opblock").first).to_be_visible()

    def block(self, operation: str) -> Locator:
        """An operation, unfolded."""
        block = self.page.locator(f'[id$="-{operation}"].opblock')
        if "is-open" not in (block.get_attribute("class") or ""):
            block.locator(".opblock-summary").click()
        return block

    def authorize(self, username: str, password: str) -> None:
        self.page.locator(".scheme-container .btn.authorize").click()
        form = self.page.locator(".auth-container", has_text="OAuth2")
        form.locator("#oauth_username").fill(username)
        form.locator("#oauth_password").fill(password)
        form.locator("button.authorize").click()
        expect(form.get_by_role("heading", name="Authorized")).to_be_visible()
        self.shot(f"authorized-{'visitor' if username.startswith('visitor') else 'named'}")
        form.locator(".btn-done").click()

    def try_out(self, operation: str, body: str | None = None) -> Locator:
        """Execute an operation; its answer."""
        block = self.block(operation)
        block.locator(".try-out__btn").click()
        if body is not None:
            block.locator("textarea.body-param__text").fill(body)
        block.locator("button.execute").click()
        answer = block.locator(".live-responses-table")
        expect(answer.locator("tbody td.response-col_status").first).to_be_visible()
        status = answer.locator("tbody td.response-col_status").first.inner_text().strip()[:3]
        self.shot(f"answer-{operation}-{status}", block)
        return answer

    def start(self, operation: str, body: str) -> Locator:
        """Execute a stream; where its events appear."""
        block = self.block(operation)
        if block.locator(".try-out__btn.cancel").count() == 0:
            block.locator(".try-out__btn").click()
        block.locator("textarea.body-param__text").fill(body)
        block.locator("button.execute").click()
        return block.locator(".live-responses-table tbody .response-col_description").first

    def shot(self, name: str, part: Locator | None = None) -> None:
        if SHOTS:
            (part or self.page).screenshot(path=Path(SHOTS) / f"{name}.png")


@pytest.fixture
def docs(pages: Page, url: str) -> Iterator[Docs]:
    foreign: list[str] = []

    def only_here(route: Route, request: Request) -> None:
        if request.url.startswith((url, "data:", "blob:")):
            route.continue_()
        else:
            foreign.append(request.url)
            route.abort()

    pages.route("**/*", only_here)
    docs = Docs(pages, url)
    yield docs
    pages.unroute_all()
    # ReDoc's own logo is all that it wants of others; the page works without.
    assert [one for one in foreign if not one.endswith("logo-mini.svg")] == [], "the page asked other hosts"
    assert docs.problems == []


def status_of(answer: Locator) -> str:
    return answer.locator("tbody td.response-col_status").first.inner_text().strip()[:3]


def test_modules_are_sections(docs: Docs) -> None:
    """Each module is a section with its docstring; each method a block with its summary, guarded ones with a lock."""
    page = docs.page
    section = page.locator('h3[data-tag="Shop"]')
    expect(section.locator("small")).to_have_text("Orders and stock.")
    expect(section.locator("small strong")).to_have_text("stock")
    expect(page.locator('h3[data-tag="Admin"] small')).to_have_text("For administrators.")
    block = docs.block("Shop_add_line")
    expect(block.locator(".opblock-summary-description")).to_have_text("Add a line to the basket")
    expect(block.locator(".opblock-summary .authorization__btn")).to_have_count(1)
    expect(docs.block("Shop_get_status").locator(".opblock-summary .authorization__btn")).to_have_count(0)
    docs.shot("sections")


def test_a_call_without_signing_in(docs: Docs) -> None:
    """A public method answers, another one says 401."""
    answer = docs.try_out("Shop_get_status")
    assert status_of(answer) == "200"
    expect(answer).to_contain_text('"open"')
    assert status_of(docs.try_out("Shop_add_line")) == "401"


def test_a_named_user(docs: Docs) -> None:
    """Authorize with a name and a password; a call; a 422; a 403; a stream and its items."""
    with httpx.Client(base_url=docs.url) as client:
        tokens = client.post("/auth/visitor").json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        named = client.post("/auth/upgrade", json={"username": "ann", "password": "correct horse battery"})
        assert named.status_code == 200, named.text
    docs.authorize("ann", "correct horse battery")
    answer = docs.try_out("Shop_add_line")  # with the example that Swagger UI makes of the schema
    assert status_of(answer) == "200"
    expect(answer).to_contain_text(tokens["user_id"])
    expect(answer).to_contain_text("apple")
    assert status_of(docs.try_out("Admin_close")) == "403"
    answer = docs.try_out("Shop_watch", '{"limit": 3}')
    assert status_of(answer) == "200"
    for text in ('"item-0"', '"item-2"', "event: close"):
        expect(answer).to_contain_text(text)
    docs.page.reload()
    docs.authorize("ann", "correct horse battery")
    answer = docs.try_out("Shop_add_line", '{"line": {"sku": 1, "quantity": 0}}')
    assert status_of(answer) == "422"
    expect(answer).to_contain_text("greater_than_equal")


def test_a_visitor(docs: Docs) -> None:
    """Authorize as a visitor, with the name and the password that /auth/visitor gave once."""
    answer = docs.try_out("Auth_visitor")
    assert status_of(answer) == "200"
    visitor = httpx.post(f"{docs.url}/auth/visitor").json()
    docs.authorize(visitor["user_id"], visitor["password"])
    answer = docs.try_out("Shop_add_line", '{"line": {"sku": "pear"}}')
    assert status_of(answer) == "200"
    expect(answer).to_contain_text(visitor["user_id"])


def test_a_stream_plays(docs: Docs) -> None:
    """Its items are there before it ends, and at the end it says how it ended."""
    shown = docs.start("Shop_tick", '{"pause": 0.2, "count": 10}')
    expect(shown).to_contain_text("data: 2")
    expect(shown).to_contain_text("running")
    docs.shot("stream-running", docs.block("Shop_tick"))
    assert "data: 9" not in shown.inner_text()
    expect(shown).to_contain_text("10 events, complete")
    expect(docs.block("Shop_tick").locator(".poto-stop")).to_have_count(0)


def test_a_stream_that_fails(docs: Docs) -> None:
    """The error is shown with its code."""
    shown = docs.start("Shop_tick", '{"pause": 0, "count": 2, "then": "fail"}')
    expect(shown).to_contain_text("2 events, failed")
    expect(shown).to_contain_text('{"$error":{"code":"sold_out","detail":"Nothing is left"}}')
    docs.shot("stream-failed", docs.block("Shop_tick"))


def test_a_stream_is_stopped(docs: Docs) -> None:
    """By a button, which is there while the stream runs; what came stays, and the next one starts anew."""
    block = docs.block("Shop_tick")
    shown = docs.start("Shop_tick", '{"pause": 0.1, "count": 100000}')
    expect(shown).to_contain_text("data: 3")
    block.locator(".poto-stop").click()
    expect(shown).to_contain_text("stopped")
    expect(block.locator(".poto-stop")).to_have_count(0)
    docs.shot("stream-stopped", block)
    expect(docs.start("Shop_tick", '{"pause": 0, "count": 1}')).to_contain_text("1 event, complete")


def test_a_stream_of_thousands_stays_quick(docs: Docs) -> None:
    """Only the last events are kept; how many there were is said."""
    began = time.monotonic()
    shown = docs.start("Shop_tick", '{"pause": 0, "count": 4000}')
    expect(shown).to_contain_text("4000 events, complete")
    expect(shown).to_contain_text("3951 earlier events are not shown")
    expect(shown).to_contain_text("data: 3999")
    assert time.monotonic() - began < 8
    docs.shot("stream-of-thousands", docs.block("Shop_tick"))


def test_one_click_signs_a_visitor_in(docs: Docs) -> None:
    """Authorize says which ways there are, and the first of them needs nothing."""
    docs.page.locator(".scheme-container .btn.authorize").click()
    ways = docs.page.locator(".poto-ways")
    docs.shot("ways-to-sign-in")
    ways.get_by_role("button", name="Sign in as a new visitor").click()
    expect(ways).to_contain_text("Signed in as visitor_")
    docs.shot("signed-in-by-a-click")
    docs.page.locator(".modal-ux .close-modal").click()
    answer = docs.try_out("Auth_me")
    assert status_of(answer) == "200"
    expect(answer).to_contain_text("visitor_")


def test_without_visitors(docs: Docs) -> None:
    """Where no visitor is let in, nothing offers to be one."""
    docs.open("/closed/docs")
    docs.page.locator(".scheme-container .btn.authorize").click()
    ways = docs.page.locator(".poto-ways")
    expect(ways).to_contain_text("a name and a password")
    expect(ways.get_by_role("button")).to_have_count(0)
    docs.page.locator(".modal-ux .close-modal").click()


def test_a_mounted_application(docs: Docs) -> None:
    """Authorize finds the sign-in of an application that is mounted in another one, below its router's prefix."""
    visitor = httpx.post(f"{docs.url}/sub/v1/auth/visitor").json()
    docs.open("/sub/docs")
    docs.authorize(visitor["user_id"], visitor["password"])
    assert status_of(docs.try_out("Shop_add_line")) == "200"


def test_redoc(docs: Docs) -> None:
    """The other page shows the same modules."""
    docs.page.goto(f"{docs.url}/redoc")
    expect(docs.page.get_by_role("heading", name="Shop").first).to_be_visible()
    expect(docs.page.get_by_role("heading", name="Add a line to the basket")).to_be_visible()
    docs.shot("redoc")
