"""Things found by words: one record a thing, labels, thresholds, and what is not there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import AnymaskError, InputError, UintImage
from anymask.find import Detector
from anymask.find.grounding import ScoredBoxes
from anymask.find.known_names import one_winner, word_scores
from anymask.masks import Mask, mask_to_rle
from tests.evaluation.small_sets import rectangle

COFFEE = anymask.sample("coffee")
CUP = (190, 40, 390, 220)  # of the coffee cup
SPOON = (330, 180, 560, 300)


class Told:
    """A detector that says what it was told to: boxes, and their scores for "cup" and "mug"."""

    name, threshold = "told", 0.3

    def __init__(self, *seen: tuple[tuple[int, ...], tuple[float, ...]]) -> None:
        self.seen, self.sides = seen, list[int | None]()
        self.about: dict[str, Any] = {"detector": self.name}

    def detect(
        self, image: UintImage, phrases: Sequence[str], side: int | None = None
    ) -> ScoredBoxes:
        self.sides.append(side)
        boxes = np.array([box for box, _ in self.seen], np.float32).reshape(-1, 4)
        scores = np.array([scores for _, scores in self.seen], np.float32)
        return ScoredBoxes(boxes, scores.reshape(-1, len(phrases)))


def told(found: Sequence[Mask]) -> list[tuple[str | None, float]]:
    return [(one.label, round(one.score, 2)) for one in found]


def test_one_record_a_thing_and_the_runner_up_is_kept(model: anymask.Model) -> None:
    near = tuple(edge + 3 for edge in CUP)
    detector: Detector = Told((CUP, (0.9, 0.4)), (near, (0.2, 0.7)), (SPOON, (0.1, 0.5)))
    found = model.find(COFFEE, ["cup", "mug"], detector=detector)
    assert told(found) == [("cup", 0.9), ("mug", 0.5)]
    assert found[0].runner_up == ("mug", pytest.approx(0.7))  # of the box that meant the same thing
    assert found[1].runner_up == ("cup", pytest.approx(0.1))
    assert found[0].label_probability == pytest.approx(0.9)
    x0, y0, x1, y1 = found[0].box
    assert x0 >= CUP[0] - 20
    assert y1 <= CUP[3] + 20
    assert found.image_hw == (400, 600)
    assert found.draw().shape == (400, 600, 3)


def test_prompts_are_the_left_and_labels_the_right(model: anymask.Model) -> None:
    detector = Told((CUP, (0.9, 0.4)), (SPOON, (0.1, 0.5)))
    words = {"coffee cup": "vessel", "metal spoon": "spoon"}
    assert told(model.find(COFFEE, words, detector=detector)) == [("vessel", 0.9), ("spoon", 0.5)]
    same = model.find(COFFEE, "coffee cup = vessel, metal spoon = vessel", detector=detector)
    assert told(same) == [("vessel", 0.9), ("vessel", 0.5)]
    assert same[0].runner_up is None  # no other label was asked for


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [("cup", 0.9), ("mug", 0.5)]),
        ({"score": 0.6}, [("cup", 0.9)]),
        ({"score": {"mug": 0.6}}, [("cup", 0.9)]),
        ({"score": {"cup": 0.95}}, [("mug", 0.5), ("mug", 0.4)]),
        ({"score": {"cup": 0.95}, "top_k": 1}, [("mug", 0.5)]),
        ({"score": 1.0}, []),
        ({"top_k": 1}, [("cup", 0.9), ("mug", 0.5)]),
        ({"side": 320}, [("cup", 0.9), ("mug", 0.5)]),
    ],
)
def test_thresholds_are_the_phrases_and_top_k_the_labels(
    settings: dict[str, Any], expected: list[tuple[str, float]], model: anymask.Model
) -> None:
    detector = Told((CUP, (0.9, 0.4)), (SPOON, (0.1, 0.5)))
    assert told(model.find(COFFEE, "cup, mug", detector=detector, **settings)) == expected
    assert detector.sides == [settings.get("side")]


def test_what_is_not_there_gives_nothing(model: anymask.Model) -> None:
    outside = ((-90, -90, -5, -5), (0.9, 0.9))
    for detector in (Told(), Told((CUP, (0.1, 0.2))), Told(outside)):
        found = model.find(COFFEE, ["cup", "mug"], detector=detector)
        assert len(found) == 0
        assert found.image_hw == (400, 600)


def test_duplicates_are_told_by_their_masks(model: anymask.Model) -> None:
    twice = Told((CUP, (0.9, 0.0)), (tuple(edge + 2 for edge in CUP), (0.8, 0.0)))
    assert len(model.find(COFFEE, ["cup", "mug"], detector=twice)) == 1
    loose = Told((CUP, (0.9, 0.0)), ((150, 20, 420, 300), (0.8, 0.0)))
    assert len(model.find(COFFEE, ["cup", "mug"], detector=loose, nms_iou=1.0)) == 2


def test_every_kind_of_image_is_taken_and_records_are_written(
    model: anymask.Model, tmp_path: Path
) -> None:
    pixels = anymask.load_image(COFFEE)
    detector = Told((CUP, (0.9, 0.4)))
    of_file = model.find(COFFEE, ["cup", "mug"], detector=detector)
    of_array = model.find(pixels[..., ::-1], ["cup", "mug"], detector=detector, bgr=True)
    assert of_file[0].rle == of_array[0].rle
    of_file.save(tmp_path / "found.json")
    (record,) = json.loads((tmp_path / "found.json").read_text())["annotations"]
    assert record["label"] == "cup"
    assert record["runner_up"] == ["mug", pytest.approx(0.4)]
    assert Mask.from_sa1b(record).runner_up == of_file[0].runner_up


@pytest.mark.parametrize(
    ("words", "settings", "error", "word"),
    [
        ([], {}, InputError, "empty"),
        ("cup", {"score": 2}, InputError, "0 to 1"),
        ("cup", {"top_k": 0}, InputError, "top_k"),
        ("cup", {"nms_iou": -1}, InputError, "nms_iou"),
        ("cup", {"side": 320}, InputError, "detector"),
        ("cup", {"scores": 0.3}, InputError, "score"),
        ("red cup", {}, InputError, "cup"),
        (["snorkel lamp", "cat"], {}, InputError, "snorkel"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: Any, settings: dict[str, Any], error: type[AnymaskError], word: str,
    model: anymask.Model,
) -> None:  # fmt: skip
    with pytest.raises(error, match=word):
        model.find(COFFEE, words, **settings)


@pytest.mark.usefixtures("no_network")
def test_the_models_own_names_need_no_detector(model: anymask.Model) -> None:
    found = model.find(anymask.sample("cat"), {"cats": "pet", "dog": "dog"})
    assert found[0].label == "pet"
    assert found[0].area > 0.3 * 451 * 300
    assert found[0].runner_up[0] == "dog"
    assert found[0].label_probability == found[0].score > found[0].runner_up[1]  # one scale
    assert all(one.label == "pet" for one in found)


@pytest.mark.usefixtures("no_network")
def test_small_finds_one_cat_and_no_dog() -> None:
    (found,) = anymask.load("small").find(anymask.sample("cat"), "cat, dog")
    assert found.label == "cat"
    assert found.box == pytest.approx((0, 0, 391, 293), abs=8)


@pytest.mark.parametrize(
    ("word", "box"), [("truck", (119, 281, 1707, 856)), ("dog", (0, 225, 421, 532))]
)
def test_small_finds_the_one_object_of_a_photo(shared: Path, word: str, box: Sequence[int]) -> None:
    (found,) = anymask.load("small").find(shared / "images" / f"{word}.jpg", word)
    assert found.box == pytest.approx(box, abs=20)


@pytest.mark.parametrize(
    ("seen", "alone", "objectness", "score"),
    [(1.0, 1.0, 0.5, 0.499), (0.5, 0.5, 0.9, 0.785), (1.0, 0.0, 0.5, 0.235),
     (0.0, 0.0, 0.9, 0.011), (1.0, 1.0, 0.05, 0.077)],
)  # fmt: skip
def test_a_score_needs_the_name_and_an_object(
    seen: float, alone: float, objectness: float, score: float
) -> None:
    told = word_scores(np.array([[seen]]), np.array([[alone]]), np.array([[objectness]]))
    assert told[0, 0] == pytest.approx(score, abs=2e-3)


def test_the_best_of_masks_that_overlap_is_kept() -> None:
    def square(x: int, side: int, label: str, score: float) -> Mask:
        return Mask(
            mask_to_rle(rectangle((40, 40), (x, 0, x + side, side))), label=label, score=score
        )

    whole, part = square(0, 20, "cat", 0.8), square(5, 10, "cat", 0.9)
    beside, other = square(18, 20, "cat", 0.3), square(0, 20, "dog", 0.2)
    assert one_winner([whole, beside, other]) == [whole, beside, other]
    assert one_winner([whole, part, other]) == [part, other]


def test_an_unknown_word_is_an_error_that_tells_what_is_known_nearby(model: anymask.Model) -> None:
    told = r"'red cup' \(known: cup\); 'wild reptiles' \(known: alligator, lizard, snake\); "
    told += r"'lorry' \(known: trailer truck\); 'face'\. .*llmdet_tiny"  # LVIS: articulated lorry
    with pytest.raises(InputError, match=told):
        model.find(COFFEE, ["red cup", "wild reptiles", "lorry", "face"])


def test_words_that_no_training_photo_showed_are_told(
    model: anymask.Model, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", logger="anymask.find"):
        model.find(anymask.sample("cat"), "zebras")
        assert not caplog.records
        model.find(anymask.sample("cat"), "aquarium")
    assert "aquarium" in caplog.text
