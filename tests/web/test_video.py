"""Videos in the page, with a server that follows: click, follow, correct, undo, export."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.formats import read_annotations
from anymask.masks import coco_to_rle, mask_to_rle, rle_iou, rle_to_mask
from anymask.track import VideoWriter
from tests.patience import PATIENCE_S
from tests.segment.fakes import ColourRuntime, iou
from tests.studio.servers import inference
from tests.studio.test_film_exports import PICTURES as CLIP
from tests.studio.test_film_exports import decoded, grown, off, turned_clip
from tests.track.clips import moving_discs, write_video
from tests.web.test_accessibility import axe, check
from tests.web.viewers import FRAMES, PICTURES, TRUTH, Viewer, served

__all__ = ["axe"]  # a fixture


def textured_clip(photo: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A piece of a photo, a disc, that moves over a dim ground; and its masks."""
    rows, columns = np.mgrid[:160, :240]
    piece = cv2.resize(photo[60:260, 100:300], (72, 72))
    ground = np.full((160, 240, 3), (60, 90, 70), np.uint8)
    ground[::20] = (70, 100, 80)
    pictures, masks = [], []
    for step in range(FRAMES):
        x, y = 50 + 12 * step, 70 + 3 * step
        mask = (columns - x) ** 2 + (rows - y) ** 2 < 34**2
        whole = np.zeros_like(ground)
        whole[y - 36 : y + 36, max(0, x - 36) : x + 36] = piece[:, max(0, 36 - x) :]
        pictures.append(np.where(mask[..., None], whole, ground))
        masks.append(mask)
    return pictures, masks


def test_nano_follows_what_was_clicked_on_and_our_reader_reads_the_export(
    sit: Callable[..., Viewer], photos: dict[str, np.ndarray], tmp_path: Path
) -> None:
    pictures, truth = textured_clip(photos["cat"])
    path = write_video(tmp_path / "cat.mp4", pictures, codec="libx264", pix_fmt="yuv420p")
    with served(inference(partial(anymask.load, "small"))) as address:
        ann = sit(address)
        ann.watch(path)
        assert ann.page.locator(".photo-name").inner_text().startswith("cat.mp4")
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


def test_masks_arrive_while_it_is_followed_and_a_pause_goes_on_later(
    viewer: Viewer, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer.watch(clip)
    viewer.say(30, 30)
    held, looks, see = threading.Event(), [], ColourRuntime.encode_images

    def slow(self: ColourRuntime, images: np.ndarray) -> Any:
        looks.append(len(looks))
        if len(looks) > 4:
            assert held.wait(PATIENCE_S)
        return see(self, images)

    monkeypatch.setattr(ColourRuntime, "encode_images", slow)
    viewer.keys("f")
    viewer.until("f.tracks.of(1, 2) !== null && f.following !== null")
    viewer.page.get_by_role("button", name="Pause").wait_for()
    assert viewer.ask(f"f.tracks.of(1, {FRAMES - 1})") is None
    viewer.until("f.frame > 0")  # the place goes along
    viewer.keys("f")
    held.set()
    viewer.until("f.following", None)
    assert 0 < viewer.ask("f.left") < FRAMES
    viewer.follow()
    assert min(viewer.ious(1, [masks[0] for masks in TRUTH])) > 0.7


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


def test_a_video_is_followed_both_ways_from_the_middle(viewer: Viewer, clip: Path) -> None:
    viewer.watch(clip)
    viewer.page.get_by_label("Direction").select_option("Both directions")
    slider = viewer.page.get_by_role("slider", name="Frame")
    box = slider.bounding_box()
    viewer.page.mouse.click(box["x"] + box["width"] * 4.5 / FRAMES, box["y"] + 4)
    viewer.on_screen(4)
    assert slider.get_attribute("aria-valuenow") == "5"
    viewer.say(38, 30)
    viewer.follow()
    assert min(viewer.ious(1, [masks[0] for masks in TRUTH])) > 0.7


def test_everything_by_the_keyboard_and_a_reload_loses_nothing(viewer: Viewer, clip: Path) -> None:
    viewer.watch(clip)
    viewer.keys("Alt+ArrowLeft")
    x, y = viewer.ask("window.anymask.videoStage.cross")
    step = 8 / viewer.ask("f.view.scale")
    viewer.keys(*["Alt+ArrowLeft"] * round((x - 30) / step))
    viewer.keys(*["Alt+ArrowUp"] * round((y - 30) / step), "Enter")
    viewer.until("f.tracks.of(1, 0) !== null && !f.asking")
    viewer.keys("Shift+Enter")
    viewer.until("f.said.length === 2 && !f.asking")
    viewer.keys("Control+z", "l")
    viewer.until("f.said.length === 1 && !f.asking")
    viewer.page.keyboard.type("disc")
    viewer.keys("Enter")
    viewer.follow()
    viewer.keys("Home")
    viewer.on_screen(0)
    viewer.keys("Space")
    viewer.until("!f.playing && f.frame", FRAMES - 1)
    known = viewer.ious(1, [masks[0] for masks in TRUTH])
    assert min(known) > 0.7
    viewer.drawn()
    viewer.page.reload()
    viewer.page.wait_for_selector(".timeline")
    viewer.on_screen(FRAMES - 1)
    assert viewer.ious(1, [masks[0] for masks in TRUTH]) == known
    assert viewer.ask("[f.left, f.said.length, f.objects[0].name]") == [0, 1, "disc"]
    viewer.keys("q")
    viewer.page.get_by_role("heading", name="Open images to annotate").wait_for()
    viewer.page.reload()
    viewer.page.get_by_role("heading", name="Open images to annotate").wait_for()
    assert viewer.ask("f === undefined") is True


def test_frames_to_look_at_are_marked_listed_and_a_key_away(viewer: Viewer, tmp_path: Path) -> None:
    pictures, _ = moving_discs(FRAMES, hidden=[4, 5])
    viewer.watch(write_video(tmp_path / "hidden.mkv", pictures))
    viewer.say(30, 30)
    viewer.follow()
    states = viewer.ask("[3, 4, 5, 6].map(i => f.tracks.of(1, i).state)")
    assert states == ["visible", "occluded", "occluded", "back"]
    viewer.page.get_by_role("heading", name="Frames to review: 2").wait_for()
    viewer.keys("Home", "j")
    viewer.on_screen(4)
    slider = viewer.page.get_by_role("slider", name="Frame")
    viewer.until_so(
        lambda: "Object 1 occluded, to review: gone" in slider.get_attribute("aria-valuetext")
    )
    viewer.page.get_by_role("button", name="7 Object 1: back").click()
    viewer.on_screen(6)
    viewer.keys("k")
    viewer.on_screen(4)


def test_exports_of_every_format_and_folders_of_frames(
    sit: Callable[..., Viewer], tmp_path: Path
) -> None:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(folder / f"{number}.png")
    with served(clips={"walk": folder}) as address:
        viewer = sit(address)
        viewer.keys("Control+Shift+O")
        viewer.page.get_by_role("button", name="walk", exact=True).click()
        viewer.on_screen(0)
        viewer.say(30, 30)
        viewer.follow()
        sav = json.loads(viewer.export("SA-V", tmp_path).read_text("utf-8"))
        assert (sav["video_id"], sav["video_frame_count"]) == ("walk", FRAMES)
        assert viewer.export("DAVIS", tmp_path).name == "walk.zip"
        lines = viewer.export("JSON Lines", tmp_path).read_text("utf-8").splitlines()
        assert [json.loads(line)["frame"] for line in lines] == list(range(FRAMES))
        film = viewer.export("Video", tmp_path)
        with anymask.load().track(film) as session:
            assert session.frames.length == FRAMES


def test_an_overlay_and_a_cut_out_leave_with_times_sound_and_alpha(
    viewer: Viewer, tmp_path: Path
) -> None:
    viewer.watch(turned_clip(tmp_path / "turned.mp4"))
    viewer.say(30, 30)
    viewer.follow()
    known = [mask_on(viewer, frame) for frame in range(viewer.ask("f.length"))]
    film = viewer.export("Video", tmp_path, "Video with masks overlaid (MP4)")
    assert film.name == "turned.mp4"
    for drawn, picture, mask in zip(decoded(film.read_bytes()), CLIP, known, strict=True):
        assert off(drawn, picture, mask) > 8
        assert off(drawn, picture, ~grown(mask, 9)) < 5
    cut = viewer.export("Video", tmp_path, "Objects on a transparent background (WebM)")
    assert cut.name == "turned.webm"
    for drawn, mask in zip(decoded(cut.read_bytes()), known, strict=True):
        assert iou(drawn[..., 3] > 127, mask) > 0.9


def test_an_export_shows_how_far_it_is_is_stopped_and_asked_for_again(
    viewer: Viewer, clip: Path, tmp_path: Path, axe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, held, asked = VideoWriter.write, threading.Event(), []

    def slow(self: VideoWriter, *frame: Any) -> None:
        asked.append(1)
        assert len(asked) != 3 or held.wait(PATIENCE_S)
        write(self, *frame)

    monkeypatch.setattr(VideoWriter, "write", slow)
    viewer.watch(clip)
    viewer.say(30, 30)
    viewer.keys("Control+s")
    form = viewer.page.get_by_role("dialog", name="Export")
    look = form.get_by_role("combobox", name="Style")
    look.select_option("Objects in one color (MP4)")
    form.get_by_label("Color").fill("#20a0ff")
    form.get_by_role("button", name="Export").click()
    far = form.get_by_role("progressbar", name="Frames written")
    viewer.until_so(lambda: far.evaluate("one => one.value / one.max") == 2 / FRAMES, "2 frames")
    assert check(viewer, axe, "an export") == []
    form.get_by_role("button", name="Stop").click()
    form.get_by_text("Stopped.").wait_for()
    told = "fetch(`api/videos/${window.anymask.videoWork.facts.name}/export`)"
    left = f"{told}.then((reply) => reply.json()).then(({{ total }}) => total)"
    viewer.until_so(lambda: viewer.page.evaluate(left) == 0, "the server has given up")
    held.set()
    form.get_by_label("Format").select_option("SA-V")
    assert look.count() == 0
    viewer.keys("Escape")
    film = viewer.export("Video", tmp_path, "Background in one color (MP4)")
    assert len(asked) == 3 + FRAMES
    with anymask.load().track(film) as session:
        assert session.frames.read(0)[90, 10].max() < 20


def segmentations(viewer: Viewer) -> list[str]:
    """Of object 1, frame by frame."""
    frames = "[...Array(f.length).keys()]"
    return viewer.ask(f"{frames}.map(i => String(f.tracks.of(1, i)?.segmentation.counts))")


def mask_on(viewer: Viewer, frame: int) -> np.ndarray:
    return rle_to_mask(coco_to_rle(viewer.ask(f"f.tracks.of(1, {frame}).segmentation")))


def test_a_simplified_outline_is_a_correction_of_its_frame(viewer: Viewer, clip: Path) -> None:
    viewer.watch(clip)
    viewer.say(30, 30)
    viewer.follow()
    viewer.keys("Home", *["ArrowRight"] * 4, "n", "Control+i")
    viewer.page.get_by_text("Object 2 has no mask on this frame.").wait_for()
    viewer.keys("1")
    viewer.on_screen(4)
    known, before = segmentations(viewer), mask_on(viewer, 4)
    viewer.page.get_by_role("button", name="Simplify outline").click()
    bar = viewer.page.get_by_role("group", name="Simplify outline")
    bar.get_by_role("slider").press("Home")
    viewer.keys(*["ArrowRight"] * 12)
    viewer.until("f.simplifying.tolerance === 6 && f.frame", 4)  # the slider has the arrow keys
    assert segmentations(viewer) == known
    viewer.keys("Escape", "Control+i")
    bar.wait_for()
    share = viewer.ask("f.simplifying.loss.changed")
    viewer.keys("Enter")
    viewer.until("f.said.length === 2 && !f.asking")
    bar.wait_for(state="hidden")
    changed = (mask_on(viewer, 4) ^ before).sum() / before.sum()
    assert changed == pytest.approx(share)
    assert changed > 0
    assert segmentations(viewer)[:4] == known[:4]
    viewer.until("f.left", 3)  # what comes after the correction
    simple = mask_on(viewer, 4)
    viewer.follow()
    assert (mask_on(viewer, 4) == simple).all()
    viewer.keys("Control+z")
    viewer.until("f.said.length === 1 && !f.asking && f.left > 0")
    viewer.follow()
    assert segmentations(viewer) == known
