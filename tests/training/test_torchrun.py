"""Processes that torchrun starts learn as one does, whether or not weights are shared out."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed

from anymask.base import ConfigError
from anymask.training import LAST, LOG
from anymask.training import loop as of_worker
from anymask.training.loop import TrainingRun, TrainingWorker, train
from anymask.training.recipe import RecipeStage
from anymask.training.run_folder import read_state
from tests.training.small_data import small_recipe

STEPS = 3
TOML = f"""
model = "tiny"
workers = 2
prepare_ahead = false
warmup = 1
save_every = 100
bf16 = false
[[stage]]
steps = {STEPS}
side = 64
images = 4
masks = 2
"""
SCRIPT = """
import sys
from anymask.cli.main import main
from anymask.training import loop as worker
worker.LOG_EVERY = 1
sys.exit(main(sys.argv[1:]))
"""
RECIPE = small_recipe(
    model="tiny", stages=(RecipeStage(steps=STEPS, side=64, images=4, masks=2),), warmup=1,
    save_every=100,
)  # fmt: skip


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_worker, "LOG_EVERY", 1)
        train(RECIPE, TrainingRun(data, folder))
    return folder


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / LOG).read_text().splitlines()]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_have_the_loss_curve_of_one(
    parallel: str, data: Path, alone: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(TOML)
    (tmp_path / "run.py").write_text(SCRIPT)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        str(tmp_path / "run.py"), "train", str(tmp_path / "recipe.toml"), "--data", str(data),
        "-o", str(tmp_path / "run"), "--parallel", parallel,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(tmp_path / "run") == pytest.approx(losses(alone), rel=2e-3)
    one, two = (read_state(folder / LAST) for folder in (alone, tmp_path / "run"))
    assert two["progress"]["images"] == one["progress"]["images"] == 12
    for part in ("model", "average"):
        assert two[part].keys() == one[part].keys()
        for name, value in one[part].items():
            # Softmax does not feel a key's bias: its gradient is rounding, which Adam makes large.
            if not name.endswith(("k_proj.bias", "qkv.bias")):
                torch.testing.assert_close(two[part][name], value, rtol=0, atol=2e-5, msg=name)
    longer = replace(RECIPE, stages=(replace(RECIPE.stages[0], steps=STEPS + 1),))
    train(longer, TrainingRun(data, tmp_path / "run"))  # one process goes on from there
    assert read_state(tmp_path / "run" / LAST)["progress"]["step"] == STEPS + 1


def test_pictures_that_cannot_be_shared_out_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "3"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(ConfigError, match=r"torchrun with 3 processes: images \(4\)"):
        train(RECIPE, TrainingRun(data, tmp_path))
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(ConfigError, match="RANK, WORLD_SIZE, LOCAL_RANK must be whole"):
        train(RECIPE, TrainingRun(data, tmp_path))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_sharded_run_resumes_as_it_was_cut(
    accumulate: int, data: Path, alone: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, accumulate=accumulate)
    cut = replace(recipe, stages=(replace(recipe.stages[0], steps=2),))
    where = (tmp_path / "rendezvous").as_uri()
    distributed.init_process_group("gloo", init_method=where, rank=0, world_size=1)
    try:
        for each in (cut, recipe):  # the second goes on from whole tensors
            TrainingWorker(0, each, TrainingRun(data, tmp_path, parallel="fsdp")).run()
    finally:
        distributed.destroy_process_group()
    one, two = (read_state(folder / LAST) for folder in (alone, tmp_path))
    for name, value in one["model"].items():
        if not name.endswith(("k_proj.bias", "qkv.bias")):
            torch.testing.assert_close(two["model"][name], value, rtol=0, atol=2e-5, msg=name)
