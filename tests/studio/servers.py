"""Small servers for tests: a model without a network behind the real application."""

from __future__ import annotations

import contextlib
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from anymask.base import FloatArray
from anymask.masks import EncoderOutput, ModelPrompts
from anymask.segment import EmbeddingCache, Model
from anymask.studio import Inference, Server, ServerParts, address_of, create_app, open_socket
from anymask.studio.limits import Limits
from anymask.studio.middleware import Access
from tests.conftest import REPOSITORY
from tests.patience import PATIENCE_S
from tests.segment.fakes import ColorRuntime, discs

LOCAL = "http://127.0.0.1:8765"
IMAGE, (LEFT, RIGHT) = discs((80, 120), [(35, 40, 25), (95, 40, 16)])
CLICK = {"points": [[35, 40]]}
JSON = {"Content-Type": "application/json"}


class GatedRuntime(ColorRuntime):
    """Waits before each decoding until the test lets it go on; tells what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.asked: list[int] = []

    def decode(
        self, features: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        self.asked.append(len(prompts.labels))
        self.entered.release()
        assert self.go_on.acquire(timeout=PATIENCE_S)
        return super().decode(features, prompts)


def png(image: np.ndarray, kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


@contextlib.contextmanager
def listening(parts: ServerParts, limits: Limits | None = None) -> Iterator[str]:
    """The address of a real server that answers."""
    bound, ready = open_socket("127.0.0.1", 0), threading.Event()
    server = Server(create_app(parts), ready.set, limits)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield address_of(bound)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        bound.close()


def inference(load: Callable[[], Model] | None = None, **more: Any) -> Inference:
    more.setdefault("cache", EmbeddingCache(10_000_000))
    return Inference(load or (lambda: Model(ColorRuntime())), "fake", **more)


@contextlib.contextmanager
def client(
    behind: Inference | None = None,
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    **more: Any,
) -> Iterator[TestClient]:
    behind = behind or inference()
    served = ServerParts(behind, access or Access(), limits or Limits(), **more)
    with TestClient(create_app(served), LOCAL, raise_server_exceptions=False) as started:
        yield started


def in_thread(work: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def error_of(reply: Any, status: int = 422) -> str:
    """The message of an error."""
    assert reply.status_code == status, reply.text
    told = reply.json()["error"]
    guide = (REPOSITORY / "docs" / "reference" / "http-api.md").read_text("utf-8")
    (form,) = re.findall(r"Every error response has the form `(.+)`", guide)
    assert told.keys() == json.loads(form)["error"].keys()
    return str(told["message"])
