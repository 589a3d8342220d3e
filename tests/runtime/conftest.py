"""An exported stand-in; a file server that misbehaves on request, with a catalogue."""

import contextlib
import hashlib
import io
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from anymask.runtime import Checkpoint
from anymask.runtime.catalogue import Licence

LICENCE = Licence(name="Apache-2.0", url="https://www.apache.org/licenses/", commercial=True)


@dataclass
class Answers:
    """What the server does.

    Attributes:
        files: Bytes by path; other paths return 404.
        etag: ETag of every file; None: no validator.
        ranges: Whether Range requests are supported.
        cut: Bytes of each response that are sent before the connection is closed; each request
            uses one entry.
        drips: Send the bytes after the cut one by one instead of closing the connection.
        redirect: Redirects, from path to path or address.
        kind: Content-Type.
        chunked: Send without Content-Length.
        shift: Bytes by which the returned range starts later than requested.
        asked: (path, Range, If-Range) of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"one"'
    ranges: bool = True
    cut: list[int | None] = field(default_factory=list)
    drips: bool = False
    redirect: dict[str, str] = field(default_factory=dict)
    kind: str = "application/octet-stream"
    chunked: bool = False
    shift: int = 0
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    answers: Answers
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass

    def do_GET(self) -> None:
        says = self.answers
        wanted, same = self.headers.get("Range"), self.headers.get("If-Range")
        says.asked.append((self.path, wanted, same))
        self.close_connection = True
        if self.path in says.redirect:
            self.send_response(302)
            self.send_header("Location", says.redirect[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path not in says.files:
            self.send_error(404)
            return
        content = says.files[self.path]
        start = 0
        if wanted and says.ranges and (same is None or same == says.etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_content(content, start)

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client went away in the middle
            super().finish()

    def send_content(self, content: bytes, start: int) -> None:
        says = self.answers
        self.send_response(206 if start else 200)
        if start:
            first = start + says.shift
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if says.etag:
            self.send_header("ETag", says.etag)
        self.send_header("Content-Type", says.kind)
        body = content[start:]
        if says.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        stop = says.cut.pop(0) if says.cut else None
        sent = body if stop is None else body[:stop]
        if says.chunked:
            self.wfile.write(f"{len(body):x}\r\n".encode() + sent)
            if stop is None:
                self.wfile.write(b"\r\n0\r\n\r\n")
        else:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(sent)
                for byte in body[len(sent) :] if says.drips else b"":
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.01)


@pytest.fixture
def server() -> Iterator[Answers]:
    answers = Answers()
    handler = type("Bound", (Handler,), {"answers": answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        answers.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield answers
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def store_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own for every test; no mirror, no proxy."""
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    for name in ("ANYMASK_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def content() -> bytes:
    """A real checkpoint of about 1 MB."""
    torch = pytest.importorskip("torch", reason="checkpoints are read with torch")
    buffer = io.BytesIO()
    values = torch.arange(250_000, dtype=torch.float32).reshape(500, 500)
    torch.save({"layer.weight": values, "layer.bias": torch.ones(3)}, buffer)
    return buffer.getvalue()


class Shelf(dict[str, Checkpoint]):
    """A catalogue of the test's own; `put` adds a model."""

    def put(self, name: str, content: bytes, *sources: str, **facts: object) -> Checkpoint:
        known: dict[str, object] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "md5": None,
            "bytes": len(content),
            **facts,
        }
        self[name] = Checkpoint(
            name=name,
            variant=name,
            file=f"{name}.pt",
            sources=sources,
            licence=LICENCE,
            home="https://example.org/models",
            **known,  # type: ignore[arg-type]
        )
        return self[name]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    monkeypatch.setattr("anymask.runtime.catalogue.catalogue", lambda: shelf)
    return shelf


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, exported once for all tests; copy it before you break it."""
    from tests.runtime.exports import exported

    return exported("stand_in", tmp_path_factory)
