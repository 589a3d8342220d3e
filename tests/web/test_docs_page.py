"""The page of the server's addresses, and the page in a frame, in a real Chromium."""

from __future__ import annotations

from typing import Any

import httpx2

from anymask.studio import ServerParts
from anymask.studio.middleware import Access
from tests.patience import PATIENCE_S
from tests.studio.servers import inference, listening
from tests.web.conftest import late

TOKEN = "open sesame"


def with_page(access: Access) -> ServerParts:
    """What a server with the page is made of."""
    return ServerParts(inference(), access)


def opened(chromium: Any, address: str) -> tuple[Any, list[str]]:
    """A page, and every address outside that it asked, and every error."""
    page = late(chromium.new_context()).new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda told: told.type == "error" and complaints.append(told.text))
    page.on(
        "request",
        lambda asked: (
            complaints.append(asked.url)
            if asked.url.startswith("http") and not asked.url.startswith("http://127.0.0.1")
            else 0
        ),
    )
    page.goto(address)
    return page, complaints


def test_docs_lists_and_tries_every_address_and_asks_no_other_server(chromium: Any) -> None:
    with listening(with_page(Access())) as address:
        page, complaints = opened(chromium, f"{address}/docs")
        page.wait_for_selector("#operations-model-segment_api_segment_post")
        shown = page.locator(".opblock-summary-path").all_inner_texts()
        told = {text.replace("\u200b", "") for text in shown}
        paths = httpx2.get(f"{address}/openapi.json").json()["paths"]
        assert told == set(paths)
        page.locator("#operations-model-health_health_get .opblock-summary-control").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        answer = page.locator(".live-responses-table .response-col_description pre").first
        assert '"status"' in answer.inner_text()
        assert complaints == []
        page.context.close()


def test_docs_brings_the_token_of_its_own_address(chromium: Any) -> None:
    with listening(with_page(Access("127.0.0.1", TOKEN))) as address:
        page, complaints = opened(chromium, f"{address}/docs?token={TOKEN.replace(' ', '%20')}")
        page.wait_for_selector("#operations-model-segment_api_segment_post")
        assert complaints == []
        page.context.close()
