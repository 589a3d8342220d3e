"""AP of a detector's boxes: COCO by pycocotools, LVIS by hand."""

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError
from anymask.evaluation import FromFunction
from anymask.evaluation.coco import DetectedImage, ap_result, measure_instance_ap
from anymask.evaluation.datasets import SetQuery
from anymask.evaluation.detections import Detection, read_detections
from anymask.evaluation.protocols import NotMeasured
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import AnnotatedImage, LossReport, ReadSettings, load_set
from anymask.formats.annotations import BenchmarkTruth, Federated
from anymask.masks import Mask, Rle, mask_to_rle
from tests.evaluation.small_sets import Box, coco_evaluation, filled_box, rectangle, write_set

HW = (150, 160)
NAMES = ("ant", "bee", "cat", "dog")


def rle(box: Box) -> Rle:
    return mask_to_rle(rectangle(HW, box))


def sample(
    truths: list[tuple[str, Box]], crowds: Sequence[tuple[str, Box]] = (), **more: Any
) -> AnnotatedImage:
    regions = [Mask(rle(box), label, crowd=True) for label, box in crowds]
    return AnnotatedImage(
        file_name="a.png",
        hw=HW,
        masks=(*(Mask(rle(box), label) for label, box in truths), *regions),
        benchmark=BenchmarkTruth(**more),
    )


def answered(truth: AnnotatedImage, found: list[tuple[str, Box, float]]) -> DetectedImage:
    detections = tuple(Detection(box, label, score) for label, box, score in found)
    return DetectedImage(truth, tuple(rle(box) for _, box, _ in found), detections)


def figures(images: list[DetectedImage], **more: Any) -> dict[str, float]:
    return {figure.name: figure.value for figure in ap_result(images, **more).figures}


def random_image(rng: np.random.Generator) -> DetectedImage:
    def boxes(count: int) -> list[Box]:
        corners, sides = (
            rng.integers(0, 5, (count, 2)) * 12,
            rng.choice([20, 33, 60, 100], (count, 2)),
        )
        return [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True)]

    truths = [(str(rng.choice(NAMES)), box) for box in boxes(int(rng.integers(0, 8)))]
    crowds = tuple((str(rng.choice(NAMES)), box) for box in boxes(int(rng.integers(0, 2))))
    guesses = [box for _, box in truths] + boxes(int(rng.integers(0, 20)))
    found = [(str(rng.choice(NAMES)), box, float(rng.integers(0, 9)) / 9) for box in guesses]
    return answered(sample(truths, crowds=crowds), found)


def by_pycocotools(images: list[DetectedImage]) -> np.ndarray:
    """Its twelve numbers; the first six are AP, AP50, AP75, APs, APm, APl."""
    truths, found = [], []
    for image, pixels in enumerate(images, start=1):
        truths += [
            (image, NAMES.index(mask.label) + 1, mask.rle, int(mask.crowd))
            for mask in pixels.truth.masks
        ]
        found += [
            (image, NAMES.index(one.label) + 1, rle, one.score)
            for rle, one in zip(pixels.masks, pixels.detections, strict=True)
        ]
    evaluation = coco_evaluation(HW, len(images), NAMES, truths, found)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers: np.ndarray = evaluation.stats
    return numbers


@pytest.mark.parametrize("seed", range(12))
def test_ap_is_that_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [random_image(rng) for _ in range(6)]
    ours = figures(images)
    expected = by_pycocotools(images)
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    for name, theirs in zip(names, expected, strict=False):
        if theirs == -1:
            assert np.isnan(ours[name])
        else:
            assert ours[name] == pytest.approx(theirs, abs=1e-12)


# LVIS, by hand: one right ant of score .5 and one wrong mask of score .9, so AP is .5 where the
# wrong one counts and 1 where it does not.
RIGHT, WRONG = (0, 0, 60, 60), (90, 90, 140, 140)


@pytest.mark.parametrize(
    ("label", "federated", "ap"),
    [
        ("ant", None, 0.5),
        ("ant", Federated(), 0.5),  # drawn in the photo, and exhaustively
        ("ant", Federated(partial=frozenset({"ant"})), 1.0),
    ],
)
def test_a_class_that_is_not_drawn_exhaustively_is_not_wrong(
    label: str, federated: Federated | None, ap: float
) -> None:
    truth = sample([("ant", RIGHT)], federated=federated)
    image = answered(truth, [(label, WRONG, 0.9), ("ant", RIGHT, 0.5)])
    assert figures([image])["AP"] == pytest.approx(ap)


@pytest.mark.parametrize(
    ("federated", "ap"),
    [
        (None, 0.5),
        (Federated(), 1.0),  # nobody looked for ants in the second photo
        (Federated(absent=frozenset({"ant"})), 0.5),  # somebody did, and there is none
    ],
)
def test_a_class_counts_where_it_was_looked_for(federated: Federated | None, ap: float) -> None:
    first = answered(
        sample([("ant", RIGHT)], federated=federated and Federated()), [("ant", RIGHT, 0.5)]
    )
    second = answered(sample([("bee", RIGHT)], federated=federated), [("ant", WRONG, 0.9)])
    both = figures([first, second], frequency={"ant": "r", "bee": "f"})
    assert both["APr"] == pytest.approx(ap)
    assert both["APf"] == 0  # the bee is missed
    assert np.isnan(both["APc"])
    assert both["AP"] == pytest.approx(ap / 2)


def test_three_hundred_masks_of_a_photo_count_in_lvis_and_a_hundred_of_a_class_in_coco() -> None:
    noise = [("bee", WRONG, 0.9)] * 299
    late = [*noise, ("ant", WRONG, 0.8), ("ant", RIGHT, 0.5)]
    for federated, ap in ((None, 0.5), (Federated(), 0.0)):
        truth = sample([("ant", RIGHT)], federated=federated)
        assert figures([answered(truth, late)])["AP"] == pytest.approx(ap)
    many = [("ant", WRONG, 0.9)] * 100 + [("ant", RIGHT, 0.5)]
    for federated, ap in ((None, 0.0), (Federated(), 1 / 101)):
        truth = sample([("ant", RIGHT)], federated=federated)
        assert figures([answered(truth, many)])["AP"] == pytest.approx(ap)


# The file and the measure.

METHOD = FromFunction("filled", frozenset({"box"}), filled_box)


def set_with_boxes(folder: Path, annotations: Any) -> EvalSet:
    write_set(folder, [[(5, 5, 30, 30), (35, 10, 60, 40)]])
    rows = [json.loads(line) for line in (folder / "masks.jsonl").read_text().splitlines()]
    for mask, label in zip(rows[0]["masks"], NAMES, strict=False):
        mask["label"] = label
    (folder / "masks.jsonl").write_text(json.dumps(rows[0]) + "\n")
    document = {
        "categories": [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee", "frequency": "c"}],
        "annotations": annotations,
    }
    (folder / "detections.json").write_text(json.dumps(document))
    return EvalSet(SetPlan(name="set"), *load_set(folder))


def box(category: int, xywh: list[float], **more: Any) -> dict[str, Any]:
    return {"image": "images/0.png", "category_id": category, "bbox": xywh, "score": 0.5} | more


def test_masks_are_made_of_the_boxes(tmp_path: Path) -> None:
    one = set_with_boxes(
        tmp_path / "set",
        [box(1, [5, 5, 25, 25]), box(2, [5, 5, 9, 9]), box(2, [0, 0, 9, 9], image="other.png")],
    )
    method = FromFunction("filled", frozenset({"box"}), filled_box)
    told: list[tuple[int, int]] = []
    result = measure_instance_ap(method, one, EvalSettings(), lambda *n: told.append(n))
    values = {figure.name: figure.value for figure in result.figures}
    assert told == [(1, 1)]
    assert (values["AP"], values["APc"]) == pytest.approx((0.5, 0))
    assert len(result.curves[0].y) == 10


def test_a_photo_may_be_named_by_its_number(tmp_path: Path) -> None:
    set_with_boxes(tmp_path / "set", [{"image_id": 7} | box(1, [5, 5, 25, 25])])
    row = {"image_id": 7, "category_id": 1, "bbox": [5, 5, 25, 25], "score": 1}
    document = {"categories": [{"id": 1, "name": "ant"}], "annotations": [row]}
    path = tmp_path / "detections.json"
    path.write_text(json.dumps(document))
    (found,) = read_detections(path, [sample([("ant", RIGHT)], image_id=7)]).images
    assert found == (Detection((5, 5, 30, 30), "ant", 1),)


NAN = float("nan")
GOOD_BOX = [5, 5, 25, 25]
BROKEN: list[tuple[Any, str]] = [
    ({"image": "0.png"}, "the key 'bbox' is missing"),
    ({"category_id": 1, "bbox": GOOD_BOX, "score": 0.5}, "the key 'image_id' is missing"),
    ({"image": "0.png", "bbox": GOOD_BOX, "score": 0.5}, "the key 'category_id' is missing"),
    ({"image": "0.png", "bbox": GOOD_BOX, "category_id": 1}, "the key 'score' is missing"),
    (box(9, GOOD_BOX), "Unknown category id"),
    (box(1, [5, 5, 0, 25]), "`bbox` has no area"),
    (box(1, [5, 5, 25, -25]), "`bbox` has no area"),
    (box(1, [5, 5, 9]), "`bbox` is not a list of 4 numbers"),
    (box(1, [5, 5, 9, 9, 9]), "`bbox` is not a list of 4 numbers"),
    (box(1, [5, 5, NAN, 9]), "`bbox` is not a finite number"),
    (box(1, [5, float("inf"), 9, 9]), "`bbox` is not a finite number"),
    (box(1, GOOD_BOX) | {"bbox": "5 5 25 25"}, "`bbox` is not a list of 4 numbers"),
    (box(1, GOOD_BOX) | {"bbox": None}, "`bbox` is not a list of 4 numbers"),
    (box(1, GOOD_BOX) | {"bbox": ["a", 5, 9, 9]}, "`bbox` is not a finite number"),
    (box(1, GOOD_BOX) | {"category_id": "ant"}, "`category_id` is not a whole number"),
    (box(1, GOOD_BOX) | {"category_id": 1.5}, "`category_id` is not a whole number"),
    (box(1, GOOD_BOX) | {"score": "high"}, "`score` is not a finite number"),
    (box(1, GOOD_BOX) | {"score": NAN}, "`score` is not a finite number"),
    (box(1, GOOD_BOX) | {"image": None}, "`image` is not text"),
    ("text", "`annotation` is not an object"),
]


@pytest.mark.parametrize(("annotation", "reason"), BROKEN)
def test_a_broken_record_is_named(annotation: Any, reason: str, tmp_path: Path) -> None:
    one = set_with_boxes(tmp_path / "set", [annotation])
    with pytest.raises(DataError, match=f"annotation 0: {reason}"):
        read_detections(tmp_path / "set" / "detections.json", one.samples)


def test_broken_records_are_skipped_and_reported(tmp_path: Path) -> None:
    rows: list[Any] = [box(1, GOOD_BOX) for _ in range(200)]
    rows[9::10] = [row for row, _ in BROKEN]
    one = set_with_boxes(tmp_path / "set", rows)
    file = tmp_path / "set" / "detections.json"
    report = LossReport(settings=ReadSettings())
    (found,) = read_detections(file, one.samples, report).images
    assert found == (Detection((5, 5, 30, 30), "ant", 0.5),) * 180
    assert [loss.place for loss in report.losses] == [
        f"{file}: annotation {number}" for number in range(9, 200, 10)
    ]
    one = replace(one, reading=ReadSettings())
    result = measure_instance_ap(METHOD, one, EvalSettings(), lambda *n: None)
    assert (
        "Skipped 3 records (`bbox` is not a finite number): annotation 99, annotation 109, "
        "annotation 139"
    ) in result.notes
    file.write_text(json.dumps({"categories": [], "annotations": rows[:2]}))
    with pytest.raises(DataError, match="No valid record is left, because"):
        read_detections(file, one.samples, LossReport(settings=ReadSettings()))


def test_detections_lie_beside_a_file_of_labels(tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    row = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[5, 5, 9, 5, 9, 9]]}
    image = {"id": 1, "file_name": "0.png", "width": 64, "height": 48}
    document = {"images": [image], "annotations": [row], "categories": [{"id": 1, "name": "ant"}]}
    labels.write_text(json.dumps(document))
    Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    (one,) = SetQuery(data=str(labels)).open()
    with pytest.raises(NotMeasured, match=r"Instance AP requires .* detections.json"):
        measure_instance_ap(METHOD, one, EvalSettings(), lambda *n: None)
    boxes = [box(1, [5, 5, 4, 4]), box(1, [1, 1, 2, 2], image="b.png")]
    found = {"categories": document["categories"], "annotations": boxes}
    (tmp_path / "detections.json").write_text(json.dumps(found))
    result = measure_instance_ap(METHOD, one, EvalSettings(), lambda *n: None)
    assert "skipped 1 detection for images outside of this set" in result.notes


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "detections.json"
    for text in ("[]", '{"categories": []}'):
        path.write_text(text)
        with pytest.raises(DataError, match="not a COCO detection file"):
            read_detections(path, [])
    path.write_text('{"categories": null, "annotations": []}')
    assert read_detections(path, []).images == ()


def test_what_cannot_be_measured_says_why(tmp_path: Path) -> None:
    one = set_with_boxes(tmp_path / "set", [])
    clicks = FromFunction("clicks", frozenset({"point"}), filled_box)
    with pytest.raises(NotMeasured, match="does not support box prompts"):
        measure_instance_ap(clicks, one, EvalSettings(), lambda *n: None)
    (tmp_path / "set" / "detections.json").unlink()
    boxes = FromFunction("boxes", frozenset({"box"}), filled_box)
    with pytest.raises(NotMeasured, match="boxes in detections.json"):
        measure_instance_ap(boxes, one, EvalSettings(), lambda *n: None)
