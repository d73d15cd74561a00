"""A person at the example's /docs: signs in as a visitor, calls a method and a stream."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browsers import chromium
from tests.example.conftest import Running

pytestmark = pytest.mark.browser


@pytest.fixture
def page(example: Running) -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{example.url}/docs")
        yield page


def execute(page: Page, operation_id: str) -> Locator:
    """Open an operation, try it out as it stands, and its answer."""
    operation = page.locator(f"[id$='-{operation_id}']")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response")
    answer.wait_for()
    return answer


def test_a_visitor_tries_the_api(page: Page) -> None:
    """Register by a click, put the name and password into Authorize, then calls and streams answer as for anyone."""
    refused = execute(page, "Shop_get_basket")
    assert refused.locator(".response-col_status").inner_text().startswith("401")

    visitor = json.loads(execute(page, "Auth_visitor").locator("pre.microlight, code").first.inner_text())
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    form = dialog.locator(".auth-container", has=page.locator("#oauth_username"))
    form.locator("#oauth_username").fill(visitor["user_id"])
    form.locator("#oauth_password").fill(visitor["password"])
    form.get_by_role("button", name="Apply given OAuth2 credentials").click()
    dialog.get_by_role("button", name="Remove authorization").wait_for()
    dialog.locator(".close-modal").click()

    me = execute(page, "Auth_me")
    assert me.locator(".response-col_status").inner_text().startswith("200")
    assert visitor["user_id"] in me.inner_text()

    # As they stand: the examples are values for which calls work.
    for operation in ("Shop_get_articles", "Shop_add_line", "Shop_checkout"):
        answer = execute(page, operation)
        assert answer.locator(".response-col_status").inner_text().startswith("200"), operation

    answer = execute(page, "Chat_ask")
    assert answer.locator(".response-col_status").inner_text().startswith("200")
    expect(answer.first).to_contain_text("complete")
    expect(answer.first).to_contain_text("event: close")
