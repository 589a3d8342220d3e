"""Panoptic quality: cases that are counted by hand, and a slow reading of the definition."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from anymask.base import DataError
from anymask.cli.main import main
from anymask.evaluation.panoptic_quality import PanopticQuality, score_panoptic
from anymask.formats import PanopticCategory, PanopticPicture
from anymask.formats.panoptic import PanopticSegment
from tests.masks.strategies import quickly

CLASSES = {
    7: PanopticCategory(name="cat", thing=True),
    8: PanopticCategory(name="sky", thing=False),
    9: PanopticCategory(name="dog", thing=True),
}
Rows = dict[int, tuple[int, bool]]  # number -> category, crowd


def picture(path: Path, values: np.ndarray, rows: Rows) -> dict[int, PanopticPicture]:
    """One picture with the id 1, as files hold it."""
    values = np.asarray(values)
    rgb = np.stack([values & 255, values >> 8 & 255, values >> 16], axis=2).astype(np.uint8)
    Image.fromarray(rgb).save(path)
    segments = tuple(
        PanopticSegment(number=number, category=category, crowd=crowd)
        for number, (category, crowd) in rows.items()
    )
    return {1: PanopticPicture(image_id=1, path=path, segments=segments)}


def qualities(folder: Path, truth: list[int], rows: Rows, found: list[int], ours: Rows):
    return score_panoptic(
        CLASSES,
        picture(folder / "t.png", np.array([truth]), rows),
        picture(folder / "f.png", np.array([found]), ours),
    )


CAT, CROWD, SKY, DOG = (7, False), (7, True), (8, False), (9, False)


@pytest.mark.parametrize(
    ("truth", "rows", "found", "ours", "expected"),
    [
        # the same segments under other numbers
        ([1, 1, 2, 2], {1: CAT, 2: SKY}, [5, 5, 3, 3], {5: CAT, 3: SKY},
         {"cat": (1, 1, 1), "sky": (1, 1, 1)}),
        # an IoU of exactly one half is no match: one missed, one wrong
        ([1, 1, 2, 2], {1: CAT, 2: SKY}, [1, 2, 2, 2], {1: CAT, 2: SKY},
         {"cat": (0, 0, 0), "sky": (2 / 3, 2 / 3, 1)}),
        # pixels that are nobody's leave the union: 2 / 2, not 2 / 4
        ([1, 1, 0, 0], {1: CAT}, [1, 1, 1, 1], {1: CAT}, {"cat": (1, 1, 1)}),
        # three quarters, and one found where nothing is: 3/4 / (1 + 1/2)
        ([1, 1, 1, 1, 2, 2], {1: CAT, 2: SKY}, [1, 1, 1, 4, 4, 4], {1: CAT, 4: CAT},
         {"cat": (0.75 / 1.5, 0.75, 1 / 1.5), "sky": (0, 0, 0)}),
        # more than half on nobody's pixels: not wrong; just half: wrong
        ([0, 0, 2, 2], {2: SKY}, [6, 6, 6, 2], {6: CAT, 2: SKY}, {"sky": (0, 0, 0)}),
        ([0, 2, 2, 2], {2: SKY}, [6, 6, 2, 2], {6: CAT, 2: SKY},
         {"cat": (0, 0, 0), "sky": (2 / 3, 2 / 3, 1)}),
        # a crowd is not missed, and excuses what lies on it, of its class alone
        ([1, 1, 1, 2], {1: CROWD, 2: SKY}, [4, 5, 5, 2], {4: CAT, 5: DOG, 2: SKY},
         {"dog": (0, 0, 0), "sky": (1, 1, 1)}),
        # of another class it matches nothing
        ([1, 1], {1: CAT}, [1, 1], {1: DOG}, {"cat": (0, 0, 0), "dog": (0, 0, 0)}),
    ],
)  # fmt: skip
def test_cases_counted_by_hand(
    tmp_path: Path, truth: list[int], rows: Rows, found: list[int], ours: Rows, expected: dict
) -> None:
    scores = qualities(tmp_path, truth, rows, found, ours)
    assert {name: (one.pq, one.sq, one.rq) for name, one in scores.classes().items()} == {
        name: pytest.approx(values) for name, values in expected.items()
    }


def test_means_are_over_the_classes_that_occur(tmp_path: Path) -> None:
    rows = {1: CAT, 2: SKY, 3: DOG}
    scores = qualities(tmp_path, [1, 1, 2, 2, 3], rows, [1, 1, 2, 2, 2], {1: CAT, 2: SKY})
    assert scores.mean(thing=True) == PanopticQuality(0.5, 0.5, 0.5, 2)
    assert scores.mean(thing=False).pq == pytest.approx(2 / 3)
    assert scores.mean().classes == 3
    assert scores.mean().pq == pytest.approx((1 + 2 / 3 + 0) / 3)
    nothing = qualities(tmp_path, [1], {1: CAT}, [1], {1: CAT}).mean(thing=False)
    assert nothing == PanopticQuality(0, 0, 0, 0)


def slow(values: list[np.ndarray], rows: list[Rows]) -> dict[str, tuple[float, float, float]]:
    """The definition, a segment at a time, by sets of pixels."""
    pixels = [
        {number: {n for n, v in enumerate(one.ravel()) if v == number} for number in [0, *row]}
        for one, row in zip(values, rows, strict=True)
    ]
    (drawn, found), (theirs, ours) = pixels, rows
    pairs = [
        (t, f, len(drawn[t] & found[f]) / len((drawn[t] | found[f]) - (found[f] & drawn[0])))
        for t, f in itertools.product(theirs, ours)
        if not theirs[t][1] and theirs[t][0] == ours[f][0]
    ]
    hits = [(t, f, fit) for t, f, fit in pairs if fit > 0.5]
    result = {}
    for category, about in CLASSES.items():
        fits = [fit for t, _, fit in hits if theirs[t][0] == category]
        missed = [
            t for t in theirs
            if theirs[t] == (category, False) and t not in [hit[0] for hit in hits]
        ]  # fmt: skip
        crowds = [t for t in theirs if theirs[t] == (category, True)][-1:]
        excuse = drawn[0].union(*(drawn[t] for t in crowds))
        wrong = [
            f for f in ours
            if ours[f][0] == category and f not in [hit[1] for hit in hits]
            and len(found[f] & excuse) / len(found[f]) <= 0.5
        ]  # fmt: skip
        bottom = len(fits) + (len(missed) + len(wrong)) / 2
        if bottom:
            sq = sum(fits) / len(fits) if fits else 0
            result[about.name] = (sum(fits) / bottom, sq, len(fits) / bottom)
    return result


maps = arrays(np.int64, (4, 5), elements=st.sampled_from([0, 1, 2, 3, 70000]))


@quickly
@given(maps, maps, st.data())
def test_counts_are_those_of_the_definition(
    tmp_path_factory: pytest.TempPathFactory, truth: np.ndarray, found: np.ndarray, data
) -> None:
    kinds = st.tuples(st.sampled_from(sorted(CLASSES)), st.booleans())
    rows = [{int(n): data.draw(kinds) for n in np.unique(values) if n} for values in (truth, found)]
    folder = tmp_path_factory.mktemp("panoptic")
    scores = score_panoptic(
        CLASSES,
        picture(folder / "t.png", truth, rows[0]),
        picture(folder / "f.png", found, rows[1]),
    )
    assert {name: (one.pq, one.sq, one.rq) for name, one in scores.classes().items()} == {
        name: pytest.approx(values) for name, values in slow([truth, found], rows).items()
    }


@pytest.mark.parametrize(
    ("found", "ours", "message"),
    [
        ([1, 1], {1: (5, False)}, "The category 5 in f.png does not exist"),
        (
            [1, 1, 1],
            {1: CAT},
            r"image 1: The result .* = \(1, 3\), but the ground truth has \(1, 2\)",
        ),
        ([1, 2], {1: CAT}, r"f.png: The panoptic PNG has pixels of the"),
        ([1, 1], {1: CAT, 3: CAT}, r"f.png: The segments \[3\] have no pixel in the panoptic PNG"),
    ],
)
def test_a_broken_result_is_named(
    tmp_path: Path, found: list[int], ours: Rows, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        qualities(tmp_path, [1, 1], {1: CAT}, found, ours)


def test_every_picture_needs_a_result(tmp_path: Path) -> None:
    truth = picture(tmp_path / "t.png", np.array([[1]]), {1: CAT})
    with pytest.raises(DataError, match=r"The result for the image 1 \(t.png\) is missing"):
        score_panoptic(CLASSES, truth, {})


def results_file(folder: Path, rows: list[Any]) -> Path:
    """Truth and results of two images, a segment each; `rows` are added to the results."""
    segment = {"id": 7, "category_id": 9, "iscrowd": 0}
    values = np.zeros((4, 6, 3), np.uint8)
    values[:2, :3, 0] = 7
    for side in ("truth", "found"):
        (folder / side).mkdir()
        for name in ("a.png", "b.png"):
            Image.fromarray(values).save(folder / side / name)
    records = [
        {"image_id": number, "file_name": name, "segments_info": [segment]}
        for number, name in ((1, "a.png"), (2, "b.png"))
    ]
    classes = [{"id": 9, "name": "dog", "isthing": 1}]
    truth = {"categories": classes, "annotations": records}
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps({"annotations": [records[0], *rows]}))
    return folder / "found.json"


SECOND = {"image_id": 2, "file_name": "b.png", "segments_info": [{"id": 7, "category_id": 9}]}
BROKEN: dict[str, Any] = {
    "no record": 7,
    "no name": {"image_id": 2, "segments_info": []},
    "bad segment": SECOND | {"segments_info": [{"id": 7}]},
    "no image": SECOND | {"file_name": "missing.png"},
    "unknown class": SECOND | {"segments_info": [{"id": 7, "category_id": 77}]},
    "bad id": SECOND | {"image_id": "two"},
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_result_counts_as_missing(
    broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = results_file(tmp_path, [BROKEN[broken]])
    words = ["evaluate", "score", "panoptic", str(tmp_path / "truth.json"), str(found)]
    assert main([*words, "--json", str(tmp_path / "r.json")]) == 0
    assert "Skipped 1 record" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    # One match of IoU 1 and one miss: PQ = 1 / (1 + 1 / 2), SQ = 1.
    assert report["means"]["all"]["PQ"] == pytest.approx(2 / 3)
    assert report["means"]["all"]["SQ"] == 1
    assert report["skipped"] == 1
    assert main([*words, "--on-bad", "error"]) == 2
    assert "1 invalid record" in capsys.readouterr().err


def test_results_without_a_valid_record_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = results_file(tmp_path, [])
    found.write_text(json.dumps({"annotations": [*BROKEN.values()]}))
    assert main(["evaluate", "score", "panoptic", str(tmp_path / "truth.json"), str(found)]) == 2
    assert "invalid" in capsys.readouterr().err
