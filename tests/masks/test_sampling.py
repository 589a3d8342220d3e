"""Single pixels against the whole picture of logits."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anymask.masks import ModelSpec, geometry, logits_at, logits_to_image, point_pixels

sides = st.integers(1, 90)


@settings(deadline=None)
@given(sides, sides, st.sampled_from(["longest_side", "square"]), st.integers(0, 2**32 - 1))
def test_a_pixel_has_the_logit_that_the_whole_picture_has(
    height: int, width: int, fit: str, seed: int
) -> None:
    spec = ModelSpec(name="x", image_side=64, mask_side=16, fit=fit)
    place = geometry((height, width), spec)
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(3, 16, 16)).astype(np.float32)
    pixels = rng.integers(0, (width, height), (7, 2))
    whole = logits_to_image(logits, place)
    found = logits_at(logits, pixels, place)
    np.testing.assert_allclose(found, whole[:, pixels[:, 1], pixels[:, 0]], atol=1e-4)


def test_a_point_belongs_to_the_pixel_that_holds_it() -> None:
    points = [(0, 0), (0.99, 1.0), (9.5, 4.99), (10, 5)]
    pixels = point_pixels(points, (5, 10))
    assert pixels.tolist() == [[0, 0], [0, 1], [9, 4], [9, 4]]
