"""A model is measured as a user asks it: with the photo at hand, edges refined."""

import numpy as np
from PIL import Image

import anymask
from anymask.evaluation.adapters import EdgesRefined
from anymask.masks import Prompt


def test_it_looks_into_the_mirror_where_that_is_wanted() -> None:
    model = anymask.load()
    photo = np.asarray(Image.open(anymask.sample("coffee")).convert("RGB"))
    prompts = [Prompt.of(points=[(290, 120)]), Prompt.of(box=(176, 19, 405, 226))]
    both = EdgesRefined(model, mirror=True)
    assert both.spec.name == "nano, edges, mirror"
    got = both.segment(both.encode(photo), prompts=prompts)
    wanted, plain = (
        model.segment(photo, prompts=prompts, mirror=mirror) for mirror in (True, False)
    )
    for one, other, own in zip(got, wanted, plain, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks)
        assert (one.masks != own.masks).any()


def test_the_answers_are_those_of_segment_with_the_photo() -> None:
    model = anymask.load()
    y, x = np.mgrid[:240, :320]
    disc = np.hypot(y - 120, x - 160) < 70
    photo = np.where(disc[..., None], (190, 60, 50), (60, 130, 90)).astype(np.uint8)
    prompts = [Prompt.of(box=(90, 50, 230, 190)), Prompt.of(points=[(160, 120)])]
    refined = EdgesRefined(model)
    assert refined.spec.name == "nano, edges"
    got = refined.segment(refined.encode(photo), prompts=prompts)
    wanted = model.segment(photo, prompts=prompts)
    plain = model.segment(model.encode(photo), prompts=prompts)
    for one, other, own in zip(got, wanted, plain, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks)
        assert (one.masks != own.masks).any()
