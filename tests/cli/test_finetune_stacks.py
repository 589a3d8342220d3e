"""`anymask finetune --channels --classes`: stacks in, a model out."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.images import load_channels
from anymask.masks import iou
from anymask.runtime import EXPORTED, OnnxRuntime, about_weights
from anymask.training import export_graphs, presets
from anymask.training import finetuning as finetune
from tests.conftest import CommandLine
from tests.training.test_channels import COUNT, write_stacks

PLACE = [25, 20]
CLASSES = ("left", "right")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on stacks, which exports its weights itself, and its data beside it."""
    folder = tmp_path_factory.mktemp("tuned")
    write_stacks(folder / "stacks", images=5)
    tiny = replace(presets.SIZES[0], sides=(64,), judgements=1)
    command = [
        "finetune", "--data", str(folder / "stacks"), "-o", str(folder / "run"),
        "--channels", str(COUNT), "--rgb", "1,2,3", "--classes", "all", "--samples", "8",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "SIZES", (tiny, *presets.SIZES[1:]))
        patch.setenv("ANYMASK_MODEL", "nano")
        patch.setattr(export_graphs, "_write_sweep", lambda *_: [])
        assert main(command) == 0
    return folder


def stack(tuned: Path) -> Path:
    return tuned / "stacks" / "images" / "0.tif"


def test_file_array_weights_and_bundle_give_one_answer(tuned: Path) -> None:
    array = load_channels(stack(tuned), count=COUNT)
    weights = anymask.load(str(tuned / "run" / finetune.WEIGHTS), runtime="torch")
    bundle = anymask.load(str(tuned / "run" / EXPORTED))
    assert bundle.spec.channels == weights.spec.channels
    by_itself = anymask.load(str(tuned / "run" / finetune.WEIGHTS), device="cpu")
    assert type(by_itself.runtime) is type(bundle.runtime) is OnnxRuntime
    of_file = weights.segment(stack(tuned), points=[PLACE])
    of_array = weights.segment(array, points=[PLACE])
    np.testing.assert_array_equal(of_file.masks[0], of_array.masks[0])
    answer = bundle.segment(array, points=[PLACE])
    assert answer.scores[0] == pytest.approx(of_array.scores[0], abs=0.02)  # graphs hold 16 bits
    embedding = bundle.encode(stack(tuned))
    np.testing.assert_array_equal(
        bundle.segment(embedding, points=[PLACE], refine_edges=False).masks[0],
        bundle.segment(array, points=[PLACE], refine_edges=False).masks[0],
    )


def test_photos_are_refused_where_a_model_of_channels_would_be_asked_about_them(
    tuned: Path, tmp_path: Path, cli: CommandLine
) -> None:
    tunes = str(tuned / "run" / finetune.WEIGHTS)
    Image.new("RGB", (64, 64)).save(tmp_path / "frame.png")
    track = ["track", str(tmp_path), "--model", tunes, "--point", "9,9", "-o"]
    assert (
        f"This model was fine-tuned on images with {COUNT} channels, but video frames have 3"
        in (cli.refused([*track, str(tmp_path / "masks.jsonl")]))
    )
    for server in (["serve"], ["annotate", str(tmp_path)]):
        assert f"{tunes} was fine-tuned on images with {COUNT} channels" in (
            cli.refused([*server, "--model", tunes])
        )
    for asked in (["--teacher", tunes], ["--teacher", "nano", "--student", tunes]):
        distill = ["distill", *asked, "--data", str(tmp_path), "-o", str(tmp_path / "run")]
        assert f"{tunes} take {COUNT} channels" in cli.refused(distill)


def test_the_example_of_the_bundle_takes_the_same_channels(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tuned / "run" / EXPORTED))
    for name in ("answer", "shapes"):  # its neighbours, not those of another bundle
        monkeypatch.delitem(sys.modules, name, raising=False)
    array = load_channels(stack(tuned), count=COUNT)
    np.save(tmp_path / "stack.npy", array)
    example = runpy.run_path(str(tuned / "run" / EXPORTED / "example.py"))
    model = example["BundleModel"]()
    opened = model.open(str(tmp_path / "stack.npy"))
    bundle = anymask.load(str(tuned / "run" / EXPORTED))
    assert np.abs(np.asarray(opened, int) - bundle.spec.channels.to_rgb(array)).max() <= 1
    mask, score = model.segment(opened, np.array([PLACE]), [1])
    assert mask.shape == array.shape[:2]
    # The example tells the network's own number, not the IoU that may be expected. It resizes the
    # image on its own, so its mask is one of the three up to the outline.
    answer = bundle.segment(array, points=[PLACE], multimask=True, ranking="own")
    fits = [iou(mask, one) for one in answer.masks]
    assert max(fits) > 0.8
    assert score == pytest.approx(answer.scores[np.argmax(fits)], abs=0.1)
    np.save(tmp_path / "four.npy", array[..., :4])
    with pytest.raises(ValueError, match=r"has shape .*Use \(H, W, 5\)"):
        model.open(str(tmp_path / "four.npy"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--classes", "left,cat"], "Unknown class 'cat'"),
        (["--channels", "0"], "channels must be a whole number of at least 1 and at most 16"),
        (["--channels", "17"], "at most 16 or None, got 17"),
        (["--rgb", "1,2,3"], "Invalid rgb"),
        (["--channels", "5", "--rgb", "1,2,6"], "Invalid rgb 1,2,6 with channels 5"),
        (["--channels", "4"], "has 1 channels of uint16, but every image must have 4 channels"),
    ],
)
def test_channels_that_cannot_be_meant_are_one_error(
    tuned: Path, tmp_path: Path, cli: CommandLine, options: list[str], reason: str
) -> None:
    command = ["finetune", "--data", str(tuned / "stacks"), "-o", str(tmp_path / "run")]
    assert reason in cli.refused([*command, *options])


def test_a_further_tuning_goes_on_from_the_mix(
    tuned: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cli: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finetune, "export_beside", lambda _weights: None)  # takes half a minute
    weights = tuned / "run" / finetune.WEIGHTS
    command = [
        "finetune", "--data", str(tuned / "stacks"), "-o", str(tmp_path / "run"),
        "--weights", str(weights), "--samples", "8", "--max-minutes", "1e-9",
    ]  # fmt: skip
    assert main(command) == 0
    about = about_weights(weights)
    assert about is not None
    kept = json.loads((tmp_path / "run" / "recipe.json").read_text("utf-8"))
    assert kept["channels"] == about["channels"]
    capsys.readouterr()
    assert "was fine-tuned on images with 5 channels, but --channels 4" in cli.refused(
        [*command[:4], str(tmp_path / "other"), *command[5:], "--channels", "4"]
    )


def test_weights_and_bundle_tell_the_same_classes(tuned: Path) -> None:
    weights = anymask.load(str(tuned / "run" / finetune.WEIGHTS), runtime="torch")
    bundle = anymask.load(str(tuned / "run" / EXPORTED))
    assert bundle.spec.classes == weights.spec.classes == CLASSES
    maps = [model.label(stack(tuned)).numbers for model in (weights, bundle)]
    assert (maps[0] == maps[1]).mean() > 0.98  # graphs hold 16 bits
    firsts = [model.segment(stack(tuned), points=[PLACE]).first for model in (weights, bundle)]
    assert all(one.label in CLASSES for one in firsts)
    assert firsts[0].label_probability == pytest.approx(firsts[1].label_probability, abs=0.02)


def test_the_command_writes_label_maps(
    tuned: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cli: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["segment", str(stack(tuned)), "--model", str(tuned / "run" / EXPORTED)]
    outputs = ["-o", "a.png", "-o", "a.overlay.png", "-o", "{name}.npy"]
    told = cli.out([*command, "--semantic", *outputs])
    assert "1 left: " in told
    assert "2 right: " in told
    expected = anymask.load(str(tuned / "run" / EXPORTED)).label(stack(tuned)).numbers
    np.testing.assert_array_equal(np.load("0.npy"), expected)
    np.testing.assert_array_equal(np.asarray(Image.open("a.png")), expected)
    assert anymask.load_image("a.overlay.png").shape == (48, 64, 3)
    assert main([*command, "--semantic"]) == 0
    assert Path("0.classes.png").is_file()
    capsys.readouterr()
    assert main([*command, "--point", "30,22", "-o", "b.json"]) == 0
    record = json.loads(Path("b.json").read_text("utf-8"))["annotations"][0]
    assert f", {record['label']} (" in capsys.readouterr().out
    assert record["label"] in CLASSES
    assert 0 <= record["label_probability"] <= 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--semantic", "--point", "3,3"], "--semantic does not support prompts"),
        (["--semantic", "-o", "a.svg"], "A label map is written as .png"),
        (["--semantic", "--model", "nano"], "nano does not predict classes"),
    ],
)
def test_label_maps_that_cannot_be_meant_are_one_error(
    tuned: Path, words: list[str], reason: str, cli: CommandLine
) -> None:
    command = ["segment", str(stack(tuned)), "--model", str(tuned / "run" / EXPORTED), *words]
    assert reason in cli.refused(command)
