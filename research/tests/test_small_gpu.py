"""What trains `small` on a GPU, on the processor: pictures, masks and clicks against OpenCV's."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from anymask.masks import mask_to_rle, rle_to_string
from anymask.models.rules import SHIPPED
from anymask.runtime import WEIGHTS
from anymask.training.interaction import SimulatedPrompts
from research.small import train_gpu
from research.small.gpu_images import ImagesOnDevice, Objects, blurred, corrected, depth
from research.small.image_pool import Crops, ImagePool, draw_crops, open_pool
from research.small.pack import packed, whole_state
from research.small.pack_images import pack, read_images
from research.small.train_gpu import GpuRun, Learner, drawn_batches, exact_positions, open_small

CPU = torch.device("cpu")
HW = (120, 200)


def disc(center: tuple[int, int], radius: int, hw: tuple[int, int] = HW) -> np.ndarray:
    return cv2.circle(np.zeros(hw, np.uint8), center, radius, 1, -1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed pictures of two sets, one of which may not ship."""
    data, out = tmp_path_factory.mktemp("sets"), tmp_path_factory.mktemp("packed")
    for name, ships in (("ours", True), ("theirs", False)):
        (data / name / "images").mkdir(parents=True)
        (data / name / "set.json").write_text(json.dumps({"ships": ships}))
        lines = []
        for number, mask in enumerate((disc((60, 50), 30), disc((150, 80), 25))):
            image = np.full((*HW, 3), 40, np.uint8)
            image[mask > 0] = (220, 120, 60)
            Image.fromarray(image).save(data / name / "images" / f"{number}.png")
            rle = rle_to_string(mask_to_rle(mask.astype(bool)))
            masks = [{"rle": rle, "area": int(mask.sum())}, {"rle": rle, "area": 3}]
            row = {"image": f"images/{number}.png", "hw": HW, "masks": masks}
            lines.append(json.dumps(row))
        (data / name / "masks.jsonl").write_text("\n".join(lines))
    pack(data, out, first=0.0)
    return out


@pytest.fixture(scope="module")
def pool(place: Path) -> ImagePool:
    return open_pool(place, ["a", "b"], {}, procs=2)


def test_only_sets_that_ship_and_masks_of_some_size_are_packed(place: Path) -> None:
    images = [*read_images(place, "a"), *read_images(place, "b")]
    assert [one.set for one in images] == ["ours", "ours"]
    assert [len(one.masks) for one in images] == [1, 1]
    size = (place / "b.bin").stat().st_size
    assert size == sum(one.size for one in read_images(place, "b"))


def test_the_pool_holds_photos_and_masks(place: Path, pool: ImagePool) -> None:
    blob = (place / "b.bin").read_bytes()
    first = read_images(place, "b")[0]
    image = np.asarray(Image.open(io.BytesIO(blob[: first.size])).convert("RGB"))
    assert (pool.pixels[0, : HW[0], : HW[1]] == image).all()
    masks = [np.unpackbits(pool.bits[n, : HW[0]], axis=1)[:, : HW[1]] for n in range(2)]
    expected = (disc((60, 50), 30), disc((150, 80), 25))
    assert {one.tobytes() for one in masks} == {one.tobytes() for one in expected}
    cut, mask = pool.cut_out(np.random.default_rng(0))
    assert cut.shape[:2] == mask.shape
    assert mask[mask.shape[0] // 2].all()


def test_a_scene_takes_the_place_of_an_earlier_one(pool: ImagePool) -> None:
    place, first = pool.images + 5, pool.drawn + 5 * 12
    three = np.stack([disc((20, 20), r, (64, 64)) for r in (4, 6, 8)])
    pool.put_scene(5, np.full((64, 64, 3), 7, np.uint8), three)
    pool.put_scene(5, np.full((64, 64, 3), 9, np.uint8), three[2:])
    assert pool.counts[place] == 1
    assert (pool.pixels[place, :64, :64] == 9).all()
    assert pool.areas[first] == three[2].sum()
    assert not pool.bits[first + 1].any()  # what the GPU would take for a mask


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("mirrored", [0, 1])
@pytest.mark.parametrize("flipped", [0, 1])
def test_a_rendered_crop_is_the_photos(
    pool: ImagePool, turned: int, mirrored: int, flipped: int
) -> None:
    """At one photo pixel a pixel: what numpy cuts out of the turned photo."""
    h, w = HW
    geometry = np.array([[10, 20, 1, 1, turned, mirrored, flipped, w, h]], np.float32)
    crops = Crops(np.array([0]), np.array([[0]]), geometry)
    _, masks = ImagesOnDevice(pool, CPU).render(crops, 64)
    mask = np.unpackbits(pool.bits[0, :h], axis=1)[:, :w]
    mask = mask[:, ::-1] if mirrored else mask
    mask = mask[::-1] if flipped else mask
    mask = mask.T if turned else mask
    expected = np.zeros((64, 64), np.uint8)
    part = mask[20:84, 10:74]
    expected[: part.shape[0], : part.shape[1]] = part
    assert (masks[0, 0].float().numpy() != expected).mean() < 0.002


def test_beyond_the_photo_a_picture_is_grey_and_nothing_is_an_object(pool: ImagePool) -> None:
    h, w = HW
    geometry = np.array([[0, 0, w / 64, w / 64, 0, 0, 0, w, h]], np.float32)
    images, masks = ImagesOnDevice(pool, CPU).render(
        Crops(np.array([0]), np.array([[0]]), geometry), 64
    )
    below = round(64 * h / w) + 1
    assert not images[..., below:, :].any()
    assert not masks[..., below:, :].any()


def test_drawn_masks_lie_in_their_crops(pool: ImagePool) -> None:
    crops = draw_crops(pool, np.random.default_rng(1), (16, 3, 64))
    _, masks = ImagesOnDevice(pool, CPU).render(crops, 64)
    assert (masks.float().sum((2, 3)) > 0).float().mean() > 0.9


def test_depth_is_about_the_distance_to_the_edge() -> None:
    mask = np.zeros((96, 96), np.uint8)
    mask[8:88, 20:70] = 1
    mask[40:60, 10:20] = 1
    made = depth(torch.from_numpy(mask)[None, None].float())[0, 0].numpy()
    expected = cv2.distanceTransform(mask, cv2.DIST_C, 3)
    assert not made[expected == 0].any()
    assert np.abs(made - expected).max() < 9  # blocks of four pixels, behind the five finer steps
    assert expected[np.unravel_index(made.argmax(), made.shape)] >= expected.max() - 4


def test_a_mask_that_touches_the_border_ends_there() -> None:
    made = depth(torch.ones(1, 1, 40, 40))[0, 0]
    assert made[0].max() < 6
    assert made[18:22, 18:22].min() > 15


def test_objects_have_their_boxes_and_clicks_inside() -> None:
    masks = torch.from_numpy(np.stack([disc((30, 34), 11, (64, 64)), disc((9, 9), 1, (64, 64))]))
    objects = Objects(masks[:, None].to(torch.bfloat16))
    assert objects.boxes[0].tolist() == [19, 23, 42, 46]
    assert objects.counts.tolist() == [1, 0]  # five pixels say nothing
    assert (objects.centers[0] - torch.tensor([30.5, 34.5])).abs().max() <= 4
    x, y = (int(one) for one in objects.insides[0])
    assert masks[0, y, x] == 1
    prompts = objects.first_prompts(64)
    lone = prompts.labels[:, 2] == 1
    assert (prompts.ambiguous <= lone).all()


def test_a_correction_is_clicked_in_an_error() -> None:
    truth = torch.from_numpy(disc((30, 30), 12, (64, 64))).float()[None, None].repeat(32, 1, 1, 1)
    shown = torch.full((32, 64, 64), -5.0)
    shown[:, 22:38, 22:38] = 5.0  # the middle of it, and nothing beside
    count = len(shown)
    given = SimulatedPrompts(
        torch.zeros(count, 3, 2), torch.full((count, 3), -1), torch.zeros(count, 1, 64, 64),
        torch.zeros(count), torch.ones(count, dtype=torch.bool),
    )  # fmt: skip
    after = corrected(given, shown, truth)
    clicked = after.labels[:, 3] >= 0
    assert 0 < clicked.sum() < count  # some corrections bring no click
    assert (after.labels[clicked, 3] == 1).all()
    x, y = (after.coords[clicked, 3] / 4).long().unbind(1)
    assert (truth[0, 0, y, x] == 1).all()
    assert (shown[0, y, x] < 0).all()
    assert not after.ambiguous.any()


def test_blurring_keeps_the_mean_and_smooths() -> None:
    images = torch.rand(2, 3, 32, 32)
    soft = blurred(images, torch.tensor([0.4, 1.6]))
    expected = cv2.GaussianBlur(images[1, 0].numpy(), (9, 9), 1.6, borderType=cv2.BORDER_REPLICATE)
    assert soft[1, 0].numpy() == pytest.approx(expected, abs=1e-4)


def test_a_run_goes_on_from_what_ships_and_packs_to_it_again(tmp_path: Path) -> None:
    """The learned half written, put beside the shipped transformer: the same numbers."""
    shipped = SHIPPED / "small" / WEIGHTS
    learner = Learner(open_small(shipped, CPU), GpuRun(1.0, 1e-3, {64: 2}, seed=1))
    learner.save(tmp_path / "end.safetensors")
    again = packed(whole_state(shipped, tmp_path / "end.safetensors"))
    stored = load_file(shipped)
    assert again.keys() == stored.keys()
    for name, one in stored.items():
        if name.endswith("_scale"):
            assert torch.allclose(again[name], one, rtol=1e-5), name
        else:
            assert torch.equal(again[name], one), name
    save_file(again, tmp_path / "again.safetensors")


def test_a_step_lessens_the_loss_and_leaves_the_transformer(pool: ImagePool) -> None:
    learner = Learner(
        open_small(SHIPPED / "small" / WEIGHTS, CPU), GpuRun(60.0, 2e-3, {64: 2}, seed=1)
    )
    frozen = learner.model.encoder.backbone.vit.blocks[0].fc1.weight.clone()
    image_files = ImagesOnDevice(pool, CPU)
    torch.manual_seed(0)
    crops = draw_crops(pool, np.random.default_rng(3), (2, 2, 64))
    images, masks = image_files.render(crops, 64)
    losses = []
    with exact_positions():
        for _ in range(12):
            torch.manual_seed(1)  # the same prompts
            losses.append(float(learner.learn(images, masks, 0.0, third=False)[0]))
    assert losses[-1] < losses[0]
    assert torch.equal(frozen, learner.model.encoder.backbone.vit.blocks[0].fc1.weight)
    assert any(not torch.equal(a, b) for a, b in zip(learner.average, learner.live, strict=True))


def test_batches_are_handed_out_beside_the_run(pool: ImagePool) -> None:
    run = GpuRun(60.0, 1e-3, {256: 2, 384: 2, 512: 2}, seed=1)
    with drawn_batches(pool, run, procs=1) as (next_batch, begin):
        begin()
        side, crops = next_batch()
    assert side in (256, 384)
    assert crops.images.shape == (2,)


def test_a_run_whose_drawers_fail_ends_and_says_so(
    pool: ImagePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no batch")

    monkeypatch.setattr(train_gpu, "draw_crops", fail)  # before they are forked
    run = GpuRun(60.0, 1e-3, {256: 2, 384: 2, 512: 2}, seed=1)
    with (
        drawn_batches(pool, run, procs=1) as (next_batch, _),
        pytest.raises(SystemExit, match="no process draws"),
    ):
        next_batch()
