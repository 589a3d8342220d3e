"""Five made volumes with exact truth, followed from a box on the middle slice: Dice, ends, memory.

    python research/measure_volumes.py [--seed 0] [--model nano] [--out FIGURES.json]
    python research/measure_volumes.py --memory

No labelled organ was available, so the things are made: a bent tube, a vessel that branches, an
organ beside an equal grey, a lesion that ends abruptly, a cell among touching ones. Each voxel is
the mean of SUB^3 samples (partial volume), then noise is added; the truth is what is half full or
more. "copy" is the mask of the same box copied to every slice, "copy*" to the slices between the
true ends, which nobody knows; "end" counts the first and the last slice within 2 slices of the
truth's. --memory follows through 512 x 512 x 200 and prints the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import anymask
from anymask.base import this_machine
from anymask.volumes import Volume
from anymask.volumes.volume import scaled_affine

SHAPE = (72, 112, 128)
SUB = 3  # samples along each axis of a voxel
NEAR = 2  # slices
Field = NDArray[np.float32]
Grid = tuple[Field, Field, Field]  # z, y, x in voxels


@dataclass(frozen=True)
class Made:
    """A scan, the truth (z, y, x) and what the thing is."""

    name: str
    scan: Volume
    truth: NDArray[np.bool_]


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
    shape = np.broadcast_shapes(z.shape, y.shape, x.shape)
    away = np.stack(
        [
            np.broadcast_to(np.sqrt((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2), shape)
            for cz, cy, cx in centers
        ]
    ).astype(np.float32)
    nearest, order = away.min(axis=0), np.sort(away, axis=0)
    wall = (order[1] - order[0]) < 1.6
    filled = (nearest < 17) & ~wall
    inside = filled & (away.argmin(axis=0) == 0)
    return inside, 45 + 75 * filled.astype(np.float32) + 30 * (wall & (nearest < 17))


KINDS: dict[str, Callable[[Grid, np.random.Generator], tuple[NDArray[np.bool_], Field]]] = {
    "tube": tube, "vessel": vessel, "organ": organ, "lesion": lesion, "cells": cells,
}  # fmt: skip


def make(name: str, seed: int, noise: float = 12.0) -> Made:
    """One made volume; voxels are 1.5 x 1 x 1 mm."""
    rng = np.random.default_rng([seed, *name.encode()])
    form, gray = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    state = rng.bit_generator.state
    steps = (np.arange(SUB) + 0.5) / SUB - 0.5
    for dz in steps:  # a third of the samples at once
        rng.bit_generator.state = state
        sides = [(np.arange(side)[:, None] + steps).ravel() for side in SHAPE[1:]]
        z = (np.arange(SHAPE[0]) + dz)[:, None, None].astype(np.float32)
        y, x = (side.astype(np.float32) for side in sides)
        inside, value = KINDS[name]((z, y[:, None], x[None, :]), rng)
        parts = (SHAPE[0], SHAPE[1], SUB, SHAPE[2], SUB)
        form += inside.reshape(parts).mean(axis=(2, 4)) / SUB
        gray += np.broadcast_to(value, inside.shape).reshape(parts).mean(axis=(2, 4)) / SUB
    scan = gray * 4 - 200 + rng.normal(0, 4 * noise, SHAPE)
    volume = Volume(scan.astype(np.int16), scaled_affine((1.5, 1.0, 1.0)))
    return Made(name, volume, form >= 0.5)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|)."""
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def ends(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """First and last slice; (-99, -99) of nothing."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    return (int(slices[0]), int(slices[-1])) if len(slices) else (-99, -99)


@dataclass(frozen=True)
class Figures:
    """What following one thing gave: Dice of it and of two copies of the first mask; ends."""

    name: str
    first: float
    followed: float
    copied: float
    copied_between_ends: float
    ends: tuple[int, int]
    true_ends: tuple[int, int]
    seconds: float

    @property
    def ends_near(self) -> int:
        """Ends within NEAR slices of the truth's, of two."""
        pairs = zip(self.ends, self.true_ends, strict=True)
        return sum(abs(a - b) <= NEAR for a, b in pairs)


def measure(model: anymask.Model, made: Made) -> Figures:
    """Follow the thing from the box on its middle slice."""
    # The middle slice of the thing and its box there, one pixel wider.
    slices = np.flatnonzero(made.truth.any(axis=(1, 2)))
    index = int(slices[len(slices) // 2])
    rows, columns = np.nonzero(made.truth[index])
    box = [columns.min() - 1, rows.min() - 1, columns.max() + 2, rows.max() + 2]
    began = time.perf_counter()
    with model.volume(made.scan) as session:
        first = session.add(index, box=box).mask
        found = session.follow().mask()
    seconds = time.perf_counter() - began
    copied = np.broadcast_to(first, found.shape).copy()
    between = copied.copy()
    low, high = ends(made.truth)
    between[:low], between[high + 1 :] = False, False
    return Figures(
        made.name, dice(first, made.truth[index]), dice(found, made.truth),
        dice(copied, made.truth), dice(between, made.truth),
        ends(found), (low, high), seconds,
    )  # fmt: skip


def measure_memory(model: anymask.Model) -> dict[str, float]:
    """Follow a tube through 512 x 512 x 200; peak of this process in GiB, seconds."""
    rng, scan = np.random.default_rng(0), np.empty((200, 512, 512), np.int16)
    y, x = np.ogrid[:512, :512]
    for z in range(200):
        inside = (y - 256 - 60 * np.sin(z / 30)) ** 2 + (x - 256) ** 2 < 40**2
        scan[z] = 100 + 300 * inside + rng.normal(0, 40, inside.shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    volume = Volume(scan, scaled_affine((1.0, 0.8, 0.8)))
    with model.volume(volume) as session:
        middle = 256 + 60 * np.sin(100 / 30)
        session.add(100, box=(214, middle - 42, 298, middle + 42))
        slices = sum(bool(one.objects[1].area) for one in session.propagate())
        found = int((session.labels().array == 1).sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gib = 2**20  # ru_maxrss is in KiB on Linux
    return {
        "GiB before": before / gib, "GiB peak": peak / gib, "slices": slices, "voxels": found,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def main() -> None:
    """Print the table, or the memory; write the figures where --out says so."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--kind", choices=tuple(KINDS), action="append")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = anymask.load(args.model)
    if args.memory:
        print(json.dumps(measure_memory(model)))
        return
    print(f"{this_machine()}; {model!r}; seed {args.seed}", file=sys.stderr)
    print("| thing | first slice | followed | copy | copy* | ends (truth) | s |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for name in args.kind or KINDS:
        one = measure(model, make(name, args.seed))
        rows.append(one)
        print(
            f"| {name} | {one.first:.3f} | {one.followed:.3f} | {one.copied:.3f} | "
            f"{one.copied_between_ends:.3f} | {one.ends} ({one.true_ends}) | {one.seconds:.0f} |",
            flush=True,
        )
    means = [
        np.mean([getattr(one, name) for one in rows])
        for name in ("first", "followed", "copied", "copied_between_ends")
    ]
    near = sum(one.ends_near for one in rows)
    columns = " | ".join(f"{value:.3f}" for value in means)
    print(f"| mean | {columns} | {near} of {2 * len(rows)} within {NEAR} slices | |")
    if args.out:
        args.out.write_text(json.dumps([vars(one) for one in rows], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
