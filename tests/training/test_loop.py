"""The loop: exact resume, the NaN guard, several workers, rates, and what is left on disk."""

import json
import os
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.base import ConfigError, ImageError, WeightsError
from anymask.training import LAST, LOG, loop, newest_state, samples, workers
from anymask.training import loop as of_worker
from anymask.training.loop import TrainingRun, TrainingWorker, set_rates, train
from anymask.training.recipe import RecipeStage
from anymask.training.run_folder import PREVIOUS, TrainingProgress, read_state
from anymask.training.samples import TrainingImages, batches
from anymask.training.step import StepOutcome
from tests.training.small_data import small_recipe, write_sets


def weights(folder: Path, part: str = "model") -> dict[str, torch.Tensor]:
    return read_state(folder / LAST)[part]


def test_a_picture_depends_on_nothing_but_the_seed_and_its_number(data: Path) -> None:
    recipe = small_recipe(steps=3)
    whole = list(batches(recipe, data, None, rank=0, first_step=0))
    late = list(batches(recipe, data, None, rank=0, first_step=2))
    assert len(whole) == 3
    assert len(late) == 1
    assert torch.equal(whole[2].images, late[0].images)
    assert torch.equal(whole[2].targets, late[0].targets)
    assert not torch.equal(whole[0].images, whole[1].images)


def test_pictures_prepared_in_another_process_are_the_same(data: Path) -> None:
    recipe = small_recipe(steps=2)
    here = list(batches(recipe, data, None, rank=0, first_step=0))
    beside = list(batches(replace(recipe, prepare_ahead=True), data, None, rank=0, first_step=0))
    assert len(beside) == 2
    for one, other in zip(here, beside, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


def test_without_shared_memory_pictures_are_prepared_here(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = replace(small_recipe(steps=2), prepare_ahead=True)
    monkeypatch.setattr(samples, "shared_memory_free", lambda: 1000)
    monkeypatch.setattr(
        samples, "prepared", lambda loader: iter(loader) if not loader.num_workers else ()
    )
    assert len(list(batches(recipe, data, None, rank=0, first_step=0))) == 2
    assert "/dev/shm has 0.0 MB. Make /dev/shm larger" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_shared_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = os.statvfs("/dev/shm")
    free = workers.shared_memory_free()
    assert free == pytest.approx(facts.f_bavail * facts.f_frsize, rel=0.5)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert workers.shared_memory_free() == 0


def test_targets_centres_and_boxes_describe_the_object(data: Path) -> None:
    images = TrainingImages(small_recipe(), data)
    planes, targets, centers, insides, boxes = images.image(np.random.default_rng(3), 64, 2)
    assert planes.shape == (3, 64, 64)
    assert targets.shape == (2, 16, 16)
    for target, center, inside, box in zip(targets, centers, insides, boxes, strict=True):
        for point in (center, inside):
            x, y = (int(v) // 4 for v in point)
            assert target[y, x] > 0
            assert (box[:2] <= point).all()
            assert (point <= box[2:]).all()
        ys, xs = torch.nonzero(target > 127, as_tuple=True)
        assert 4 * xs.min() >= box[0] - 4
        assert 4 * xs.max() + 4 <= box[2] + 4
        assert 4 * ys.min() >= box[1] - 4
        assert 4 * ys.max() + 4 <= box[3] + 4


def test_a_run_that_was_cut_in_two_ends_with_the_very_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(steps=4)
    train(recipe, TrainingRun(data, tmp_path / "whole"))
    monkeypatch.setattr(of_worker, "batches", lambda *a, **given: islice(batches(*a, **given), 2))
    train(recipe, TrainingRun(data, tmp_path / "cut"))
    assert read_state(tmp_path / "cut" / LAST)["progress"]["step"] == 2
    monkeypatch.undo()
    train(recipe, TrainingRun(data, tmp_path / "cut"))
    for part in ("model", "average"):
        whole, cut = weights(tmp_path / "whole", part), weights(tmp_path / "cut", part)
        assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_training_moves_the_weights_but_not_the_frozen_blocks(data: Path, tmp_path: Path) -> None:
    recipe = small_recipe(steps=2)
    before = {k: v.clone() for k, v in fresh(recipe, data, tmp_path).model.state_dict().items()}
    train(recipe, TrainingRun(data, tmp_path))
    after = weights(tmp_path)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(n.startswith(("encoder.backbone.stem", "encoder.backbone.b2")) for n in moved)
    assert any(n.startswith("encoder.backbone.b3") for n in moved)
    assert any(n.startswith("decoder.quality") for n in moved)


def fresh(recipe: object, data: Path, folder: Path) -> TrainingWorker:
    return TrainingWorker(0, recipe, TrainingRun(data, folder))  # type: ignore[arg-type]


def nan_outcome(worker: TrainingWorker) -> StepOutcome:
    parameter = next(p for p in worker.model.parameters() if p.requires_grad)
    return StepOutcome(parameter.sum() * float("nan"), 0.0, 0.0, 0.0, 0.0)


def test_many_bad_steps_in_a_row_bring_the_checkpoint_back(data: Path, tmp_path: Path) -> None:
    worker = fresh(small_recipe(), data, tmp_path)
    worker.save()
    kept = weights(tmp_path)
    with torch.no_grad():
        for parameter in worker.model.parameters():
            parameter.fill_(float("nan"))
    for _ in range(of_worker.BAD_STEPS):
        nan_outcome(worker).loss.backward()
        worker.descend()
    assert all(torch.equal(kept[name], value) for name, value in worker.model.state_dict().items())
    assert worker.progress.skipped == of_worker.BAD_STEPS


def test_more_processes_than_cores_are_refused_and_torchrun_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "usable_cores", lambda: 4)
    stage = RecipeStage(steps=1, side=64, images=256, masks=2)
    recipe = small_recipe(workers=256, stages=(stage,))
    with pytest.raises(ConfigError, match="workers = 256, .* 4 CPU cores"):
        train(recipe, TrainingRun(data, tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    loop.check_processes(replace(recipe, workers=4))
    monkeypatch.setattr(loop, "usable_cores", lambda: 1)
    loop.check_processes(replace(recipe, workers=2))  # what recipes have that do not say


def test_bad_steps_before_any_checkpoint_bring_the_start_back_and_then_end_the_run(
    data: Path, tmp_path: Path
) -> None:
    worker = fresh(small_recipe(), data, tmp_path)
    begun = {name: value.clone() for name, value in worker.model.state_dict().items()}
    sum(p.sum() for p in worker.model.parameters() if p.requires_grad).backward()  # type: ignore[union-attr]
    worker.descend()
    assert worker.optimizer.state
    for _ in range(of_worker.BAD_STEPS):
        nan_outcome(worker).loss.backward()
        worker.descend()
    assert all(torch.equal(begun[name], value) for name, value in worker.model.state_dict().items())
    assert not worker.optimizer.state
    for _ in range(of_worker.BAD_STEPS - 1):
        worker.descend()
    with pytest.raises(ConfigError, match="not finite in 8 consecutive steps.*rate below"):
        worker.descend()
    assert worker.progress.skipped == 2 * of_worker.BAD_STEPS


@pytest.mark.parametrize("bf16", [True, False])
def test_products_are_in_16_bits_only_where_the_recipe_lets_them(
    bf16: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_worker, "multiplies_halves", lambda device: True)
    recipe, halves = small_recipe(bf16=bf16), []
    worker = fresh(recipe, data, tmp_path)
    worker.step.register_forward_pre_hook(
        lambda *_: halves.append(torch.is_autocast_enabled("cpu"))
    )
    worker.learn(next(batches(recipe, data, None, rank=0, first_step=0)))
    assert halves == [bf16]


def test_rates_warm_up_stay_level_and_fall_to_nothing(data: Path, tmp_path: Path) -> None:
    stage = RecipeStage(steps=10, side=64, images=2, masks=2)
    recipe = small_recipe(
        stages=(stage, replace(stage, cool=True), replace(stage, cool=True)), warmup=5, rate=1.0
    )
    optimizer = fresh(recipe, data, tmp_path).optimizer
    rates = []
    for step in (0, 4, 9, 10, 20, 29):
        set_rates(optimizer, recipe, TrainingProgress(step=step))
        rates.append(max(group["lr"] for group in optimizer.param_groups))
    assert rates[:4] == pytest.approx([0.2, 1.0, 1.0, 1.0])
    assert rates[4] == pytest.approx(0.5)
    assert rates[5] < 0.01


def test_rates_fall_to_a_tenth_after_the_steps_that_the_recipe_names(
    data: Path, tmp_path: Path
) -> None:
    recipe = small_recipe(steps=9, warmup=1, rate=1.0, falls=(3, 6))
    optimizer = fresh(recipe, data, tmp_path).optimizer
    rates = []
    for step in (2, 3, 5, 6, 8):
        set_rates(optimizer, recipe, TrainingProgress(step=step))
        rates.append(max(group["lr"] for group in optimizer.param_groups))
    assert rates == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_the_newest_checkpoints_are_kept_by_their_steps(data: Path, tmp_path: Path) -> None:
    train(small_recipe(steps=5, save_every=1, keep=2), TrainingRun(data, tmp_path))
    kept = sorted(path.name for path in tmp_path.glob("step-*.pt"))
    assert kept == ["step-000000004.pt", "step-000000005.pt"]
    assert read_state(tmp_path / kept[0])["progress"]["step"] == 4


def test_the_backbone_learns_slower_and_vectors_do_not_decay(data: Path, tmp_path: Path) -> None:
    worker = fresh(small_recipe(backbone_rate=0.25), data, tmp_path)
    owner = {
        id(p): (group["scale"], group["weight_decay"])
        for group in worker.optimizer.param_groups
        for p in group["params"]
    }
    for name, parameter in worker.model.named_parameters():
        if parameter.requires_grad:
            slow = name.startswith("encoder.backbone.")
            decay = 0.01 if parameter.ndim > 1 else 0.0
            assert owner[id(parameter)] == (0.25 if slow else 1.0, decay), name


def test_a_broken_checkpoint_falls_back_to_the_one_before(data: Path, tmp_path: Path) -> None:
    train(small_recipe(steps=4), TrainingRun(data, tmp_path))
    (tmp_path / LAST).write_bytes(b"half a file")
    found = newest_state(tmp_path)
    assert found[0] == tmp_path / PREVIOUS
    with pytest.raises(WeightsError, match="not a checkpoint of `anymask train`"):
        read_state(tmp_path / LAST)


def test_a_run_without_a_readable_checkpoint_does_not_begin_anew(
    data: Path, tmp_path: Path
) -> None:
    train(small_recipe(steps=4), TrainingRun(data, tmp_path))
    for name in (LAST, PREVIOUS):
        (tmp_path / name).write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="none of its checkpoints is readable"):
        train(small_recipe(steps=4), TrainingRun(data, tmp_path))
    assert (tmp_path / LAST).read_bytes() == b"half a file"


def test_the_log_is_json_lines_with_means(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_worker, "LOG_EVERY", 2)
    told: list[dict[str, object]] = []
    train(small_recipe(steps=4), TrainingRun(data, tmp_path, report=told.append))
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert rows == told
    assert rows[0]["loss"] > 0
    assert 0 <= rows[0]["oracle_iou"] <= 1


def test_a_quality_run_starts_from_another_and_moves_nothing_but_the_head(
    data: Path, tmp_path: Path
) -> None:
    train(small_recipe(steps=2), TrainingRun(data, tmp_path / "first"))
    start = read_state(tmp_path / "first" / LAST)["average"]
    recipe = small_recipe(steps=2, init=str(tmp_path / "first" / LAST), learn="quality", seed=5)
    train(recipe, TrainingRun(data, tmp_path / "second"))
    for name, value in weights(tmp_path / "second").items():
        same = torch.equal(value, start[name])
        assert same != name.startswith("decoder.quality."), name


def test_a_picture_that_cannot_be_read_is_told_as_such_beside_the_one_that_learns(
    tmp_path: Path,
) -> None:
    data = write_sets(tmp_path / "data")
    for image in data.rglob("images/*"):
        image.write_bytes(b"no picture")
    recipe = small_recipe(prepare_ahead=False)
    with pytest.raises(ImageError, match="or its first bytes are corrupted"):
        next(batches(recipe, data, None, rank=0, first_step=0))


def test_averaged_weights_have_the_statistics_of_batch_norms(tmp_path: Path, data: Path) -> None:
    """Where a network learns from nothing; they are averages of their own."""
    worker = TrainingWorker(0, small_recipe(), TrainingRun(data, tmp_path))
    for network in (worker.model, worker.average):
        network.add_module("norm", torch.nn.BatchNorm1d(2, momentum=0.5))
    worker.model.norm(torch.tensor([[1.0, 5.0], [3.0, 9.0]]))
    worker.descend()
    assert worker.average.norm.running_mean.tolist() == [1.0, 3.5]  # half of the way from 0
    assert worker.average.norm.running_var.tolist() == [1.5, 4.5]  # of variances 2 and 8, from 1


def test_a_step_without_a_finite_gradient_is_left_out(data: Path, tmp_path: Path) -> None:
    worker = fresh(small_recipe(), data, tmp_path)
    before = {name: p.clone() for name, p in worker.model.named_parameters()}
    nan_outcome(worker).loss.backward()
    worker.descend()
    assert worker.progress.skipped == 1
    assert all(torch.equal(before[n], p) for n, p in worker.model.named_parameters())
