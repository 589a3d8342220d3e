"""`anymask distil`: a teacher and pictures in, weights of the student out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import anymask
from anymask import models
from anymask.cli.main import main
from anymask.training.checkpoint import LAST, read_state
from anymask.training.result import write_result
from anymask.weights.store import trainable_weights
from tests.training.small_data import write_sets


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (70, 90, 3), np.uint8)).save(folder / "a.png")
    return folder


def test_a_student_learns_from_a_teacher_of_a_file(pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    teacher = tmp_path / "teacher.safetensors"
    write_result(teacher, models.build("tiny"), "tiny", {})
    start = trainable_weights("nano")
    run = tmp_path / "run"
    command = [
        "distil", "--teacher", str(teacher), "--data", str(pictures), "-o", str(run),
        "--pictures", "4", "--side", "64",
    ]  # fmt: skip
    assert main(command) == 0
    state = read_state(run / LAST)
    assert (state["progress"]["step"], state["recipe"]["teacher"]) == (1, "tiny")
    learned, begun = load_file(run / "weights.safetensors"), load_file(start)
    assert learned.keys() == begun.keys()
    assert any(not torch.equal(learned[name], begun[name].float()) for name in begun)
    answer = anymask.load(str(run / "weights.safetensors"), device="cpu").segment(
        pictures / "a.png", points=[(40, 30)]
    )
    assert answer.masks.shape[1:] == (70, 90)


def test_several_teachers_of_the_students_kind_teach_their_mean(tmp_path: Path) -> None:
    data, run = write_sets(tmp_path / "data"), tmp_path / "run"
    other = tmp_path / "other.safetensors"
    write_result(other, models.build("nano"), "nano", {})
    command = [
        "distil", "--teacher", "nano", "--teacher", str(other), "--data", str(data), "-o", str(run),
        "--pictures", "4", "--side", "64",
    ]  # fmt: skip
    assert main(command) == 0
    recipe = read_state(run / LAST)["recipe"]
    assert (recipe["task"], recipe["teachers"]) == ("ensemble", ("shipped", str(other)))
    assert load_file(run / "weights.safetensors").keys() == load_file(other).keys()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--teacher", "mobile_samm"], "mobile_sam"),
        (
            ["--teacher", "mobile_sam", "--data", "nowhere"],
            "wanted a folder of sets, shards or pictures",
        ),
        (["--teacher", "mobile_sam", "--pictures", "0"], "--pictures must be at least 1, got 0"),
        (["--teacher", "nano", "--teacher", "mobile_sam"], "must be of the student's kind, nano"),
        (
            ["--teacher", "nano", "--teacher", "nano", "--teacher-weights", "a.safetensors"],
            "give the files as teachers",
        ),
        (["--teacher", "nano", "--teacher", "nano"], "no set with a masks.jsonl"),
    ],
)
def test_what_cannot_be_meant_is_one_error(
    options: list[str], reason: str, pictures: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    command = ["distil", "--data", str(pictures), "-o", str(tmp_path / "run"), *options]
    assert main(command) == 2
    assert reason in capsys.readouterr().err
