"""The load: drawn once, counted right."""

from __future__ import annotations

import io
import json
import random

import numpy as np
import pytest
from PIL import Image

from anymask.cli import bench_serve
from anymask.cli.bench_serve import LoadPlan, LoadResult, percentile, photo


@pytest.mark.parametrize(
    ("count", "share", "place"), [(100, 0.95, 94), (20, 0.95, 18), (1, 0.95, 0), (3, 1.0, 2)]
)
def test_a_percentile_is_a_value_that_was_measured(count: int, share: float, place: int) -> None:
    values = [float(number) for number in range(count)]
    random.Random(0).shuffle(values)
    assert percentile(values, share) == place
    assert percentile(values, share) == np.percentile(values, 100 * share, method="inverted_cdf")


def test_answers_are_counted_by_kind() -> None:
    heard = LoadResult()
    heard.note("click", 200, 0.1, b"")
    heard.note("click", 429, 0.0, b"")
    heard.note("everything", 500, 0.0, b"why")
    assert heard.seconds == {"click": [0.1], "new image": [], "everything": []}
    assert (heard.busy, heard.errors) == (1, ["everything: 500 b'why'"])


def test_every_request_is_written_before_the_clock_starts() -> None:
    load = LoadPlan(requests=200, seed=1)
    asked = bench_serve.requests_of(["a" * 32, "b" * 32], load)
    assert asked == bench_serve.requests_of(["a" * 32, "b" * 32], load)
    kinds = [kind for kind, _, _ in asked]
    wanted = [int(200 * share) for share in bench_serve.SHARES.values()]
    counts = [kinds.count(kind) for kind in bench_serve.SHARES]
    assert np.abs(np.subtract(counts, wanted)).max() <= 20
    bodies = [body for kind, _, body in asked if kind == "new image"]
    assert len(set(bodies)) == len(bodies)


def test_a_kind_that_nobody_asked_for_has_no_figures() -> None:
    assert bench_serve.figures_of("click", []) == []
    median, most, all_but = bench_serve.figures_of("click", [0.1, 0.2, 0.9])
    assert (median.value, most.value, all_but.value) == (0.2, 0.9, 0.9)


def test_every_new_photo_is_another_one() -> None:
    first, second = (np.asarray(Image.open(io.BytesIO(photo(number)))) for number in (0, 1))
    assert first.shape == (*bench_serve.HW, 3)
    assert (first != second).any()
    assert photo(1) == photo(1)


def test_the_kinds_are_asked_at_their_addresses() -> None:
    own = random.Random(0)
    path, body = bench_serve._request("click", 3, "f" * 32, own, LoadPlan())
    (prompt,) = json.loads(body)["prompts"]
    assert path == "/api/segment"
    assert 0 <= prompt["points"][0][0] < bench_serve.HW[1]
    path, body = bench_serve._request("everything", 3, "f" * 32, own, LoadPlan(points_per_side=5))
    assert (path, json.loads(body)["settings"]) == ("/api/everything", {"points_per_side": 5})
    path, body = bench_serve._request("new image", 3, "f" * 32, own, LoadPlan())
    assert (path, body) == ("/api/embed", photo(bench_serve.KNOWN + 3))
