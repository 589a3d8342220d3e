"""`anymask train finetune --classes`: labels in, label maps and a class of each mask out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli import finetune
from anymask.cli.main import main
from anymask.training import presets
from anymask.weights.formats import about_weights
from tests.training.small_data import write_sets

CLASSES = ("round", "square")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two labels, with its bundle and its data beside it."""
    folder = tmp_path_factory.mktemp("tuned")
    sets = write_sets(folder / "sets")
    joined = folder / "joined"
    (joined / "images").mkdir(parents=True)
    lines = []
    for name in CLASSES:
        text = (sets / name / "masks.jsonl").read_text("utf-8")
        text = text.replace('"area"', f'"label": "{name}", "area"')
        lines += text.replace("images/", f"images/{name}").splitlines()
        for path in (sets / name / "images").iterdir():
            path.rename(joined / "images" / f"{name}{path.name}")
    (joined / "masks.jsonl").write_text("\n".join(lines))
    tiny = replace(presets.SIZES[0], sides=(64,), judgements=1)
    command = [
        "train", "finetune", "--data", str(joined), "-o", str(folder / "run"), "--classes", "all",
        "--pictures", "8", "--bundle", str(folder / "bundle"),
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "SIZES", (tiny, *presets.SIZES[1:]))
        assert main(command) == 0
    return folder


def photo(tuned: Path) -> Path:
    return tuned / "joined" / "images" / "round1.jpg"


def test_the_run_says_how_well_each_class_is_told(tuned: Path) -> None:
    about = about_weights(tuned / "run" / finetune.WEIGHTS)
    assert about is not None
    assert about["classes"] == list(CLASSES)
    figures = json.loads((tuned / "run" / finetune.RESULT).read_text("utf-8"))
    assert set(figures["class_ious"]) == set(CLASSES)
    page = (tuned / "run" / finetune.PAGE).read_text("utf-8")
    assert "IoU of held-out pixels" in page


def test_weights_and_bundle_say_the_same(tuned: Path) -> None:
    weights = anymask.load(str(tuned / "run" / finetune.WEIGHTS), device="cpu")
    bundle = anymask.load(str(tuned / "bundle"))
    assert bundle.spec.classes == weights.spec.classes == CLASSES
    maps = [model.label(photo(tuned)).numbers for model in (weights, bundle)]
    assert (maps[0] == maps[1]).mean() > 0.98  # graphs hold 16 bits
    firsts = [model.segment(photo(tuned), points=[(30, 22)]).first for model in (weights, bundle)]
    assert all(one.label in CLASSES for one in firsts)
    assert firsts[0].label_probability == pytest.approx(firsts[1].label_probability, abs=0.02)


def test_the_command_writes_label_maps(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["segment", str(photo(tuned)), "--model", str(tuned / "bundle")]
    outputs = ["-o", "a.png", "-o", "a.overlay.png", "-o", "{name}.npy"]
    assert main([*command, "--semantic", *outputs]) == 0
    told = capsys.readouterr().out
    assert "1 round: " in told
    assert "2 square: " in told
    wanted = anymask.load(str(tuned / "bundle")).label(photo(tuned)).numbers
    np.testing.assert_array_equal(np.load("round1.npy"), wanted)
    np.testing.assert_array_equal(np.asarray(Image.open("a.png")), wanted)
    assert anymask.load_image("a.overlay.png").shape == (48, 64, 3)
    assert main([*command, "--semantic"]) == 0
    assert Path("round1.classes.png").is_file()
    capsys.readouterr()
    assert main([*command, "--point", "30,22", "-o", "b.json"]) == 0
    record = json.loads(Path("b.json").read_text("utf-8"))["annotations"][0]
    assert f", {record['label']} (" in capsys.readouterr().out
    assert record["label"] in CLASSES
    assert 0 <= record["label_probability"] <= 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--semantic", "--point", "3,3"], "--semantic asks about no object"),
        (["--semantic", "-o", "a.svg"], "a label map is written as .png"),
        (["--semantic", "--model", "nano"], "nano knows no classes"),
    ],
)
def test_what_cannot_be_meant_is_one_error(
    tuned: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(photo(tuned)), "--model", str(tuned / "bundle"), *words]) == 2
    assert reason in capsys.readouterr().err


def test_a_label_that_no_mask_has_is_refused(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "finetune", "--data", str(tuned / "joined"), "-o", str(tmp_path / "run")]
    assert main([*command, "--classes", "round,cat"]) == 2
    assert "--classes cat: no mask to learn from has this label" in capsys.readouterr().err
