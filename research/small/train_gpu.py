"""`small` trained on for some minutes on one GPU: packed pictures in, the learned half out.

    python -m research.small.pack_images ../shared/data/train PLACE
    python -m research.small.train_gpu PLACE --weights weights.safetensors --out RUN

weights  the file of `small` in the package; `pack.py` and `build.py` make a new one of RUN's `end`

Half of the time pictures of 256 and 384 pixels, then 384 and 512; the rate falls as a cosine over
the time; averaged weights are written as 16 bits every 100 seconds (`mid`) and at the end (`end`).
Losses and prompts are those of `anymask.training`, with products in bf16. The package's sources and
this folder are all it needs; nothing of what it reads has to be prepared there.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from anymask.masks import TokenRoles
from anymask.models.nano import SMALL, Nano, NanoDecoder
from anymask.training.interaction import SimulatedPrompts
from anymask.training.losses import mask_iou, mask_losses, prompt_loss, quality_loss
from anymask.training.step import QUALITY_WEIGHT, THIRD_CLICK, best_shown
from research.small.gpu_images import ImagesOnDevice, Objects, corrected
from research.small.image_pool import FORK, Crops, ImagePool, compose_scenes, draw_crops, open_pool

ROLES = TokenRoles(clear=(0,), ambiguous=(1, 2, 3))
WEIGHTS = {
    "coco_instances": 4.0, "coco_panoptic": 4.0, "coco_more": 2.5, "coco_person_more": 1.3,
    "taco_litter": 0.8, "corridor_a": 1.5, "corridor_b": 1.5, "pets": 0.8, "caltech_animals": 0.8,
    "caltech_objects": 0.8, "tree_limbs": 1.5, "seedling_roots": 2.0, "footpaths": 0.7,
    "indonesian_food_plate": 0.7, "infant_heads": 0.5, "class5_small_objects": 0.5,
    "car_damage8": 0.6, "car_damage_via": 0.6, "medical_waste": 0.6, "qr_codes": 0.6,
    "accelerator_monitors": 0.6,
}  # fmt: skip
BATCHES = {256: 96, 384: 44, 512: 24}  # pictures of a batch by their side
MASKS = 8  # of a picture
WARM_UP, SAVED_S, TOLD, REFRESHED = 80, 100.0, 100, 40
BACKBONE_RATE, QUALITY_FLOOR = 0.25, 0.12  # shares of the rate
DECAY, EMA = 0.02, 0.998
VIT = "encoder.backbone.vit."


@dataclass(frozen=True)
class GpuRun:
    """How long and how fast `small` learns.

    Attributes:
        seconds: Length of the training.
        rate: Maximum learning rate of AdamW.
        batches: Images per batch, by image side.
    """

    seconds: float
    rate: float
    batches: dict[int, int]
    seed: int


def some_side(done: float, rng: np.random.Generator) -> int:
    """Of the next batch, small ones first; `done` is the part of the time that is over."""
    pick = rng.random()
    if done < 0.5:
        return 256 if pick < 0.55 else 384
    return 256 if pick < 0.1 else 384 if pick < 0.5 else 512


def draw_batches(pool: ImagePool, run: GpuRun, clock: Any, queue: Any, number: int) -> None:
    """Hand out sides and crops until the process is ended; `clock` has the run's begin, or 0."""
    rng = np.random.default_rng([run.seed, 5, number])
    while True:
        done = (time.time() - clock.value) / run.seconds if clock.value else 0.0
        side = some_side(done, rng)
        queue.put((side, draw_crops(pool, rng, (run.batches[side], MASKS, side))))


@contextmanager
def drawn_batches(
    pool: ImagePool, run: GpuRun, procs: int
) -> Iterator[tuple[Callable[[], tuple[int, Crops]], Callable[[], None]]]:
    """What hands out the next batch, and what tells the drawers that the time begins."""
    queue, clock = FORK.Queue(10), FORK.Value("d", 0.0)
    makers = [FORK.Process(target=compose_scenes, args=(pool, k, procs)) for k in range(procs)]
    drawers = [
        FORK.Process(target=draw_batches, args=(pool, run, clock, queue, k)) for k in range(2)
    ]
    for one in (*makers, *drawers):
        one.daemon = True
        one.start()

    def next_batch() -> tuple[int, Crops]:
        while True:
            try:
                batch: tuple[int, Crops] = queue.get(timeout=2)
            except Empty:
                if not any(one.is_alive() for one in drawers):
                    raise SystemExit("no process draws batches any more; see above") from None
            else:
                return batch

    try:
        yield next_batch, lambda: setattr(clock, "value", time.time())
    finally:
        for one in (*makers, *drawers):
            one.kill()
            one.join()


def open_small(weights: Path, device: torch.device) -> Nano:
    """The model as it ships, in float32, ready to learn."""
    stored = load_file(weights)
    state = {
        name: one.float() * stored[f"{name}_scale"][:, None]
        if f"{name}_scale" in stored
        else one.float()
        for name, one in stored.items()
        if not name.endswith("_scale")
    }
    model = Nano(SMALL)
    model.load_state_dict(state)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(model.parts.frozen))
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.train()


@contextmanager
def exact_positions() -> Iterator[None]:
    """Positions in float32 under autocast: 8 bits cannot tell neighbouring pixels apart."""
    plain = NanoDecoder.positions

    def exact(self: NanoDecoder, points: Tensor) -> Tensor:
        with torch.autocast(points.device.type, enabled=False):
            return plain(self, points.float())

    NanoDecoder.positions = exact  # type: ignore[method-assign]
    try:
        yield
    finally:
        NanoDecoder.positions = plain  # type: ignore[method-assign]


class Learner:
    """The model, its optimiser and the average of its weights."""

    def __init__(self, model: Nano, run: GpuRun) -> None:
        self.model, self.run, self.steps = model, run, 0
        self.device = next(model.parameters()).device
        groups: dict[tuple[str, bool], list[torch.nn.Parameter]] = {}
        for name, one in model.named_parameters():
            if one.requires_grad:
                kind = "backbone" if name.startswith(model.parts.pretrained) else "rest"
                kind = "quality" if name.startswith(model.parts.quality) else kind
                groups.setdefault((kind, one.ndim > 1), []).append(one)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": members,
                    "weight_decay": DECAY if decayed else 0.0,
                    "scale": BACKBONE_RATE if kind == "backbone" else 1.0,
                    "floor": QUALITY_FLOOR if kind == "quality" else 0.0,
                }
                for (kind, decayed), members in groups.items()
            ],
            run.rate,
            fused=self.device.type == "cuda",
        )
        state = model.state_dict()
        self.names = [name for name in state if not name.startswith(VIT)]
        self.live = [state[name].detach() for name in self.names]
        self.average = [one.clone() for one in self.live]

    def learn(self, images: Tensor, masks: Tensor, done: float, *, third: bool) -> list[Tensor]:
        """One step; loss, IoU of a click's first mask, of its best, of a box's, after a correction.

        images (B, 3, S, S), masks (B, K, S, S); third: a correction without gradient in between
        """
        with torch.no_grad():
            objects = Objects(masks.flatten(0, 1)[:, None])
            prompts = objects.first_prompts(images.shape[-1])
        with torch.autocast(self.device.type, torch.bfloat16):
            encoded = self.model.encode(images.contiguous(memory_format=torch.channels_last))
            features = tuple(one.repeat_interleave(masks.shape[1], 0) for one in encoded)
            logits, quality = self._answer(features, prompts)
            loss, iou = _judge(logits, quality, objects, prompts)
            lone, weight = prompts.ambiguous, objects.counts > 0
            with torch.no_grad():
                shown = best_shown(logits, quality, lone, ROLES)
                ious = [
                    iou.gather(1, 1 + quality[:, 1:].argmax(1, keepdim=True))[lone & weight].mean(),
                    iou[:, 1:].amax(1)[lone & weight].mean(),
                    iou[:, 0][~lone & weight].mean(),
                ]
                prompts = corrected(prompts, shown, objects.targets)
                if third:
                    prompts = corrected(
                        prompts, self._answer(features, prompts)[0][:, 0], objects.targets
                    )
            second, its_quality = self._answer(features, prompts)
            second_loss, second_iou = _judge(second, its_quality, objects, prompts)
        self._descend(loss + second_loss, done)
        return [(loss + second_loss).detach(), *ious, second_iou[:, 0][weight].mean()]

    def _answer(
        self, features: tuple[Tensor, ...], prompts: SimulatedPrompts
    ) -> tuple[Tensor, Tensor]:
        logits, quality = self.model.decode(
            features, prompts.coords, prompts.labels, prompts.masks, prompts.has_mask
        )
        return logits.float(), quality.float()

    def _descend(self, loss: Tensor, done: float) -> None:
        """One step of the optimiser; a gradient that is no number changes nothing."""
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        for group in self.optimizer.param_groups:
            floor = group["floor"] * min(1.0, 4 * (1 - done))
            group["lr"] = (
                self.run.rate
                * group["scale"]
                * min(1, (self.steps + 1) / WARM_UP)
                * max(cosine, floor)
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        learning = [one for one in self.model.parameters() if one.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(learning, 1.0)
        if self.device.type == "cuda":  # looked at on the GPU, which need not be waited for
            self.optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
            self.optimizer.grad_scale = None  # type: ignore[attr-defined]
            self.optimizer.step()
        elif torch.isfinite(norm):
            self.optimizer.step()
        self.steps += 1
        decay = min(EMA, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.live, 1 - decay)

    def save(self, path: Path) -> None:
        """The averaged weights without the transformer, in 16 bits."""
        path.parent.mkdir(parents=True, exist_ok=True)
        pairs = zip(self.names, self.average, strict=True)
        save_file({name: one.half().cpu().contiguous() for name, one in pairs}, path)


def _judge(
    logits: Tensor, quality: Tensor, objects: Objects, prompts: SimulatedPrompts
) -> tuple[Tensor, Tensor]:
    """The mean loss of one answer, and each mask's true overlap (N, T)."""
    iou = mask_iou(logits.detach(), objects.targets)
    losses = mask_losses(logits, objects.targets, 0.0, "normalised")
    wrong = prompt_loss(losses, prompts.ambiguous, ROLES)
    wrong = wrong + QUALITY_WEIGHT * quality_loss(quality, iou)
    return (wrong * objects.counts).sum() / objects.counts.sum().clamp(min=1), iou


def train(
    pool: ImagePool, run: GpuRun, weights: Path, out: Path, device: torch.device, procs: int
) -> None:
    """Learn for the run's seconds."""
    torch.manual_seed(run.seed)
    rng, rows = np.random.default_rng(run.seed), deque[Tensor](maxlen=TOLD)
    with drawn_batches(pool, run, procs) as (next_batch, begin), exact_positions():
        learner = Learner(open_small(weights, device), run)
        image_files = ImagesOnDevice(pool, device)
        begin()
        began = saved = time.time()
        while (done := (time.time() - began) / run.seconds) < 1:
            side, crops = next_batch()
            if learner.steps % REFRESHED == 0:
                image_files.refresh()
            with torch.no_grad():
                images, masks = image_files.render(crops, side)
            row = learner.learn(images, masks, done, third=bool(rng.random() < THIRD_CLICK))
            rows.append(torch.stack(row))
            if learner.steps % TOLD == 0:
                means = " ".join(
                    f"{one:.3f}" for one in torch.stack(list(rows)).nanmean(0).tolist()
                )
                print(f"{learner.steps} steps, {done:.2f} of the time: {means}", flush=True)
            if time.time() - saved > SAVED_S:
                learner.save(out / "mid.safetensors")
                saved = time.time()
    learner.save(out / "end.safetensors")
    print(f"{learner.steps} steps")


def main() -> None:
    """Read the words and train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("images", type=Path, help="folder of what pack_pictures wrote")
    parser.add_argument("--parts", default="a,b")
    parser.add_argument("--weights", type=Path, required=True, help="to go on from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=530.0)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--procs", type=int, default=15, help="processes that prepare")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--smaller", type=float, default=1.0, help="divides the batches' pictures")
    args = parser.parse_args()
    batches = {side: max(2, int(count / args.smaller)) for side, count in BATCHES.items()}
    run = GpuRun(args.seconds, args.rate, batches, args.seed)
    pool = open_pool(args.images, args.parts.split(","), WEIGHTS, args.procs)
    print(f"{pool.images} photos, {pool.drawn} masks, {len(pool.sets)} sets", flush=True)
    train(pool, run, args.weights, args.out, torch.device(args.device), max(1, args.procs - 1))


if __name__ == "__main__":
    main()
