"""Pretraining of an image encoder without masks: hidden cells (MAE) or a teacher's features (SAMI).

    python -m research.pretrain mae --data PHOTOS -o runs/mae.pt [--model nano] [--steps 20000]
    python -m research.pretrain sami --data PHOTOS -o runs/sami.pt --teacher mobile_sam
    python -m research.pretrain probe --data nuclei_train --test nuclei_test --weights runs/mae.pt

`mae` reconstructs the pixels of hidden cells, normalized by cell (He et al. 2021, arXiv:2111.06377,
section 3). `sami` reconstructs the features that a teacher computes from the whole image (Xiong et
al. 2023, EfficientSAM, arXiv:2312.00863, section 3.2). Three of four cells are hidden. Difference:
hidden cells are gray, not omitted, as in SimMIM (Xie et al. 2022, arXiv:2111.09886), so that
encoders with windows or convolutions can be trained. The output is a start for a recipe:
`init = "runs/mae.pt"`.

`probe` measures features: a ridge regression predicts from each cell which share of it is
annotated, relative to the mean of the image. Its correlation with the truth on held-out images is
printed, beside that of the same network with random weights. With 200 steps of the ViT of the tests
on nuclei, features of `mae --raw` reach 0.39, random ones 0.35, and those of pixels that are
normalized by cell, which lose the brightness, 0.29.

Letters: B images, S side, C channels, g cells of a side, K = side of a cell in pixels.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask import models
from anymask.base import DataError, Floats, UintImage
from anymask.formats import load_set
from anymask.images import list_images, load_image
from anymask.masks import rle_to_mask
from anymask.runtime import load_module, load_official, read_checkpoint
from research.command import exit_status

HIDDEN = 0.75  # share of hidden cells
WARMUP = 0.05  # share of the steps
RIDGE = 1e-3  # relative to the variance of a feature


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Settings of a run.

    Attributes:
        side: Side S of the crops in pixels.
        images: Images of a step.
        rate: Peak learning rate; it rises in the first steps and falls as a cosine.
    """

    steps: int = 20_000
    side: int = 256
    images: int = 16
    rate: float = 3e-4
    weight_decay: float = 0.05
    seed: int = 0


def crops(images: Sequence[Path], config: PretrainConfig) -> Iterator[Tensor]:
    """Batches of random crops (B, 3, S, S) in 0..255, mirrored at random, without end."""
    rng = np.random.default_rng(config.seed)
    while True:
        chosen = rng.choice(len(images), config.images)
        yield torch.stack([_crop(load_image(images[n]), config.side, rng) for n in chosen])


def _crop(image: UintImage, side: int, rng: np.random.Generator) -> Tensor:
    height, width = image.shape[:2]
    size = max(1, round(min(height, width) * rng.uniform(0.4, 1)))
    top, left = rng.integers(0, height - size + 1), rng.integers(0, width - size + 1)
    cut = cv2.resize(
        np.ascontiguousarray(image[top : top + size, left : left + size]),
        (side, side),
        interpolation=cv2.INTER_AREA if size > side else cv2.INTER_LINEAR,
    )
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(cut)).permute(2, 0, 1).float()


def hidden_cells(images: int, cells: int, generator: torch.Generator) -> Tensor:
    """Draw the hidden cells of each image: (B, g, g) bool, the same number in each."""
    count = round(HIDDEN * cells * cells)
    order = torch.rand(images, cells * cells, generator=generator).argsort(dim=1)
    return (order < count).reshape(images, cells, cells)


def hide(images: Tensor, hidden: Tensor) -> Tensor:
    """Set hidden cells (B, g, g) of normalized images (B, 3, S, S) to 0, the mean color."""
    side = images.shape[-1] // hidden.shape[-1]
    wide = hidden[:, None].repeat_interleave(side, 2).repeat_interleave(side, 3)
    return images.masked_fill(wide, 0.0)


def cell_pixels(images: Tensor, cells: int) -> Tensor:
    """Pixels of each cell, normalized by cell: (B, 3, S, S) -> (B, 3 K K, g, g)."""
    pixels = F.pixel_unshuffle(images, images.shape[-1] // cells)
    mean, variance = pixels.mean(1, keepdim=True), pixels.var(1, keepdim=True)
    return (pixels - mean) / (variance + 1e-6).sqrt()


def normalized(images: Tensor, model: Any) -> Tensor:
    """Normalize images (B, 3, S, S) in 0..255 as the model requires."""
    mean, std = (torch.tensor(three)[:, None, None] for three in (model.spec.mean, model.spec.std))
    scaled: Tensor = (images - mean) / std
    return scaled


Target = Callable[[Tensor], Tensor]  # (B, 3, S, S) in 0..255 -> (B, C, g, g)


class Reconstruction(nn.Module):
    """An encoder with a 1 x 1 convolution that reconstructs targets from its coarsest map."""

    def __init__(self, model: Any, side: int, target: Target) -> None:
        super().__init__()
        self.model, self.target = model, target
        with torch.no_grad():
            example = torch.zeros(1, 3, side, side)
            features, expected = model.encode(example)[0], target(example)
        self.cells = features.shape[-1]
        self.head = nn.Conv2d(features.shape[1], expected.shape[1], 1)

    def forward(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Mean squared error of the hidden cells (B, g, g) of images (B, 3, S, S) in 0..255."""
        expected = F.interpolate(self.target(images), hidden.shape[1:], mode="area")
        features = self.model.encode(hide(normalized(images, self.model), hidden))[0]
        error: Tensor = (self.head(features) - expected).square().mean(dim=1)
        return error[hidden].mean()


def pixels_of(model: Any, side: int, by_cell: bool = True) -> Target:
    """The targets of MAE: the pixels of the cells of the model's coarsest map.

    Args:
        by_cell: Normalize the pixels of each cell, which removes its brightness and contrast.
    """
    with torch.no_grad():
        cells = model.encode(torch.zeros(1, 3, side, side))[0].shape[-1]

    def pixels(images: Tensor) -> Tensor:
        scaled = normalized(images, model)
        return cell_pixels(scaled, cells) if by_cell else F.pixel_unshuffle(scaled, side // cells)

    return pixels


def features_of(teacher: Any) -> Target:
    """The targets of SAMI: the teacher's coarsest map, computed at its own input size."""
    teacher = teacher.eval().requires_grad_(False)
    spec = teacher.spec

    def features(images: Tensor) -> Tensor:
        side = images.shape[-1] if spec.pad_multiple else spec.image_side
        large = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        with torch.no_grad():
            seen: Tensor = teacher.encode(normalized(large, teacher))[0]
        return seen

    return features


def pretrain(
    task: Reconstruction, batches: Iterator[Tensor], config: PretrainConfig
) -> Iterator[float]:
    """Train the encoder, and yield the loss of each step."""
    task.train()
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(
        task.parameters(), config.rate, (0.9, 0.95), weight_decay=config.weight_decay
    )
    warmup = max(1, round(WARMUP * config.steps))

    def factor(step: int) -> float:
        done = max(0, step - warmup) / max(1, config.steps - warmup)
        return min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * done)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for _ in range(config.steps):
        loss = task(next(batches), hidden_cells(config.images, task.cells, generator))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield float(loss.detach())
    task.eval()


def cell_features(
    model: Any, folder: Path, side: int, limit: int
) -> tuple[Floats, Floats]:  # -> (N, C), (N,)
    """Features of all cells of a set's images, and the share of each cell that is annotated.

    Both are relative to the mean of their image.
    """
    features, shares = [], []
    model.eval()
    for sample in load_set(folder)[1][:limit]:
        image = cv2.resize(sample.image(), (side, side), interpolation=cv2.INTER_AREA)
        mask = np.zeros(sample.hw, np.bool_)
        for one in sample.objects:
            mask |= rle_to_mask(one.rle)
        given = torch.from_numpy(image).permute(2, 0, 1).float()[None]
        with torch.no_grad():
            encoded = model.encode(normalized(given, model))[0][0]
        size = (encoded.shape[2], encoded.shape[1])
        cells = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        rows = encoded.flatten(1).T.double().numpy()
        features.append(rows - rows.mean(axis=0))
        shares.append(cells.ravel().astype(np.float64) - cells.mean())
    if not features:
        raise DataError(f"{folder} contains no annotated images.")
    return np.concatenate(features), np.concatenate(shares)


def probe(model: Any, train: Path, test: Path, side: int = 256, limit: int = 40) -> float:
    """Correlation on `test` of a linear prediction that was fitted on `train`."""
    (x, y), (u, v) = (cell_features(model, folder, side, limit) for folder in (train, test))
    scale = x.std(axis=0) + 1e-9
    x, u = x / scale, u / scale
    weights = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
    return float(np.corrcoef(u @ weights, v)[0, 1])


def read_words(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        "python -m research.pretrain", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("task", choices=("mae", "sami", "probe"))
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of images; of probe: a set"
    )
    parser.add_argument("--test", type=Path, help="of probe: the set of held-out images")
    parser.add_argument("-o", "--output", type=Path, help="of mae and sami: the weights, .pt")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--weights", type=Path, help="start of the run; of probe: the features")
    parser.add_argument("--teacher", default="mobile_sam")
    parser.add_argument("--teacher-weights", type=Path)
    defaults = PretrainConfig()
    for name in ("steps", "side", "images", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    parser.add_argument("--raw", action="store_true", help="of mae: do not normalize by cell")
    parser.add_argument("--rate", type=float, default=defaults.rate)
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    """Run a task. Raises AnymaskError."""
    torch.manual_seed(args.seed)
    model = models.build(args.model)
    untrained = copy.deepcopy(model)
    if args.weights:
        load_official(model, read_checkpoint(args.weights))
    if args.task == "probe":
        if args.test is None or args.weights is None:
            raise DataError("probe requires --weights FILE and --test SET.")
        for name, one in (("random", untrained), (str(args.weights), model)):
            print(f"{name}: correlation {probe(one, args.data, args.test, args.side):.3f}")
        return
    if args.output is None:
        raise DataError("The output is missing. Pass -o FILE.pt.")
    images = list_images(args.data)
    fields = {name: vars(args)[name] for name in ("steps", "side", "images", "seed", "rate")}
    config = PretrainConfig(**fields)
    if args.task == "mae":
        target = pixels_of(model, config.side, by_cell=not args.raw)
    else:
        target = features_of(load_module(args.teacher, args.teacher_weights)[0])
    task = Reconstruction(model, config.side, target)
    for step, loss in enumerate(pretrain(task, crops(images, config), config), start=1):
        if step == 1 or step % 50 == 0:
            print(f"step {step}/{config.steps}: loss {loss:.4f}", flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict()}, args.output)
    print(f"wrote {args.output}")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    return exit_status("research.pretrain", lambda: run(read_words(words)))


if __name__ == "__main__":
    sys.exit(main())
