"""A run over several sittings: time limits, copies, several processes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anymask.base import ConfigError, WeightsError
from anymask.training import LAST, newest_state
from anymask.training import loop as of_worker
from anymask.training.loop import TrainingRun, TrainingWorker, train
from anymask.training.recipe import RecipeStage
from anymask.training.run_folder import read_state
from tests.training.small_data import small_recipe


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps; copy it before you change it."""
    folder = tmp_path_factory.mktemp("trained")
    train(small_recipe(steps=4), TrainingRun(data, folder))
    return folder


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


class Clock:
    """A clock that goes on by some seconds each time it is read."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 0.0

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def test_the_minutes_end_a_sitting_with_a_checkpoint_and_the_next_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(steps=6, save_every=100)
    monkeypatch.setattr(of_worker.time, "monotonic", Clock(20.0))
    train(recipe, TrainingRun(data, tmp_path / "cut", max_minutes=2))
    assert 0 < read_state(tmp_path / "cut" / LAST)["progress"]["step"] < 6
    monkeypatch.undo()
    train(recipe, TrainingRun(data, tmp_path / "cut"))
    train(recipe, TrainingRun(data, tmp_path / "whole"))
    one, other = (read_state(tmp_path / name / LAST)["model"] for name in ("cut", "whole"))
    assert same(one, other)


def test_a_checkpoint_is_written_when_the_last_is_too_old(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = TrainingWorker.save

    def told(worker: TrainingWorker) -> None:
        saved.append(worker.progress.step)
        save(worker)

    monkeypatch.setattr(TrainingWorker, "save", told)
    monkeypatch.setattr(of_worker.time, "monotonic", Clock(60.0))
    train(small_recipe(steps=4, save_every=100, save_minutes=1.5), TrainingRun(data, tmp_path))
    assert saved[:-1]  # the last one is the end's
    monkeypatch.undo()
    monkeypatch.setattr(TrainingWorker, "save", told)
    saved.clear()
    train(small_recipe(steps=4, save_every=100), TrainingRun(data, tmp_path / "fast"))
    assert saved == [4]


def test_two_processes_learn_what_one_learns_from_the_same_batches(
    data: Path, tmp_path: Path
) -> None:
    stage = RecipeStage(steps=3, side=64, images=4, masks=2)
    recipe = small_recipe(model="tiny", stages=(stage,), warmup=1)
    train(recipe, TrainingRun(data, tmp_path / "one"))
    train(replace(recipe, workers=2), TrainingRun(data, tmp_path / "two"))
    one, two = (read_state(tmp_path / name / LAST) for name in ("one", "two"))
    for part in ("model", "average"):
        for name, value in one[part].items():
            # Softmax does not feel a key's bias: its gradient is rounding, which Adam makes large.
            if not name.endswith(("k_proj.bias", "qkv.bias")):
                torch.testing.assert_close(
                    two[part][name], value, rtol=0, atol=1e-2 * recipe.rate, msg=name
                )
    for state in (one, two):
        assert (state["progress"]["step"], state["progress"]["images"]) == (3, 12)


def cooling(steps: int = 4) -> object:
    stage = RecipeStage(steps=steps, side=64, images=2, masks=2, cool=True)
    return small_recipe(stages=(stage,), warmup=9, seed=8)


def test_a_copy_begins_where_the_other_run_is_and_leaves_it_alone(
    data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = trained, tmp_path / "cool"
    files = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    recipe = cooling()
    monkeypatch.setattr(TrainingWorker, "run", lambda self: self.save())
    train(recipe, TrainingRun(data, target, source=source))  # type: ignore[arg-type]
    begun, left = read_state(target / LAST), read_state(source / LAST)
    assert same(begun["model"], left["model"])
    assert same(begun["average"], left["average"])
    for number, moments in left["optimiser"]["state"].items():
        assert same(moments, begun["optimiser"]["state"][number])
    assert begun["progress"] | {"hours": 0} == {
        "step": 0, "before": 4, "images": 8, "hours": 0, "skipped": 0, "stale": 0, "ended": False
    }  # fmt: skip
    monkeypatch.undo()
    train(recipe, TrainingRun(data, target, source=source))  # type: ignore[arg-type]
    done = read_state(target / LAST)
    assert (done["progress"]["step"], done["progress"]["images"]) == (4, 16)
    assert not same(done["model"], left["model"])
    assert files == {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}


def test_a_copy_is_no_beginner_and_its_rate_falls_at_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_worker, "LOG_EVERY", 1)
    train(small_recipe(steps=12), TrainingRun(data, tmp_path / "long"))
    train(cooling(), TrainingRun(data, tmp_path / "cool", source=tmp_path / "long"))  # type: ignore[arg-type]
    lines = (tmp_path / "cool" / "log.jsonl").read_text().splitlines()
    rates = [json.loads(line)["rate"] for line in lines]
    assert rates == pytest.approx([1e-3, 0.8536e-3, 0.5e-3, 0.1464e-3], rel=1e-3)


def test_a_copy_of_nothing_or_of_another_model_is_refused(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="contains no checkpoint"):
        train(small_recipe(), TrainingRun(data, tmp_path / "a", source=tmp_path / "nowhere"))
    other = small_recipe(learn="decoder")
    with pytest.raises(ConfigError, match="with learn = 'all', but the recipe sets 'decoder'"):
        train(other, TrainingRun(data, tmp_path / "b", source=trained))
    assert newest_state(tmp_path / "b") is None
