"""Servers that send too slowly, or for ever, do not keep their readers."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from anymask.base import transfers

LIMIT_S = 0.5
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 1000000\r\n\r\n"


@contextlib.contextmanager
def serving(pieces: Iterable[bytes], pause: float) -> Iterator[str]:
    """The address of a server that sends these to whoever comes, with a pause behind each."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                for piece in pieces:
                    connection.sendall(piece)
                    if ended.wait(pause):
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ended.set()
        thread.join()


def read(address: str) -> bytes:
    return transfers.read_address(address, {}, 1 << 30)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(transfers, "ANSWER_S", LIMIT_S)
    monkeypatch.setattr(transfers, "STALL_S", LIMIT_S)


DRIPS = itertools.repeat(b"x")


@pytest.mark.parametrize(
    ("pieces", "pause"),
    [
        ([b"", *[b""] * 200], 0.02),
        (itertools.chain([OK, b"Name: "], DRIPS), 0.02),
        (itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), 0),
        (itertools.chain([OK, LENGTH, bytes(100_000)], DRIPS), 0.02),
        (itertools.chain([OK, b"Transfer-Encoding: chunked\r\n\r\n1;"], DRIPS), 0.02),
        (itertools.chain([b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"], DRIPS), 0.02),
    ],
    ids=["silent", "headers", "continue", "content", "chunk", "redirect"],
)
def test_a_server_that_stalls_is_left(pieces: Iterable[bytes], pause: float) -> None:
    start = time.monotonic()
    with serving(pieces, pause) as address, pytest.raises(TimeoutError):
        read(address)
    assert time.monotonic() - start < 30


def test_content_that_comes_slowly_but_surely_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "STALL_S", 1)
    content = bytes(range(256)) * 1000
    blocks = [content[start : start + 16_000] for start in range(0, len(content), 16_000)]
    head = OK + b"Content-Length: %d\r\n\r\n" % len(content)
    with serving([head, *blocks], 0.07) as address:  # in all longer than STALL_S
        assert read(address) == content
