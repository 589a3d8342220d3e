"""`anymask distill`: a teacher and pictures in, weights of the student out."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anymask import models
from anymask.cli.main import main
from anymask.formats import load_set
from anymask.masks import rle_to_mask
from anymask.training import LAST, distillation, held_out, loop
from anymask.training.distillation import INITIAL_METRICS, begin, load_held_out_part
from anymask.training.options import DistillOptions
from anymask.training.recipe import recipe_of
from anymask.training.reports import RESULT
from anymask.training.run_folder import read_state
from anymask.training.samples import Batch
from anymask.training.step import Teacher
from anymask.training.weights import write_result
from tests.conftest import CommandLine
from tests.training.small_data import write_sets


@pytest.fixture(autouse=True)
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds, and is that of a fine-tuning."""
    monkeypatch.setattr(distillation, "export_beside", lambda _weights: None)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (70, 90, 3), np.uint8)).save(folder / "a.png")
    return folder


def test_a_distillation_of_other_options_is_another_run(tmp_path: Path, cli: CommandLine) -> None:
    """Where a run has learned something; one that has not begins anew."""
    data, run, other = write_sets(tmp_path / "data"), tmp_path / "run", tmp_path / "w.safetensors"
    write_result(other, models.build("nano"), "nano", {})
    usual = ["distill", "--data", str(data), "-o", str(run), "--side", "64", "--held-out", "1"]
    options = DistillOptions(
        teacher="nano", student="nano", data=data, output=run, samples=4, side=64, held_out=1
    )
    run.mkdir()
    (run / INITIAL_METRICS).write_text("what another teacher said")
    for teacher in ("mobile_sam", "nano"):
        begin(replace(options, teacher=teacher))
    assert not (run / INITIAL_METRICS).exists()
    assert main([*usual, "--samples", "4", "--teacher", "nano"]) == 0
    told = (run / RESULT).read_bytes()
    assert f"different options: --teacher was nano, now {other}" in cli.refused(
        [*usual, "--samples", "4", "--teacher", str(other)]
    )
    assert "--samples was 4, now 8" in cli.refused([*usual, "--samples", "8", "--teacher", "nano"])
    assert (run / RESULT).read_bytes() == told


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A small network of SAM's family, as a file of a training."""
    torch.manual_seed(2)
    write_result(tmp_path / "teacher.safetensors", models.build("tiny"), "tiny", {})
    return tmp_path / "teacher.safetensors"


def distill(teacher: Path, data: Path, run: Path, *more: str) -> dict[str, Any]:
    """What the run's report says in figures."""
    command = [
        "distill",
        "--teacher",
        str(teacher),
        "--student",
        str(teacher.parent / "own.safetensors"),
    ]
    torch.manual_seed(5)
    write_result(teacher.parent / "own.safetensors", models.build("tiny"), "tiny", {})
    options = ["--data", str(data), "-o", str(run), "--samples", "4", *more]
    assert main([*command, *options]) == 0
    figures: dict[str, Any] = json.loads((run / "result.json").read_text("utf-8"))
    return figures


def test_a_report_on_masks_says_what_the_student_could_before_and_can_after(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cli: CommandLine
) -> None:
    data, run = write_sets(tmp_path / "data"), tmp_path / "run"
    figures = distill(tiny, data, run, "--json", str(tmp_path / "told.json"))
    assert (tmp_path / "told.json").read_bytes() == (run / "result.json").read_bytes()
    kinds = ["one_click", "three_clicks", "box"]
    assert [list(figures[when]) for when in ("before", "after")] == [kinds, kinds]
    assert (figures["against"], figures["held_photos"], figures["masks"]) == ("masks", 1, 1)
    said = capsys.readouterr().out
    for when in ("before", "after"):
        shown = ", ".join(f"{k.replace('_', ' ')} {figures[when][k]:.3f}" for k in kinds)
        line = f"{when}: {' ' * (when == 'after')}mean IoU on held-out masks on 1 held-out images"
        assert f"{line}: {shown}\n" in said
    # The figures are those of the weights in the file, measured by itself.
    (key,) = json.loads((run / "before.json").read_text("utf-8"))["keys"]
    name, image = key.split("/")
    held = [one for one in load_set(data / name)[1] if one.file_name == image]
    module = models.build("tiny")
    module.load_state_dict(load_file(run / "weights.safetensors"))
    again = held_out.measure(held_out.model_of(module.eval()), held)
    assert again.means()[0] == pytest.approx(figures["after"]["one_click"], abs=1e-3)
    page = (run / "report.html").read_text("utf-8")
    assert page.count("<img ") == 1
    assert "three clicks" in page
    assert distill(tiny, data, run) == figures  # a finished run does nothing new
    (data / name / "masks.jsonl").write_text(
        (data / name / "masks.jsonl").read_text("utf-8").replace(image, "none.jpg"), "utf-8"
    )
    shutil.copyfile(data / name / "images" / image, data / name / "images" / "none.jpg")
    own = str(tiny.parent / "own.safetensors")
    command = ["distill", "--teacher", str(tiny), "--student", own, "--data", str(data)]
    assert "1 of its 1 held-out images are missing" in cli.refused(
        [*command, "-o", str(run), "--samples", "4"]
    )


def test_without_masks_the_report_says_how_far_student_and_teacher_agree(
    images: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(images / "a.png", images / "b.png")
    figures = distill(tiny, images, tmp_path / "run")
    assert figures["against"] == "teacher"
    assert "against the teacher's masks on 1 held-out images: one click" in capsys.readouterr().out
    recipe = recipe_of(dict(read_state(tmp_path / "run" / LAST)["recipe"]), "")
    part = load_held_out_part(recipe, images, tmp_path / "run", "cpu") or pytest.fail("none")
    assert part.before == figures["before"]
    (image,) = part.images  # its masks are the teacher's answers to clicks
    assert 1 <= len(image.rles) <= 5
    teacher = held_out.model_of(Teacher.open(recipe).module)
    rng = np.random.default_rng([recipe.seed, 0])
    places = (rng.random((5, 2)) * (90, 70)).round(1).tolist()
    answers = [
        teacher.segment(image.model_input(None), points=[place]).masks[0] for place in places
    ]
    drawn = [rle_to_mask(rle) for rle in image.rles]
    assert all(any((mask == one).all() for one in drawn) for mask in answers if mask.any())
    assert distill(tiny, images, tmp_path / "run") == figures


def test_what_is_held_out_is_told_to_those_who_learn(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, whole = [], loop.batches

    def batches(*args: Any, **options: Any) -> Iterator[Batch]:
        told.append(options["without"])
        return whole(*args, **options)

    monkeypatch.setattr(loop, "batches", batches)
    distill(tiny, write_sets(tmp_path / "data"), tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "before.json").read_text("utf-8"))
    assert told == [frozenset(kept["keys"])]
    assert len(kept["keys"]) == 1


def test_one_picture_is_learned_from_and_nothing_is_reported(
    images: Path, tiny: Path, tmp_path: Path, cli: CommandLine
) -> None:
    command = ["distill", "--teacher", str(tiny), "--student", str(tiny), "--data", str(images)]
    assert "No report" in cli.out([*command, "-o", str(tmp_path / "run"), "--samples", "4"])
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--teacher", "mobile_samm"], "mobile_sam"),
        (["--teacher", "mobile_sam", "--data", "nowhere"], "is not a folder"),
        (["--teacher", "mobile_sam", "--samples", "0"], "samples must be a whole number"),
        (["--teacher", "mobile_sam", "--held-out", "-1"], "--held-out must be a whole number"),
        (["--teacher", "nano", "--data", "."], "contains no images"),
    ],
)
def test_what_cannot_be_meant_is_one_error(
    options: list[str], reason: str, images: Path, tmp_path: Path,
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    command = ["distill", "--data", str(images), "-o", str(tmp_path / "run"), *options]
    assert reason in cli.refused(command)
