"""Train the instance head of a field model on cached features, and write its bundle.

`python -m research.fit_instances cells -o RUN` encodes views of the field's images with `nano`,
trains `models.instance_head` on random crops of the maps, and writes `RUN/nano-cells`, which is
`assets/nano-cells`. Run the command again to resume. `RUN/held-out` gets the sets of the held-out
images, for `anymask evaluate images RUN/held-out --only --measure shown --model RUN/nano-cells`.

Letters: n views, B crops, S the model's input side, h w an image.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

import anymask
from anymask.base import UintImage, file_sha256, write_whole
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import rle_to_mask
from anymask.models.instance_head import InstanceHead
from anymask.runtime.manifest import ASSETS, MANIFEST, GraphNames, manifest_to_json, read_manifest
from anymask.training.export_graphs import varying_sides, write_graph

SIDE, BASE, RATE, CELLS = 512, "nano", 2e-3, 32
HELD_OUT = 4  # one in so many images of `split` fields is kept for judging


@dataclass(frozen=True, kw_only=True)
class Field:
    """Training data of a field.

    Attributes:
        sets: Folders of sets.
        views: Views of each image.
        inverted: Share of the views with inverted brightness.
        split: Whether some images are held out, because the field has no test set.
        context: Blocks of the head with a wide receptive field, for large objects.
        crop: Side of a training crop in cells of the coarsest map, at most `CELLS`.
        data: Terms of the data, for the manifest.
    """

    sets: tuple[str, ...]
    views: int
    inverted: float = 0.0
    split: bool = True
    context: int = 2
    crop: int = CELLS
    data: str = ""


FIELDS = {
    "cells": Field(
        sets=("finetune/nuclei_train",), views=8, inverted=0.15, split=False, context=0, crop=16,
        data="50 images of nuclei of the Data Science Bowl 2018 (BBBC038, CC0 1.0) for the "
        "instance head; otherwise the data of nano (NOTICE)",
    ),
    "roofs": Field(
        sets=("train/aerial_buildings", "train/aerial_roofs"), views=8,
        data="aerial_buildings (CC BY 4.0) and aerial_roofs (public domain) for the instance "
        "head; otherwise the data of nano (NOTICE)",
    ),
    "defects": Field(
        sets=("train/car_damage8", "train/car_damage_via", "train/potholes_small",
              "train/car_parts_damage"),
        views=6,
        data="car_damage8, potholes_small (CC BY 4.0), car_damage_via and car_parts_damage (MIT) "
        "for the instance head; otherwise the data of nano (NOTICE)",
    ),
    "plants": Field(
        sets=("train/peanut_field", "train/hydroponic_plants"), views=10,
        data="peanut_field (CC BY-SA 4.0) and hydroponic_plants (CC BY 4.0) for the instance "
        "head; otherwise the data of nano (NOTICE)",
    ),
    "leaves": Field(  # its data is for research only: the weights are not distributed
        sets=("finetune/leaves_train",), views=10, split=False, context=1,
        data="40 images of CVPPP A1 (research only, not for distribution) for the instance head",
    ),
}  # fmt: skip


def is_held_out(name: str) -> bool:
    """Whether an image of a split field is kept for judging."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % HELD_OUT == 0


def write_held_out(field: Field, data: Path, out: Path) -> None:
    """Write the held-out images of a field as sets, one folder each."""
    for name in field.sets if field.split else ():
        source, target = data / name, out / Path(name).name
        (target / "images").mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "set.json", target)
        rows = (source / "masks.jsonl").read_text("utf-8").splitlines(keepends=True)
        images = {row: Path(json.loads(row)["image"]) for row in rows}
        held = {row: image for row, image in images.items() if is_held_out(image.name)}
        (target / "masks.jsonl").write_text("".join(held), "utf-8")
        for image in held.values():
            shutil.copy(source / image, target / "images")


def label_map(image: AnnotatedImage) -> NDArray[np.int32]:  # -> (h, w)
    """Instances numbered from 1, the smaller on top."""
    labels = np.zeros(image.hw, np.int32)
    masks = sorted((rle_to_mask(rle) for rle in image.rles), key=lambda mask: -int(mask.sum()))
    for number, mask in enumerate(masks, 1):
        labels[mask > 0] = number
    return labels


def view(
    image: UintImage, labels: NDArray[np.int32], rng: np.random.Generator | None, inverted: float
) -> tuple[UintImage, NDArray[np.int32]]:
    """An S x S view: the whole image without a generator, else a random one."""
    h, w = labels.shape
    scale = SIDE / max(h, w) * (1.0 if rng is None else float(np.exp(rng.uniform(-0.51, 0.53))))
    size = max(16, round(w * scale)), max(16, round(h * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, size, interpolation=how).astype(np.uint8)
    labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    y = x = 0
    if rng is not None:
        turns = int(rng.integers(4))
        image, labels = np.rot90(image, turns), np.rot90(labels, turns)
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        soft = (image.astype(np.float32) / 255) ** float(np.exp(rng.normal(0, 0.25)))
        soft = (soft - soft.mean()) * float(np.exp(rng.normal(0, 0.2))) + soft.mean()
        soft = (soft + rng.normal(0, 0.05)) * np.exp(rng.normal(0, 0.06, 3))
        soft = 1 - soft if rng.random() < inverted else soft
        image = (soft.clip(0, 1) * 255).astype(np.uint8)
        y, x = (int(rng.integers(0, max(1, side - SIDE + 1))) for side in labels.shape)
    image, labels = image[y : y + SIDE, x : x + SIDE], labels[y : y + SIDE, x : x + SIDE]
    rest = (0, SIDE - labels.shape[0]), (0, SIDE - labels.shape[1])
    return np.pad(image, (*rest, (0, 0))), np.pad(labels, rest)


def targets(labels: NDArray[np.int32]) -> NDArray[np.float32]:  # (h, w) -> (3, h, w)
    """Foreground, center distance and boundary distance of known instances."""
    planes = np.ones((3, *labels.shape), np.float32)
    planes[0] = labels > 0
    for number in np.unique(labels[labels > 0]):
        y, x = np.nonzero(labels == number)
        own = np.zeros((np.ptp(y) + 3, np.ptp(x) + 3), np.uint8)
        inside = y - y.min() + 1, x - x.min() + 1
        own[inside] = 1
        depth = cv2.distanceTransform(own, cv2.DIST_L2, 5)[inside]
        nearest = np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2)
        away = np.hypot(y - y[nearest], x - x[nearest])
        planes[1, y, x], planes[2, y, x] = away / max(away.max(), 1), 1 - depth / depth.max()
    return planes


def views_of(field: Field, data: Path) -> Iterator[tuple[UintImage, NDArray[np.int32]]]:
    """All views of a field's training images."""
    rng = np.random.default_rng(0)
    for name in field.sets:
        for image in load_set(data / name)[1]:
            if field.split and is_held_out(image.file_name):
                continue
            labels = label_map(image)
            for number in range(field.views):
                yield view(image.image(), labels, rng if number else None, field.inverted)


def cache(field: Field, data: Path, folder: Path) -> list[NDArray[np.float16]]:
    """Maps of all views and their targets, (n, C, ..) each, from the disk or computed."""
    files = [folder / f"{name}.npy" for name in ("map0", "map1", "map2", "target")]
    if not files[-1].is_file():
        model, stored = anymask.load(BASE, device="cpu"), list[list[NDArray[np.float16]]]()
        for image, labels in views_of(field, data):
            maps = [one.values for one in model.encode(image).maps]
            stored.append([one.astype(np.float16) for one in (*maps, targets(labels[1::2, 1::2]))])
        for file, arrays in zip(files, zip(*stored, strict=True), strict=True):
            np.save(file, np.stack(arrays))
    return [np.load(file, mmap_mode="r") for file in files]


def loss_of(planes: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy and Dice of the foreground, and the error of the distances."""
    inside, found = truth[:, :1], planes[:, :1].clamp(1e-5, 1 - 1e-5)
    overlap = 2 * (found * inside).sum((2, 3)) + 1
    dice = 1 - overlap / (found.sum((2, 3)) + inside.sum((2, 3)) + 1)
    weight = inside + 0.15 * (1 - inside)
    apart = ((planes[:, 1:] - truth[:, 1:]).abs() * weight).sum() / weight.sum()
    return F.binary_cross_entropy(found, inside) + 0.5 * dice.mean() + apart


def train(
    maps: list[NDArray[np.float16]], folder: Path, minutes: float, field: Field
) -> InstanceHead:
    """Train for some minutes of CPU time, and return the averaged weights."""
    torch.manual_seed(0)
    head = InstanceHead([one.shape[1] for one in maps[:3]], field.context).train()
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.02)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0}
    mean = {name: value.clone() for name, value in head.state_dict().items()}
    if (folder / "state.pt").is_file():
        state = torch.load(folder / "state.pt", weights_only=True)
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        mean = state["mean"]
    rng, step = np.random.default_rng(1 + state["step"]), int(state["step"])
    began = kept = time.process_time()
    while (done := (state["seconds"] + time.process_time() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 50) * (0.5 + 0.5 * float(np.cos(np.pi * done)))
        cut = [list[NDArray[np.float32]]() for _ in maps]
        for row in rng.integers(0, len(maps[0]), 64 // field.crop):
            y, x = rng.integers(0, CELLS - field.crop + 1, 2)
            for found, one, times in zip(cut, maps, (1, 2, 4, 8), strict=True):
                rows, columns = (np.s_[at * times : (at + field.crop) * times] for at in (y, x))
                window = rows, columns
                found.append(one[row][(slice(None), *window)].astype(np.float32))
        *seen, truth = (torch.from_numpy(np.stack(one)) for one in cut)
        loss = loss_of(head(*seen), truth)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        step += 1
        for name, value in head.state_dict().items():
            mean[name].lerp_(value, 1 - min(0.99, step / (step + 10)))
        if time.process_time() - kept > 60:
            kept = time.process_time()
            now = {"step": step, "seconds": state["seconds"] + kept - began, "mean": mean}
            now |= {"head": head.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(now, folder / "state.pt")
            print(f"{step} steps, {done:.0%}, loss {loss.item():.3f}", flush=True)
    head.load_state_dict({name: value.half().float() for name, value in mean.items()})
    return head.eval()


def write_bundle(head: InstanceHead, name: str, data: str, out: Path) -> None:
    """Write the graph of a head and the manifest that refers to the files of the base."""
    out.mkdir(parents=True, exist_ok=True)
    base = read_manifest(ASSETS / BASE)
    given = base.graph(GraphNames.ENCODER).outputs
    maps = tuple(torch.zeros(1, *map(int, one.shape[1:])) for one in given)
    takes = {one.name: "" for one in given}
    sides = varying_sides(base.spec, maps)
    info = write_graph(GraphNames.INSTANCES, head, maps, takes, {"planes": ""}, out, sides=sides)
    kept = [graph for graph in base.graphs if graph.name != GraphNames.MEMORY]
    files = {
        file: sha for file, sha in base.sha256.items() if not file.startswith(GraphNames.MEMORY)
    }
    sha = file_sha256(out / info.file)
    written = replace(
        base, spec=replace(base.spec, name=name), graphs=(*kept, info),
        sha256=files | {info.file: sha}, base=BASE, data=data,
        weights_hash=hashlib.sha256(f"{base.weights_hash} {sha}".encode()).hexdigest(),
    )  # fmt: skip
    write_whole(out / MANIFEST, manifest_to_json(written))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("field", choices=FIELDS)
    parser.add_argument("-o", dest="out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--minutes", type=float, default=6.0, help="minutes of CPU time")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    field, name = FIELDS[args.field], f"{BASE}-{args.field}"
    write_held_out(field, args.data, args.out / "held-out")
    head = train(cache(field, args.data, args.out), args.out, args.minutes, field)
    write_bundle(head, name, field.data, args.out / name)
    print(json.dumps({"bundle": str(args.out / name)}))


if __name__ == "__main__":
    main()
