"""Train `proposals.npz` of a bundled model: boxes of objects from the encoder's maps.

    python -m research.fit_proposals features ../shared/data/train FOLDER --model small
    python -m research.fit_proposals train FOLDER --model small --steps 2700 --write

`features` encodes training images and writes one file per image: two maps of the encoder and, for
each annotated mask, its coverage of the cells, its box, its innermost point and its area. Existing
files are skipped, so that an interrupted run continues. `train` trains the head
(`segment/everything/proposals.py`) on these files and continues from FOLDER/head.pt; every
twelfth image, by a hash of its name, is for validation. `--write` replaces the file in the bundle.

Centres are Gaussians with the loss of CenterNet (Zhou et al. 2019), boxes have the GIoU loss
(Rezatofighi et al. 2019). Cells without a mask count little in sets that do not annotate every
object (`COMPLETE`, `MOSTLY`, `SELDOM`).

Letters: B images, M masks, C channels, h w the cells of a map.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

import anymask
from anymask.base import BoolArray, FloatArray, Floats, file_sha256
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import open_box, pairwise_box_iou, rle_to_mask
from anymask.models.rules import SHIPPED
from anymask.runtime import read_manifest
from anymask.runtime.manifest import read_tables, write_tables
from anymask.segment import encode_image
from anymask.segment.everything.proposals import FILE, ProposalHead

SIDE = 512  # model pixels
CELLS = (32, 64)  # along a side of the coarse and of the fine map
BETWEEN = (56.0, 112.0)  # sides of boxes of both maps; smaller ones are fine, larger ones coarse
TINY = 40  # model pixels; smaller masks are ignored
EXCLUDED, VALIDATION = 10, 12  # one in so many images
COMPLETE = (
    "coco_panoptic", "corridor_a", "corridor_b", "football_broadcast", "nuts_and_dates",
    "ore_pellets", "mushrooms_dense",
)  # fmt: skip
MOSTLY = {
    "coco_instances": 0.5, "bottles": 0.5, "kudzu_bugs": 0.3, "peanut_field": 0.3,
    "aerial_buildings": 0.3, "mandarin_fruit": 0.3,
}  # fmt: skip  # weight of cells without a mask
SELDOM = 0.03  # of the other sets
IMAGES = {
    "coco_instances": 356, "corridor_a": 50, "football_broadcast": 60, "coco_panoptic": 189,
    "coco_more": 80, "ore_pellets": 28, "nuts_and_dates": 18, "corridor_b": 50,
    "mushrooms_dense": 35, "aerial_buildings": 40, "kudzu_bugs": 30, "peanut_field": 30,
    "aerial_regions": 20, "indonesian_food_plate": 40, "kitchen_things": 60, "pigs": 50,
    "warehouse_pallets": 40, "food_components": 40, "tree_limbs": 25, "fruit3": 30,
    "mandarin_fruit": 40, "bottles": 28, "caltech_animals": 40, "caltech_objects": 40,
    "pets": 30, "dog_cat": 30, "strawberry": 38, "building_facade": 20, "street_building": 30,
    "taco_litter": 60, "clothing_parts": 20, "seedling_roots": 19, "breadboard_parts": 25,
    "medical_waste": 30, "sea_drone_people": 30, "railway_wagon": 20, "solar_panels": 20,
    "hydroponic_plants": 20, "indian_food": 30, "coco_person_more": 40,
}  # fmt: skip  # how many of each set
SHARES = {"coco_instances": 3.0, "coco_panoptic": 2.0}  # how often an image is drawn
AT_ONCE, RATE, DECAY, CLIP = 8, 2e-3, 0.05, 5.0


# Features.


def chosen(folder: Path) -> Iterator[tuple[str, int, AnnotatedImage]]:
    """Images to train on: set, index in the set, image.

    A tenth of the completely annotated sets is excluded: it is for evaluation.
    """
    for name, count in IMAGES.items():
        samples = load_set(folder / name)[1]
        order = np.random.default_rng(zlib.crc32(name.encode())).permutation(len(samples))
        for index in order[:count]:
            sample = samples[int(index)]
            number = zlib.crc32(Path(sample.file_name).name.encode())
            if name not in COMPLETE or number % EXCLUDED:
                yield name, int(index), sample


def masks_on_cells(sample: AnnotatedImage, input_hw: tuple[int, int]) -> dict[str, Any]:
    """Coverage (M, 64, 64) uint8, boxes (M, 4), innermost points (M, 2) and areas (M,)."""
    cover, boxes, points, areas = [], [], [], []
    height, width = input_hw
    for rle in sample.rles:
        mask = rle_to_mask(rle).astype(np.float32)
        square = np.zeros((SIDE, SIDE), np.float32)
        square[:height, :width] = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
        inside: BoolArray = square >= 0.5
        if not inside.any():
            continue
        padded = np.pad(inside.astype(np.uint8), 1)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        cells = cv2.resize(square, (CELLS[1], CELLS[1]), interpolation=cv2.INTER_AREA)
        cover.append(np.round(cells * 255).astype(np.uint8))
        boxes.append(open_box(inside))
        points.append((x + 0.5, y + 0.5))
        areas.append(np.count_nonzero(inside))
    count = len(cover)
    return {
        "cover": np.array(cover, np.uint8).reshape(count, CELLS[1], CELLS[1]),
        "boxes": np.array(boxes, np.float32).reshape(count, 4),
        "points": np.array(points, np.float32).reshape(count, 2),
        "areas": np.array(areas, np.float32),
    }


def write_features(data: Path, folder: Path, model_name: str) -> None:
    """Encode the images that have no file yet."""
    model = anymask.load(model_name)
    folder.mkdir(parents=True, exist_ok=True)
    for name, index, sample in chosen(data):
        path = folder / f"{name}-{index:04d}.npz"
        if path.exists():
            continue
        seen = encode_image(model.runtime, sample.image())
        maps = {f"map{n}": one.values.astype(np.float16) for n, one in enumerate(seen.maps[:2])}
        found = masks_on_cells(sample, seen.geometry.input_hw)
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.savez(file, **maps, **found, input_hw=seen.geometry.input_hw)  # type: ignore[arg-type]
        partial.replace(path)


# Targets.


class Target(NamedTuple):
    """Target of one map.

    Attributes:
        heat: Centre scores (h, w), 1 at centres.
        weight: Weight of each cell without a centre (h, w).
        sides: Distances to the sides of the box in model pixels (4, h, w).
        share: Weight of each cell's box (h, w), 0 without a box.
    """

    heat: FloatArray
    weight: FloatArray
    sides: FloatArray
    share: FloatArray


def targets(known: Mapping[str, Any], name: str) -> list[Target]:
    """Targets of the coarse and of the fine map."""
    found = []
    base = 1.0 if name in COMPLETE else MOSTLY.get(name, SELDOM)
    height, width = known["input_hw"]
    for cells in CELLS:
        stride, step = SIDE / cells, CELLS[1] // cells
        rows, columns = (-(-int(side) // int(stride)) for side in (height, width))
        cover = known["cover"].reshape(-1, cells, step, cells, step).mean((2, 4)) / 255
        weight = np.where(cover.max(0, initial=0) > 0.3, 1, base).astype(np.float32)
        heat, share = np.zeros((2, cells, cells), np.float32)
        sides = np.zeros((4, cells, cells), np.float32)
        ignored = np.zeros((cells, cells), np.bool_)
        ys, xs = (np.mgrid[:cells, :cells] + 0.5) * stride
        for k in np.argsort(-known["areas"]):
            box, area = known["boxes"][k], float(known["areas"][k])
            rims = (box[:2] <= 2).sum() + (box[2] >= width - 2) + (box[3] >= height - 2)
            stuff = name == "coco_panoptic" and area > 0.12 * height * width and rims >= 2
            if stuff or area < TINY:
                ignored |= cover[k] > 0.3
                continue
            longest = (box[2:] - box[:2]).max()
            if longest > BETWEEN[1] if cells == CELLS[1] else longest < BETWEEN[0]:
                continue
            x, y = known["points"][k]
            spread = np.maximum((box[2:] - box[:2]) / 7, stride * 0.45).mean()
            near = np.exp(-(((xs - x) ** 2 + (ys - y) ** 2) / (2 * spread**2)))
            near = np.where(cover[k] > 0.25, near, near / 2)
            near[min(int(y // stride), cells - 1), min(int(x // stride), cells - 1)] = 1
            mine = (near > 0.4) & (near >= heat)
            share[mine] = near[mine]
            apart = np.stack([xs - box[0], ys - box[1], box[2] - xs, box[3] - ys])
            sides[:, mine] = apart[:, mine]
            heat = np.maximum(heat, near).astype(np.float32)
        weight[ignored & (heat < 0.3)] = 0
        weight[rows:], weight[:, columns:] = 0, 0
        found.append(Target(heat, weight, sides, share))
    return found


def mirrored(one: FloatArray, columns: int) -> FloatArray:
    """The first columns of an array (..., h, w) in reverse order."""
    out = one.copy()
    out[..., :columns] = one[..., :columns][..., ::-1]
    return out


def batch(
    some: Sequence[Mapping[str, Any]], rng: np.random.Generator
) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
    """Maps (B, C, h, w) and targets of images, half of them mirrored."""
    maps: list[list[FloatArray]] = [[], []]
    wanted: list[list[Target]] = [[], []]
    for one in some:
        flip = rng.random() < 0.5
        for level, cells in enumerate(CELLS):
            values, target = one[f"map{level}"].astype(np.float32), one["targets"][level]
            if flip:
                columns = -(-int(one["input_hw"][1]) * cells // SIDE)
                values = mirrored(values, columns)
                target = Target(*(mirrored(each, columns) for each in target))
                target = target._replace(sides=target.sides[[2, 1, 0, 3]])
            maps[level].append(values)
            wanted[level].append(target)
    stacked = [
        [torch.from_numpy(np.stack(each)) for each in zip(*level, strict=True)] for level in wanted
    ]
    return [torch.from_numpy(np.stack(level)) for level in maps], stacked


# Network.


class Block(nn.Module):
    """Residual block: a convolution of each channel, then two of single cells."""

    def __init__(self, width: int, reach: int = 2) -> None:
        super().__init__()
        side = 2 * reach + 1
        self.dw = nn.Conv2d(width, width, side, padding=reach, groups=width, bias=False)
        self.n1 = nn.BatchNorm2d(width)
        self.up = nn.Conv2d(width, 2 * width, 1)
        self.down = nn.Conv2d(2 * width, width, 1, bias=False)
        self.n2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.n2(self.down(functional.relu(self.up(self.n1(self.dw(x))))))
        return out


class Head(nn.Module):
    """The head with batch normalization; `folded` has the arrays that the package reads."""

    def __init__(self, coarse: int, fine: int, width: int = 96, narrow: int = 64) -> None:
        super().__init__()
        self.norm0, self.norm1 = nn.BatchNorm2d(coarse), nn.BatchNorm2d(fine)
        self.in0, self.in1 = nn.Conv2d(coarse, width, 1), nn.Conv2d(fine, narrow, 1)
        self.coarse = nn.Sequential(*[Block(width) for _ in range(3)])
        self.down = nn.Conv2d(width, narrow, 1)
        self.fine = nn.Sequential(*[Block(narrow) for _ in range(2)])
        self.out0, self.out1 = nn.Conv2d(width, 5, 1), nn.Conv2d(narrow, 5, 1)
        for out in (self.out0, self.out1):
            nn.init.normal_(out.weight, std=0.01)
            out.bias = nn.Parameter(torch.tensor([-3.5, 0, 0, 0, 0]))  # few cells are centres

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> list[torch.Tensor]:
        large = self.coarse(functional.relu(self.in0(self.norm0(coarse))))
        grown = functional.interpolate(self.down(large), scale_factor=2, mode="nearest")
        small = self.fine(functional.relu(grown + self.in1(self.norm1(fine))))
        return [self.out0(functional.relu(large)), self.out1(functional.relu(small))]


def folded(state: Mapping[str, torch.Tensor]) -> dict[str, FloatArray]:
    """Arrays of `ProposalHead`: the state of a `Head` without normalization."""
    of = {key: value.double().numpy() for key, value in state.items()}

    def norm(name: str) -> tuple[Floats, Floats]:
        scale = of[f"{name}.weight"] / np.sqrt(of[f"{name}.running_var"] + 1e-5)
        return scale, of[f"{name}.bias"] - of[f"{name}.running_mean"] * scale

    arrays: dict[str, Any] = {}
    for name in ("down", "out0", "out1"):
        arrays[f"{name}.weight"] = of[f"{name}.weight"][:, :, 0, 0]
        arrays[f"{name}.bias"] = of[f"{name}.bias"]
    for level in (0, 1):
        scale, shift = norm(f"norm{level}")
        weight = of[f"in{level}.weight"][:, :, 0, 0]
        arrays[f"in{level}.weight"] = weight * scale
        arrays[f"in{level}.bias"] = of[f"in{level}.bias"] + weight @ shift
    for key in sorted({name.rsplit(".", 2)[0] for name in of if ".dw." in name}):
        scale, shift = norm(f"{key}.n1")
        arrays[f"{key}.across.weight"] = of[f"{key}.dw.weight"][:, 0] * scale[:, None, None]
        arrays[f"{key}.across.bias"] = shift
        arrays[f"{key}.up.weight"] = of[f"{key}.up.weight"][:, :, 0, 0]
        arrays[f"{key}.up.bias"] = of[f"{key}.up.bias"]
        scale, shift = norm(f"{key}.n2")
        arrays[f"{key}.down.weight"] = of[f"{key}.down.weight"][:, :, 0, 0] * scale[:, None]
        arrays[f"{key}.down.bias"] = shift
    return {name: one.astype(np.float32) for name, one in arrays.items()}


# Training.


def loss_of(outputs: Sequence[torch.Tensor], wanted: Sequence[Sequence[torch.Tensor]]) -> Any:
    """Sum of the losses of centres and boxes of both maps."""
    total: Any = 0.0
    for raw, (heat, weight, sides, share), cells in zip(outputs, wanted, CELLS, strict=True):
        score = torch.sigmoid(raw[:, 0])
        centre = heat >= 0.999
        hit = weight.clamp(min=1) * (1 - score) ** 2 * functional.logsigmoid(raw[:, 0])
        miss = weight * (1 - heat) ** 4 * score**2 * functional.logsigmoid(-raw[:, 0])
        total = total - (hit[centre].sum() + miss[~centre].sum()) / centre.sum().clamp(min=1)
        boxed = share > 0
        if boxed.any():
            apart = torch.exp(raw[:, 1:].clamp(-4, 6)) * (SIDE / cells)
            losses = 1 - giou(*(one.permute(0, 2, 3, 1)[boxed] for one in (apart, sides)))
            total = total + (losses * share[boxed]).sum() / share[boxed].sum()
    return total


def giou(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Generalized IoU of boxes around one point, as distances to their sides (N, 4)."""
    wanted = wanted.clamp(min=0.5)

    def area(one: torch.Tensor) -> torch.Tensor:
        sides: torch.Tensor = (one[:, :2] + one[:, 2:]).clamp(min=0)
        return sides.prod(1)

    common = area(torch.minimum(found, wanted))
    union, around = area(found) + area(wanted) - common, area(torch.maximum(found, wanted))
    found_iou: torch.Tensor = common / (union + 1e-6) - (around - union) / (around + 1e-6)
    return found_iou


def read_features(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Images to train on and to validate with."""
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            known: dict[str, Any] = dict(file)
        known["name"] = path.name.rsplit("-", 1)[0]
        known["targets"] = targets(known, known["name"])
        parts[zlib.crc32(path.name.encode()) % VALIDATION == 0].append(known)
    return parts


def train(folder: Path, steps: int, seed: int = 0) -> Head:
    """Train for a number of steps, continuing from `head.pt`; the averaged weights."""
    known, held_out = read_features(folder)
    torch.manual_seed(seed)
    head = Head(known[0]["map0"].shape[0], known[0]["map1"].shape[0])
    adam = torch.optim.AdamW(head.parameters(), RATE, weight_decay=DECAY)
    mean = {key: value.clone() for key, value in head.state_dict().items()}
    share = np.array([SHARES.get(one["name"], 1.0) for one in known])
    start, path = 0, folder / "head.pt"
    if path.exists():
        kept = torch.load(path, weights_only=True)
        head.load_state_dict(kept["head"])
        adam.load_state_dict(kept["adam"])
        mean, start = kept["mean"], kept["step"]
    rng = np.random.default_rng(seed + start)
    for step in range(start, steps):
        rate = RATE * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        for group in adam.param_groups:
            group["lr"] = float(rate) + 1e-5
        few = rng.choice(len(known), AT_ONCE, p=share / share.sum())
        maps, wanted = batch([known[n] for n in few], rng)
        loss = loss_of(head(*maps), wanted)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), CLIP)
        adam.step()
        for key, value in head.state_dict().items():
            if value.dtype.is_floating_point:
                mean[key].lerp_(value, 1 / min(step + 1, 300))
        if (step + 1) % 100 == 0 or step + 1 == steps:
            state = {"head": head.state_dict(), "adam": adam.state_dict(), "mean": mean}
            partial = path.with_suffix(".part")
            torch.save({**state, "step": step + 1}, partial)
            partial.replace(path)
            print(f"{step + 1} steps, loss {float(loss.detach()):.3f}", flush=True)
    head.load_state_dict(mean)
    print(f"recall of 10, 40, 100 boxes: {recall(ProposalHead(folded(mean)), held_out)}")
    return head


def recall(head: ProposalHead, known: Sequence[Mapping[str, Any]]) -> list[float]:
    """Share of the annotated boxes that one of the first 10, 40 or 100 boxes hits (IoU 0.5)."""
    hit, count = np.zeros(3), 0
    for one in known:
        geometry = anymask.masks.Geometry(one["input_hw"], tuple(one["input_hw"]), SIDE)
        maps = [one[f"map{level}"].astype(np.float32) for level in (0, 1)]
        iou = pairwise_box_iou(head.propose(maps, geometry).boxes, one["boxes"])
        iou = iou[:, one["areas"] >= TINY]
        hit += [(iou[:most].max(0, initial=0) >= 0.5).sum() for most in (10, 40, 100)]
        count += iou.shape[1]
    return [round(float(one) / max(count, 1), 3) for one in hit]


def write_head(bundle: Path, arrays: Mapping[str, FloatArray]) -> None:
    """Replace the proposal head of a bundle: its weights in float16, and its table."""
    halves: dict[str, Any] = {name: one.astype(np.float16) for name, one in arrays.items()}
    np.savez(bundle / FILE, **halves)
    manifest = read_manifest(bundle)
    table = {"weights": manifest.weights_hash, "sha256": file_sha256(bundle / FILE)}
    write_tables(bundle, {**read_tables(bundle, manifest), "proposals": table})


def main() -> None:
    """Encode or train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("features", "train"))
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--model", default="small")
    parser.add_argument("--steps", type=int, default=2700)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    if args.command == "features":
        data, folder = args.folders
        write_features(data, folder, args.model)
        return
    head = train(args.folders[0], args.steps)
    if args.write:
        write_head(SHIPPED / args.model, folded(head.state_dict()))


if __name__ == "__main__":
    main()
