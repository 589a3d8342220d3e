"""anymask as a nuclio function for CVAT (interactor)."""

from __future__ import annotations

import base64
import json
from typing import Any

import anymask
from anymask.base import AnymaskError
from anymask_connect import CvatModel, shape_to_mask


def init_context(context: Any) -> None:
    """Load the model once per worker."""
    context.user_data.model = CvatModel(anymask.load())


def handler(context: Any, event: Any) -> Any:
    """Segment one object: image in base64, points and an optional box -> rows of 0 and 255."""
    model: CvatModel = context.user_data.model
    try:
        body = event.body if isinstance(event.body, dict) else json.loads(event.body)
        features = model.preprocess(base64.b64decode(body["image"]))
        box = [value for corner in body.get("obj_bbox") or () for value in corner] or None
        found = model.interact(
            features, body.get("pos_points") or (), body.get("neg_points") or (), box
        )
    except AnymaskError as error:
        return _reply(context, {"error": str(error)}, 400)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        told = (
            f"The request is invalid ({error!r}). Expected JSON with image, pos_points, neg_points."
        )
        return _reply(context, {"error": told}, 400)
    height, width = features.image_hw
    if found is None:
        return _reply(context, {"mask": [[0] * width] * height}, 200)
    mask = shape_to_mask("mask", found.mask, features.image_hw).astype("uint8") * 255
    return _reply(context, {"mask": mask.tolist()}, 200)


def _reply(context: Any, body: dict[str, Any], status: int) -> Any:
    text = json.dumps(body)
    return context.Response(
        body=text, headers={}, content_type="application/json", status_code=status
    )
