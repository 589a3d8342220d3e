"""A model is measured as a user asks it: with the photo at hand, edges refined."""

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.evaluation.adapters import EdgesRefined
from anymask.masks import Prompt


@pytest.mark.parametrize(
    ("mirror", "name"), [(False, "nano, edges"), (True, "nano, edges, mirror")]
)
def test_the_answers_are_those_of_segment_with_the_photo(mirror: bool, name: str) -> None:
    model = anymask.load()
    image = np.asarray(Image.open(anymask.sample("coffee")).convert("RGB"))
    prompts = [Prompt.of(points=[(290, 120)]), Prompt.of(box=(176, 19, 405, 226))]
    refined = EdgesRefined(model, mirror=mirror)
    assert refined.spec.name == name
    got = refined.segment(refined.encode(image), prompts=prompts)
    expected = model.segment(image, prompts=prompts, mirror=mirror)
    plain = model.segment(model.encode(image), prompts=prompts)
    for one, other, own in zip(got, expected, plain, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks)
        assert (one.masks != own.masks).any()
