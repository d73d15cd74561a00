"""/docs and /redoc without the internet."""

import re
import sys

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fastapi_poto import ConfigurationError, PotoModule
from fastapi_poto.openapi import poto_docs

from .conftest import app_of


class Shop(PotoModule):
    async def act(self) -> None: ...


def test_the_plugin_comes_between_swagger_ui_and_its_start() -> None:
    """Whether Swagger UI is this server's or the CDN's."""
    for offline, source in ((True, "/_docs/swagger-ui-bundle.js"), (False, "https://cdn.jsdelivr.net/")):
        app = app_of(Shop)
        poto_docs(app, offline=offline)
        client = TestClient(app)
        text = client.get("/docs").text
        places = [text.index(source), text.index("/_docs/docs_page.js"), text.index("SwaggerUIBundle({")]
        assert places == sorted(places)
        assert "executeRequest" in client.get("/_docs/docs_page.js").text
        assert (client.get("/_docs/swagger-ui.css").status_code == 200) is offline


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
@pytest.mark.parametrize("root_path", ["", "/api"])
def test_pages_name_no_other_host(page: str, root_path: str) -> None:
    """All that a page loads comes from this server, below its root path too."""
    app = app_of(Shop)
    poto_docs(app)
    client = TestClient(app, root_path=root_path)
    text = client.get(page).text
    assert "//" not in re.sub(r"<!--.*?-->|//\s.*", "", text).replace("https://redocly.com", "")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert loaded
    for url in loaded:
        assert url.startswith(f"{root_path}/_docs/"), url
        answer = client.get(url.removeprefix(root_path))
        assert answer.status_code == 200
        assert len(answer.content) > 500


def test_the_applications_own_settings_hold() -> None:
    """Its URLs and parameters are those of the pages; what it switched off stays off."""
    app = app_of(
        Shop, app=FastAPI(docs_url="/help", redoc_url=None, swagger_ui_parameters={"docExpansion": "none"}, title="T")
    )
    poto_docs(app)
    client = TestClient(app)
    text = client.get("/help").text
    assert '"docExpansion": "none"' in text
    assert "<title>T - Swagger UI</title>" in text
    assert client.get("/redoc").status_code == 404
    assert "oauth2" in client.get("/docs/oauth2-redirect").text


def test_mistakes_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pages, or without the extra, it is an error that names the cure."""
    with pytest.raises(ConfigurationError, match="docs_url"):
        poto_docs(FastAPI(docs_url=None, redoc_url=None))
    monkeypatch.setitem(sys.modules, "fastapi_offline", None)
    with pytest.raises(ConfigurationError, match='pip install "fastapi-offline>='):
        poto_docs(FastAPI())
