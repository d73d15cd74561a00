"""Two tabs in the example's tea room: they talk, one is loaded again in the middle of an answer, the other stops it."""

import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browsers import chromium
from tests.example.conftest import Running

pytestmark = pytest.mark.browser


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    with chromium() as browser:
        yield browser.new_context()


def tab(context: BrowserContext, example: Running) -> Page:
    page = context.new_page()
    page.goto(f"{example.url}/room")
    page.locator("body[data-ready]").wait_for()
    return page


def words(page: Page) -> int:
    return len(page.locator("#answer").inner_text().split())


def test_two_tabs(context: BrowserContext, example: Running) -> None:
    """What one says the other hears; an answer goes on after a reload, and Stop in the other tab ends it for both."""
    one = tab(context, example)
    other = tab(context, example)
    one.locator("#say input").fill("hello from one")
    one.locator("#say button").click()
    expect(other.locator("#talk")).to_contain_text("hello from one")
    other.locator("#say input").fill("what has the @shop?")
    other.locator("#say button").click()
    expect(one.locator("#talk")).to_contain_text("agent: We have")
    expect(one.locator("#people")).to_have_text("1 here")

    one.locator("#ask button").first.click()
    expect(one.locator("#answer")).to_contain_text("You asked with")
    one.reload()
    expect(one.locator("#answer")).to_contain_text("You asked with", timeout=5000)
    seen = words(one)
    expect(one.locator("#stop")).to_be_enabled()
    one.wait_for_function(f"document.getElementById('answer').innerText.split(/\\s+/).length > {seen}")
    assert one.locator("#answer").inner_text().startswith("You asked with 4 words"), "from its start"

    expect(other.locator("#stop")).to_be_enabled()
    other.locator("#stop").click()
    for page in (one, other):
        expect(page.locator("#stop")).to_be_disabled()
        assert page.locator("#answer").get_attribute("data-state") == "over"
    stopped = words(one)
    time.sleep(0.5)
    assert words(one) == stopped
    token = one.evaluate("localStorage.getItem('token')")
    running = httpx.get(f"{example.url}/streams", headers={"Authorization": f"Bearer {token}"})
    assert running.json() == []
