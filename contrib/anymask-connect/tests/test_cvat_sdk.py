"""The function for agents in CVAT's own agent: its workers ask, its classes take the answers."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import pytest
from cvat_cli._internal import agent
from cvat_cli._internal.common import FunctionLoader
from cvat_cli._internal.parsers import parse_function_parameter
from cvat_sdk.masks import decode_mask, encode_mask
from hypothesis import given
from PIL import Image

from anymask.formats import mask_to_cvat
from anymask.masks import mask_to_rle
from anymask.segment import Model
from anymask_connect import CvatModel, mask_to_shape, shape_to_mask
from anymask_connect import agent as ours
from tests.masks.strategies import Pixels, masks, quickly
from tests.segment.fakes import ColorRuntime, discs, iou
from tests.studio.servers import IMAGE, LEFT, RIGHT

HW = IMAGE.shape[:2]
PIL_IMAGE = Image.fromarray(IMAGE)


class Loader:
    """Loads a function as the agent's worker process does."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def load(self) -> Any:
        return self.function


def started(kind: str) -> Any:
    """The driver's module, its worker holding our function."""
    function = getattr(ours, kind)(CvatModel(Model(ColorRuntime())))
    names = iter(str(number) for number in range(100))
    agent._worker_init(Loader(function), lambda: next(names))
    driver = agent.get_function_driver_class(agent._worker_job_get_function_spec())
    assert driver.get_remote_function_fields(function.spec) is not None
    return importlib.import_module(driver.__module__)


def test_the_agent_s_interaction_sees_a_picture_once() -> None:
    driver = started("Interaction")

    def prompts(pos: tuple = (), neg: tuple = (), box: Any = None) -> Any:
        return driver._InteractionPromptsImpl(pos_points=pos, neg_points=neg, bounding_box=box)

    key = (1, 0, ())
    assert driver._worker_job_interact_from_cache(key, prompts(((35, 40),))) is None
    (left,) = driver._worker_job_interact(key, PIL_IMAGE, prompts(((35, 40),)))
    (right,) = driver._worker_job_interact_from_cache(key, prompts(box=((75, 20), (115, 60))))
    for shape, disc in ((left, LEFT), (right, RIGHT)):
        assert isinstance(shape, cvataa.InteractionResultShape)
        assert shape.type == "mask"
        assert iou(shape_to_mask("mask", shape.points, HW), disc) > 0.8


@pytest.mark.parametrize("kind", ["mask", "polygon", "rectangle"])
def test_the_agent_s_tracking_follows(kind: str) -> None:
    driver = started("Tracking")
    (first, (disc,)), (second, (moved,)) = (discs(HW, [(x, 40, 20)]) for x in (35, 39))
    shape = cvataa.TrackableShape(type=kind, points=mask_to_shape(kind, disc))
    states = driver._worker_job_init_tracking(7, Image.fromarray(first), [shape])
    (found,) = driver._worker_job_track(7, Image.fromarray(second), states)
    assert isinstance(found, cvataa.TrackableShape)
    expected = shape_to_mask(kind, mask_to_shape(kind, moved), HW)
    assert iou(shape_to_mask(kind, found.points, HW), expected) > 0.75


@pytest.mark.parametrize("polygons", [False, True])
def test_the_agent_s_detection_finds_everything(polygons: bool) -> None:
    started("Detection")

    class Context(cvataa.DetectionFunctionContext):
        frame_name, conf_threshold, conv_mask_to_poly = "a.png", None, polygons

    shapes = agent.worker_current_function().detect(Context(), PIL_IMAGE)
    kind = "polygon" if polygons else "mask"
    assert {str(shape.type) for shape in shapes} == {kind}
    assert {shape.label_id for shape in shapes} == {0}
    expected = CvatModel(Model(ColorRuntime())).detect(IMAGE)
    assert len(shapes) == len(expected) > 0
    for shape, own in zip(shapes, expected, strict=True):
        mask = shape_to_mask("mask", own.mask, HW)
        assert shape.points == pytest.approx(mask_to_shape(kind, mask))  # a polygon has no holes


@quickly
@given(masks())
def test_masks_travel_as_the_sdk_has_them(mask: Pixels) -> None:
    if not mask.any():
        return
    ours = mask_to_cvat(mask_to_rle(mask))
    assert ours == encode_mask(mask)
    height, width = mask.shape
    again = decode_mask(ours, image_width=width, image_height=height)
    np.testing.assert_array_equal(again, mask)


@pytest.mark.parametrize(
    ("kind", "registered"),
    [
        (
            "interaction",
            {"min_pos_points": 0, "min_neg_points": 0, "startswith_box_optional": True},
        ),
        ("detection", {"labels_v2": [{"name": "object", "attributes": []}]}),
        ("tracking", {"supported_shape_types": ["mask", "polygon", "rectangle"]}),
    ],
)
def test_cvat_cli_loads_the_function_and_registers_it(
    kind: str, registered: dict[str, Any]
) -> None:
    """The module and `-p kind=str:...` as README has them, parsed and loaded by cvat-cli itself."""
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    found = re.findall(r"--function-module (\S+) -p (\S+)", readme)
    assert found == [(ours.__name__, "kind=str:interaction")] * 2
    words = dict([parse_function_parameter(found[0][1].replace("interaction", kind))])
    agent._worker_init(FunctionLoader(ours.__name__, None, words), lambda: "cache")
    spec = agent._worker_job_get_function_spec()
    driver = agent.get_function_driver_class(spec)
    assert driver.get_remote_function_fields(spec) == registered
