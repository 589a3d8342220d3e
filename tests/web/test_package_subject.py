"""The main subject that the JavaScript package finds in a Chromium is that of Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import file_sha256
from anymask.edit.subject import best_candidate, shipped_probe, subject_map
from anymask.images import load_image, sample
from anymask.masks import iou
from anymask.runtime import read_manifest
from anymask.training.export_folder import export
from tests.web.test_package import ask, bits
from tests.web.test_package_regions import png_address


def subject_of(page: Any, image: np.ndarray) -> tuple[np.ndarray, float] | None:
    found = ask(
        page,
        f"""
        const photo = await (await fetch("{png_address(image)}")).blob();
        const mask = await (await model.encode(photo)).subject();
        return mask && [Array.from(mask.toArray(), Number).join(""), mask.score];
        """,
    )
    assert not isinstance(found, str), found
    return None if found is None else (bits(found[0], image.shape[:2]), found[1])


@pytest.mark.parametrize("name", ["cat", "coffee", "rocket"])
def test_the_subject_is_that_of_python(page: Any, name: str) -> None:
    image, model, probe = load_image(sample(name)), anymask.load("nano"), shipped_probe("nano")
    features = model.encode(image)
    expected = best_candidate(model, features, subject_map(features, probe))
    assert expected is not None
    found = subject_of(page, image)
    if expected.score < probe.least:
        assert found is None
        return
    assert found is not None
    mask, score = found
    assert iou(mask, expected.mask) >= 0.95
    assert score == pytest.approx(expected.score, abs=0.02)


def test_the_example_page_cuts_out_the_main_subject(page: Any) -> None:
    page.get_by_role("button", name="Main subject").click()
    page.wait_for_function("/pixels|No main/.test(document.querySelector('#status').textContent)")
    said = page.locator("#status").inner_text()
    found = subject_of(page, load_image(sample("coffee")))
    assert found is not None
    pixels = re.match(r"(\d+) pixels", said)
    assert pixels is not None, said
    assert int(pixels[1]) == pytest.approx(found[0].sum(), rel=0.03)


@pytest.mark.parametrize("name", ["nano", "small"])
def test_the_probe_fits_the_weights_and_is_exported_with_them(name: str, tmp_path: Path) -> None:
    manifest = read_manifest(export(name, tmp_path / "model"))
    assert shipped_probe(name).weights_hash == manifest.weights_hash
    assert manifest.sha256["subject.json"] == file_sha256(tmp_path / "model" / "subject.json")
