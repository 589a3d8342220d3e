"""A real server for programs that call anymask over HTTP."""

import threading
from collections.abc import Iterator

import pytest

import anymask


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("fastapi")
    from anymask.studio import (
        EmbeddingCache,
        Inference,
        Server,
        ServerParts,
        address_of,
        create_app,
        open_socket,
    )

    inference = Inference(anymask.load, "nano", EmbeddingCache(memory_bytes=100_000_000))
    bound, ready = open_socket("127.0.0.1", 0), threading.Event()
    running = Server(create_app(ServerParts(inference)), ready.set)
    thread = threading.Thread(target=running.run, args=([bound],))
    thread.start()
    assert ready.wait(60)
    yield address_of(bound)
    running.should_exit = True
    thread.join(60)
