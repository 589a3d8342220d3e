"""The JavaScript package in a Chromium drops the holes and islands that Python drops."""

from __future__ import annotations

import base64
import json
from typing import Any

import cv2
import numpy as np
import pytest

import anymask
from anymask.images import load_image
from anymask.masks import iou
from tests.web.package_server import IMAGE
from tests.web.test_package import ask, bits


def png_address(image: np.ndarray) -> str:
    """Of a photo whose pixels every browser reads alike."""
    png = base64.b64encode(cv2.imencode(".png", image[..., ::-1])[1])
    return f"data:image/png;base64,{png.decode()}"


# Sizes of holes and of islands in JavaScript's words, then in Python's.
SIZES = [
    ("undefined, undefined", "auto", "auto"),
    ("'20%', 0.2", 0.2, "20%"),
    ("false, 0", 0, 0),
    ("300, false", 300, 0),
    ("0, '300'", 0, 300),
    ("'5%', 300", "5%", 300),
]
CROWD = (460, 180)
PILE = (268, 159, 494, 380)


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [({"points": [CROWD]}, SIZES[3:]), ({"box": PILE}, SIZES)],
    ids=["click", "box"],
)
def test_holes_and_islands_go_below_the_sizes_that_python_knows(
    page: Any, asked: dict[str, Any], chosen: list[Any]
) -> None:
    sizes = ", ".join(f"[{given}]" for given, *_ in chosen)
    image = load_image(IMAGE)
    found = ask(
        page,
        f"""
        const photo = await (await fetch("{png_address(image)}")).blob();
        const features = await model.encode(photo);
        const answers = [];
        for (const [maxHoleArea, minIslandArea] of [{sizes}]) {{
            const options = {{ maxHoleArea, minIslandArea }};
            const {{ masks }} = await features.segment({json.dumps(asked)}, options);
            answers.push(masks.map((mask) => Array.from(mask.toArray(), Number).join("")));
        }}
        return answers;
        """,
    )
    model = anymask.load()
    expected = [
        model.segment(image, **asked, max_hole_area=holes, min_island_area=islands).masks
        for _, holes, islands in chosen
    ]
    for place, masks in enumerate(found):
        ours = bits(masks[0], expected[0].shape[1:])
        alike = [iou(ours, other[0]) for other in expected]
        assert alike[place] > 0.999
        assert alike[place] == max(alike)  # some sizes differ in a few pixels
        assert min(alike) < 0.998
    _, *rest = found[-1]  # the first mask alone gets edges of the photo
    _, holes, islands = chosen[-1]
    own = {"max_hole_area": holes, "min_island_area": islands, "refine_edges": False}
    for mask, other in zip(rest, model.segment(image, **asked, **own).masks[1:], strict=True):
        assert iou(bits(mask, other.shape), other) > 0.999
