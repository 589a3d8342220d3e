"""Pictures with an alpha channel keep it wherever they are written. The oracle is Pillow."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime
from tests.studio.servers import client

CLICK = (62, 32)
HALF = np.s_[26:38, 54:70]  # within the part with alpha 128


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()))


def sprite(name: str, mode: str) -> Path:
    """A box on transparency, whose right half is half transparent."""
    places = np.zeros((64, 96), np.uint8)
    places[16:48, 20:48], places[16:48, 48:76] = 1, 2
    colors = np.array([(30, 150, 60, 0), (210, 40, 50, 255), (210, 40, 50, 128)], np.uint8)
    image = Image.fromarray(colors[places])
    if mode == "LA":
        image = Image.merge("LA", [image.convert("L"), image.getchannel("A")])
    elif mode == "P":
        image = Image.fromarray(places).convert("P")
        image.putpalette(colors[:, :3].tobytes())
        image.info["transparency"] = bytes(colors[:, 3])
    image.save(name, **({"lossless": True, "exact": True} if name.endswith("webp") else {}))
    return Path(name)


def rgba(source: Any) -> np.ndarray:
    with Image.open(source) as image:
        return np.asarray(image.convert("RGBA"))


def over_http(path: Path, form: str) -> io.BytesIO:
    body = {"image": base64.b64encode(path.read_bytes()).decode(), "points": [CLICK]}
    with client() as http:
        return io.BytesIO(http.post(f"/api/segment?format={form}", json=body).content)


def by_door(door: str, path: Path) -> np.ndarray:
    model, point = anymask.load(), f"{CLICK[0]},{CLICK[1]}"
    if door == "http":
        return rgba(over_http(path, "cutout"))
    if door == "Model.cutout":
        return np.asarray(model.cutout(path, points=[CLICK]))
    if door == "Prediction.save":
        model.segment(path, points=[CLICK]).save("out.png")
    elif door == "in memory":
        with Image.open(path) as image:
            model.segment(image, points=[CLICK]).save("out.png")
    else:
        assert main([door, str(path), "--point", point, "-o", "out.png"]) == 0
    return rgba("out.png")


@pytest.mark.parametrize(
    ("name", "mode"), [("a.png", "RGBA"), ("a.webp", "RGBA"), ("a.png", "LA"), ("a.png", "P")]
)
def test_a_cut_out_multiplies_the_alpha(name: str, mode: str) -> None:
    path = sprite(name, mode)
    expected = rgba(path)[HALF]
    assert set(expected[..., 3].ravel()) == {128}
    for door in ("Model.cutout", "Prediction.save", "in memory", "cutout", "segment", "http"):
        found = by_door(door, path)
        np.testing.assert_array_equal(found[HALF], expected, door)
        assert not found[:12].any(), door
    assert main(["segment", str(path), "--point", "62,32", "-o", "out.overlay.jpg"]) == 0


@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGBA"), ("a.webp", "RGBA"), ("a.png", "P")])
@pytest.mark.parametrize("how", ["solid", "pixels", "blur"])
def test_a_redacted_copy_keeps_the_alpha(name: str, mode: str, how: str) -> None:
    path, mask = sprite(name, mode), np.zeros((64, 96), np.uint8)
    mask[24:32, 24:32] = 255
    Image.fromarray(mask).save("mask.png")
    out = f"out{path.suffix}"
    words = ["redact", str(path), "--labels", "mask.png", "--how", how, "-o", out]
    assert main(words) == 0
    found, before = rgba(out), rgba(path)
    np.testing.assert_array_equal(found[..., 3], before[..., 3])
    np.testing.assert_array_equal(found[HALF], before[HALF])
    assert not found[found[..., 3] == 0].any()  # nothing stays below what is transparent
    assert how != "solid" or not found[24:32, 24:32, :3].any()
    assert main([*words[:-1], "out.jpg"]) == 0
    np.testing.assert_allclose(rgba("out.jpg")[2, 2], 255, atol=3)
