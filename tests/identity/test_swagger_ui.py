"""Swagger UI's Authorize signs in at a certified provider: authorization code with PKCE, in Chromium."""

from pathlib import Path

import pytest
from joserfc.jwk import RSAKey

from tests.browsers import chromium
from tests.identity.provider import Provider
from tests.processes import serve_processes

pytestmark = pytest.mark.browser


@pytest.mark.timeout(180)
def test_authorize_with_pkce(tmp_path: Path) -> None:
    """The page shows the flow, signs in at the provider, and its calls are the user's."""
    store = f"sqlite:///{tmp_path / 'poto.db'}"
    with Provider(tmp_path / "provider", keys=[RSAKey.generate_key(2048)]) as provider, chromium() as browser:
        env = {"STORE": store, "ISSUER": provider.url}
        with serve_processes("tests.identity.app:make_app", 1, factory=True, env=env) as (live,):
            page = browser.new_page()
            tokens: list[str] = []
            page.on("request", lambda one: tokens.append(one.post_data or "") if one.url.endswith("/token") else None)
            page.goto(f"{live.url}/docs")
            page.get_by_role("button", name="Authorize").first.click()
            section = page.locator(".auth-container", has=page.get_by_text("corp-code"))
            section.get_by_text("openid").click()
            with page.expect_popup() as opened:
                section.locator("button.authorize").click()
            popup = opened.value
            popup.get_by_placeholder("Enter any login").fill("ann")
            popup.get_by_placeholder("and password").fill("anything")
            with popup.expect_event("close", timeout=60_000):
                popup.get_by_role("button", name="Sign-in").click()
                popup.get_by_role("button", name="Continue").click()
            section.get_by_text("Logout").wait_for()
            section.get_by_text("Close").click()
            assert "code_verifier=" in tokens[0]
            operation = page.locator("#operations-Auth-Auth_me")
            operation.locator(".opblock-summary").click()
            operation.get_by_role("button", name="Try it out").click()
            operation.get_by_role("button", name="Execute").click()
            body = operation.locator(".live-responses-table .response-col_description code").first
            body.wait_for()
            assert '"user_id": "corp:ann"' in body.inner_text()
