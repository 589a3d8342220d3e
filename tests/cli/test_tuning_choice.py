"""The end of a fine-tuning: the weights that answer held-out masks best, and no others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from anymask.training import Recipe, held_out, presets
from anymask.training.held_out import (
    Measured,
    TuningEnd,
    TuningOutcome,
    choose_end,
    ends_of,
    gained,
)

STAGES = presets.tuning_recipe("nano_tiny", "full", 9).stages
RECIPE = Recipe(model="nano_tiny", stages=STAGES)
START, LAST, BEST = 0.0, 4.0, 8.0  # the one weight of each network
STATE: dict[str, Any] = {
    "progress": {"step": 20},
    "average": {"weight": LAST},
    "best": {"step": 10, "average": {"weight": BEST}},
}


def net(weight: float) -> nn.Module:
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(weight)
    return module


def scored(value: float, images: int = 6) -> Measured:
    return Measured(np.full((images, 3), value), [(image, 0) for image in range(images)])


@pytest.fixture
def likes(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Networks of one weight, and the weight whose answers are best."""
    expected = {"weight": 3.0}
    monkeypatch.setattr(held_out, "starting_module", lambda _folder, _recipe: net(START))
    monkeypatch.setattr(held_out, "trained_module", lambda state: net(state["average"]["weight"]))
    monkeypatch.setattr(held_out, "model_of", lambda module: module)
    monkeypatch.setattr(
        held_out,
        "measure",
        lambda module, _held: scored(1 - abs(module.weight.item() - expected["weight"]) / 10),
    )
    return expected


@pytest.mark.parametrize(
    ("best", "end"),
    [
        (3.0, TuningEnd(judged=False, share=0.75)),
        (4.0, TuningEnd(judged=False, share=1.0)),
        (6.0, TuningEnd(judged=True, share=0.75)),
        (9.0, TuningEnd(judged=True, share=1.0)),
    ],
)
def test_the_end_that_answers_best_is_written(
    likes: dict[str, float], best: float, end: TuningEnd, tmp_path: Path
) -> None:
    likes["weight"] = best
    module, outcome, found = choose_end(tmp_path, RECIPE, STATE, [], scored(0.1))
    assert found == end
    assert module.weight.item() == pytest.approx(min(best, BEST))
    assert not outcome.started
    assert outcome.verdict() == ""
    assert outcome.kept is outcome.trained


def test_the_start_stays_where_nothing_gained_but_not_where_classes_were_learned(
    likes: dict[str, float], tmp_path: Path
) -> None:
    likes["weight"] = START
    module, outcome, _ = choose_end(tmp_path, RECIPE, STATE, [], scored(1.0))
    assert module.weight.item() == START
    assert outcome.started
    assert outcome.kept.means() == [1.0] * 3
    assert outcome.trained.means() == [0.7] * 3  # 3 of 10 away
    assert "The starting weights were kept" in outcome.verdict()
    kinds = replace(RECIPE, classes=("a",))
    module, outcome, found = choose_end(tmp_path, kinds, STATE, [], scored(1.0))
    assert (module.weight.item(), outcome.started, found.share) == (LAST, False, 1.0)
    assert outcome.verdict().startswith(
        "No improvement: the mean IoU over all clicks is 0.600 after training and 1.000 before. "
        "The trained weights were kept. Label more images"
    )


def of_images(ious: list[float]) -> Measured:
    return Measured(np.array(ious)[:, None].repeat(3, 1), [(n, 0) for n in range(len(ious))])


def test_what_lost_on_the_held_out_photos_is_never_written(
    likes: dict[str, float], tmp_path: Path
) -> None:
    """However few they are: the mean falls by .06 over three of them."""
    before, lower = of_images([0.6, 0.7, 0.8]), of_images([0.5, 0.6, 0.82])
    assert not gained(before, lower)
    assert gained(before, of_images([0.6, 0.7, 0.81]))
    outcome = TuningOutcome(before, lower, before, started=True)
    assert "0.640 after training and 0.700 before. The starting" in outcome.verdict()


def test_a_gain_by_chance_on_few_photos_keeps_the_starting_weights(
    likes: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean rises by .02; its standard error is .03 (half of .06 over four masks)."""
    before, after = of_images([0.5, 0.5, 0.5, 0.5]), of_images([0.6, 0.5, 0.52, 0.46])
    few = replace(RECIPE, learn="neck", views=4)
    monkeypatch.setattr(held_out, "measure", lambda *_: after)
    module, outcome, _ = choose_end(tmp_path, few, STATE, [], before)
    assert (module.weight.item(), outcome.started) == (START, True)
    assert outcome.verdict().startswith(
        "No clear improvement: the mean IoU over all clicks is 0.520 after training and 0.500 "
        "before, a difference within its standard error. The starting weights were kept."
    )
    after = of_images([0.6, 0.5, 0.56, 0.5])  # by .04, with an error of .0245
    _, outcome, _ = choose_end(tmp_path, few, STATE, [], before)
    assert (outcome.started, outcome.verdict()) == (False, "")


@pytest.mark.parametrize(
    ("best", "end"),
    [
        (2.0, TuningEnd(judged=False, share=0.5)),
        (4.2, TuningEnd(judged=True, share=0.5)),
        (9.0, TuningEnd(judged=True, share=1.0)),
    ],
)
def test_of_few_photos_the_best_end_is_written_or_the_start(
    likes: dict[str, float], best: float, end: TuningEnd, tmp_path: Path
) -> None:
    """Halfway from 0 to the last weights (4) and to the best ones (8), which meet at 4."""
    likes["weight"] = best
    few = replace(RECIPE, learn="neck", views=4)
    state = STATE | {"average": {"weight": LAST - 0.5}} if best == 4.2 else STATE
    assert choose_end(tmp_path, few, state, [], scored(0.1))[2] == end
    kept = choose_end(tmp_path, few, STATE, [], scored(1.0))
    assert kept[1].started
    assert kept[0].weight.item() == START
    begun = STATE | {"best": STATE["best"] | {"step": 0}}
    assert list(ends_of(few, begun)) == [TuningEnd(share=0.5), TuningEnd(share=1.0)]


def test_an_end_that_is_better_by_chance_does_not_replace_the_first(
    likes: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step's own weights win by .01 on the mean, but lose on half of the photos."""
    ious = {3.0: [0.5, 0.5, 0.5, 0.5], 4.0: [0.6, 0.41, 0.6, 0.43]}
    monkeypatch.setattr(
        held_out, "measure", lambda module, _held: of_images(ious[module.weight.item()])
    )
    state = STATE | {"best": None}
    assert choose_end(tmp_path, RECIPE, state, [], scored(0.1, 4))[2] == TuningEnd(share=0.75)
    ious[4.0] = [0.51, 0.5, 0.52, 0.51]
    assert choose_end(tmp_path, RECIPE, state, [], scored(0.1, 4))[2] == TuningEnd(share=1.0)


def test_adapters_have_no_way_back_and_one_end_is_not_tried_twice() -> None:
    both = [TuningEnd(judged, share) for judged in (False, True) for share in (0.75, 1.0)]
    assert list(ends_of(RECIPE, STATE)) == both
    assert list(ends_of(replace(RECIPE, learn="lora"), STATE)) == both[1::2]
    same = STATE | {"best": STATE["best"] | {"step": 20}}
    assert list(ends_of(RECIPE, same)) == both[:2]
    assert list(ends_of(RECIPE, STATE | {"best": None})) == both[:2]
