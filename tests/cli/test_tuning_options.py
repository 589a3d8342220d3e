"""Options of `anymask finetune`: what cannot be meant, and what a run was begun with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anymask import models
from anymask.base import InputError, write_json
from anymask.cli.main import main
from anymask.training import finetuning as finetune
from anymask.training import presets
from anymask.training.options import OPTIONS, TuningOptions, refuse_other_options
from anymask.training.presets import run_options, with_fields
from anymask.training.weights import write_result
from tests.conftest import CommandLine


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--method", "half"], "half"),
        (["--method", "hq"], "nano has no HQ token to train. Use a model such"),
        (["--method", "hq", "--model", "sam2_hiera_t"], "sam2_hiera_t has no HQ token"),
        (["--model", "samm"], "samm"),
        (["--samples", "0"], "samples must be a whole number of at least 1"),
        (["--accumulate", "0"], "accumulate must be a whole number"),
        (["--accumulate", "3"], "Unsupported --accumulate 3: a step of nano has 4 images"),
        (["--accumulate", "4", "--model", "mobile_sam"], "Unsupported --accumulate 4"),
        (["--lora-rank", "4"], "Option --lora-rank requires --method lora"),
        (["--lora-alpha", "4", "--method", "hq"], "Option --lora-alpha requires --method lora"),
        (["--lora-rank", "0", "--method", "lora"], "--lora-rank must be"),
        (["--lora-alpha", "0", "--method", "lora"], "--lora-alpha must be"),
        (["--val", "nowhere"], "File or folder not found: 'nowhere'"),
        (["--bundle", "/"], "/ contains files that are not"),
        (
            ["--json", f"{__file__}/told.json"],
            "Cannot create the output folder of 'told.json', because a part of",
        ),
        (["--device", "cuda:99"], "Device 'cuda:99' is not available"),
        (["--model", "nowhere.safetensors"], "'nowhere.safetensors' does not exist"),
        (["--weights", __file__], "test_tuning_options.py"),
    ],
)
def test_what_cannot_be_meant_is_one_error(
    options: list[str], reason: str, coco: Path, tmp_path: Path, cli: CommandLine
) -> None:
    command = ["finetune", "--data", str(coco), "-o", str(tmp_path / "run"), *options]
    assert reason in cli.refused(command)
    assert not (tmp_path / "run").exists()  # refused before any work


def test_a_tuned_model_is_named_by_its_file(coco: Path, tmp_path: Path) -> None:
    """From its header; the same file under another path is another option."""
    torch.manual_seed(2)
    write_result(tmp_path / "w.safetensors", models.build("nano"), "nano", {})
    run, data = tmp_path / "run", ["--data", str(coco), "--samples", "8", "--max-minutes", "1e-6"]
    command = ["finetune", *data, "-o", str(run), "--model"]
    assert main([*command, str(tmp_path / "w.safetensors")]) == 0
    begun = json.loads((run / "recipe.json").read_text("utf-8"))
    assert (begun["model"], begun["init"]) == ("nano", str(tmp_path / "w.safetensors"))
    assert main([*command, "nano"]) == 2


def test_two_processes_that_cannot_share_a_step_become_one() -> None:
    recipe = presets.tuning_recipe("nano", "full", 500)
    given = TuningOptions(data=Path(), output=Path(), accumulate=2)
    assert (recipe.workers, with_fields(recipe, given).workers) == (2, 2)
    given = replace(given, accumulate=4)
    assert with_fields(recipe, given) == replace(recipe, workers=1, accumulate=4)


def test_a_run_goes_on_with_the_same_data_and_options_only(
    coco: Path, tmp_path: Path, cli: CommandLine
) -> None:
    run = tmp_path / "run"
    begun = TuningOptions(data=coco, output=run, model="nano", samples=8, channels=4, rgb=(3, 2, 1))
    run.mkdir()
    (run / "recipe.json").write_text("{}", "utf-8")
    write_json(run / OPTIONS, run_options(begun))
    refuse_other_options(run, run_options(begun))
    renamed = {name.replace("--samples", "--pictures"): value  # as until it was --samples
               for name, value in run_options(begun).items()}  # fmt: skip
    write_json(run / OPTIONS, renamed)
    refuse_other_options(run, run_options(begun))
    other = replace(begun, method="lora", classes="all", rgb=None)
    with pytest.raises(InputError) as raised:
        refuse_other_options(run, run_options(other))
    assert str(raised.value) == (
        f"{run} was created with different options: --method was auto, now lora; --classes was "
        "not given, now all; --rgb was 3,2,1, now not given. Use "
        "the same options, or choose another run folder."
    )
    command = ["finetune", "--data", str(coco), "-o", str(run), "--method", "lora"]
    assert "--samples was 8, now not given" in cli.refused(command)
    assert not (run / finetune.DATA).exists()
