"""Learning from several models of the same kind: mirror images, the mean answer, the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anymask import models
from anymask.primitives.errors import ConfigError, WeightsError
from anymask.training.checkpoint import LAST, read_state
from anymask.training.draws import Draws
from anymask.training.ensemble import EnsembleStep, disagreement, mirrored_prompts
from anymask.training.interaction import PromptRules, SimulatedPrompts, first_prompts
from anymask.training.loop import train
from anymask.training.recipe import Recipe
from anymask.training.samples import Batch, batches
from anymask.training.step import normalised
from anymask.training.tasks import build_step
from anymask.training.trainee import build_trainee, trained_module
from anymask.training.worker import TrainingRun
from tests.training.small_data import small_recipe, write_sets
from tests.training.test_families import TINY


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("data"))


def teachers(folder: Path, *seeds: int, model: str = "nano_tiny") -> tuple[str, ...]:
    """Files of random weights."""
    paths = []
    for seed in seeds:
        torch.manual_seed(seed)
        state = {k: v.contiguous() for k, v in models.build(model).state_dict().items()}
        paths.append(str(folder / f"{model}-{seed}.safetensors"))
        save_file(state, paths[-1])
    return tuple(paths)


def agreeing(folder: Path, *seeds: int, **changes: object) -> Recipe:
    known = {"task": "ensemble", "teachers": teachers(folder, *seeds)}
    return small_recipe(**{**known, **changes})  # type: ignore[arg-type]


def begun(recipe: Recipe, data: Path) -> tuple[EnsembleStep, Batch]:
    """The step of a recipe, without dropout, and its first pictures."""
    step = build_step(build_trainee(recipe, data), recipe)
    assert isinstance(step, EnsembleStep)
    step.eval()
    return step, next(batches(recipe, data, None, rank=0, first_step=0))


def prompts_of(batch: Batch, boxes: float) -> SimulatedPrompts:
    places = [one.flatten(0, 1) for one in (batch.centres, batch.insides, batch.boxes)]
    rules = PromptRules(boxes=boxes)
    return first_prompts((places[0], places[1], places[2]), 64, Draws(1, 0, range(2)), rules)


def test_a_mirrored_prompt_means_the_mirrored_thing() -> None:
    given = SimulatedPrompts(
        coords=torch.tensor([[[10.0, 20], [40, 50], [12, 30]], [[0, 0], [0, 0], [5, 6]]]),
        labels=torch.tensor([[2, 3, 1], [-1, -1, 1]]),
        masks=torch.arange(4.0).view(1, 1, 1, 4).expand(2, 1, 4, 4),
        has_mask=torch.ones(2),
        ambiguous=torch.tensor([False, True]),
    )
    turned = mirrored_prompts(given, 64)
    assert turned.coords[0].tolist() == [[24, 20], [54, 50], [52, 30]]  # corners stay in order
    assert turned.coords[1, 2].tolist() == [59, 6]
    assert turned.masks[0, 0, 0].tolist() == [3, 2, 1, 0]
    again = mirrored_prompts(turned, 64)
    assert torch.equal(again.coords, given.coords)
    assert torch.equal(again.masks, given.masks)
    assert torch.equal(turned.labels, given.labels)


@pytest.mark.parametrize("boxes", [0.0, 1.0])
def test_the_answer_about_a_mirror_image_is_laid_back(
    boxes: float, data: Path, tmp_path: Path
) -> None:
    step, batch = begun(agreeing(tmp_path, 4), data)
    turned = replace(batch, images=batch.images.flip(-1))
    step.looks = step.look(batch, Draws(1, 0, range(2)))[1:]  # of the mirror image alone
    assert step.looks[0].mirrored
    told = step.told(prompts_of(batch, boxes))
    (teacher,) = step.teachers
    assert step.looks[0].teacher is teacher
    step.looks = step.look(turned, Draws(1, 0, range(2)))[:1]
    other = step.told(mirrored_prompts(prompts_of(batch, boxes), 64))
    assert torch.allclose(told, other.flip(-1), atol=1e-6)


def test_agreement_is_nothing_and_everything_else_is_more() -> None:
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(0, 3, (2, 4, 8, 8))).float()
    assert disagreement(logits, logits.sigmoid()).abs().max() < 1e-5
    assert (disagreement(logits + 0.5, logits.sigmoid()) > 1e-3).all()
    # By hand: one cell in four of chance 1, said to be 0.5 everywhere.
    chances = torch.zeros(1, 1, 2, 2)
    chances[..., 0, 0] = 1
    wanted = 4 * np.log(2) / (1 + 16) + 1 - (2 * 0.5 + 1) / (4 * 0.25 + 1 + 1)
    assert disagreement(torch.zeros(1, 1, 2, 2), chances).item() == pytest.approx(wanted)


def test_the_mean_of_all_looks_is_what_is_told(data: Path, tmp_path: Path) -> None:
    step, batch = begun(agreeing(tmp_path, 4, 5), data)
    prompts, asked = prompts_of(batch, 0.5), []
    for draw in range(20):
        step.looks = step.look(batch, Draws(1, draw, range(2)))
        pair = tuple(step.teachers.index(look.teacher) for look in step.looks)
        assert [look.mirrored for look in step.looks] == [False, True]
        assert {look.side for look in step.looks} == {64}
        asked.append(pair)
        both = step.told(prompts)
        apart = []
        for look in list(step.looks):
            step.looks = [look]
            apart.append(step.told(prompts))
        assert torch.allclose(both, torch.stack(apart).mean(0))
    assert set(asked) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_one_teacher_sees_smaller_pictures_and_says_the_same_of_them(
    data: Path, tmp_path: Path
) -> None:
    step, batch = begun(agreeing(tmp_path, 4, teacher_sides=(32, 64)), data)
    prompts, drawn = prompts_of(batch, 0.5), set()
    for draw in range(12):
        step.looks = step.look(batch, Draws(1, draw, range(2)))
        drawn.add(tuple(look.side for look in step.looks))
        assert step.told(prompts).shape == (len(prompts.labels), 4, 16, 16)
    assert drawn == {(32, 64), (64, 32)}
    # The same as asking about the small picture itself, laid over the cells of the large one.
    step.looks = [next(look for look in step.looks if look.side == 32)]
    small = torch.nn.functional.interpolate(
        batch.images.float(), scale_factor=0.5, mode="bilinear", antialias=True
    )
    asked = replace(prompts, coords=prompts.coords / 2, masks=prompts.masks[..., ::2, ::2])
    turned = step.looks[0].mirrored
    if turned:
        small, asked = small.flip(-1), mirrored_prompts(asked, 32)
    features = step.looks[0].teacher.encode(normalised(small, step.spec))  # type: ignore[operator]
    features = tuple(one.repeat_interleave(2, dim=0) for one in features)
    logits = step.looks[0].teacher.decode(  # type: ignore[operator]
        features, asked.coords, asked.labels, asked.masks, asked.has_mask
    )[0]
    wanted = torch.nn.functional.interpolate(logits, scale_factor=2, mode="bilinear").sigmoid()
    assert torch.allclose(step.told(prompts), wanted.flip(-1) if turned else wanted, atol=1e-5)


def test_the_student_comes_nearer_to_what_it_is_told(data: Path, tmp_path: Path) -> None:
    recipe = agreeing(
        tmp_path, 4, steps=40, rate=2e-3, warmup=1, synthetic=0.0, truth_weight=0.0, save_every=100
    )
    torch.manual_seed(recipe.seed)
    step, batch = begun(recipe, data)
    prompts = prompts_of(batch, 0.5)
    step.looks = step.look(batch, Draws(1, 0, range(2)))
    told = step.told(prompts)

    @torch.no_grad()
    def apart() -> float:
        features = tuple(one.repeat_interleave(2, dim=0) for one in step.see(batch))
        return disagreement(step.answer(features, prompts)[0], told).mean().item()

    before = apart()
    train(recipe, TrainingRun(data, tmp_path / "run"))
    state = read_state(tmp_path / "run" / LAST)
    step.model.load_state_dict(state["model"])
    assert apart() < 0.8 * before
    assert set(trained_module(state).state_dict()) == set(models.build("nano_tiny").state_dict())


def test_a_runs_checkpoint_teaches_with_its_averaged_weights(data: Path, tmp_path: Path) -> None:
    train(small_recipe(), TrainingRun(data, tmp_path / "run"))
    average = read_state(tmp_path / "run" / LAST)["average"]
    named = (str(tmp_path / "run" / LAST), *teachers(tmp_path, 4))
    step, _ = begun(small_recipe(task="ensemble", teachers=(*named, named[0])), data)
    first, second, third = (teacher.state_dict() for teacher in step.teachers)
    for name, tensor in average.items():
        assert torch.equal(first[name], tensor), name
        assert torch.equal(third[name], tensor), name
    assert any(not torch.equal(second[name], tensor) for name, tensor in average.items())


@pytest.mark.parametrize("model", TINY)
def test_models_of_any_family_teach_their_kind(model: str, data: Path, tmp_path: Path) -> None:
    side = models.spec(model).image_side
    stage = replace(small_recipe(steps=1).stages[0], side=side)
    known = {"model": model, "task": "ensemble", "stages": (stage,), "synthetic": 0.0}
    recipe = small_recipe(**known, teachers=teachers(tmp_path, 4, 5, model=model))  # type: ignore[arg-type]
    train(recipe, TrainingRun(data, tmp_path / "run"))
    progress = read_state(tmp_path / "run" / LAST)["progress"]
    assert (progress["step"], progress["skipped"]) == (1, 0)


def test_teachers_that_are_missing_or_of_another_kind_are_refused(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"needs teachers = \[FILE, ...\]"):
        build_trainee(small_recipe(task="ensemble"), data)
    other = small_recipe(task="ensemble", teachers=teachers(tmp_path, 4, model="tiny"))
    with pytest.raises(WeightsError, match="the weights do not fit nano"):
        begun(other, data)


def test_pictures_without_masks_are_not_enough(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no set with a masks.jsonl"):
        train(agreeing(tmp_path, 4), TrainingRun(data / "round" / "images", tmp_path / "run"))
