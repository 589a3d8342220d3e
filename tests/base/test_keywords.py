"""Keywords that a call lacks: one error with the nearest."""

from inspect import signature

import pytest

import anymask
from anymask.base import InputError, check_keywords, our_word
from anymask.base.synonyms import ARGUMENTS
from anymask.segment import Model
from anymask.segment.settings import Grid, MaskFilter, SegmentSettings
from anymask.track import PromptKeywords
from anymask.training.options import TuningOptions


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("widht", "Unknown argument 'widht'. Did you mean 'width'?"),
        ("point_coords", "'point_coords'. Use points=[(x, y), ...]"),
        ("output_mode", "Use masks.to_sa1b"),
        ("imgsz", 'anymask.load("NAME@640")'),
        ("xyzzy", "Valid arguments: points, width"),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(given: str, told: str) -> None:
    check_keywords(["width"], ["points", "width"])
    with pytest.raises(InputError) as error:
        check_keywords(["width", given], ["points", "width"])
    assert told in str(error.value)
    with pytest.raises(InputError, match="No keyword arguments"):
        check_keywords(["xyzzy"], [])


def test_the_words_of_other_tools_lead_to_keywords_that_there_are() -> None:
    ours: set[str] = set()
    for call in (
        Model.segment,
        Model.everything,
        Model.suggest_labels,
        anymask.load,
        anymask.Masks.filter,
    ):
        ours |= set(signature(call).parameters)
    for settings in (SegmentSettings, Grid, MaskFilter, TuningOptions):
        ours |= settings.__dataclass_fields__.keys()
    ours |= {*PromptKeywords.__annotations__, "color", "colors", "boxes", "bgr"}
    ours |= {*signature(anymask.convert).parameters}
    assert {our_word(other) for other in ARGUMENTS} <= ours
