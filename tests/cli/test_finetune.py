"""`anymask finetune`: any annotations in, better weights and an honest report out."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import anymask
from anymask import models
from anymask.base import AnymaskError, DataError, ImageError
from anymask.cli.main import main
from anymask.formats import load_set, read
from anymask.images import image_hw
from anymask.masks import empty_rle, mask_to_rle, rle_to_string
from anymask.runtime import about_weights
from anymask.training import LAST, held_out, nested_part, presets
from anymask.training import finetuning as finetune
from anymask.training.reports import curve
from anymask.training.run_folder import read_state
from anymask.training.tuning_data import HELD_OUT, TRAIN, prepare
from anymask.training.weights import check_result, write_result
from tests.conftest import CommandLine
from tests.training.small_data import write_sets


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(presets.SIZES[0], sides=(64,), judgements=2)
    monkeypatch.setattr(presets, "SIZES", (tiny, *presets.SIZES[1:]))
    monkeypatch.setattr(presets, "FEW_IMAGES", replace(tiny, images=50))
    monkeypatch.setenv("ANYMASK_MODEL", "nano")
    monkeypatch.setattr(finetune, "export_beside", lambda _weights: None)  # takes seconds


def test_one_command_tunes_reports_and_its_weights_answer_as_measured(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "write_module", lambda _module, folder, _license: folder.mkdir())
    run = tmp_path / "run"
    command = ["finetune", "--data", str(coco), "-o", str(run), "--samples", "8"]
    more = ["--json", str(tmp_path / "told.json")]
    assert main([*command, *more, "--bundle", str(tmp_path / "bundle")]) == 0
    assert (tmp_path / "bundle").is_dir()
    assert (tmp_path / "told.json").read_bytes() == (run / finetune.RESULT).read_bytes()
    told = capsys.readouterr().out
    assert "5 training images with 5 masks, and 1 held-out image with 1 mask" in told
    figures = json.loads((run / finetune.RESULT).read_text("utf-8"))
    assert [len(figures[when]) for when in ("before", "after")] == [3, 3]
    assert figures["kept"] == "start" or figures["share"] in held_out.FEW_SHARES
    _, kept = load_set(run / finetune.DATA / HELD_OUT)
    again = held_out.measure(anymask.load(str(run / finetune.WEIGHTS), device="cpu"), kept)
    assert again.means() == pytest.approx(figures["after"], abs=held_out.IOU_TOLERANCE)
    assert re.search(rf"Size of {run}: \d+\.\d MB, including \d+\.\d MB of checkpoints", told)
    assert not (run / "photos").exists()
    before = held_out.measure(anymask.load(runtime="onnx"), kept)
    assert before.means() == pytest.approx(figures["before"], abs=0.02)  # graphs hold 16 bits
    assert image_hw(run / finetune.DATA_SHEET)[0] > 100
    page = (run / finetune.PAGE).read_text("utf-8")
    assert page.count("<img ") == 1  # one held-out photo
    assert re.search(r"(round|square)[012].jpg, mask 0: IoU 0", page)  # as its owner calls it
    assert "1 click<" in page
    assert 'src="http' not in page
    assert main([*command]) == 0  # a finished run does nothing new
    assert json.loads((run / finetune.RESULT).read_text("utf-8")) == figures


def test_a_run_with_adapters_leaves_them_as_files_of_peft(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "gained", lambda *_: True)
    run = tmp_path / "run"
    command = ["finetune", "--data", str(coco), "-o", str(run), "--method", "lora"]
    command += ["--samples", "8", "--lora-rank", "2", "--lora-alpha", "6"]
    command += ["--accumulate", "2"]
    assert main(command) == 0
    assert {path.name for path in (run / finetune.ADAPTER_FOLDER).iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    config = json.loads((run / finetune.ADAPTER_FOLDER / "adapter_config.json").read_text("utf-8"))
    assert (config["r"], config["lora_alpha"]) == (2, 6)
    tensors = load_file(run / finetune.ADAPTER_FOLDER / "adapter_model.safetensors")
    assert {t.shape[0] for name, t in tensors.items() if "lora_A" in name} == {2}
    recipe = read_state(run / LAST)["recipe"]
    assert recipe["accumulate"] == 2


def test_adapters_are_written_only_where_they_are_all_that_was_learned() -> None:
    """Merged into the model's own weights they would else answer otherwise."""
    lora = presets.tuning_recipe("nano", "lora", 5)
    assert finetune.adapters_are_all(lora)
    for other in ({"init": "/runs/w.safetensors"}, {"channels": {"lows": [0]}}, {"learn": "all"}):
        assert not finetune.adapters_are_all(replace(lora, **other))


@pytest.mark.parametrize("count", [1, 10, 250])
def test_the_last_bit_of_a_float_is_no_reason_to_refuse_a_run(count: int) -> None:
    after = np.full((count, 3), 0.8)
    places = [(0, i) for i in range(count)]
    other = after.copy()
    other[count // 2] = [0.78, 0.95, 0.4]  # a pixel of one mask's edge moved, then its clicks
    measured = held_out.Measured(after, places)
    assert held_out.difference(held_out.Measured(other, places), measured) == 0
    assert held_out.difference(held_out.Measured(after * 0.2, places), measured) > 0.5


@pytest.mark.parametrize("count", [10, 250])
def test_all_masks_a_little_worse_are_other_weights(count: int) -> None:
    after, places = np.full((count, 3), 0.8), [(0, i) for i in range(count)]
    measured = held_out.Measured(after, places)
    apart = held_out.difference(held_out.Measured(after - 0.02, places), measured)
    assert apart == pytest.approx(0.02)


def test_a_file_that_lost_a_bit_of_a_tensor_is_not_called_done(tmp_path: Path) -> None:
    module, path = models.build("nano_tiny"), tmp_path / "weights.safetensors"
    write_result(path, module, "nano_tiny", {})
    check_result(path, module)
    with torch.no_grad():
        name, tensor = next(iter(module.named_parameters()))
        tensor.view(-1)[0].add_(1e-3)
    with pytest.raises(AnymaskError, match=f"tensors differ, such as {re.escape(name)}"):
        check_result(path, module)


def test_weights_that_answer_otherwise_once_reloaded_are_not_called_done(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.setattr(anymask, "load", lambda *_args, **_options: None)
    told = held_out.measure
    monkeypatch.setattr(
        finetune, "measure",
        lambda model, images, clicks=3: told(model, images, clicks) if model is not None
        else held_out.Measured(np.zeros((1, 3)), [(0, 0)]),
    )  # fmt: skip
    run = tmp_path / "run"
    assert "predicts masks that differ" in cli.refused(
        ["finetune", "--data", str(coco), "-o", str(run), "--samples", "8"]
    )
    assert (run / LAST).is_file()
    assert not (run / finetune.RESULT).exists()


def test_what_cannot_be_learned_from_is_left_out_and_said(coco: Path, tmp_path: Path) -> None:
    document = json.loads(coco.read_text("utf-8"))
    samples = coco.parent / "images"
    shutil.copyfile(samples / "round0.jpg", samples / "twin.jpg")
    first = next(one for one in document["images"] if one["file_name"].endswith("round0.jpg"))
    own = next(one for one in document["annotations"] if one["image_id"] == first["id"])
    document["images"] += [
        {**first, "id": 90, "file_name": "twin.jpg"},
        {**first, "id": 91, "file_name": "square0.jpg"},
    ]
    document["annotations"].append({**own, "id": 90, "image_id": 90})
    document["annotations"].append({**own, "id": 91, "segmentation": []})
    coco.write_text(json.dumps(document), "utf-8")
    held = write_sets(tmp_path / "other") / "square"
    first_row, *rows = (held / "masks.jsonl").read_text().splitlines()
    row = json.loads(first_row)
    row["masks"].append({"rle": rle_to_string(empty_rle((48, 64)))})
    (held / "masks.jsonl").write_text("\n".join([json.dumps(row), *rows]))
    report = prepare(read(coco), read(held), tmp_path / "data")
    assert report.held_left == ["Skipped: 1 empty masks (validation data)"]
    assert report.duplicates == ["twin.jpg"]
    assert report.unlabeled_images == 1
    assert "Skipped 1 record (a box alone): annotation 7 (id 91)" in report.lines()[-1]
    assert len(report.leaks) == 3  # the very files of the held-out set
    assert (report.photos, report.held_photos) == (3, 3)
    _, learned = load_set(tmp_path / "data" / TRAIN)
    _, kept = load_set(tmp_path / "data" / HELD_OUT)
    assert not {one.content() for one in learned} & {one.content() for one in kept}
    for image in learned:
        assert image.image().shape == (48, 64, 3)
    again = prepare(read(coco), read(held), tmp_path / "data")
    assert again == report


def test_photos_that_were_encoded_again_are_found_too(coco: Path, tmp_path: Path) -> None:
    document, samples = json.loads(coco.read_text("utf-8")), coco.parent / "images"
    first = next(one for one in document["images"] if one["file_name"].endswith("round0.jpg"))
    own = next(one for one in document["annotations"] if one["image_id"] == first["id"])
    Image.open(samples / "round0.jpg").save(samples / "again.png")
    document["images"].append({**first, "id": 90, "file_name": "again.png"})
    document["annotations"].append({**own, "id": 90, "image_id": 90})
    coco.write_text(json.dumps(document), "utf-8")
    held = write_sets(tmp_path / "other") / "square"
    rows = (held / "masks.jsonl").read_text("utf-8")
    for number in (0, 1):  # of the three, one stays the very file
        Image.open(held / "images" / f"{number}.jpg").save(held / "images" / f"{number}.png")
        rows = rows.replace(f"{number}.jpg", f"{number}.png")
    (held / "masks.jsonl").write_text(rows, "utf-8")
    report = prepare(read(coco), read(held), tmp_path / "data")
    assert (report.alike, report.duplicates) == (["again.png"], [])
    assert (len(report.alike_leaks), len(report.leaks)) == (2, 1)
    assert (report.photos, report.held_photos) == (3, 3)
    assert report.lines()[1].startswith("Warning: 3 held-out images cannot show")
    assert report.lines()[2:] == [
        "Skipped: 1 duplicate images in another encoding",
        "Skipped: 1 training images that are also held out",
        "Skipped: 2 training images that are also held out in another encoding",
    ]


def test_a_photo_that_is_damaged_or_of_another_size_is_named_as_its_owner_knows_it(
    coco: Path, tmp_path: Path
) -> None:
    image = coco.parent / "images" / "round1.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"coco/images/round1.jpg' is corrupted or truncated"):
        prepare(read(coco), None, tmp_path / "data")
    Image.new("RGB", (30, 20)).save(image)
    report = prepare(read(coco), None, tmp_path / "small")
    assert report.photos == 4
    (line,) = report.unread
    assert line.startswith("Skipped 1 record (the masks were drawn on an image of 64 x 48")
    assert "round1.jpg. Use the image" in line
    with pytest.raises(DataError, match="1 invalid record"):
        prepare(read(coco, on_bad="error"), None, tmp_path / "data")
    image.write_bytes(whole)
    assert prepare(read(coco), None, tmp_path / "data").photos == 5


def test_the_curve_shows_what_was_learned_twice_once(tmp_path: Path) -> None:
    drawn = []
    for steps in ([10, 20, 30], [10, 20, 30, 20, 30]):  # killed after 30, gone on from 10
        rows = [{"step": step, "held_out": step / 50} for step in steps]
        (tmp_path / "log.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        drawn.append(curve(tmp_path, "held_out", "held out"))
    assert drawn[0] == drawn[1]
    assert "<svg" in drawn[0]


def test_too_little_data_is_refused(coco: Path, tmp_path: Path) -> None:
    document = json.loads(coco.read_text("utf-8"))
    document["annotations"] = document["annotations"][:1]
    coco.write_text(json.dumps(document), "utf-8")
    with pytest.raises(AnymaskError, match="too few images with masks"):
        prepare(read(coco), None, tmp_path / "data")


@pytest.mark.parametrize(
    ("images", "samples", "sides"),
    [(10, 800, 1), (15, 1200, 1), (40, 4800, 4), (10_000, 40_000, 4)],
)
def test_presets_follow_the_number_of_photos(images: int, samples: int, sides: int) -> None:
    recipe = presets.tuning_recipe("nano", "full", images)
    (stage,) = recipe.stages
    assert (stage.steps * stage.images, len(stage.sides)) == (samples, sides)
    assert recipe.steps * (1 - recipe.ema) > 5  # the beginning is forgotten by the end
    assert recipe.steps // recipe.judge_every in (2, 8)
    assert presets.tuning_recipe("sam_vit_b", "lora", images).stages[0].sides == (1024,)
    assert presets.tuning_recipe("sam_vit_b", "full", images).rate <= 1e-4 < recipe.rate


def test_a_click_means_one_thing_unless_masks_lie_inside_others(coco: Path, tmp_path: Path) -> None:
    report = prepare(read(coco), None, tmp_path / "data")
    assert report.nested == 0
    assert presets.tuning_recipe("nano", "full", 9, nested=report.nested).several == 1
    assert presets.tuning_recipe("nano", "full", 9, nested=0.4).several == 0.05
    big, small = np.zeros((2, 20, 20), np.bool_)
    big[2:18, 2:18] = small[4:9, 4:9] = True
    rles = [mask_to_rle(big), mask_to_rle(small)]
    assert nested_part([rles, rles[:1]]) == pytest.approx(1 / 3)
    assert nested_part([[rles[1], rles[1]]]) == 0  # neither is larger


def test_the_weights_say_whose_they_are_and_what_they_learned_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = write_sets(tmp_path / "sets")
    for name, licence in (("round", "CC-BY-4.0"), ("square", "CC0")):
        said = {"name": name, "licence": licence, "source": f"https://example.org/{name}"}
        (sets / name / "set.json").write_text(json.dumps(said), "utf-8")
    run = tmp_path / "run"
    command = ["finetune", "--data", str(sets / "round"), "--val", str(sets / "square")]
    assert main([*command, "-o", str(run), "--samples", "8"]) == 0
    about = about_weights(run / finetune.WEIGHTS)
    assert about is not None
    assert about["licence"] == "Apache-2.0; and the licence of your data: CC-BY-4.0; CC0"
    data = about["data"]
    assert [data[key] for key in ("photos", "masks", "held_photos", "held_masks")] == [3, 3, 3, 3]
    kept = ("option", "name", "licence", "source", "photos", "masks")
    assert [[one[key] for key in kept] for one in data["sets"]] == [
        ["--data", "round", "CC-BY-4.0", "https://example.org/round", 3, 3],
        ["--val", "square", "CC0", "https://example.org/square", 3, 3],
    ]
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in sets.glob("round/images/*")]
    assert data["photos_sha256"] == hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
