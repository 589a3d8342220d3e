"""Segmenters under another name."""

from typing import Any

from anymask.evaluation import FromFunction
from anymask.evaluation.adapters import RenamedSegmenter
from anymask.evaluation.protocols import BOX_KINDS
from tests.evaluation.small_sets import filled_box


def test_a_renamed_model_takes_the_settings_of_the_one_that_it_renames() -> None:
    class Ranks(FromFunction):
        def segment(self, embedding: Any, *, ranking: str = "", **asked: Any) -> Any:
            return [ranking]

    method = RenamedSegmenter(Ranks("a", BOX_KINDS, filled_box), "b")
    assert method.segment(None, prompts=[], ranking="own") == ["own"]
