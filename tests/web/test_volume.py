"""Scans in the page: opened, looked at in three planes, clicked, followed, corrected, exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import anymask
from anymask.masks import coco_to_rle, rle_to_mask
from anymask.volumes import measure_labels
from tests.studio.scans import BALLS, write_scan
from tests.studio.servers import inference
from tests.web.conftest import SIZE
from tests.web.test_accessibility import axe, check
from tests.web.viewers import NARROW, Viewer, served

__all__ = ["axe"]  # a fixture


class Reader(Viewer):
    """Somebody in front of a scan; `f` is the open one."""

    def read(self, path: Path) -> None:
        self.keys("Control+Shift+O")
        self.page.get_by_role("button", name="Choose a scan file").wait_for()
        self.page.get_by_label("Scan file").set_input_files(str(path))
        self.ready()

    def ready(self) -> None:
        """All three planes are on the screen, with what is known."""
        self.until("f?.shown?.frame === f?.frame && !!f?.beside[f.sides(f.axis)[1]]")
        self.until("!f.refreshing && !f.asking && !f.loading")

    def shown(self, plane: int) -> np.ndarray:
        """The labels (H, W) on the slice across an axis, as the page draws them."""
        index = self.ask(f"f.scan.begin({plane}) + f.at[{plane}]")
        drawn = np.zeros([side for axis, side in enumerate(self.shape) if axis != plane], np.uint8)
        for number, found in self.ask(f"f.masksAt({index})"):
            drawn[rle_to_mask(coco_to_rle(found["segmentation"]))] = number
        return drawn

    @property
    def shape(self) -> list[int]:
        return self.ask("f.scan.shape")


@pytest.fixture
def read(sit: Callable[..., Viewer]) -> Callable[..., Reader]:
    def sat(address: str, *size: dict[str, int]) -> Reader:
        viewer = sit(address, *size)
        viewer.__class__ = Reader
        assert isinstance(viewer, Reader)
        return viewer

    return sat


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scan(tmp_path_factory.mktemp("scans") / "balls.nii.gz")


def noisy_scan(path: Path) -> Path:
    """A ball and a tube in a body, 24 slices of 96 x 96, as a scanner blurs them."""
    z, y, x = np.ogrid[:24, :96, :96]
    scan = np.where(((y - 48) / 40) ** 2 + ((x - 48) / 44) ** 2 < 1, 90.0, 40) + 0 * z
    scan[((z - 11) * 3) ** 2 + (y - 40) ** 2 + (x - 34) ** 2 < 16**2] = 180
    scan += np.random.default_rng(0).normal(0, 6, scan.shape)
    affine = np.diag([-1, -1, 3.0, 1])
    nibabel.save(nibabel.Nifti1Image(scan.astype(np.int16).T, affine), path)
    return path


def test_nano_follows_what_was_clicked_on_and_the_export_is_the_library_s(
    read: Callable[..., Reader], tmp_path: Path
) -> None:
    path = noisy_scan(tmp_path / "scan.nii.gz")
    model = anymask.load()
    with served(inference(lambda: model)) as address:
        ann = read(address)
        ann.read(path)
        assert "96 × 96 × 24, 1 × 1 × 3 mm, LPS" in ann.page.locator(".image-name").inner_text()
        for name, value in (("Level", "110"), ("Width", "220")):
            ann.page.get_by_label(name, exact=True).fill(value)
            ann.page.get_by_label(name, exact=True).press("Enter")
        ann.until("f.scan.shown.join()", "110,220")
        ann.ready()
        ann.say(34, 40)
        ann.say(60, 70, negative=True)
        ann.page.get_by_text("Window of the model input: level 110, width 220.").wait_for()
        said = ann.ask("f.said.map(one => one.point)")
        ann.page.get_by_role("button", name="Track", exact=False).click()
        ann.until("f.left === 0 && !f.following")
        ann.ready()
        exported = ann.export("NIfTI", tmp_path)
        shown = {plane: (ann.shown(plane), ann.ask(f"f.at[{plane}]")) for plane in range(3)}
        rows = ann.page.get_by_role("dialog", name="Measurements").get_by_role("row")
        ann.page.get_by_role("button", name="Measurements").click()
        told = rows.nth(1).inner_text().split("\t")
    assert exported.name == "scan-labels.nii.gz"
    with model.volume(path, window=(110, 220)) as session:
        points = [one[:2] for one in said]
        session.add(12, points=points, labels=[one[2] for one in said])
        expected = session.follow().labels()
    image = nibabel.load(exported)
    found = np.asarray(image.dataobj).T
    assert np.array_equal(found, expected.array)
    assert np.allclose(image.affine, nibabel.load(path).affine)
    assert found.any(axis=(1, 2)).sum() > 4
    for plane, (labels, index) in shown.items():
        assert np.array_equal(labels, np.take(found, index, axis=plane))
        assert labels.any()
    (measured,) = measure_labels(expected)
    assert told[0] == "Object 1"
    assert float(told[1]) == pytest.approx(measured.volume_ml, rel=1e-3)
    assert float(told[3]) == pytest.approx(measured.diameter_mm, rel=1e-3)


@pytest.mark.parametrize("size", [SIZE, NARROW], ids=["wide", "narrow"])
def test_every_screen_of_a_scan_passes_axe_and_fits(
    read: Callable[..., Reader], scan: Path, axe: str, size: dict[str, int]
) -> None:
    with served() as address:
        ann = read(address, size)
        ann.read(scan)
        complaints = check(ann, axe, "a new scan")
        (bz, by, bx), *_ = BALLS[0]
        ann.keys("Home", *["ArrowRight"] * bz)
        ann.ready()
        ann.say(bx, by)
        ann.follow()
        ann.ready()
        complaints += check(ann, axe, "a followed scan")
        assert ann.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        for name in ("Tracking complete", "Slice 24 along y"):
            place = ann.page.get_by_role("button", name=name).bounding_box()
            assert place["x"] >= 0
            assert place["x"] + place["width"] <= size["width"]
            assert min(place["width"], place["height"]) >= 24
        stage: Any = ann.page.locator(".stage").bounding_box()
        assert min(stage["width"], stage["height"]) > 180
        for key, name in (("?", "Help"), ("m", "Measurements"), ("Control+s", "Export")):
            ann.keys(key)
            ann.page.get_by_role("dialog", name=name).wait_for()
            complaints += check(ann, axe, name)
            ann.keys("Escape")
        assert complaints == []
