"""A server on this machine that answers as it is told, for tests of what reads addresses."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        says = self.answers
        expected, same = self.headers.get("Range"), self.headers.get("If-Range")
        says.asked.append((self.path, expected, same))
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
        if expected and says.ranges and (same is None or same == says.etag):
            start = int(expected.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_content(content, start)

    do_HEAD = do_GET  # noqa: N815 - its name for http.server

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


@contextlib.contextmanager
def serving() -> Iterator[Answers]:
    """A running server, as its answers."""
    answers = Answers()
    handler = type("Bound", (Handler,), {"answers": answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        answers.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield answers
        running.shutdown()
        thread.join()
