"""The JavaScript package on a server, as a page that uses it has it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S
from tests.web.conftest import late

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
PACKAGE = WEB / "package"
ASSETS = ROOT / "src" / "anymask" / "assets"
IMAGE = ASSETS / "photos" / "coffee.jpg"
PLACES = {"lib/ort/": ASSETS / "web" / "assets" / "ort", "lib/model/": ASSETS / "nano"}


class Handler(SimpleHTTPRequestHandler):
    """The package's folder, with what `npm pack` puts beside the built files."""

    def translate_path(self, path: str) -> str:
        name = path.partition("?")[0].lstrip("/")
        for folder, place in PLACES.items():
            if name.startswith(folder):
                return str(place / name.removeprefix(folder))
        return str(IMAGE) if name == "photo.jpg" else super().translate_path(path)

    def guess_type(self, path: Any) -> str:
        kinds = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
        return kinds.get(Path(path).suffix) or super().guess_type(path)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served_package() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=PACKAGE))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@contextmanager
def example_page(chromium: Any) -> Iterator[Any]:
    """The example page, opened once; nothing of it may fail."""
    with served_package() as site:
        context = late(chromium.new_context())
        opened = context.new_page()
        opened.set_default_timeout(1000 * PATIENCE_S)
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(f"{site}/example.html")
        opened.wait_for_function(
            "document.querySelector('#status').textContent === 'Click an object.'"
        )
        yield opened
        assert errors == []
        context.close()
