"""Made volumes with exact truth, tracked from exact boxes and masks: Dice, ends, harm, memory.

    python research/measure_volumes.py [--seeds 0 1] [--model nano] [--kind tree] [--out X.json]
    python research/measure_volumes.py --memory

No labeled scan was available, so the objects are made. Easy ones, in slices of 1.5 mm: a bent tube,
a vessel that branches, an organ beside an equal gray, a lesion that ends abruptly, a cell among
touching ones. Hard ones, in slices of 5 mm: a vessel that branches twice, and a lobed mass; both
change and fade gradually among objects of similar gray. Each voxel is the mean of SUB^3 samples
(partial volume), then noise is added; the truth is what is half full or more.

The first box is on the middle slice. Two more boxes or, apart from them, two masks follow on the
slices at 1/6 and 5/6 of the object. A prompt lowers other slices if their Dice falls by more than
FALL, all slices without a prompt together. "copied" is the mask of the first box copied to every
slice between the true ends (users do not know the ends). An object ends early if the mask of one
box lacks more than one slice at an end. --memory tracks through 512 x 512 x 200 and prints the peak
of the process.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import anymask
from anymask.base import this_machine
from anymask.masks import open_box
from anymask.volumes import Volume
from anymask.volumes.volume import scaled_affine

SUB = 3  # samples along each axis of a voxel
FALL = 0.02  # maximum loss of Dice
CLUTTER = 22  # objects around a hard one
Field = NDArray[np.float32]
Grid = tuple[Field, Field, Field]  # z, y, x in voxels


def tube(grid: Grid, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """A bent tube from slice 10 to 60."""
    z, y, x = grid
    bend, shift = rng.uniform(14, 20), rng.uniform(-6, 6)
    cy, cx = 56 + shift + bend * np.sin(z / 16), 64 + bend * np.cos(z / 20)
    inside = ((y - cy) ** 2 + (x - cx) ** 2 < 9**2) & (z > 10) & (z < 60)
    return inside, 60 + 80 * inside.astype(np.float32)


def vessel(grid: Grid, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """A vessel that becomes two; the trunk runs through the middle slice."""
    z, y, x = grid
    lean, apart = rng.uniform(-0.25, 0.25), rng.uniform(0.7, 0.9)
    away = np.maximum(z - 40, 0)
    inside = np.zeros(np.broadcast_shapes(z.shape, y.shape, x.shape), np.bool_)
    for side in (-1, 1):
        cx = 64 + lean * (z - 36) + side * apart * away
        radius = 8 - 3 * np.minimum(away / 10, 1)
        inside |= ((y - 52 - 0.3 * away) ** 2 + (x - cx) ** 2 < radius**2) & (z > 6) & (z < 64)
    return inside, 70 + 70 * inside.astype(np.float32)


def organ(grid: Grid, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """An organ that touches another one of the same grey; a dim rim parts them."""
    z, y, x = grid
    push = rng.uniform(-3, 3)

    def ball(cz: float, cy: float, cx: float, radii: tuple[float, float, float]) -> Field:
        parts = ((z - cz) / radii[0]) ** 2 + ((y - cy) / radii[1]) ** 2 + ((x - cx) / radii[2]) ** 2
        return np.asarray(parts, np.float32)

    mine, other = ball(36, 56, 46 + push, (26, 30, 24)), ball(40, 58, 95 + push, (24, 34, 26.5))
    inside = mine < 1
    rim = np.abs(np.sqrt(mine) - 1) < 0.05
    gray = 50 + 70 * (inside | (other < 1)).astype(np.float32)
    return inside, np.where(rim, 62, gray).astype(np.float32)


def lesion(grid: Grid, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """A lesion of the same section through slices 22 to 50, cut off at both ends."""
    z, y, x = grid
    angle, wave = rng.uniform(0, np.pi), rng.uniform(0, np.pi)
    dy, dx = y - 50 - 0.2 * (z - 36), x - 70
    turn, away = np.arctan2(dy, dx), np.hypot(dy, dx)
    radius = 14 + 3 * np.cos(2 * turn + angle) + 1.5 * np.cos(3 * turn + wave)
    inside = (away < radius) & (z > 22) & (z < 50)
    return inside, 90 + 45 * inside.astype(np.float32) + 10 * np.sin(x / 9) * np.cos(y / 11)


def cells(grid: Grid, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """Cells that press on each other; one of them is meant. Walls are darker."""
    z, y, x = grid
    offsets = np.array([[0, 0, 0], [4, 26, 4], [-6, -24, 6], [6, 3, 27], [-3, -4, -26], [24, 6, 5]])
    centers = np.array([36, 56, 64]) + offsets + rng.uniform(-3, 3, (6, 3))
    away = np.stack([np.sqrt((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) for a, b, c in centers])
    nearest, order = away.min(axis=0), np.sort(away, axis=0)
    wall = (order[1] - order[0]) < 1.6
    filled = (nearest < 17) & ~wall
    inside = filled & (away.argmin(axis=0) == 0)
    return inside, 45 + 75 * filled.astype(np.float32) + 30 * (wall & (nearest < 17))


def tree(grid: Grid, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """A vessel that becomes two, and one of them two again."""
    z, y, x = grid
    turn, lean = rng.uniform(0, np.pi), rng.uniform(-1.5, 1.5)
    inside = np.zeros(np.broadcast_shapes(z.shape, y.shape, x.shape), np.bool_)
    first, second = np.maximum(z - 9, 0), np.maximum(z - 12, 0)
    for one, other in ((-1, 0), (1, -1), (1, 1)):
        along = one * 4.5 * first + other * 3.5 * second
        cy, cx = 56 + np.sin(turn) * along, 64 + lean * (z - 9) + np.cos(turn) * along
        radius = 11 - 3 * np.minimum(first / 2, 1) - 1.5 * abs(other) * np.minimum(second / 2, 1)
        inside |= ((y - cy) ** 2 + (x - cx) ** 2 < radius**2) & (z > 1.6) & (z < 16.4)
    return inside, surrounded(grid, rng, inside)


def mass(grid: Grid, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """A lobed mass whose section moves, turns and changes its size."""
    z, y, x = grid
    turn, (dy, dx) = rng.uniform(0, np.pi), rng.choice((-1, 1), 2) * rng.uniform(1.5, 3.5, 2)
    dy, dx = y - 56 - dy * (z - 9), x - 64 - dx * (z - 9)
    angle, away = np.arctan2(dy, dx), np.hypot(dy, dx)
    size = 22 * np.sqrt(np.maximum(1 - ((z - 9) / 8) ** 2, 0)) * (1 + 0.02 * (z - 9))
    lobes = 1 + 0.35 * np.cos(2 * angle + turn + 0.2 * z) + 0.15 * np.cos(3 * angle - 0.25 * z)
    inside = away < size * lobes
    return inside, surrounded(grid, rng, inside)


def surrounded(grid: Grid, rng: np.random.Generator, inside: NDArray[np.bool_]) -> Field:
    """Gray of an object that fades along z, among CLUTTER balls of similar gray."""
    z, y, x = grid
    slope = rng.choice([-1, 1])
    gray = 60 + 10 * np.sin(x / 11 + rng.uniform(0, 6)) * np.cos(y / 13) + 1.5 * (z - 9)
    for _ in range(CLUTTER):
        cz, cy, cx, radius = rng.uniform((0, 5, 5, 6), (18, 107, 123, 16))
        ball = ((z - cz) * 5 / 1.5) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        gray = np.where(ball, 60 + rng.uniform(30, 65), gray)
    return np.where(inside, 60 + 50 * (1 + slope * 0.05 * (z - 9)), gray).astype(np.float32)


KINDS: dict[str, Callable[[Grid, np.random.Generator], tuple[NDArray[np.bool_], Field]]] = {
    "tube": tube, "vessel": vessel, "organ": organ, "lesion": lesion, "cells": cells,
    "tree": tree, "mass": mass,
}  # fmt: skip


def make(name: str, seed: int, noise: float = 12.0) -> tuple[Volume, NDArray[np.bool_]]:
    """A made scan, and the truth (z, y, x)."""
    shape, thickness = ((19, 112, 128), 5.0) if name in ("tree", "mass") else ((72, 112, 128), 1.5)
    rng = np.random.default_rng([seed, *name.encode()])
    form, gray = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    state = rng.bit_generator.state
    steps = (np.arange(SUB) + 0.5) / SUB - 0.5
    for dz in steps:  # a third of the samples at once
        rng.bit_generator.state = state
        sides = [(np.arange(side)[:, None] + steps).ravel() for side in shape[1:]]
        z = (np.arange(shape[0]) + dz)[:, None, None].astype(np.float32)
        y, x = (side.astype(np.float32) for side in sides)
        inside, value = KINDS[name]((z, y[:, None], x[None, :]), rng)
        parts = (shape[0], shape[1], SUB, shape[2], SUB)
        form += inside.reshape(parts).mean(axis=(2, 4)) / SUB
        gray += np.broadcast_to(value, inside.shape).reshape(parts).mean(axis=(2, 4)) / SUB
    scan = gray * 4 - 200 + rng.normal(0, 4 * noise, shape)
    return Volume(scan.astype(np.int16), scaled_affine((thickness, 1.0, 1.0))), form >= 0.5


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|); 1 if both are empty."""
    return float(2 * (a & b).sum() / total) if (total := a.sum() + b.sum()) else 1.0


def prompt_of(truth: NDArray[np.bool_], way: str) -> dict[str, Any]:  # (H, W)
    """A true section as a mask, or its box, one pixel wider."""
    box = np.add(open_box(truth), (-1, -1, 1, 1))
    return {"box": box} if way == "box" else {"mask": truth}


def measure(model: anymask.Model, scan: Volume, truth: NDArray[np.bool_]) -> dict[str, Any]:
    """Track an object from one box, and from two more boxes or masks.

    Returns Dice of the first slice, of one box, of three prompts and of the copied mask; `gains` in
    Dice of the slices without a prompt by each of the four added prompts; `fallen`, the number of
    these slices whose Dice fell by more than FALL, of all added prompts; the ends.
    """
    slices = np.flatnonzero(truth.any(axis=(1, 2)))
    middle, *more = slices[[len(slices) // 2, len(slices) // 6, -1 - len(slices) // 6]].tolist()
    found: dict[str, Any] = {"gains": [], "fallen": 0}
    with model.volume(scan) as session:
        first = session.add(middle, **prompt_of(truth[middle], "box")).mask
        one = session.follow().mask()
        for way in ("box", "mask"):
            before, others = one, [index for index in range(len(truth)) if index != middle]
            for index in more:
                session.add(index, **prompt_of(truth[index], way))
                others.remove(index)
                after, parts = session.follow().mask(), [others, *([i] for i in others)]
                gain, *single = [
                    dice(after[i], truth[i]) - dice(before[i], truth[i]) for i in parts
                ]
                found["gains"].append(gain)
                found["fallen"] += sum(one < -FALL for one in single)
                before = after
            found[way] = dice(after, truth)
            for index in more:
                session.remove_prompts(1, index)
    seen = np.flatnonzero(one.any(axis=(1, 2)))
    copied = first & truth.any(axis=(1, 2), keepdims=True)
    return found | {
        "first": dice(first, truth[middle]), "one": dice(one, truth), "copied": dice(copied, truth),
        "ends": [int(i) for i in (seen[0], seen[-1], slices[0], slices[-1])],
        "early": bool(seen[0] > slices[0] + 1 or seen[-1] < slices[-1] - 1),
    }  # fmt: skip


def measure_memory(model: anymask.Model) -> dict[str, float]:
    """Track a tube through 512 x 512 x 200; peak of this process in GiB."""
    rng, scan = np.random.default_rng(0), np.empty((200, 512, 512), np.int16)
    y, x = np.ogrid[:512, :512]
    for z in range(200):
        inside = (y - 256 - 60 * np.sin(z / 30)) ** 2 + (x - 256) ** 2 < 40**2
        scan[z] = 100 + 300 * inside + rng.normal(0, 40, inside.shape)
    with model.volume(Volume(scan, scaled_affine((1.0, 0.8, 0.8)))) as session:
        session.add(100, box=(214, 202, 298, 287))
        slices = sum(bool(one.objects[1].area) for one in session.propagate())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB on Linux
    return {"GiB peak": peak / 2**20, "slices": slices}


def main() -> None:
    """Print the table, or the memory; write the figures where --out says so."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 1), help="first, and last + 1")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--kind", choices=tuple(KINDS), action="append")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = anymask.load(args.model)
    if args.memory:
        print(json.dumps(measure_memory(model)))
        return
    print(f"{this_machine()}; {model!r}; seeds {args.seeds}", file=sys.stderr)
    names, rows = ("first", "one", "box", "mask", "copied"), dict[str, dict[str, Any]]()
    print(f"| object | {' | '.join(names)} | gains | fallen | ends, true ends |\n{'|---' * 9}|")
    for kind, seed in product(args.kind or KINDS, range(*args.seeds)):
        one = rows[f"{kind} {seed}"] = measure(model, *make(kind, seed))
        figures = [f"{one[column]:.3f}" for column in names]
        gains = " ".join(f"{gain:+.3f}" for gain in one["gains"])
        print(
            "|",
            f"{kind} {seed} |",
            " | ".join(figures),
            f"| {gains} | {one['fallen']} | {one['ends']} |",
            flush=True,
        )
    gains = [gain for one in rows.values() for gain in one["gains"]]
    print(
        "mean", *(f"{name} {np.mean([one[name] for one in rows.values()]):.3f}," for name in names),
        "prompts that lower other slices:", sum(gain < -FALL for gain in gains), "of", len(gains),
        "| slices that fell:", sum(one["fallen"] for one in rows.values()),
        "| ended early:", sum(one["early"] for one in rows.values()), "of", len(rows),
    )  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
