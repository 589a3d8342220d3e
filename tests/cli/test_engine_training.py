"""`anymask project retrain`: any model is tuned by the fine-tuning's trainer, and goes on."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anymask import models
from anymask.cli.main import main
from anymask.formats import AnnotatedImage, write_annotations
from anymask.masks import Mask, mask_to_rle
from anymask.runtime import about_weights
from anymask.studio import retraining
from anymask.studio.options import Tuning
from anymask.studio.project import Project
from anymask.studio.retraining import RoundStart, last_weights, recipe_of, start_of, trainer
from anymask.training import Recipe, loop, newest_state
from anymask.training.loop import TrainingRun
from anymask.training.presets import LARGE_RATE
from anymask.training.weights import write_result
from tests.conftest import CommandLine
from tests.studio.disc_projects import write_images


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of six photos, one of which is held out, with accepted masks; judged at once.

    Exports are tested elsewhere and take long: a bundle is an empty folder.
    """
    folder = tmp_path / "photos"
    truth = write_images(folder, count=6)
    write_annotations(list(truth.values()), tmp_path / "truth.json", "coco")
    assert main(["project", "init", str(folder)]) == 0
    assert main(["project", "import", str(folder), str(tmp_path / "truth.json")]) == 0

    def judge(place: str, images: Sequence[AnnotatedImage]) -> np.ndarray:
        return np.full(len(images), 0.5 if place == "nano" else 0.6)

    monkeypatch.setattr("anymask.studio.project.judge_on", lambda _folder: judge)
    opened = SimpleNamespace(runtime=SimpleNamespace(weights_hash="abc"))
    monkeypatch.setattr("anymask.studio.retraining.retrain.__defaults__", (lambda _place: opened,))
    # The package's name, which keeps the function after its first use.
    monkeypatch.setattr("anymask.training.write_bundle", lambda _run, target: target.mkdir())
    monkeypatch.setattr("anymask.studio.retraining.MIN_HELD", 1)
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Weights of a small network of SAM's family, as a training writes them."""
    torch.manual_seed(3)
    path = tmp_path / "tiny.safetensors"
    write_result(path, models.build("tiny"), "tiny", {"licence": "Apache-2.0"})
    return path


def test_a_model_of_one_side_is_tuned_as_a_fine_tuning_tunes_it(tiny: Path) -> None:
    recipe = recipe_of(Tuning(), start_of(Tuning(model=str(tiny)), None), [])
    assert (recipe.model, recipe.init) == ("tiny", str(tiny))
    (stage,) = recipe.stages
    assert (stage.steps, stage.side, stage.sides, stage.images) == (60, 64, (), 2)
    assert (recipe.rate, recipe.judge_every, recipe.patience) == (LARGE_RATE, 0, 0)
    lora = recipe_of(Tuning(method="lora", images=3, rate=5e-4), RoundStart("tiny", None), [])
    assert (lora.learn, lora.rate, lora.workers) == ("lora", 5e-4, 1)
    assert recipe_of(Tuning(method="lora"), RoundStart("nano", None), []).rate == pytest.approx(
        1e-3
    )


def test_what_is_tuned_is_the_leader_a_name_or_a_file(tiny: Path, tmp_path: Path) -> None:
    lead = tmp_path / "lead.safetensors"
    write_result(lead, models.build("nano_tiny"), "nano", {})
    assert start_of(Tuning(), None) == RoundStart("nano", None)
    assert start_of(Tuning(), lead) == RoundStart("nano", lead)
    assert start_of(Tuning(model="nano"), lead) == RoundStart("nano", lead)
    older = tmp_path / "last.pt"  # all that rounds of earlier versions have kept
    torch.save({"format": 1, "average": {}, "recipe": {"model": "nano"}}, older)
    assert start_of(Tuning(), older) == RoundStart("nano", older)
    assert start_of(Tuning(model="mobile_sam"), lead) == RoundStart("mobile_sam", None)
    assert start_of(Tuning(model=str(tiny)), lead) == RoundStart("tiny", tiny)
    assert start_of(Tuning(model="mobile_sam", init=tiny), lead) == RoundStart("mobile_sam", tiny)


def test_a_training_that_was_stopped_makes_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anymask.training.loop.train", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        trainer(Tuning())(tmp_path, None, tmp_path)
    assert not (tmp_path / "bundle").exists()


def test_another_family_is_tuned_leads_and_is_gone_on_from(
    project: Path, tiny: Path, tmp_path: Path, cli: CommandLine
) -> None:
    command = ["project", "retrain", str(project), "--steps", "1", "--masks", "2"]
    told = tmp_path / "told.json"
    said = cli.out([*command, "--model", str(tiny), "--method", "lora", "--json", str(told)])
    assert "promoted: this is now the best model of the project" in said
    weights = Path(json.loads(told.read_text("utf-8"))["weights"])
    assert said.endswith(f"{weights}\n")
    about = about_weights(weights)
    assert about is not None
    assert (about["variant"], about["recipe"]["learn"]) == ("tiny", "lora")
    assert load_file(weights).keys() == load_file(tiny).keys()  # adapters are merged
    assert last_weights(Project(project)) == weights
    opened = Project(project)
    assert opened.current_model() == str(weights.parent / "bundle")
    assert main(command) == 0  # nobody says which: the leader goes on
    second = about_weights(opened.inside / "rounds" / "2" / "weights.safetensors")
    assert second is not None
    assert (second["variant"], second["recipe"]["init"]) == ("tiny", str(weights))


class Killed(BaseException):
    """Nobody catches it."""


def test_a_round_that_was_cut_short_goes_on_unless_masks_or_options_differ(
    project: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["project", "retrain", str(project), "--steps", "4", "--model", str(tiny)]
    monkeypatch.setattr(retraining, "finish", cut)
    whole, began = loop.train, []

    def train(recipe: Recipe, run: TrainingRun) -> None:
        found = newest_state(run.folder)
        began.append(0 if found is None else found[1]["progress"]["step"])
        whole(recipe, run)

    monkeypatch.setattr(loop, "train", train)
    for options in ([], [], ["--rate", "5e-5"]):
        with pytest.raises(Killed):
            main([*command, *options])
    assert began == [0, 4, 0]
    more = tmp_path / "more.json"
    mask = np.zeros((128, 128), np.bool_)
    mask[100:120, 100:120] = True
    added = (Mask(mask_to_rle(mask)),)
    images = [AnnotatedImage(file_name=f"{n}.png", hw=mask.shape, masks=added) for n in range(6)]
    write_annotations(images, more, "coco")
    assert main(["project", "import", str(project), str(more)]) == 0
    with pytest.raises(Killed):
        main([*command, "--rate", "5e-5"])
    assert began[-1] == 0


def cut(*_: object) -> None:
    raise Killed
