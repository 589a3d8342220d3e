"""`anymask train finetune`: any annotations in, better weights and an honest report out."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import anymask
from anymask.cli import finetune, held_out
from anymask.cli.main import main
from anymask.data.formats import read_annotations, write_annotations
from anymask.data.images import image_hw
from anymask.data.sets import load_set
from anymask.data.streams import open_stream
from anymask.primitives.errors import AnymaskError
from anymask.primitives.rle import mask_to_rle
from anymask.training import presets
from anymask.training.checkpoint import LAST
from anymask.training.tuning_data import HELD_OUT, TRAIN, nested_part, prepare
from tests.training.small_data import write_sets


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO file beside its pictures: six photos, a mask each."""
    sets = write_sets(tmp_path / "sets")
    folder = tmp_path / "coco"
    (folder / "images").mkdir(parents=True)
    images = []
    for name in ("round", "square"):
        for image in read_annotations(sets / name)[0]:
            target = folder / "images" / f"{name}{image.name}"
            shutil.copyfile(image.source, target)  # type: ignore[arg-type]
            images.append(replaced(image, target.name))
    write_annotations(images, folder / "instances.json", "coco")
    return folder / "instances.json"


def replaced(image, name: str):  # type: ignore[no-untyped-def]
    return replace(image, file_name=name, source=None)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(presets.SIZES[0], sides=(64,), judgements=2)
    monkeypatch.setattr(presets, "SIZES", (tiny, *presets.SIZES[1:]))


def test_one_command_tunes_reports_and_its_weights_answer_as_measured(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["train", "finetune", "--data", str(coco), "-o", str(run), "--pictures", "8"]
    assert main([*command, "--bundle", str(tmp_path / "bundle")]) == 0
    told = capsys.readouterr().out
    assert "5 photos with 5 masks to learn from, 1 with 1 held out" in told
    figures = json.loads((run / finetune.RESULT).read_text("utf-8"))
    assert [len(figures[when]) for when in ("before", "after")] == [3, 3]
    _, kept = load_set(run / finetune.DATA / HELD_OUT)
    for place in (run / finetune.WEIGHTS,):
        again = held_out.measure(anymask.load(str(place), device="cpu"), kept)
        assert again.means() == pytest.approx(figures["after"], abs=finetune.SAME)
    before = held_out.measure(anymask.load(runtime="onnx"), kept)
    assert before.means() == pytest.approx(figures["before"], abs=0.02)  # graphs hold 16 bits
    assert image_hw(run / finetune.SHEET)[0] > 100
    page = (run / finetune.PAGE).read_text("utf-8")
    assert page.count("<img ") == 1  # one held-out photo
    assert 'src="http' not in page
    bundle = held_out.measure(anymask.load(str(tmp_path / "bundle")), kept)
    assert bundle.means() == pytest.approx(figures["after"], abs=0.02)
    assert main([*command]) == 0  # a finished run does nothing new
    assert json.loads((run / finetune.RESULT).read_text("utf-8")) == figures


def test_a_run_with_adapters_leaves_them_as_files_of_peft(coco: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["train", "finetune", "--data", str(coco), "-o", str(run), "--way", "lora"]
    assert main([*command, "--pictures", "8"]) == 0
    assert {path.name for path in (run / finetune.ADAPTER).iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_the_last_bit_of_a_float_is_no_reason_to_refuse_a_run(tmp_path: Path) -> None:
    after = np.full((250, 3), 0.8)
    other = after.copy()
    other[17] = [0.78, 0.9, 0.7]  # one mask of 250: a pixel of its edge moved, then its clicks
    places = [(0, i) for i in range(250)]
    finetune._compare(held_out.Measured(other, places), held_out.Measured(after, places), tmp_path)
    with pytest.raises(AnymaskError, match=r"mean IoU differs by 0\.02"):
        finetune._compare(
            held_out.Measured(after - 0.02, places), held_out.Measured(after, places), tmp_path
        )


def test_weights_that_answer_otherwise_once_reloaded_are_not_called_done(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(anymask, "load", lambda *_args, **_options: None)
    told = held_out.measure
    monkeypatch.setattr(
        finetune, "measure",
        lambda model, photos, clicks=3: told(model, photos, clicks) if model is not None
        else held_out.Measured(np.zeros((1, 3)), [(0, 0)]),
    )  # fmt: skip
    run = tmp_path / "run"
    assert main(["train", "finetune", "--data", str(coco), "-o", str(run), "--pictures", "8"]) == 2
    assert "the reloaded model answers otherwise" in capsys.readouterr().err
    assert (run / LAST).is_file()
    assert not (run / finetune.RESULT).exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--way", "half"], "--way must be one of full, decoder, lora, hq, got 'half'"),
        (["--model", "samm"], "samm"),
        (["--pictures", "0"], "--pictures must be at least 1"),
        (["--from", "other"], "--from belongs to recipes"),
        (["--val", "nowhere"], "there is no file or folder 'nowhere'"),
    ],
)
def test_what_cannot_be_meant_is_one_error(
    options: list[str], reason: str, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "finetune", "--data", str(coco), "-o", str(tmp_path / "run"), *options]
    assert main(command) == 2
    assert reason in capsys.readouterr().err


def test_what_cannot_be_learned_from_is_left_out_and_said(coco: Path, tmp_path: Path) -> None:
    document = json.loads(coco.read_text("utf-8"))
    pictures = coco.parent / "images"
    shutil.copyfile(pictures / "round0.jpg", pictures / "twin.jpg")
    first = next(one for one in document["images"] if one["file_name"].endswith("round0.jpg"))
    own = next(one for one in document["annotations"] if one["image_id"] == first["id"])
    document["images"] += [
        {**first, "id": 90, "file_name": "twin.jpg"},
        {**first, "id": 91, "file_name": "square0.jpg"},
    ]
    document["annotations"].append({**own, "id": 90, "image_id": 90})
    coco.write_text(json.dumps(document), "utf-8")
    held = write_sets(tmp_path / "other") / "square"
    report = prepare(open_stream(coco), open_stream(held), tmp_path / "data")
    assert report.duplicates == ["twin.jpg"]
    assert report.unlabelled_photos == 1
    assert len(report.leaks) == 3  # the very files of the held-out set
    assert (report.photos, report.held_photos) == (3, 3)
    _, learned = load_set(tmp_path / "data" / TRAIN)
    _, kept = load_set(tmp_path / "data" / HELD_OUT)
    assert not {one.content() for one in learned} & {one.content() for one in kept}
    for image in learned:
        assert image.image().shape == (48, 64, 3)
    again = prepare(open_stream(coco), open_stream(held), tmp_path / "data")
    assert again == report


def test_too_little_data_is_refused(coco: Path, tmp_path: Path) -> None:
    document = json.loads(coco.read_text("utf-8"))
    document["annotations"] = document["annotations"][:1]
    coco.write_text(json.dumps(document), "utf-8")
    with pytest.raises(AnymaskError, match="at least two photos with masks"):
        prepare(open_stream(coco), None, tmp_path / "data")


@pytest.mark.parametrize(
    ("photos", "pictures", "sides"),
    [(10, 800, 1), (15, 1200, 1), (40, 4800, 4), (10_000, 40_000, 4)],
)
def test_presets_follow_the_number_of_photos(photos: int, pictures: int, sides: int) -> None:
    recipe = presets.tuning_recipe("nano", "full", photos)
    (stage,) = recipe.stages
    assert (stage.steps * stage.images, len(stage.sides)) == (pictures, sides)
    assert recipe.steps * (1 - recipe.ema) > 5  # the beginning is forgotten by the end
    assert recipe.steps // recipe.judge_every in (2, 8)
    assert presets.tuning_recipe("sam_vit_b", "lora", photos).stages[0].sides == (1024,)
    assert presets.tuning_recipe("sam_vit_b", "full", photos).rate <= 1e-4 < recipe.rate


def test_a_click_means_one_thing_unless_masks_lie_inside_others(coco: Path, tmp_path: Path) -> None:
    report = prepare(open_stream(coco), None, tmp_path / "data")
    assert report.nested == 0
    assert presets.tuning_recipe("nano", "full", 9, nested=report.nested).several == 1
    assert presets.tuning_recipe("nano", "full", 9, nested=0.4).several == 0.05
    big, small = np.zeros((2, 20, 20), np.bool_)
    big[2:18, 2:18] = small[4:9, 4:9] = True
    rles = [mask_to_rle(big), mask_to_rle(small)]
    assert nested_part([rles, rles[:1]]) == pytest.approx(1 / 3)
    assert nested_part([[rles[1], rles[1]]]) == 0  # neither is larger
