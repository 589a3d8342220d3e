"""supervision gets arrays of the shapes and types that its Detections checks."""

import sys
import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from anymask.primitives.candidates import Candidates
from anymask.primitives.detections import TABLE_COLUMNS, to_dataframe, to_supervision
from anymask.primitives.errors import InputError
from anymask.primitives.records import record_from_rle
from anymask.primitives.resize import geometry
from anymask.primitives.rle import mask_to_rle
from anymask.primitives.spec import ModelSpec
from tests.data.annotated import rings


@dataclass
class Detections:
    """A stand-in with the fields of supervision 0.31."""

    xyxy: Any
    mask: Any = None
    confidence: Any = None
    class_id: Any = None
    tracker_id: Any = None
    data: Any = None


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("supervision")
    module.Detections = Detections  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", module)


@pytest.mark.usefixtures("peer")
def test_records_become_detections() -> None:
    masks = rings().masks
    records = [
        record_from_rle(masks[0].rle, quality=0.5, label="ring"),
        record_from_rle(masks[1].rle, quality=0.25),
        record_from_rle(masks[3].rle, label="all"),
    ]
    found = to_supervision(records)
    np.testing.assert_array_equal(found.xyxy, [[1, 1, 10, 7], [11, 8, 11, 8], [0, 0, 11, 8]])
    np.testing.assert_array_equal(found.mask[0], records[0].mask)
    assert found.mask.dtype == np.bool_
    assert found.mask.shape == (3, 9, 12)
    assert found.confidence.tolist() == [0.5, 0.25, 0]
    assert found.class_id.tolist() == [2, 1, 0]
    assert found.data["class_name"].tolist() == ["ring", "object", "all"]


@pytest.mark.usefixtures("peer")
def test_no_record_needs_the_picture_s_size() -> None:
    found = to_supervision([], (4, 5))
    assert found.xyxy.shape == (0, 4)
    assert found.mask.shape == (0, 4, 5)
    with pytest.raises(InputError, match="wanted masks of one size, got no record; give the rec"):
        to_supervision([])
    with pytest.raises(InputError, match="wanted masks of one size, got \\[\\(4, 5\\), \\(9, 12"):
        to_supervision([rings().masks[0].record], (4, 5))


def test_without_supervision_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="not installed; run: pip install supervision"):
        to_supervision([], (1, 1))


class Frame(list[dict[str, Any]]):
    """A stand-in for pandas.DataFrame: the rows, and the columns in their order."""

    def __init__(self, rows: list[dict[str, Any]], columns: list[str]) -> None:
        super().__init__(rows)
        self.columns = columns


def test_records_become_a_table_without_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = types.ModuleType("pandas")
    pandas.DataFrame = Frame  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    mask = np.zeros((10, 20), np.bool_)
    mask[2:5, 3:7] = True
    record = record_from_rle(mask_to_rle(mask), quality=0.5, stability=0.25, label="a")
    (row,) = frame = to_dataframe([record])
    assert frame.columns == TABLE_COLUMNS == list(row)
    assert row == {
        "label": "a", "quality": 0.5, "stability": 0.25, "area": 12, "coverage": 0.06,
        "x0": 3, "y0": 2, "x1": 6, "y1": 4, "parent": None, "depth": None,
    }  # fmt: skip
    assert to_dataframe([]).columns == TABLE_COLUMNS


def test_the_table_needs_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="needs the package 'pandas'.*pip install pandas"):
        to_dataframe([])


@pytest.mark.usefixtures("peer")
def test_every_candidate_of_an_answer_becomes_a_detection() -> None:
    place = geometry((30, 40), ModelSpec(name="tiny", image_side=64))
    logits = np.ones((2, 16, 16), np.float32)
    answer = Candidates.of_logits(logits, np.array([0.5, 0.25]), np.array([0, 1]), place)
    found = answer.to_supervision()
    assert found.mask.shape == (2, 30, 40)
    assert found.confidence.tolist() == [0.5, 0.25]
