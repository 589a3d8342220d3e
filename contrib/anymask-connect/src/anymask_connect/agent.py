"""Function for CVAT agents: detection, interaction or tracking. Requires cvat-sdk and cvat-cli."""

from __future__ import annotations

from typing import Any

import cvat_sdk.auto_annotation as cvataa
from PIL import Image

import anymask
from anymask.masks import Features
from anymask_connect import SHAPES, CvatFrame, CvatModel, Tracked, mask_to_shape, shape_to_mask


def create(kind: str = "interaction", model: str | None = None) -> Any:
    """Create the function for CVAT; cvat-cli calls it with the parameters `-p NAME=TYPE:VALUE`.

    Args:
        kind: "detection", "interaction" or "tracking".
        model: Model as for `anymask.load`. Defaults to `small`, or `nano` for detection; with
            `small`, `nano` tracks the objects.

    Raises:
        BadFunctionError: The kind is invalid.
    """
    kinds = {"detection": Detection, "interaction": Interaction, "tracking": Tracking}
    if kind not in kinds:
        raise cvataa.BadFunctionError(f"Invalid kind {kind!r}. Use one of: {', '.join(kinds)}.")
    named = model or ("nano" if kind == "detection" else None)
    return kinds[kind](CvatModel(anymask.load(named)))


class Detection:
    """Segment all objects in an image, as masks or polygons with the label `object`."""

    def __init__(self, model: CvatModel) -> None:
        self.model = model
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec("object", 0, type="any")]
        )

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        found = self.model.detect(image, context.conf_threshold)
        if not context.conv_mask_to_poly:
            return [cvataa.mask(0, one.mask) for one in found]
        hw = (image.height, image.width)
        masks = [shape_to_mask("mask", one.mask, hw) for one in found]
        return [cvataa.polygon(0, mask_to_shape("polygon", mask)) for mask in masks]


class Interaction:
    """Segment an object from clicks or a box; the image is encoded once."""

    def __init__(self, model: CvatModel) -> None:
        self.model = model
        self.spec = cvataa.InteractionFunctionSpec(
            min_pos_points=0, min_neg_points=0, min_bounding_boxes=0
        )

    def preprocess_image(self, context: Any, image: Image.Image) -> Features:
        return self.model.preprocess(image)

    def detect(self, context: Any, pp_image: Features, prompts: Any) -> list[Any]:
        corners = prompts.bounding_box
        box = None if corners is None else [*corners[0], *corners[1]]
        found = self.model.interact(pp_image, prompts.pos_points, prompts.neg_points, box)
        return (
            [] if found is None else [cvataa.InteractionResultShape(type="mask", points=found.mask)]
        )


class Tracking:
    """Track an object through the next frames."""

    def __init__(self, model: CvatModel) -> None:
        self.model = model
        self.spec = cvataa.TrackingFunctionSpec(supported_shape_types=SHAPES)

    def preprocess_image(self, context: Any, image: Image.Image) -> CvatFrame:
        return self.model.preprocess_frame(image)

    def init_tracking_state(self, context: Any, pp_image: CvatFrame, shape: Any) -> Tracked:
        return self.model.begin(pp_image, shape.type, shape.points)

    def track(self, context: Any, pp_image: CvatFrame, state: Tracked) -> Any:
        points = self.model.follow(pp_image, state)
        return None if points is None else cvataa.TrackableShape(type=state.kind, points=points)
