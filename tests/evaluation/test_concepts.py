"""cgF1 and pHOTA: hand-counted cases, and values of an independent implementation."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask import evaluate
from anymask.base import DataError
from anymask.cli.main import main
from anymask.evaluation.concepts import ConceptAnswer, optimal_ious, score_concepts
from anymask.formats.saco import ConceptPair, MaskTrack
from anymask.masks import Rle, mask_to_rle, rle_to_coco
from tests.evaluation.small_sets import rectangle

pytest.importorskip("scipy")
HW = (10, 10)


def box(x0: int, y0: int, x1: int, y1: int) -> Rle:
    return mask_to_rle(rectangle(HW, (x0, y0, x1, y1)))


WHOLE, HALF, FAR = box(0, 0, 4, 4), box(0, 0, 4, 2), box(6, 6, 10, 10)  # IoU of the halves: 0.5


def answer(truths: list[MaskTrack], found: list[MaskTrack], frames: int = 1) -> ConceptAnswer:
    pair = ConceptPair(
        id="1", medium="m", phrase="cup", hw=HW, frames=frames, tracks=truths, is_video=frames > 1
    )
    return ConceptAnswer(pair, found)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        # All right: one present, one absent phrase.
        ([answer([(WHOLE,)], [(WHOLE,)]), answer([], [])], (1, 1)),
        # IoU 0.5 is a match at one of ten thresholds; IL_MCC is 1.
        ([answer([(WHOLE,)], [(HALF,)]), answer([], [])], (0.1, 1)),
        # A false mask beside the right one: F1 = 2 / (2 + 1); a false mask of a negative does not
        # count in pmF1. tp 1, fp 1, fn 0, tn 1: MCC = 1 / sqrt(2 * 1 * 2 * 1).
        ([answer([(WHOLE,)], [(WHOLE,), (FAR,)]), answer([], [(FAR,)]), answer([], [])],
         (2 / 3, 0.5)),
        # Nothing absent: the correlation is undefined.
        ([answer([(WHOLE,)], [(WHOLE,)])], (1, math.nan)),
    ],
)  # fmt: skip
def test_cgf1_of_hand_counted_cases(
    answers: list[ConceptAnswer], expected: tuple[float, float]
) -> None:
    found = score_concepts(answers)
    assert (found["pmF1"], found["IL_MCC"]) == pytest.approx(expected, nan_ok=True)
    assert found["cgF1"] == pytest.approx(100 * expected[0] * expected[1], nan_ok=True)
    assert "pHOTA" not in found


def test_matching_is_optimal_not_greedy() -> None:
    table = np.array([[0.9, 0.8], [0.8, 0.1]])
    assert optimal_ious(table).tolist() == [0.8, 0.8]


def test_hota_of_an_identity_switch() -> None:
    """One object in four frames, found as two tracks of two frames each.

    Every mask is right: DetA 1. Each match has TPA 2 and FNA 2: AssA 0.5.
    """
    found: list[MaskTrack] = [(WHOLE, WHOLE, None, None), (None, None, WHOLE, WHOLE)]
    scores = score_concepts([answer([(WHOLE,) * 4], found, 4), answer([], [], 4)])
    assert scores["pDetA"] == pytest.approx(1)
    assert scores["pAssA"] == pytest.approx(0.5)
    assert scores["pHOTA"] == pytest.approx(math.sqrt(0.5))
    # The volume of each half is 0.5: a match at one threshold, of one of the two.
    assert scores["pmF1"] == pytest.approx(0.1 * 2 / 3)


def test_hota_counts_masks_of_absent_phrases_as_false() -> None:
    right, wrong = answer([(WHOLE, WHOLE)], [(WHOLE, WHOLE)], 2), answer([], [(FAR, FAR)], 2)
    scores = score_concepts([right, wrong])
    assert (scores["pDetA"], scores["pAssA"]) == pytest.approx((0.5, 1))


def made_clips(seed: int) -> list[ConceptAnswer]:
    """Three clips of boxes that move, are lost, and are swapped."""
    chance = np.random.default_rng(seed)
    answers = []
    for frames, objects in ((6, 3), (5, 2), (4, 0)):

        def tracks(count: int, frames: int = frames) -> list[MaskTrack]:
            corners = chance.integers(0, 5, (count, 2))
            rows = []
            for x, y in corners:
                row: list[Rle | None] = []
                for _ in range(frames):
                    x, y = np.clip(np.add((x, y), chance.integers(-1, 2, 2)), 0, 6)
                    seen = chance.random() > 0.2
                    row.append(box(x, y, x + 4, y + 4) if seen else None)
                rows.append(tuple(row))
            return rows

        truths = tracks(objects)
        found = [tuple(track[: frames // 2]) for track in truths]
        swapped = [truths[(n + 1) % len(truths)] for n in range(len(truths))]
        cut = [a + tuple(b[frames // 2 :]) for a, b in zip(found, swapped, strict=True)]
        answers.append(answer(truths, [*cut, *tracks(1)], frames))
    return answers


def reference_hota(answers: list[ConceptAnswer]) -> tuple[float, float, float]:
    """HOTA by loops over dense masks, with all assignments tried."""
    from itertools import permutations

    from anymask.masks import rle_to_mask

    def overlap(a: Rle, b: Rle) -> float:
        one, other = rle_to_mask(a), rle_to_mask(b)
        return float((one & other).sum() / (one | other).sum())

    rows = []
    for alpha in np.arange(0.05, 0.99, 0.05):
        tp, total, association = 0, 0, 0.0
        for one in answers:
            ours, theirs = one.found, one.pair.tracks
            long = {(0, n): sum(r is not None for r in t) for n, t in enumerate(ours)}
            long |= {(1, n): sum(r is not None for r in t) for n, t in enumerate(theirs)}
            total += sum(long.values())
            near = np.zeros((len(ours), len(theirs)))
            pairs = {}
            for frame in range(one.pair.frames):
                a = [n for n, t in enumerate(ours) if t[frame] is not None]
                b = [n for n, t in enumerate(theirs) if t[frame] is not None]
                iou = {(i, j): overlap(ours[i][frame], theirs[j][frame]) for i in a for j in b}  # type: ignore[arg-type]
                pairs[frame] = a, b, iou
                for i, j in iou:
                    bottom = sum(iou[i, k] for k in b) + sum(iou[k, j] for k in a) - iou[i, j]
                    near[i, j] += iou[i, j] / bottom if bottom else 0
            whole = np.array(
                [[near[i, j] / (long[0, i] + long[1, j] - near[i, j]) for j in range(len(theirs))]
                 for i in range(len(ours))]
            ).reshape(near.shape)  # fmt: skip
            count = np.zeros(near.shape)
            for a, b, iou in pairs.values():
                few, many, flip = (a, b, False) if len(a) <= len(b) else (b, a, True)
                best: tuple[float, Any] = (-1, ())
                for order in permutations(many, len(few)):
                    chosen = [(k, i) if flip else (i, k) for i, k in zip(few, order, strict=True)]
                    value = sum(whole[i, j] * iou[i, j] for i, j in chosen)
                    best = max(best, (value, chosen), key=lambda pair: pair[0])
                for i, j in best[1]:
                    count[i, j] += iou[i, j] >= alpha - 1e-9
            tp += count.sum()
            for i, j in zip(*np.nonzero(count), strict=True):
                association += count[i, j] ** 2 / (long[0, i] + long[1, j] - count[i, j])
        detection, associated = tp / (total - tp), association / max(tp, 1)
        rows.append((math.sqrt(detection * associated), detection, associated))
    return tuple(np.mean(rows, axis=0).tolist())


@pytest.mark.parametrize("seed", range(5))
def test_hota_agrees_with_a_reference_of_loops(seed: int) -> None:
    answers = made_clips(seed)
    found = score_concepts(answers)
    assert [found[name] for name in ("pHOTA", "pDetA", "pAssA")] == pytest.approx(
        reference_hota(answers)
    )


# Files.


def images(*pairs: tuple[int, str, str, list[Rle]], exhaustive: int = 1) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, name, phrase, masks in pairs:
        rows.append(
            {"id": number, "file_name": name, "text_input": phrase, "height": 10, "width": 10,
             "is_instance_exhaustive": exhaustive}
        )  # fmt: skip
        annotations += [
            {"id": len(annotations) + 1, "image_id": number, "category_id": 1,
             "segmentation": rle_to_coco(mask), "bbox": [0, 0, 0.5, 0.5], "area": 0.1}
            for mask in masks
        ]  # fmt: skip
    categories = [{"id": 1, "name": "object"}]
    return {"images": rows, "annotations": annotations, "categories": categories}


def dumped(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_results_of_coco_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = dumped(
        tmp_path / "truth.json",
        images((10, "a.jpg", "cup", [WHOLE]), (11, "a.jpg", "mug", []), (12, "b.jpg", "cup", [])),
    )
    rows = [
        {"image_id": 10, "category_id": 1, "segmentation": rle_to_coco(WHOLE), "score": 0.9},
        {"image_id": 10, "category_id": 1, "segmentation": rle_to_coco(FAR), "score": 0.4},
        {"image_id": 12, "category_id": 1, "segmentation": rle_to_coco(FAR), "score": 0.8},
        {"image_id": 99, "category_id": 1, "segmentation": rle_to_coco(FAR), "score": 0.8},
    ]
    results = dumped(tmp_path / "results.json", rows)
    out = tmp_path / "out.json"
    command = ["evaluate", "score", "concepts", str(truth), str(results), "--json", str(out)]
    assert main(command) == 0
    found = json.loads(out.read_text())["global"]
    assert found == {"cgF1": pytest.approx(50), "pmF1": 1, "IL_MCC": pytest.approx(0.5)}
    shown = capsys.readouterr().out
    assert "3 pairs: 1 with objects, 2 without" in shown
    assert "no pair with image_id" in shown


def test_another_annotator_is_scored(tmp_path: Path) -> None:
    one = images((1, "a.jpg", "cup", [WHOLE, FAR]), (2, "a.jpg", "mug", []))
    other = images((7, "a.jpg", "mug", []), (8, "a.jpg", "cup", [FAR]))
    report = evaluate(
        str(dumped(tmp_path / "b.json", other)), str(dumped(tmp_path / "a.json", one)),
        protocol="concepts",
    )  # fmt: skip
    assert report.data["global"]["pmF1"] == pytest.approx(2 / 3)


def test_videos_are_scored_by_their_lists(tmp_path: Path) -> None:
    video = {"id": 5, "video_name": "v", "height": 10, "width": 10, "length": 2}
    truth = {
        "videos": [video], "categories": [{"id": 3, "name": "cup"}, {"id": 4, "name": "mug"}],
        "annotations": [
            {"id": 1, "video_id": 5, "category_id": 3, "noun_phrase": "cup",
             "segmentations": [rle_to_coco(WHOLE), rle_to_coco(WHOLE)]},
        ],
        "video_np_pairs": [
            {"id": 1, "video_id": 5, "category_id": 3, "noun_phrase": "cup", "num_masklets": 1},
            {"id": 2, "video_id": 5, "category_id": 4, "noun_phrase": "mug", "num_masklets": 0},
        ],
    }  # fmt: skip
    rows = [
        {"video_id": 5, "category_id": 3, "score": 0.9,
         "segmentations": [rle_to_coco(WHOLE), None]},
    ]  # fmt: skip
    report = evaluate(
        str(dumped(tmp_path / "r.json", rows)), str(dumped(tmp_path / "t.json", truth)),
        protocol="concepts",
    )  # fmt: skip
    found = report.data["global"]
    assert (found["pmF1"], found["IL_MCC"]) == pytest.approx((0.1, 1))  # volume IoU 0.5
    assert (found["pDetA"], found["pAssA"]) == pytest.approx((0.5, 0.5))


def test_pairs_without_exhaustive_masks_are_ignored(tmp_path: Path) -> None:
    truth = dumped(tmp_path / "t.json", images((1, "a.jpg", "cup", [WHOLE]), exhaustive=0))
    with pytest.raises(DataError, match="no pair of a phrase with exhaustive masks"):
        evaluate(str(truth), str(truth), protocol="concepts")
