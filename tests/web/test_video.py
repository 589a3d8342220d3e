"""Videos in the page, with a server that follows: click, follow, correct, undo, export."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

import anymask
from anymask.formats import read_annotations
from anymask.masks import mask_to_rle, rle_iou
from tests.studio.servers import inference
from tests.track.clips import write_video
from tests.web.viewers import FRAMES, TRUTH, Viewer, served


def textured_clip(image: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A piece of a photo, a disc, that moves over a dim ground; and its masks."""
    rows, columns = np.mgrid[:160, :240]
    piece = cv2.resize(image[60:260, 100:300], (72, 72))
    ground = np.full((160, 240, 3), (60, 90, 70), np.uint8)
    ground[::20] = (70, 100, 80)
    images, masks = [], []
    for step in range(FRAMES):
        x, y = 50 + 12 * step, 70 + 3 * step
        mask = (columns - x) ** 2 + (rows - y) ** 2 < 34**2
        whole = np.zeros_like(ground)
        whole[y - 36 : y + 36, max(0, x - 36) : x + 36] = piece[:, max(0, 36 - x) :]
        images.append(np.where(mask[..., None], whole, ground))
        masks.append(mask)
    return images, masks


def test_nano_follows_what_was_clicked_on_and_our_reader_reads_the_export(
    sit: Callable[..., Viewer], images: dict[str, np.ndarray], tmp_path: Path
) -> None:
    pictures, truth = textured_clip(images["cat"])
    path = write_video(tmp_path / "cat.mp4", pictures, codec="libx264", pix_fmt="yuv420p")
    with served(inference(partial(anymask.load, "small"))) as address:
        ann = sit(address)
        ann.watch(path)
        assert ann.page.locator(".image-name").inner_text().startswith("cat.mp4")
        assert ann.page.get_by_text("Tracker: nano").is_visible()
        ann.say(50, 70)
        ann.page.get_by_label("Class of object 1").fill("cat")
        ann.page.get_by_label("Class of object 1").press("Enter")
        ann.follow()
        ious = ann.ious(1, truth)
        assert min(ious) > 0.5, ious
        assert np.mean(ious) > 0.7, ious
        exported = ann.export("COCO", tmp_path)
        assert exported.name == "cat.json"
        frames, _ = read_annotations(exported, "coco")
        (named,) = {mask.label for frame in frames for mask in frame.masks}
        assert (len(frames), named) == (FRAMES, "cat")
        found = [
            0.0 if not frame.masks else rle_iou([frame.masks[0].rle], [mask_to_rle(mask)])[0, 0]
            for frame, mask in zip(frames, truth, strict=True)
        ]
        assert found == pytest.approx(ious)


def test_two_objects_are_corrected_taken_back_and_removed(viewer: Viewer, clip: Path) -> None:
    viewer.watch(clip)
    viewer.say(30, 30)
    viewer.keys("n")
    viewer.say(100, 70)
    viewer.follow()
    for number, disc in ((1, 0), (2, 1)):
        assert min(viewer.ious(number, [masks[disc] for masks in TRUTH])) > 0.7
    before = viewer.ious(1, [masks[0] for masks in TRUTH])
    viewer.keys("Home", *["ArrowRight"] * 4, "1")
    viewer.on_screen(4)
    viewer.say(38, 30)
    viewer.until("f.left", 3)  # what comes after the correction
    viewer.follow()
    viewer.page.get_by_role("button", name="Undo the last click").click()
    viewer.until("f.said.length === 2 && !f.asking")
    viewer.until("f.left > 0")
    viewer.follow()
    assert viewer.ious(1, [masks[0] for masks in TRUTH]) == before
    viewer.page.get_by_role("button", name="Remove object 2").click()
    viewer.until("f.tracks.objects.join()", "1")
    viewer.keys("Control+z")
    viewer.until("f.said.length === 0 && !f.asking && f.tracks.objects.length === 0")
    viewer.keys("Control+z")
    viewer.page.get_by_text("There is no click to undo").wait_for()
