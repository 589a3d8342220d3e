"""Training and evaluation of one arm with one seed, and the record of finished runs.

Letters: I images, N masks, R clicks, T outputs of the decoder, S side of the square input, s side
of the logits.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask import models
from anymask.base import AnymaskError, BoolArray, DataError, Floats, UintImage
from anymask.evaluation.protocols import Goal, TruthMask, click_rounds, deepest_click
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import ModelSpec, Prompt, TokenRoles, rle_to_mask
from anymask.training.interaction import Draws
from anymask.training.loop import TrainingRun, TrainingWorker, get_ready
from anymask.training.run_folder import newest_state
from anymask.training.samples import batches
from anymask.training.step import TrainingStep, build_step, normalized
from anymask.training.trainee import build_trainee, trained_module
from research.claims.arms import ARMS, IMAGES, SIDE, Arm
from research.nano.scenes import pasted
from research.pretrain import PretrainConfig, Reconstruction, crops, pixels_of, pretrain

CLICKS = 10  # maximum of a mask
GOAL = 0.9
RECORD = "runs.jsonl"
TIMED = 3  # steps whose time is measured


class Interrupted(AnymaskError):
    """A signal stopped the training; the next call resumes it."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Folders of the experiment.

    Attributes:
        folder: Results, pools and the run in progress.
        backbone: File of the ImageNet weights.
    """

    folder: Path
    backbone: Path

    @property
    def pools(self) -> Path:
        """Folder of the sets."""
        return self.folder / "pools"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Result of a run.

    Attributes:
        arm: Name of the arm.
        seed: Seed of the run.
        steps: Optimizer steps.
        images: (N,) index of the test image of each mask.
        ious: (N, R) IoU after each click.
        oracle: (N,) IoU of the best candidate of the first click.
        seconds: Processor time.
    """

    arm: str
    seed: int
    steps: int
    images: list[int]
    ious: list[list[float]]
    oracle: list[float]
    seconds: float

    @cached_property
    def values(self) -> dict[str, Floats]:
        """(N,) value of each mask, by metric."""
        ious = np.asarray(self.ious)
        reached = ious >= GOAL
        clicks = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, ious.shape[1])
        return {
            "first": ious[:, 0],
            "oracle": np.asarray(self.oracle),
            "third": ious[:, min(2, ious.shape[1] - 1)],
            "clicks": clicks.astype(np.float64),
        }


def finished_runs(folder: Path) -> list[Finished]:
    """Read the finished runs; an incomplete last line, of a killed process, is skipped."""
    path = folder / RECORD
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(Finished(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def add_run(folder: Path, run: Finished) -> None:
    """Append a run to the record, on a new line even after an incomplete one."""
    path = folder / RECORD
    broken = path.is_file() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * broken + json.dumps(asdict(run)) + "\n")


def step_seconds(arm: Arm, place: Place) -> float:
    """Measure the processor time of a training step with its data."""
    recipe = arm.recipe(TIMED + 1, 0, backbone=str(place.backbone))
    step = build_step(build_trainee(recipe, place.pools).train(), recipe)
    coming = batches(recipe, place.pools, None, rank=0, first_step=0, scenes=pasted)
    times = []
    for number in range(TIMED + 1):
        begun = time.process_time()
        step(next(coming), 0.5, Draws(0, number, range(IMAGES))).loss.backward()
        times.append(time.process_time() - begun)
    return float(np.median(times[1:]))  # the first step also allocates memory


def run_arm(name: str, seed: int, steps: int, place: Place) -> Finished:
    """Train an arm and evaluate it. Raises Interrupted."""
    begun, arm = time.process_time(), ARMS[name]
    folder = place.folder / f"{name}-{seed}"
    init = ""
    if arm.start == "mae":
        init = str(folder / "mae.pt")
        if not Path(init).is_file():
            pretrained(arm, seed, steps, place.pools / arm.pool, Path(init))
    backbone = str(place.backbone) if arm.start == "imagenet" else ""
    recipe = arm.recipe(steps, seed, backbone=backbone, init=init)
    run = TrainingRun(data=place.pools, folder=folder, scenes=pasted)
    get_ready(recipe, run)
    worker = TrainingWorker(0, recipe, run)
    cast(TrainingStep, worker.step).roles = arm.roles
    worker.run()
    if worker.progress.step < steps:
        raise Interrupted("Interrupted. Run the same command again to resume.")
    state = newest_state(folder)
    assert state is not None  # written by the worker
    result = evaluated(trained_module(state[1]), arm.roles, load_set(place.pools / "test")[1])
    shutil.rmtree(folder)
    seconds = round(time.process_time() - begun, 1)
    return Finished(arm=name, seed=seed, steps=steps, seconds=seconds, **result)


def pretrained(arm: Arm, seed: int, steps: int, images: Path, target: Path) -> None:
    """Pretrain the arm's model from random weights on hidden cells (`research.pretrain`)."""
    torch.manual_seed(seed)
    model = models.build(arm.model)
    config = PretrainConfig(steps=steps, side=SIDE, images=IMAGES, rate=1e-3, seed=seed)
    task = Reconstruction(model, SIDE, pixels_of(model, SIDE, by_cell=False))
    image_files = sorted((images / "images").iterdir())
    for _ in pretrain(task, crops(image_files, config), config):
        pass
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict()}, target)


def evaluated(
    module: nn.Module, roles: TokenRoles, images: Sequence[AnnotatedImage]
) -> dict[str, Any]:
    """Click on all masks of the test images; return fields of `Finished`."""
    segmenter = SquareSegmenter(module, roles)
    goal = Goal(GOAL, deepest_click)
    places: list[int] = []
    ious, oracle = [], []
    for number, image in enumerate(images):
        truths = [TruthMask(rle_to_mask(rle)) for rle in image.rles]
        scores = click_rounds(segmenter, segmenter.encode(image.image()), truths, CLICKS, goal)
        places += [number] * len(truths)
        ious.append(scores.ious)
        oracle.append(scores.oracle)
    if not places:
        raise DataError("The test images contain no masks. Delete the folder of the pools.")
    return {
        "images": places,
        "ious": np.concatenate(ious).round(4).tolist(),
        "oracle": np.concatenate(oracle).round(4).tolist(),
    }


@dataclass(frozen=True, eq=False)
class SquareAnswer:
    """Masks (K, H, W) of a prompt, best first, and the logits (s, s) of the first."""

    masks: BoolArray
    logits: Tensor


class SquareSegmenter:
    """A model without the rules of `Model.segment`, which were fitted to the bundled weights.

    Images of at most S pixels are padded to a square and never resized.
    """

    def __init__(self, module: nn.Module, roles: TokenRoles) -> None:
        self.module, self.roles = module.eval(), roles
        self.spec: ModelSpec = cast(Any, module).spec

    @torch.no_grad()
    def encode(self, image: UintImage) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        """Return the features of an image and its size."""
        height, width = image.shape[:2]
        square = np.empty((SIDE, SIDE, 3), np.uint8)
        square[:] = np.array(self.spec.mean).astype(np.uint8)
        square[:height, :width] = image
        given = torch.from_numpy(square).permute(2, 0, 1).float()[None]
        features = cast(Any, self.module).encode(normalized(given, self.spec))
        return features, (height, width)

    @torch.no_grad()
    def segment(
        self,
        embedding: tuple[tuple[Tensor, ...], tuple[int, int]],
        *,
        prompts: Sequence[Prompt],
        previous: Sequence[SquareAnswer] | None = None,
    ) -> list[SquareAnswer]:
        """Predict masks for clicks: the outputs for one click, else the unambiguous one."""
        features, (height, width) = embedding
        low = SIDE * self.spec.mask_side // self.spec.image_side
        coords = (
            torch.from_numpy(np.stack([np.asarray(one.points) for one in prompts])).float() + 0.5
        )
        labels = torch.from_numpy(np.stack([np.asarray(one.labels) for one in prompts]))
        masks = torch.zeros(len(prompts), 1, low, low)
        if previous is not None:
            masks = torch.stack([one.logits for one in previous])[:, None].clamp(-20, 20)
        given = torch.full((len(prompts),), float(previous is not None))
        logits, quality = cast(Any, self.module).decode(features, coords, labels, masks, given)
        tokens = list(self.roles.ambiguous if coords.shape[1] == 1 else self.roles.clear)
        order = quality[:, tokens].argsort(dim=1, descending=True)
        chosen = logits[:, tokens].gather(1, order[:, :, None, None].expand(-1, -1, low, low))
        wide = F.interpolate(chosen, (SIDE, SIDE), mode="bilinear", align_corners=False)
        found = wide[:, :, :height, :width].numpy() > 0
        return [SquareAnswer(*one) for one in zip(found, chosen[:, 0], strict=True)]


def planned(steps: dict[str, int], seeds: int) -> Iterator[tuple[str, int]]:
    """Yield all runs, one seed after the other, so that every stop has results for all arms."""
    for seed in range(seeds):
        for name in steps:
            yield name, seed
