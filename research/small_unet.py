"""A small U-Net that tells objects apart: photos with masks in, a picture of numbered objects out.

Ronneberger et al. 2015 (arXiv 1505.04597) in its smallest useful form, as the yardstick of
`how_many_labels.py`: what one would train for a few pictures without a promptable model. Three
levels, 16, 32 and 64 channels, batch norm, padded convolutions (deviations). It learns two maps,
inside an object and within a pixel of an object's edge; objects are the connected parts of
inside without edge, grown back by watershed's simplest form, the nearest part.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.formats import AnnotatedImage
from anymask.masks import rle_to_mask
from anymask.training.augment import recolor, turn
from anymask.training.trainee import multiplies_halves

WIDTHS = (16, 32, 64)
CROP, BATCH, RATE = 256, 4, 2e-3
EDGE = 1  # pixels on either side
GROWN = 3  # pixels that a part may grow back


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 x 3 convolutions."""
    layers: list[nn.Module] = []
    for c_in in (inputs, outputs):
        layers += [nn.Conv2d(c_in, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class SmallUNet(nn.Module):
    """(B, 3, H, W) in 0..1, sides a multiple of 4 -> logits of inside and edge (B, 2, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.down1, self.down2, self.deep = block(3, a), block(a, b), block(b, c)
        self.up2, self.up1 = block(b + c, b), block(a + b, a)
        self.last = nn.Conv2d(a, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        three = self.deep(F.max_pool2d(two, 2))
        two = self.up2(torch.cat([two, F.interpolate(three, scale_factor=2.0)], 1))
        one = self.up1(torch.cat([one, F.interpolate(two, scale_factor=2.0)], 1))
        out: Tensor = self.last(one)
        return out


def maps_of(masks: np.ndarray) -> np.ndarray:  # (M, H, W) -> (2, H, W) uint8
    """Inside of any object, and near the edge of one."""
    kernel = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    inside, edge = np.zeros((2, *masks.shape[1:]), np.uint8)
    for mask in masks.astype(np.uint8):
        inside[mask > 0] = 1
        edge[cv2.dilate(mask, kernel) != cv2.erode(mask, kernel)] = 1
    return np.stack([inside, edge])


def learn(
    image_files: Sequence[AnnotatedImage], seconds: float, steps: int, seed: int
) -> SmallUNet:
    """Train on crops of the photos for so long, or so many steps, whichever ends first."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = SmallUNet().train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    halves = multiplies_halves(torch.device("cpu"))  # as our own trainer does
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
    read = [
        (one.image(), maps_of(np.stack([rle_to_mask(r) for r in one.rles]))) for one in image_files
    ]
    began = time.monotonic()
    for step in range(steps):
        part = max(step / steps, (time.monotonic() - began) / seconds)
        if part >= 1:
            break
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * part))
        crops = [_crop(*read[int(rng.integers(len(read)))], rng) for _ in range(BATCH)]
        images = torch.stack([image for image, _ in crops])
        expected = torch.stack([maps for _, maps in crops])
        with torch.autocast("cpu", torch.bfloat16, enabled=halves):
            logits = net(images.contiguous(memory_format=torch.channels_last))
        loss = F.binary_cross_entropy_with_logits(logits.float(), expected)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return net.eval()


def _crop(image: np.ndarray, maps: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A turned, recoloured crop with its maps, mirrored at the border where the photo is small."""
    image, maps = turn(recolor(image, rng), maps, rng, 0.25)
    h, w = image.shape[:2]
    y, x = (int(rng.integers(0, max(1, side - CROP + 1))) for side in (h, w))
    maps = maps[:, y : y + CROP, x : x + CROP]
    image = image[y : y + CROP, x : x + CROP]
    down, right = CROP - image.shape[0], CROP - image.shape[1]
    image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT)
    maps = np.stack([cv2.copyMakeBorder(m, 0, down, 0, right, cv2.BORDER_REFLECT) for m in maps])
    return torch.from_numpy(image.transpose(2, 0, 1) / 255).float(), torch.from_numpy(maps).float()


def objects_of(net: SmallUNet, image: np.ndarray) -> np.ndarray:  # (H, W, 3) -> (H, W) int32
    """The number of the object that each pixel belongs to, 0 for none."""
    h, w = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, -h % 4, 0, -w % 4, cv2.BORDER_REFLECT)
    with torch.no_grad():
        seen = torch.from_numpy(padded.transpose(2, 0, 1)[None] / 255).float()
        inside, edge = net(seen)[0, :, :h, :w].sigmoid().numpy()
    _, parts = cv2.connectedComponents(((inside > 0.5) & (edge < 0.5)).astype(np.uint8))
    distance, nearest = cv2.distanceTransformWithLabels(
        (parts == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(int(nearest.max()) + 1, np.int32)
    of_label[nearest[parts > 0]] = parts[parts > 0]
    grown = np.where((inside > 0.5) & (distance <= GROWN), of_label[nearest], 0)
    return np.where(parts > 0, parts, grown).astype(np.int32)
