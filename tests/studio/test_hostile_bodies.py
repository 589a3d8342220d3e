"""Small requests that would cost a server its memory or its time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from anymask.segment import Model
from anymask.studio import Inference, ServerParts, create_app
from anymask.studio.errors import RequestError
from anymask.studio.inference import RequestAbandoned
from anymask.studio.limits import Limits
from anymask.studio.model_routes import ENCODING_COST, check_cost, cost_of, done, gives_up
from tests.patience import PATIENCE_S
from tests.segment.fakes import ColorRuntime
from tests.studio.servers import (
    CLICK,
    IMAGE,
    JSON,
    LOCAL,
    GatedRuntime,
    client,
    error_of,
    in_thread,
    inference,
    listening,
    png,
)


@pytest.fixture
def seen(http: TestClient) -> str:
    name: str = http.post("/api/encode", content=png(IMAGE)).headers["x-image-hash"]
    return name


# Prompts.


def test_masks_are_counted_together_before_one_is_unpacked_or_the_photo_seen(
    http: TestClient,
) -> None:
    mask = {"mask": {"size": [10000, 10000], "counts": [10**8]}}
    reply = http.post("/api/segment", json={"image": "f" * 32, "prompts": [mask] * 2})
    assert "at most 100000000 are allowed" in error_of(reply, 413)


def test_one_request_at_a_time_holds_the_pixels_of_its_masks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    under_way, most = [0], [0]
    real = Inference.segment

    def segment(self: Inference, *rest: Any) -> Any:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        future = real(self, *rest)
        future.add_done_callback(lambda _: under_way.__setitem__(0, under_way[0] - 1))
        return future

    monkeypatch.setattr(Inference, "segment", segment)
    mask = CLICK | {"mask": {"size": [80, 120], "counts": [0, 9600]}}
    with client() as http:
        name = http.post("/api/encode", content=png(IMAGE)).headers["x-image-hash"]
        replies: list[int] = []

        def post() -> None:
            reply = http.post("/api/segment", json={"image": name, "prompts": [mask]})
            replies.append(reply.status_code)

        threads = [threading.Thread(target=post) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert replies == [200] * 6
    assert most == [1]


def test_points_are_counted_together(http: TestClient, seen: str) -> None:
    prompt = {"points": [[1, 1]] * 1000}
    reply = http.post("/api/segment", json={"image": seen, "prompts": [prompt] * 5})
    assert "at most 4000 are allowed" in error_of(reply)


def test_long_lists_are_refused_before_their_items_are_looked_at(
    http: TestClient, seen: str
) -> None:
    expected = error_of(http.post("/api/segment", json={"image": seen, "prompts": [{}] * 10_001}))
    assert "At most 10000 prompts are allowed. Given: 10001" in expected
    labels = {"points": [[1, 1]], "labels": [1] * 10_001}
    expected = error_of(http.post("/api/segment", json={"image": seen, "prompts": [labels]}))
    assert "At most 10000 points and labels" in expected


@pytest.mark.parametrize("depth", [62, 100_000])
def test_json_that_is_too_deep_is_refused(http: TestClient, seen: str, depth: int) -> None:
    points = "[" * depth + "]" * depth
    body = f'{{"image": "{seen}", "prompts": [{{"points": {points}}}]}}'
    reply = http.post("/api/segment", content=body, headers=JSON)
    assert "at most 64 are supported" in error_of(reply)
    reply = http.post("/api/segment", data={"points": points}, files={"file": png(IMAGE)})
    assert "points" in error_of(reply)  # a field of a form that is no JSON is text


def test_json_of_too_many_values_is_refused_while_it_comes_in() -> None:
    content = b'{"prompts": [' + b"[]," * 998 + b"[]]}"
    with client(limits=Limits(values=2000)) as http:
        reply = http.post("/api/segment", content=content, headers=JSON)
        assert reply.json()["error"]["message"]
        assert reply.status_code == 422
        reply = http.post("/api/segment", content=content + b"," * 2, headers=JSON)
        assert "more than 2000 values" in error_of(reply, 413)
        assert http.post("/api/encode", content=png(IMAGE) + b"," * 3000).status_code == 200


def test_damaged_pictures_are_415_whatever_pillow_raises(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Failed to decode image: no av1 codec")

    monkeypatch.setattr("anymask.images.decoding.Image.open", fail)
    error_of(http.post("/api/encode", content=b"\0\0\0\x1cftypavif"), 415)


@pytest.mark.parametrize("name", ["\ud800", "x" * 100_000])
def test_names_that_no_answer_can_hold_are_quoted_safely(http: TestClient, name: str) -> None:
    for content in ({name: 1}, {"image": "f" * 32, "prompts": [{name: 1}]}):
        reply = http.post("/api/segment", content=json.dumps(content), headers=JSON)
        assert len(error_of(reply)) <= 3000
    settings = {"image": "f" * 32, "settings": {name: 1}}
    error_of(http.post("/api/everything", content=json.dumps(settings), headers=JSON))


# Everything.


@pytest.mark.parametrize(
    ("settings", "image_hw", "cost"),
    [
        ({}, (80, 120), 32**2 + ENCODING_COST),
        ({"grid": 4, "crop_n_layers": 1}, (80, 120), 5 * (16 + ENCODING_COST)),
        ({"grid": 4, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2},
         (80, 120), 16 + ENCODING_COST + 4 * (4 + ENCODING_COST)),
        ({"grid": 4, "tile": 64}, (64, 160), 4 * (16 + ENCODING_COST)),
    ],
)  # fmt: skip
def test_the_cost_is_the_clicks_and_looks_that_are_made(
    settings: dict[str, Any], image_hw: tuple[int, int], cost: int
) -> None:
    class Counting(ColorRuntime):
        looks = 0

        def encode_images(self, images: Any) -> Any:
            self.looks += len(images)
            return super().encode_images(images)

    assert cost_of(image_hw, settings) == cost
    runtime = Counting()
    image = np.zeros((*image_hw, 3), np.uint8)
    Model(runtime).everything(image, mode="exact", score=1, **settings)
    assert sum(n for n, _ in runtime.calls) + ENCODING_COST * runtime.looks == cost


def test_settings_that_would_take_hours_are_refused_before_the_first_click(
    http: TestClient,
) -> None:
    image = np.zeros((2000, 2000, 3), np.uint8)
    settings = {"tile": 64, "grid": 64, "crop_n_layers": 2, "mode": "exact"}
    text = base64.b64encode(png(image)).decode()
    reply = http.post("/api/everything", json={"image": text, "settings": settings})
    assert "at most 250000 are allowed" in error_of(reply)
    check_cost(image, {"tile": 512}, Limits())


def test_work_ends_when_its_client_has_gone() -> None:
    behind, begun, left = inference(), threading.Event(), threading.Event()

    class Slow(ColorRuntime):
        def decode(self, *rest: Any) -> Any:
            begun.set()
            assert left.wait(PATIENCE_S)
            return super().decode(*rest)

    runtime = Slow()
    behind = inference(lambda: Model(runtime))
    behind.start()
    settings = {"grid": 32, "mode": "exact"}
    first = behind.everything(lambda: IMAGE, settings, left)
    waits = behind.everything(lambda: IMAGE, settings, left)

    class Gone:
        async def receive(self) -> dict[str, str]:
            while not begun.is_set():
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

    async def ask() -> None:
        async with gives_up(Gone(), waits, left):  # type: ignore[arg-type]
            both = (asyncio.wrap_future(first), asyncio.wrap_future(waits))
            await asyncio.gather(*both, return_exceptions=True)

    asyncio.run(ask())
    assert isinstance(first.exception(PATIENCE_S), RequestAbandoned)
    assert waits.cancelled()
    for asked in (first, waits):
        with pytest.raises(RequestError, match="closed the connection"):
            asyncio.run(done(asked))
    assert len(runtime.calls) == 1
    behind.close()


@pytest.mark.parametrize("more", [{}, {"mask": {"size": [80, 120], "counts": [0, 9600]}}])
def test_clicks_are_not_answered_once_their_client_has_gone(more: dict[str, Any]) -> None:
    runtime = GatedRuntime()
    behind = inference(lambda: Model(runtime))
    app = create_app(ServerParts(behind))
    with TestClient(app, LOCAL) as http:
        name = http.post("/api/encode", content=png(IMAGE)).headers["x-image-hash"]
        first = in_thread(lambda: http.post("/api/segment", json={"image": name} | CLICK))
        assert runtime.entered.acquire(timeout=PATIENCE_S)  # the model is at work
        body = json.dumps({"image": name, "prompts": [CLICK | more] * 3}).encode()
        assert post_and_go(app, "/api/segment", body) == 499
        runtime.go_on.release()
        assert first.result(PATIENCE_S).status_code == 200
    assert runtime.asked == [1]


def post_and_go(app: Any, path: str, body: bytes) -> int:
    """The status of a request whose client goes away behind its body."""
    messages = iter([{"type": "http.request", "body": body}, *[{"type": "http.disconnect"}] * 9])
    sent: list[Any] = []
    headers = JSON | {"Host": "127.0.0.1", "Content-Length": str(len(body))}
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
        "headers": [(one.lower().encode(), two.encode()) for one, two in headers.items()],
    }  # fmt: skip

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(app(scope, receive, send), PATIENCE_S))
    return int(sent[0]["status"])


def test_a_server_that_is_stopped_tells_those_who_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("anymask.studio.server.SHUTDOWN_SECONDS", 0)
    runtime = GatedRuntime()
    body = {"image": base64.b64encode(png(IMAGE)).decode()} | CLICK

    def ask(address: str) -> tuple[int, Any]:
        asked = HTTPConnection(address.removeprefix("http://"))
        with contextlib.closing(asked):
            asked.request("POST", "/api/segment", json.dumps(body), JSON)
            reply = asked.getresponse()
            return reply.status, json.load(reply)

    with contextlib.ExitStack() as stack:
        address = stack.enter_context(listening(ServerParts(inference(lambda: Model(runtime)))))
        reply = in_thread(lambda: ask(address))
        assert runtime.entered.acquire(timeout=PATIENCE_S)
        end = in_thread(stack.pop_all().close)
        status, told = reply.result(PATIENCE_S)
        runtime.go_on.release()
        end.result(PATIENCE_S)
    assert (status, told["error"]["message"][:28]) == (503, "The server is shutting down.")
    assert "Traceback" not in capsys.readouterr().err
