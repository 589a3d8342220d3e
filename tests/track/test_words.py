"""Words in videos: things enter, keep their numbers, are lost and found again; on a made clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import anymask
from anymask.base import BoolArray, InputError, UintImage, parse_json
from anymask.find import WordFinder
from anymask.find.grounding import ScoredBoxes
from anymask.masks import Mask, iou, mask_iou, mask_to_rle
from anymask.track import find_in_video, write_finds
from anymask.track.text_tracking import without_parts
from tests.evaluation.small_sets import rectangle
from tests.track.clips import write_video

HW = (192, 256)
FRAMES = 36
RED, GREEN, BLUE = (215, 50, 40), (40, 170, 70), (50, 80, 220)
WORDS = ["red ball", "green ball", "blue box"]


class Scene:
    """A red ball goes from left to right behind a wall, on frames 12 to 19 unseen; a green one
    stands; a blue box comes in on frame 15 from the right."""

    def __init__(self) -> None:
        grain = np.random.default_rng(0).integers(90, 140, (24, 32, 3), np.uint8)
        self._ground = cv2.resize(grain, HW[::-1], interpolation=cv2.INTER_CUBIC)

    def image(self, frame: int) -> UintImage:
        drawn = self._ground.copy()
        for color, mask in zip((RED, GREEN, BLUE), self.masks(frame), strict=True):
            drawn[mask] = color
        return drawn

    def masks(self, frame: int) -> list[BoolArray]:
        """The visible pixels of the red ball, the green one and the blue box."""
        red, green, blue = (np.zeros(HW, np.uint8) for _ in range(3))
        if not 12 <= frame < 20:
            cv2.circle(red, (40 + 5 * frame, 50), 22, 1, -1)
        cv2.circle(green, (60, 145), 26, 1, -1)
        if frame >= 15:
            x = 256 - 4 * (frame - 14)
            cv2.rectangle(blue, (x, 120), (x + 44, 165), 1, -1)
        return [one > 0 for one in (red, green, blue)]


class Stub:
    """A detector that knows the truth of the scene by its pixels, and counts its looks."""

    name, threshold = "stub", 0.5

    def __init__(self, scene: Scene, blind: Sequence[int] = ()) -> None:
        self.about: dict[str, Any] = {"detector": self.name}
        self.looks: list[int] = []
        self._scene, self._blind = scene, blind
        self._frames = {scene.image(frame).tobytes(): frame for frame in range(FRAMES)}

    def detect(
        self, image: UintImage, phrases: Sequence[str], side: int | None = None
    ) -> ScoredBoxes:
        frame = self._frames[image.tobytes()]
        self.looks.append(frame)
        boxes, scores = [], []
        for place, mask in enumerate(self._scene.masks(frame)):
            if mask.sum() < 200 or frame in self._blind:
                continue
            x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
            boxes.append((x, y, x + width, y + height))
            scores.append([0.9 if WORDS[place] == phrase else 0.1 for phrase in phrases])
        return ScoredBoxes(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(scores, np.float32).reshape(-1, len(phrases)),
        )


@pytest.fixture(scope="module")
def model() -> anymask.Model:
    """The bundled model."""
    return anymask.load()


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def followed(
    model: anymask.Model, scene: Scene, every: int, **stub: Any
) -> tuple[list[anymask.Masks], Stub]:
    """The masks of each frame of the scene."""
    detector = Stub(scene, **stub)
    images = [scene.image(frame) for frame in range(FRAMES)]
    return [*model.find(images, WORDS, detector=detector, every=every)], detector


def numbers(found: Sequence[anymask.Masks], scene: Scene, place: int) -> dict[int, int]:
    """The id that has the thing on each frame on which it is seen enough, by the true masks."""
    held = {}
    for frame, masks in enumerate(found):
        truth = scene.masks(frame)[place]
        if truth.sum() >= 900 and len(masks):
            overlaps = mask_iou(masks.masks, truth[None])[:, 0]
            if overlaps.max() > 0.6:
                best = masks[int(overlaps.argmax())]
                assert best.label == WORDS[place]
                assert best.id is not None
                held[frame] = best.id
    return held


@pytest.mark.parametrize("every", [2, 10])
def test_identities_stay_a_new_thing_enters_and_a_lost_one_is_found_again(
    every: int, model: anymask.Model, scene: Scene
) -> None:
    found, detector = followed(model, scene, every)
    assert len(found) == FRAMES
    red, green, blue = (numbers(found, scene, place) for place in range(3))
    for name, held in (("red", red), ("green", green), ("blue", blue)):
        assert len(set(held.values())) == 1, (name, held)
    assert len({red[0], green[0], blue[FRAMES - 1]}) == 3
    assert set(green) == {*range(FRAMES)}
    assert {*range(12)} <= set(red)
    assert {*range(20 + every, FRAMES)} <= set(red)  # found again at the next key frame at last
    assert {*range(25 + every, FRAMES)} <= set(blue)
    everybody = {one.id for masks in found for one in masks}
    assert everybody == {red[0], green[0], blue[FRAMES - 1]}  # and nothing else was ever there
    assert set(range(0, FRAMES, every)) & {0} <= set(detector.looks)
    assert len(detector.looks) <= FRAMES // every + 8


def test_what_a_detector_misses_for_a_while_is_followed_and_labels_are_voted(
    model: anymask.Model, scene: Scene
) -> None:
    images = [scene.image(frame) for frame in range(11)]
    detector = Stub(scene, blind=range(1, 9))
    words = {"red ball": "ball", "green ball": "ball"}
    found = [*model.find(iter(images), words, detector=detector, every=2, top_k=2)]
    assert [sorted(masks.ids) for masks in found] == [[1, 2]] * 11
    assert {label for masks in found for label in masks.labels} == {"ball"}
    assert found[3].image_hw == HW
    assert found[3].draw().shape == (*HW, 3)


def test_a_video_is_written_with_labels_and_numbers(
    model: anymask.Model, scene: Scene, tmp_path: Path
) -> None:
    clip = write_video(tmp_path / "clip.mkv", [scene.image(frame) for frame in range(6)])
    outputs = [tmp_path / name for name in ("out", "things.json", "lines.jsonl", "film.mkv")]
    with find_in_video(model, clip, WORDS, detector=Stub(scene), every=3) as finds:
        notes = write_finds(finds, clip, outputs)
    assert "1 x red ball" in notes[0]
    document = parse_json((tmp_path / "things.json").read_text(), "things")
    names = {one["id"]: one["name"] for one in document["categories"]}
    for row in document["annotations"]:
        assert names[row["category_id"]] == WORDS[row["group_id"] - 1]
    assert len(document["annotations"]) == 12
    assert (tmp_path / "out" / "things.json").read_bytes() == outputs[1].read_bytes()
    assert len([*(tmp_path / "out").glob("*.png")]) == 6
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) == 6
    assert outputs[3].is_file()
    dataset = anymask.read(tmp_path / "things.json")
    assert {one.label for image in dataset for one in image.objects} == {WORDS[0], WORDS[1]}


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"every": 0}, "every"),
        ({"every": 2.5}, "every"),
        ({"bgr": True}, "bgr"),
        ({"score": 7}, "0 to 1"),
        ({"tracking": {"tracker": "none"}}, "tracker"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    settings: dict[str, Any], word: str, model: anymask.Model, scene: Scene
) -> None:
    with pytest.raises(InputError, match=word):
        model.find([scene.image(0)], "cat", **{"every": 1} | settings)


def told_finds(
    monkeypatch: pytest.MonkeyPatch, scene: Scene, finds: dict[int, list[tuple[BoolArray, float]]]
) -> list[int]:
    """Replace detections by masks of "red ball" with scores on these frames. Returns key frames."""
    frames = {scene.image(frame).tobytes(): frame for frame in range(FRAMES)}
    looks: list[int] = []

    def find(_: WordFinder, image: UintImage) -> list[Mask]:
        looks.append(frames[image.tobytes()])
        given = finds.get(looks[-1], [])
        return [Mask(mask_to_rle(mask), "red ball", score=score) for mask, score in given]

    monkeypatch.setattr(WordFinder, "find", find)
    return looks


def test_a_detection_of_a_part_does_not_shrink_a_track_or_start_another(
    model: anymask.Model, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of a tracked object is the object; a whole around a tracked part replaces it."""
    whole = [scene.masks(frame)[0] for frame in range(9)]
    upper = [mask & (np.arange(HW[0]) < 55)[:, None] for mask in whole]
    every: dict[str, Any] = {"every": 4, "detector": Stub(scene)}
    images = [scene.image(frame) for frame in range(9)]
    looks = told_finds(monkeypatch, scene, {0: [(whole[0], 0.9)], 4: [(upper[4], 0.9)], 8: []})
    found = [*model.find(images, "red ball", **every)]
    assert looks[:2] == [0, 4]
    assert [masks.ids for masks in found[:8]] == [[1]] * 8
    assert min(iou(found[at].masks[0], whole[at]) for at in range(8)) > 0.9
    told_finds(monkeypatch, scene, {0: [(upper[0], 0.9)], 4: [(whole[4], 0.9), (upper[4], 0.9)]})
    found = [*model.find(images, "red ball", **every)]
    assert [masks.ids for masks in found[:8]] == [[1]] * 8
    assert min(iou(found[at].masks[0], whole[at]) for at in range(4, 8)) > 0.9


@pytest.mark.parametrize("again", [False, True])
def test_a_detection_with_a_low_score_needs_a_second_one(
    again: bool, model: anymask.Model, scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    red, green = ([scene.masks(frame)[place] for frame in range(12)] for place in (0, 1))
    finds = {frame: [(red[frame], 0.9)] for frame in range(12)}
    finds[5] = [*finds[5], (green[5], 0.3)]
    if again:
        for frame in range(6, 12):
            finds[frame] = [*finds[frame], (green[frame], 0.3)]
    looks = told_finds(monkeypatch, scene, finds)
    images = [scene.image(frame) for frame in range(12)]
    clip = write_video(tmp_path / "clip.mkv", images)
    with find_in_video(model, clip, "red ball", detector=Stub(scene), every=5) as opened:
        shown = [sorted(frame.objects) for frame in opened]
        held = [sorted(opened.session.result(frame).objects) for frame in range(12)]
    assert looks[:3] == [0, 5, 8]
    assert shown[:8] == [[1]] * 8
    assert shown[8:] == [[1, 2] if again else [1]] * 4
    assert held[5:8] == [[1, 2] if again else [1]] * 3  # a written file has the frames before


def test_parts_of_one_label_are_removed() -> None:
    def square(x: int, side: int, label: str) -> Mask:
        return Mask(mask_to_rle(rectangle((40, 40), (x, 0, x + side, side))), label, score=0.5)

    whole, part, other = square(0, 20, "cat"), square(4, 10, "cat"), square(5, 10, "dog")
    beside, equal = square(15, 10, "cat"), square(0, 20, "cat")
    assert without_parts([part, whole, other, beside]) == [whole, other, beside]
    assert without_parts([whole, equal]) == [whole, equal]
    assert without_parts([]) == []
