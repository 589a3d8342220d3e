"""A model that was exported for another side, in the JavaScript package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import anymask
from anymask.cli.main import main
from anymask.masks import iou
from tests.web import package_server
from tests.web.package_server import IMAGE, example_page
from tests.web.test_package import CUP, bits


@pytest.fixture
def page(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    assert main(["export", "nano@256", "-o", str(tmp_path / "small")]) == 0
    monkeypatch.setitem(package_server.PLACES, "lib/small/", tmp_path / "small")
    with example_page(chromium) as opened:
        yield opened


def test_its_answer_is_pythons_at_that_side(page: Any) -> None:
    height, width, pixels = page.evaluate(
        """async (click) => {
            const { load } = await import("./lib/index.js");
            const model = await load({ model: "./lib/small/" });
            const features = await model.encode(document.querySelector("img"));
            const asked = { points: [click] };
            const { masks } = await features.segment(asked, { refineEdges: false, zoom: false });
            const pixels = Array.from(masks[0].toArray(), Number).join("");
            model.close();
            return [features.height, features.width, pixels];
        }""",
        list(CUP),
    )
    found = bits(pixels, (height, width))
    asked = {"points": [CUP], "refine_edges": False, "zoom": False}
    expected, usual = (
        anymask.load(name).segment(IMAGE, **asked).best.mask for name in ("nano@256", "nano")
    )
    assert iou(found, expected) > 0.97  # the browser reads the JPEG a little otherwise
    assert iou(found, expected) > iou(found, usual)
