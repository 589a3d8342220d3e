"""Other tasks of the same trainer: a teacher's masks and features, hidden cells, SAM-HQ's part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from anymask import models
from anymask.base import ConfigError, WeightsError
from anymask.training import LAST, Recipe, trained_module
from anymask.training.interaction import Draws
from anymask.training.loop import TrainingRun, train
from anymask.training.run_folder import read_state
from anymask.training.samples import batches
from anymask.training.step import DistillationStep, Teacher, build_step
from anymask.training.trainee import build_trainee, make_optimizer
from anymask.training.weights import TASK_HEAD
from tests.training.small_data import small_recipe
from tests.training.test_families import TINY, one_step


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures without masks."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    for number in range(3):
        pixels = rng.integers(0, 255, (70, 90, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def weights_of(name: str, folder: Path, seed: int = 4) -> Path:
    """A teacher that always is the same."""
    torch.manual_seed(seed)
    path = folder / f"{name}.safetensors"
    save_file({k: v.contiguous() for k, v in models.build(name).state_dict().items()}, path)
    return path


def distilling(teacher: str, folder: Path, **changes: object) -> Recipe:
    known = {"teacher": teacher, "teacher_weights": str(weights_of(teacher, folder))}
    return small_recipe(task="distil", **{**known, **changes})


def begun(recipe: Recipe, data: Path) -> dict[str, torch.Tensor]:
    """The weights before the first step."""
    torch.manual_seed(recipe.seed)
    return build_trainee(recipe, data).state_dict()


@pytest.mark.parametrize("teacher", TINY)
def test_any_family_teaches(teacher: str, data: Path, tmp_path: Path) -> None:
    recipe = distilling(teacher, tmp_path, stages=small_recipe(steps=1).stages)
    before = begun(recipe, data)
    train(recipe, TrainingRun(data, tmp_path / "run"))
    state = read_state(tmp_path / "run" / LAST)
    assert state["progress"]["skipped"] == 0
    moved = {n for n, t in state["model"].items() if not torch.equal(before[n], t)}
    assert any(name.startswith("encoder.") for name in moved)
    assert any(name.startswith("decoder.") for name in moved)
    assert f"{TASK_HEAD}.weight" in state["model"]
    finished = trained_module(state).state_dict()
    assert set(finished) == set(models.build("nano_tiny").state_dict())


def test_a_student_that_is_its_teacher_has_nothing_to_learn_of_masks(
    data: Path, tmp_path: Path
) -> None:
    recipe = distilling("nano_tiny", tmp_path)
    step = build_step(build_trainee(recipe, data), recipe)
    assert isinstance(step, DistillationStep)
    step.model.load_state_dict(step.teacher.module.state_dict(), strict=False)
    step.model.eval()
    batch = next(batches(recipe, data, None, rank=0, first_step=0))
    outcome = step(batch, 0.0, Draws(1, 0, range(2)))
    assert outcome.first_iou == 1.0  # what it shows first is what the teacher shows


def test_labels_are_the_truth_where_the_recipe_says_so(data: Path, tmp_path: Path) -> None:
    """A step beside a teacher is the plain step and the error of the features, of which none are
    learned yet: the teacher's are what is missing."""
    recipe = distilling("tiny", tmp_path, truth="labels", feature_weight=3.0)
    step = build_step(build_trainee(recipe, data), recipe).eval()
    plain = build_step(
        build_trainee(replace(recipe, task="masks"), data), replace(recipe, task="masks")
    )
    plain.model.load_state_dict(step.model.state_dict(), strict=False)  # type: ignore[union-attr]
    batch = next(batches(recipe, data, None, rank=0, first_step=0))
    beside, alone = (one(batch, 0.0, Draws(1, 0, range(2))) for one in (step, plain.eval()))
    assert (beside.first_iou, beside.last_iou) == (alone.first_iou, alone.last_iou)
    missing = step.teacher.features(batch.images)[0].square().mean()  # type: ignore[operator, union-attr]
    assert float((beside.loss - alone.loss).detach()) == pytest.approx(3 * float(missing), rel=1e-4)


def test_the_layer_of_a_distillation_learns_ten_times_as_fast(data: Path, tmp_path: Path) -> None:
    model = build_trainee(recipe := distilling("tiny", tmp_path), data)
    assert not getattr(model, TASK_HEAD).weight.any()
    of_head = {id(one) for one in getattr(model, TASK_HEAD).parameters()}
    told, others = set[float](), set[float]()
    for group in make_optimizer(model, recipe).param_groups:
        for one in group["params"]:
            (told if id(one) in of_head else others).add(group["scale"])
    assert (told, max(others)) == ({10.0}, 1.0)


def test_prompts_reach_the_teacher_at_its_own_size(data: Path, tmp_path: Path) -> None:
    recipe = distilling("tiny", tmp_path, stages=(replace(small_recipe().stages[0], side=128),))
    step = build_step(build_trainee(recipe, data), recipe)
    seen: list[torch.Tensor] = []
    decode = step.teacher.module.decode

    def spy(features: object, coords: torch.Tensor, *rest: object) -> object:
        seen.append(coords)
        return decode(features, coords, *rest)

    step.teacher.module.decode = spy
    batch = next(batches(recipe, data, None, rank=0, first_step=0))
    step(batch, 0.0, Draws(1, 0, range(2)))
    assert seen[0].max() <= 64  # pictures of 128 pixels, a teacher of 64


def test_a_teacher_that_is_not_there_or_does_not_fit_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="requires a teacher"):
        build_trainee(small_recipe(task="distil"), data)
    wrong = distilling("tiny", tmp_path, teacher_weights=str(weights_of("nano_tiny", tmp_path)))
    with pytest.raises(WeightsError, match="The weights do not fit tiny"):
        Teacher.open(wrong)


@pytest.mark.parametrize("task", ["distil"])
def test_pictures_without_masks_are_enough(task: str, images: Path, tmp_path: Path) -> None:
    recipe = replace(distilling("tiny", tmp_path), task=task, decode_once=True)  # type: ignore[arg-type]
    train(recipe, TrainingRun(images, tmp_path / "run"))
    state = read_state(tmp_path / "run" / LAST)
    assert (state["progress"]["step"], state["progress"]["skipped"]) == (4, 0)


def test_of_sam_hq_its_own_part_learns_and_sam_is_a_start(data: Path, tmp_path: Path) -> None:
    start = weights_of("tiny", tmp_path)
    recipe = one_step("tiny_hq", learn="hq", init=str(start))
    train(recipe, TrainingRun(data, tmp_path / "run"))
    state = read_state(tmp_path / "run" / LAST)
    torch.manual_seed(4)
    of_sam = models.build("tiny").state_dict()
    torch.manual_seed(recipe.seed)
    fresh = models.build("tiny_hq").state_dict()
    moved = set()
    for name, tensor in state["model"].items():
        if name in of_sam:
            assert torch.equal(tensor, of_sam[name]), name
        elif not torch.equal(tensor, fresh[name]):
            moved.add(name)
    for part in ("hf_token", "hf_mlp", "compress_vit_feat", "embedding_encoder", "maskfeature"):
        assert any(part in name for name in moved), part
    with pytest.raises(ConfigError, match="tiny has no HQ token"):
        build_trainee(one_step("tiny", learn="hq"), data)
