"""The module of 3D Slicer on mocks of its packages, with a real server."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.scripts import loaded_script

pytest.importorskip("fastapi")

MODULE = Path(__file__).parents[2] / "contrib/slicer/AnymaskSegment/AnymaskSegment.py"
SPACING = (0.5, 0.5, 2.0)  # of I, J and K, in millimeters


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    base = {name: type(name, (), {}) for name in (
        "ScriptedLoadableModule", "ScriptedLoadableModuleLogic", "ScriptedLoadableModuleWidget",
    )}  # fmt: skip
    util = SimpleNamespace(
        arrayFromVolume=lambda volume: volume.array,
        arrayFromSegmentBinaryLabelmap=lambda node, segment, volume: node.segments[segment],
        updateSegmentBinaryLabelmapFromArray=lambda array, node, segment, volume: (
            node.segments.update({segment: array})
        ),
    )
    for name, content in {
        "slicer": {"util": util}, "slicer.ScriptedLoadableModule": base,
        "vtk": {"vtkMatrix4x4": Matrix}, "qt": {}, "ctk": {},
    }.items():  # fmt: skip
        mock = ModuleType(name)
        vars(mock).update(content)
        monkeypatch.setitem(sys.modules, name, mock)
    with loaded_script(MODULE) as loaded:
        yield loaded


class Matrix:
    values = np.eye(4)

    def MultiplyPoint(self, point: list[float]) -> list[float]:  # noqa: N802
        return list(self.values @ point)


class Volume:
    """A bright ball on dark ground; RAS is IJK times the spacing."""

    def __init__(self) -> None:
        k, j, i = np.mgrid[:6, :80, :100]
        self.truth = (j - 40) ** 2 + (i - 60) ** 2 < 15**2
        noise = np.random.default_rng(0).normal(0, 20, self.truth.shape)
        self.array = np.where(self.truth, 900, 200) + noise

    def GetRASToIJKMatrix(self, matrix: Matrix) -> None:  # noqa: N802
        matrix.values = np.diag([1 / one for one in SPACING] + [1])

    def GetDisplayNode(self) -> Any:  # noqa: N802
        return SimpleNamespace(GetWindowLevelMin=lambda: 0, GetWindowLevelMax=lambda: 1000)


class Points:
    def __init__(self, *ijk: tuple[float, float, float], labels: str = "") -> None:
        self.ijk, self.labels = ijk, labels

    def GetNumberOfControlPoints(self) -> int:  # noqa: N802
        return len(self.ijk)

    def GetNthControlPointPositionWorld(self, number: int, out: list[float]) -> None:  # noqa: N802
        out[:] = np.multiply(self.ijk[number], SPACING)

    def GetNthControlPointLabel(self, number: int) -> str:  # noqa: N802
        return f"{self.labels[number : number + 1]}F-{number}"


class Segmentation:
    def __init__(self) -> None:
        self.segments: dict[str, Any] = {}

    def GetSegmentation(self) -> "Segmentation":  # noqa: N802
        return self

    def SetReferenceImageGeometryParameterFromVolumeNode(self, volume: Any) -> None:  # noqa: N802
        pass

    def GetNumberOfSegments(self) -> int:  # noqa: N802
        return len(self.segments)

    def AddEmptySegment(self, name: str) -> None:  # noqa: N802
        self.segments[name] = None

    def GetNthSegmentID(self, number: int) -> str:  # noqa: N802
        return list(self.segments)[number]


def test_a_point_writes_the_mask_of_its_slice(module: Any, server: str) -> None:
    volume, node = Volume(), Segmentation()
    logic, client = module.AnymaskSegmentLogic(), module.Client(server)
    points = Points((60, 40, 2), (10, 10, 2), (5, 5, 4), labels=" -")
    count = logic.segment(volume, points, node, 0, client)
    found = node.segments["anymask"]
    assert found.shape == volume.array.shape
    assert count == found.sum() == found[2].sum()
    both, either = (found[2] > 0) & volume.truth[2], (found[2] > 0) | volume.truth[2]
    assert both.sum() > 0.85 * either.sum()
    logic.segment(volume, Points((60, 40, 3)), node, 0, client)
    assert node.segments["anymask"][2].sum() == count  # other slices stay
    assert node.segments["anymask"][3].any()


def test_errors_are_sentences(module: Any, server: str) -> None:
    logic, client = module.AnymaskSegmentLogic(), module.Client("http://127.0.0.1:1")
    for points, telling in (
        (None, "Select a volume"), (Points(), "Place a point"),
        (Points((1, 1, 99)), "outside the volume"), (Points((60, 40, 2)), "anymask serve"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=telling):
            logic.segment(Volume(), points, Segmentation(), 0, client)
    with pytest.raises(ValueError, match="The server refused"):
        module.Client(server).segment(
            np.zeros((30, 30), np.uint8), np.array([[90, 90]]), np.ones(1)
        )


def test_run_lengths_are_those_of_coco(module: Any) -> None:
    from anymask.masks import mask_to_rle, rle_to_string

    mask = np.random.default_rng(1).random((13, 17)) > 0.6
    text = rle_to_string(mask_to_rle(mask))
    np.testing.assert_array_equal(module.decoded({"size": [13, 17], "counts": text}), mask)
