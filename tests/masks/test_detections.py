"""supervision gets arrays of the shapes and types that its Detections checks."""

import dataclasses
import sys
import types
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from anymask.base import InputError
from anymask.masks import Mask, Masks, mask_to_rle, measure
from anymask.masks.measure import TABLE_TYPES
from tests.evaluation.small_sets import rectangle
from tests.formats.annotated import rings

BLOCK = rectangle((10, 20), (3, 2, 7, 5))
RECORD = Mask(mask_to_rle(BLOCK), score=0.5, stability=0.25, label="a")


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
        Mask(masks[0].rle, score=0.5, label="ring"),
        Mask(masks[1].rle, score=0.25),
        Mask(masks[3].rle, label="all"),
    ]
    found = Masks(records).to_supervision()
    np.testing.assert_array_equal(found.xyxy, [[1, 1, 10, 7], [11, 8, 11, 8], [0, 0, 11, 8]])
    np.testing.assert_array_equal(found.mask[0], records[0].mask)
    assert found.mask.dtype == np.bool_
    assert found.mask.shape == (3, 9, 12)
    assert found.confidence.tolist() == [0.5, 0.25, 0]
    assert found.class_id.tolist() == [2, 1, 0]
    assert found.data["class_name"].tolist() == ["ring", "object", "all"]


@pytest.mark.usefixtures("peer")
def test_no_record_needs_the_picture_s_size() -> None:
    found = Masks(image_hw=(4, 5)).to_supervision()
    assert found.xyxy.shape == (0, 4)
    assert found.mask.shape == (0, 4, 5)
    with pytest.raises(InputError, match="empty list of masks has no size"):
        Masks().to_supervision()
    with pytest.raises(InputError, match=r"different sizes: \[\(4, 5\), \(9, 12"):
        Masks([rings().masks[0]], image_hw=(4, 5)).to_supervision()


@pytest.mark.parametrize("name", ["supervision", "pandas"])
def test_without_the_package_the_remedy_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    none = Masks(image_hw=(1, 1))
    with pytest.raises(InputError, match=f"{name}.*pip install {name}"):
        none.to_dataframe() if name == "pandas" else none.to_supervision()


def test_records_become_a_table_without_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = types.ModuleType("pandas")
    pandas.Series = lambda values, dtype: (values, dtype)  # type: ignore[attr-defined]
    pandas.DataFrame = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    table = Masks([RECORD]).to_dataframe()
    shape = dataclasses.asdict(measure.measure_mask(RECORD.rle))
    for name in ("area", "x0", "y0", "x1", "y1"):
        assert shape.pop(name) == table[name][0][0]
    assert {name: kind for name, (_, kind) in table.items()} == TABLE_TYPES
    assert {name: values for name, (values, _) in table.items()} == {
        "label": ["a"], "score": [0.5], "stability": [0.25], "area": [12], "coverage": [0.06],
        "x0": [3], "y0": [2], "x1": [6], "y1": [4], "parent": [None], "depth": [None],
        **{name: [value] for name, value in shape.items()},
    }  # fmt: skip
    assert list(table) == list(TABLE_TYPES)
    assert Masks().to_dataframe() == {name: ([], kind) for name, kind in TABLE_TYPES.items()}


def test_tables_of_photos_have_one_type_a_column_and_can_be_joined() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    nobody_s = replace(RECORD, label=None, stability=None, parent=2, depth=1)
    tables = [Masks(rows).to_dataframe() for rows in ([], [RECORD], [nobody_s], [RECORD, nobody_s])]
    for table in tables:
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == TABLE_TYPES
    joined = pandas.concat(tables, ignore_index=True)
    assert {name: str(dtype) for name, dtype in joined.dtypes.items()} == TABLE_TYPES
    assert joined.area.sum() == 48
    assert joined.label.tolist() == ["a", None, "a", None]
    assert joined.stability.isna().tolist() == [False, True, False, True]
    assert joined.parent.isna().tolist() == [True, False, True, False]
    assert joined.parent[1] == 2


def test_supervision_draws_joins_and_measures_our_masks() -> None:
    supervision = pytest.importorskip("supervision", reason="needs supervision")
    records = Masks([RECORD, replace(RECORD, label=None)], image_hw=(10, 20))
    found, none = records.to_supervision(), records[:0].to_supervision()
    assert (len(found), len(none), none.is_empty()) == (2, 0, True)
    np.testing.assert_array_equal(supervision.mask_to_xyxy(found.mask), found.xyxy)
    assert found.area.tolist() == [12, 12]
    assert len(found.with_nms(0.5, class_agnostic=True)) == 1
    both = supervision.Detections.merge([found, none, found[:1]])
    assert both.data["class_name"].tolist() == ["a", "object", "a"]
    image = np.zeros((10, 20, 3), np.uint8)
    drawn = supervision.MaskAnnotator().annotate(image.copy(), found)
    np.testing.assert_array_equal(drawn.any(axis=2), RECORD.mask)
    assert not supervision.MaskAnnotator().annotate(image.copy(), none).any()
    theirs = supervision.Detections.from_sam(records.to_sa1b("binary_mask"))
    np.testing.assert_array_equal(theirs.mask, found.mask)
