"""What a run's bundle states: the licences of all weights that the run learned from."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from anymask import models
from anymask.runtime import license_of_weights
from anymask.training import Recipe
from anymask.training.recipe import RecipeStage
from anymask.training.run_folder import TrainingProgress, license_of_run, save_checkpoint
from anymask.training.weights import write_result
from tests.conftest import CommandLine

STAGES = (RecipeStage(steps=1, side=64, images=2, masks=2),)
S_LAB = "NTU S-Lab License 1.0"


def recipe(**values: Any) -> Recipe:
    return Recipe(stages=STAGES, **values)


@pytest.mark.parametrize(
    ("values", "licence"),
    [
        ({"model": "nano", "init": "shipped"}, "Apache-2.0"),
        ({"model": "nano"}, "Apache-2.0"),
        ({"model": "edge_sam", "init": "shipped"}, S_LAB),
        (
            {"model": "nano", "init": "shipped", "task": "distil", "teacher": "edge_sam"},
            f"Apache-2.0; {S_LAB}",
        ),
        ({"model": "nano_tiny"}, "unknown (no published weights of nano_tiny)"),
        (
            {"model": "nano", "init": "gone.pt"},
            "unknown (from gone.pt, which no longer exists; "
            "the licence of the published weights of nano is "
            "Apache-2.0)",
        ),
    ],
)
def test_a_run_has_the_licences_of_what_it_learned_from(
    values: dict[str, Any], licence: str
) -> None:
    assert license_of_run(recipe(**values)) == licence


def test_a_file_states_its_licence_itself_and_checkpoints_lead_to_their_start(
    tmp_path: Path,
) -> None:
    module = models.build("nano_tiny")
    tuned, bare = (tmp_path / f"{name}.safetensors" for name in ("tuned", "bare"))
    write_result(tuned, module, "edge_sam", {"licence": "MINE-1.0"})
    write_result(bare, module, "edge_sam", {})
    assert license_of_weights("edge_sam", tuned) == "MINE-1.0"
    assert license_of_weights("edge_sam", bare) == (
        "unknown (from bare.safetensors; "
        f"the licence of the published weights of edge_sam is {S_LAB})"
    )
    first = dataclasses.asdict(recipe(model="edge_sam", init=str(tuned)))
    path = save_checkpoint(tmp_path, {"average": {}}, TrainingProgress(), first)
    assert license_of_run(recipe(model="edge_sam", init=str(path))) == "MINE-1.0"
    itself = dataclasses.asdict(recipe(model="edge_sam", init=str(path)))
    save_checkpoint(tmp_path, {"average": {}}, TrainingProgress(), itself)
    assert "unknown (from last.pt" in license_of_run(recipe(model="edge_sam", init=str(path)))
    other = tmp_path / "other.pt"
    torch.save({"some": torch.zeros(1)}, other)
    assert "unknown (from other.pt" in license_of_run(recipe(model="nano", init=str(other)))


@pytest.mark.parametrize("command", [["finetune"], ["distill", "--teacher", "tiny"]])
def test_several_processes_of_torchrun_do_not_write_one_folder(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    run = tmp_path / "run"
    assert "torchrun started 2. Start it without torchrun" in cli.refused(
        [*command, "--data", str(tmp_path), "-o", str(run)]
    )
    assert not run.exists()
