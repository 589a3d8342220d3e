"""The memory of a video model learns from clips: batches, loss, cut runs, the command."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import anymask
from anymask import models
from anymask.base import DataError, InputError
from anymask.cli.main import main
from anymask.evaluation import follow_given
from anymask.models.mask_decoder import Decoded
from anymask.runtime.catalogue import catalogue
from anymask.track import open_session
from anymask.training import Recipe, memory_tuning, presets
from anymask.training.clips import (
    WINDOW_FRAMES,
    annotated_part,
    clip_batches,
    draw_prompt,
    frame_spec,
    read_window,
    training_clips,
    usable_parts,
    validation_clips,
)
from anymask.training.loop import TrainingRun, train
from anymask.training.losses import FOCAL_WEIGHT, dice_loss, focal_loss
from anymask.training.memory_tuning import held_out_clips, training_side
from anymask.training.run_folder import LAST, LOG, read_state
from anymask.training.step import frame_loss
from anymask.training.weights import WEIGHTS, write_result

SPEC = frame_spec(models.spec("tiny_video"), 64)


def write_clips(folder: Path, count: int = 1, frames: int = 6) -> Path:
    """Clips of a red disc on noise, whose mask is exact, in VIDEO/images and VIDEO/masks."""
    rng = np.random.default_rng(1)
    ground = rng.integers(0, 120, (48, 64, 3), dtype=np.uint8)
    y, x = np.mgrid[:48, :64]
    for number in range(count):
        for part in ("images", "masks"):
            (folder / f"clip{number}" / part).mkdir(parents=True)
        for t in range(frames):
            mask = (y - 20 - number) ** 2 + (x - 14 - 5 * t) ** 2 < 10**2
            image = np.where(mask[..., None], np.uint8([230, 60, 40]), ground)
            Image.fromarray(image).save(folder / f"clip{number}" / "images" / f"{t:05d}.png")
            Image.fromarray(mask).save(folder / f"clip{number}" / "masks" / f"{t:05d}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small video model, as a training writes them."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("start") / "tiny.safetensors"
    write_result(path, models.build("tiny_video"), "tiny_video", {"licence": "Apache-2.0"})
    return path


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """`anymask.load` opens weights of the small model."""
    known = catalogue()
    small = replace(known["sam2.1_hiera_t"], name="tiny_video", variant="tiny_video", sha256=None)
    monkeypatch.setitem(known, "tiny_video", small)


def recipe_of(weights: Path, steps: int, model: str = "tiny_video") -> Recipe:
    recipe = presets.memory_recipe(model, 6, 64, init=str(weights), steps=steps)
    return replace(recipe, rate=2e-3, bf16=False, judge_every=0, save_every=1)


def test_frames_and_masks_of_a_window_are_those_of_the_tracker(data: Path) -> None:
    (clip,) = training_clips(data)
    batch = read_window(clip, [3, 2, 1], [1], SPEC, np.random.default_rng(0))
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.targets.shape == (3, 1, 16, 16)
    for row, t in enumerate((3, 2, 1)):
        total = float(batch.targets[row].mean())  # cells have equal sizes in both directions
        assert total == pytest.approx(clip_mask(data, t).mean(), abs=1e-6)
        columns = batch.targets[row, 0].sum(0)
        middle = float((columns * torch.arange(16)).sum() / columns.sum())
        assert middle == pytest.approx((14 + 5 * t) / 4 - 0.375, abs=0.1)
    assert not batch.void.any()


def clip_mask(data: Path, t: int) -> np.ndarray:
    return np.asarray(Image.open(data / "clip0" / "masks" / f"{t:05d}.png")) > 0


def test_a_damaged_training_split_is_not_replaced_by_another_one(
    data: Path, tmp_path: Path
) -> None:
    for part, source, suffix in (("JPEGImages", "images", "jpg"), ("Annotations", "masks", "png")):
        (tmp_path / part / "480p" / "clip0").mkdir(parents=True)
        for path in (data / "clip0" / source).iterdir():
            image = Image.open(path).convert("RGB" if suffix == "jpg" else "L")
            image.save(tmp_path / part / "480p" / "clip0" / f"{path.stem}.{suffix}")
    lists = tmp_path / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("clip0\n")
    (tmp_path / "JPEGImages" / "480p" / "train").mkdir()  # a clip of DAVIS has this name
    assert [clip.name for clip in training_clips(tmp_path)] == ["clip0"]
    assert validation_clips(tmp_path) == []  # it is what is trained on
    (lists / "train.txt").write_text("missing\n")
    (lists / "test-dev.txt").write_text("never read\n")
    with pytest.raises(DataError, match="missing"):
        training_clips(tmp_path)
    assert [clip.name for clip in validation_clips(tmp_path)] == ["clip0"]


def test_prompts_lie_on_their_object_in_the_pixels_of_the_model(data: Path) -> None:
    (clip,) = training_clips(data)
    mask = clip_mask(data, 0)
    where = anymask.masks.geometry(mask.shape, SPEC)
    kinds = set()
    for seed in range(40):
        given, prompts = draw_prompt([mask, mask], where, SPEC, np.random.default_rng(seed))
        if prompts is None:
            assert given.shape == (2, 1, 64, 64)
            assert float(given.mean()) == pytest.approx(mask.mean(), abs=0.02)
            kinds.add("mask")
            continue
        assert given is None
        labels = prompts.labels[0].tolist()
        kinds.add("box" if labels == [2, 3] else "click")
        x, y = (prompts.coords[:, :, n] for n in (0, 1))
        if labels == [1]:
            rows = ((y + 0.5) * 48 / 64 - 0.5).round().long()
            assert mask[rows.flatten(), x.round().long().flatten()].all()
        else:
            assert (x[:, 0] < 14).all()
            assert (x[:, 1] > 14).all()
    assert kinds == {"mask", "box", "click"}


def decoded(logits: Tensor, quality: list[list[float]], score: list[float]) -> Decoded:
    known = {"tokens": torch.zeros(len(logits), 4, 8)}
    return Decoded(
        logits=logits, quality=torch.tensor(quality),
        object_score=torch.tensor(score)[:, None], **known,
    )  # fmt: skip


def test_the_best_of_three_masks_is_trained_and_all_qualities_are() -> None:
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2] = 1
    right, wrong = (2 * target - 1) * 20, (1 - 2 * target) * 20
    logits = torch.cat([wrong, wrong, right, wrong], dim=1)
    nowhere = torch.zeros(4, 4, dtype=torch.bool)
    several = decoded(logits, [[0.5, 0.25, 1.0, 0.5]], [0.0])
    loss = frame_loss(several, True, target, nowhere)
    # The mask of token 2 is exact; the others have IoU 0, with errors .25, 0 and .5 of quality.
    assert float(loss) == pytest.approx(0.75 / 3 + math.log(2), abs=1e-3)
    single = frame_loss(several, False, target, nowhere)
    plain = FOCAL_WEIGHT * focal_loss(wrong, target) + dice_loss(wrong, target)
    assert float(single) == pytest.approx(float(plain) + 0.5 + math.log(2), rel=1e-4)
    assert float(frame_loss(several, False, target, ~nowhere)) == pytest.approx(
        0.5 + math.log(2), abs=1e-2
    )  # nothing is compared where everything is ignored, so the IoU is 1


def test_a_frame_without_the_object_only_has_the_loss_of_presence() -> None:
    nothing = torch.zeros(1, 1, 4, 4)
    somewhere = decoded(torch.full((1, 4, 4, 4), 9.0), [[0.9] * 4], [-2.0])
    loss = frame_loss(somewhere, True, nothing, torch.zeros(4, 4, dtype=torch.bool))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-2.0)), rel=1e-5)


@pytest.mark.parametrize("model", ["tiny_video", "tiny_edge"])
def test_the_memory_learns_and_nothing_before_it(model: str, data: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    start = models.build(model)
    write_result(tmp_path / "start.safetensors", start, model, {"licence": "-"})
    recipe = recipe_of(tmp_path / "start.safetensors", 2, model)
    train(recipe, TrainingRun(data, tmp_path / "run"))
    after = read_state(tmp_path / "run" / LAST)["model"]
    changed = {name for name, value in start.state_dict().items() if not value.equal(after[name])}
    parts = {name.split(".")[0] for name in changed}
    assert {"memory_attention", "memory_encoder", "sam_mask_decoder", "obj_ptr_proj"} <= parts
    assert ("spatial_perceiver" in parts) == (model == "tiny_edge")
    assert not parts & {"image_encoder", "sam_prompt_encoder", "no_mem_embed"}
    assert not any(name.startswith("sam_mask_decoder.conv_s") for name in changed)


def test_the_windows_of_a_resumed_run_are_those_of_the_whole_one(data: Path, weights: Path) -> None:
    recipe = recipe_of(weights, 4)
    whole, late = ([*clip_batches(recipe, data, first, frozenset())] for first in (0, 2))
    assert (len(whole), len(late)) == (4, 2)
    for one, other in zip(whole[2:], late, strict=True):
        assert one.images.equal(other.images)
        assert one.targets.equal(other.targets)


def test_a_command_tunes_the_memory_and_its_weights_track_better(
    data: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(presets.RATES, "memory", 2e-3)  # the start is random
    monkeypatch.setattr(memory_tuning, "export_beside", lambda _weights, video: None)
    run, result = tmp_path / "run", tmp_path / "result.json"
    command = ["finetune", "--data", str(data), "-o", str(run), "--model", str(weights)]
    command += ["--method", "memory", "--samples", "30", "--json", str(result)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "Training clips: 1, annotated frames: 6. Evaluated on 1 of the training" in printed
    figures = json.loads(result.read_text("utf-8"))
    assert figures["kept"] == "trained"
    assert figures["after"][0] >= figures["before"][0]
    assert figures["after"][0] > 0.5
    losses = [json.loads(line).get("loss") for line in (run / LOG).read_text().splitlines()]
    known = [loss for loss in losses if loss is not None]
    assert known[-1] < known[0]
    model = anymask.load(str(run / WEIGHTS), device="cpu", runtime="torch")
    (clip,) = training_clips(data)
    (scores,) = follow_given(clip, lambda c: open_session(model, list(c.frames), tracker="memory"))
    found = [scores.scores.j.mean, scores.scores.f.mean]
    assert found == pytest.approx(figures["after"][1:], abs=0.02)  # features had 16 bits
    assert "J &amp; F" in (run / "report.html").read_text("utf-8")
    assert main(command) == 0  # a finished run does nothing new
    assert json.loads((run / "result.json").read_text("utf-8")) == figures
    assert main([*command, "--side", "128"]) == 2


def test_a_fifth_of_the_clips_is_held_out_and_not_trained(tmp_path: Path, weights: Path) -> None:
    clips = training_clips(write_clips(tmp_path / "many", 5, 4))
    held, names = held_out_clips(clips, [])
    assert [clip.name for clip in held] == [*names]
    assert len(names) == 1
    learned = [*clip_batches(recipe_of(weights, 12), tmp_path / "many", 0, frozenset(names))]
    rows = {number: 20 + number for number in range(5)}  # of the middle of each disc
    del rows[int(held[0].name.removeprefix("clip"))]
    for batch in learned:
        cells = batch.targets[:, 0].sum((0, 2))
        middle = float((cells * torch.arange(16)).sum() / cells.sum())
        assert min(abs((middle + 0.5) * 3 - 0.5 - row) for row in rows.values()) < 0.2
    assert len(learned) == 12
    assert held_out_clips(clips[:4], []) == (clips[:4], frozenset())
    same, excluded = held_out_clips(clips, clips)
    assert len(same) == len(excluded) == 5
    with pytest.raises(DataError, match="held out"):
        next(clip_batches(recipe_of(weights, 1), tmp_path / "many", 0, excluded))


def test_only_annotated_frames_count(data: Path) -> None:
    (clip,) = training_clips(data)
    sparse = replace(clip, annotations={n: clip.annotations[n] for n in (0, 2, 5)})
    part = annotated_part(sparse)
    assert [path.stem for path in part.frames] == ["00000", "00002", "00005"]
    assert part.frame(1).by_id() == clip.frame(2).by_id()
    assert len(part.frames) + 1 >= WINDOW_FRAMES


def test_a_clip_with_few_annotated_frames_is_skipped_and_named(data: Path) -> None:
    (clip,) = training_clips(data)
    few = replace(clip, name="few", annotations={n: clip.annotations[n] for n in (0, 2)})
    skipped: list[str] = []
    assert [one.name for one in usable_parts([few, clip], skipped)] == [clip.name]
    assert skipped == ["few"]
    with pytest.raises(DataError, match="few: The clip has 2 annotated frames"):
        usable_parts([few])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--kind", "medical"], "--kind is not supported"),
        (["--side", "100"], "multiple of 64"),
        (["--data", "nowhere"], "does not exist"),
        (["--model", "small"], "has no memory to train"),
    ],
)
def test_what_cannot_be_meant_is_one_error(
    more: list[str], message: str, data: Path, weights: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    command = ["finetune", "--data", str(data), "-o", str(tmp_path / "run")]
    command += ["--model", str(weights), "--method", "memory", *more]
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_the_side_of_a_training_fits_the_memory() -> None:
    assert training_side("sam2.1_hiera_t", None) == 512
    assert training_side("sam2.1_hiera_t", 256) == 256
    assert training_side("edgetam", None) == 1024  # the positions of its tokens do not scale
    assert training_side("efficienttam_ti_512x512", None) == 512
    with pytest.raises(InputError, match="multiple of 256"):
        training_side("edgetam", 320)
    with pytest.raises(InputError, match="up to 1024"):
        training_side("sam2.1_hiera_t", 2048)
