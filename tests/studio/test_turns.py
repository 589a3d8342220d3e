"""Clicks go first, together where they can, and long work lets them in between."""

from __future__ import annotations

import threading

import pytest

from anymask.masks import Prompt
from anymask.segment import EmbeddingCache, Model
from anymask.studio import Inference
from anymask.studio.errors import RequestError
from anymask.studio.inference import ModelQueue, QueueClosed, Urgency
from tests.studio.servers import IMAGE, PATIENCE_S, GatedRuntime


def test_the_most_urgent_goes_first_then_the_oldest() -> None:
    turns, order = ModelQueue(), []
    asked = [
        turns.submit(lambda name=name: order.append(name), urgency)
        for name, urgency in [
            ("everything", Urgency.LONG), ("photo", Urgency.IMAGE), ("click", Urgency.CLICK),
            ("everything 2", Urgency.LONG), ("click 2", Urgency.CLICK), ("load", Urgency.LOAD),
        ]
    ]  # fmt: skip
    turns.start()
    for future in asked:
        future.result(PATIENCE_S)
    turns.close()
    assert order == ["load", "click", "click 2", "photo", "everything", "everything 2"]


def test_clicks_on_one_photo_are_one_call() -> None:
    turns, calls = ModelQueue(most_together=4), []

    def work(items: list[int]) -> list[int]:
        calls.append(list(items))
        return [10 * item for item in items]

    asked = [turns.submit_together([n], "a", work) for n in (1, 2)]
    asked += [turns.submit_together([3], "b", work)]
    asked += [turns.submit_together([4, 5], "a", work), turns.submit_together([6], "a", work)]
    turns.start()
    assert [future.result(PATIENCE_S) for future in asked] == [[10], [20], [30], [40, 50], [60]]
    turns.close()
    assert calls == [[1, 2, 4, 5], [3], [6]]


def test_one_bad_click_does_not_spoil_the_others() -> None:
    turns = ModelQueue()

    def work(items: list[int]) -> list[int]:
        return [1 // item for item in items]

    good, bad = turns.submit_together([1], "a", work), turns.submit_together([0], "a", work)
    turns.start()
    assert good.result(PATIENCE_S) == [1]
    with pytest.raises(ZeroDivisionError):
        bad.result(PATIENCE_S)
    turns.close()


def test_what_waits_when_the_server_goes_down_is_told() -> None:
    turns = ModelQueue()
    waiting = turns.submit(int, Urgency.CLICK)
    turns.close()
    with pytest.raises(QueueClosed):
        waiting.result(PATIENCE_S)
    with pytest.raises(QueueClosed):
        turns.submit(int, Urgency.CLICK)


def gated() -> tuple[GatedRuntime, Inference]:
    runtime = GatedRuntime()
    behind = Inference(lambda: Model(runtime), "fake", EmbeddingCache(10**7), most_long=1)
    behind.start()
    return runtime, behind


def test_a_click_does_not_wait_for_everything() -> None:
    runtime, behind = gated()
    features = behind.encode(lambda: IMAGE).result(PATIENCE_S)
    settings = {"mode": "exact", "grid": 8}
    long = behind.everything(lambda: IMAGE, settings)
    assert runtime.entered.acquire(timeout=PATIENCE_S)  # the first slice of eight clicks
    click = behind.segment(features, [Prompt.of(points=[(35, 40)])])
    assert runtime.entered.acquire(timeout=PATIENCE_S)  # while nothing was let go
    assert runtime.asked == [8, 1]
    for _ in range(20):
        runtime.go_on.release()
    assert len(click.result(PATIENCE_S)[0]) == 3
    assert long.result(PATIENCE_S)
    assert runtime.asked == [8, 1, *[8] * 7]
    behind.close()


def test_a_new_photo_waits_for_one_slice_of_everything_at_most() -> None:
    runtime, behind = gated()
    settings = {"mode": "exact", "grid": 8}
    long = behind.everything(lambda: IMAGE, settings)
    assert runtime.entered.acquire(timeout=PATIENCE_S)
    image = behind.encode(lambda: IMAGE[:, ::-1].copy())
    while not behind.heavy.waiting:  # until its picture is decoded
        assert not image.done()
    runtime.go_on.release()
    image.result(PATIENCE_S)
    assert len(runtime.asked) <= 2  # the second slice may have begun since
    for _ in range(20):
        runtime.go_on.release()
    assert long.result(PATIENCE_S)
    behind.close()


def test_more_long_work_than_allowed_is_told_to_come_again() -> None:
    runtime, behind = gated()
    long = behind.everything(lambda: IMAGE, {"mode": "exact", "grid": 2})
    with pytest.raises(RequestError) as refused:
        behind.everything(lambda: IMAGE, {})
    assert refused.value.status_code == 429
    assert int((refused.value.headers or {})["Retry-After"]) >= 5
    runtime.go_on.release()
    long.result(PATIENCE_S)
    behind.close()


def test_a_server_that_goes_down_while_loading_leaves_nobody_waiting() -> None:
    begin = threading.Event()

    def load() -> Model:
        assert begin.wait(PATIENCE_S)
        return Model(GatedRuntime())

    behind = Inference(load, "fake", EmbeddingCache(0))
    behind.start()
    waiting = behind.encode(lambda: IMAGE)
    begin.set()
    behind.close()
    assert waiting.done()
