"""Dense prompts: clicks and a box in, maps over the photo at the image features' size out.

What `nano` adds to the paper's prompt encoder (section 3, "Prompt encoder"): clicks as gaussians of
three widths, the soft inside of the box, the earlier mask, and how alike every place is to the
clicked ones. With few training photos this is what makes the decoder learn to follow a prompt.

Letters: N prompts, P points, C channels, h w a feature map, L = h * w.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (0.012, 0.04, 0.12)  # of the gaussians, as parts of the model side
SAMPLE_WIDTH = 0.6  # of the window that reads a feature at a click, in cells
BOX_SHARPNESS = 320.0  # of the soft box edge, per model side
MAPS = 2 * len(WIDTHS) + 2 + 2 + 4  # clicks, box, mask, likeness


def cell_centres(h: int, w: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x (w,) and y (h,) of the cell centres, 0..1."""
    x = (torch.arange(w, device=like.device, dtype=like.dtype) + 0.5) / w
    y = (torch.arange(h, device=like.device, dtype=like.dtype) + 0.5) / h
    return x, y


def gaussians(points: Tensor, width: float, h: int, w: int) -> Tensor:
    """(N, P, 2) points in 0..1 -> (N, P, h, w) bumps of height one."""
    x, y = cell_centres(h, w, points)
    along_x = torch.exp(-0.5 * ((points[..., 0:1] - x) / width) ** 2)  # (N, P, w)
    along_y = torch.exp(-0.5 * ((points[..., 1:2] - y) / width) ** 2)  # (N, P, h)
    return along_y[..., :, None] * along_x[..., None, :]


def sample_at(points: Tensor, features: Tensor) -> Tensor:
    """Read features at points: (N, P, 2) in 0..1, (1 or N, C, h, w) -> (N, P, C)."""
    h, w = features.shape[-2:]
    window = gaussians(points, SAMPLE_WIDTH / w, h, w).flatten(2)  # (N, P, L)
    window = window / (window.sum(-1, keepdim=True) + 1e-6)
    return window @ features.flatten(2).transpose(1, 2)


def likeness(clicked: Tensor, features: Tensor) -> Tensor:
    """Cosine of every place to each click: (N, P, C), (1 or N, C, h, w) -> (N, P, h, w)."""
    unit = F.normalize(features.flatten(2), dim=1, eps=1e-4)
    cosine = F.normalize(clicked, dim=-1, eps=1e-4) @ unit
    return cosine.unflatten(-1, (features.shape[-2], features.shape[-1]))


def strongest(maps: Tensor, chosen: Tensor) -> Tensor:
    """The maximum over the chosen points, 0 where none: (N, P, h, w), (N, P) -> (N, 1, h, w)."""
    return (maps * chosen[..., None, None]).amax(dim=1, keepdim=True).clamp(min=0)


def box_corners(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N, P, 2), (N, P) -> corners (N, 2, 2), zeros without a box; 1 where there is one (N,)."""
    first, second = ((labels == label).to(points.dtype) for label in (2, 3))
    corners = torch.stack(
        [(points * first[..., None]).sum(1), (points * second[..., None]).sum(1)], dim=1
    )
    return corners, first.amax(dim=1)


def soft_box(corners: Tensor, present: Tensor, h: int, w: int) -> Tensor:
    """(N, 2, 2) corners in 0..1, (N,) -> (N, 1, h, w), near 1 inside, 0 without a box."""
    x, y = cell_centres(h, w, corners)
    left, top = corners[:, 0, 0:1], corners[:, 0, 1:2]
    right, bottom = corners[:, 1, 0:1], corners[:, 1, 1:2]
    inside_x = torch.sigmoid((x - left) * BOX_SHARPNESS) * torch.sigmoid(
        (right - x) * BOX_SHARPNESS
    )
    inside_y = torch.sigmoid((y - top) * BOX_SHARPNESS) * torch.sigmoid(
        (bottom - y) * BOX_SHARPNESS
    )
    inside = inside_y[:, :, None] * inside_x[:, None, :]
    return (inside * present[:, None, None])[:, None]


class DensePrompts(nn.Module):
    """Draws N prompts into maps at stride 8 and turns them into additions at strides 16 and 8."""

    def __init__(self, dim: int, fine_dim: int, hidden: int = 32) -> None:
        super().__init__()
        self.mix = nn.Conv2d(MAPS, hidden, 3, padding=1)
        self.coarse = nn.Linear(4 * hidden, dim)
        self.fine = nn.Linear(hidden, fine_dim)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(N, MAPS, 2h, 2w) -> (N, h * w, dim), (N, 2h, 2w, fine_dim)."""
        x = F.relu(self.mix(maps)).permute(0, 2, 3, 1)
        h, w = x.shape[1] // 2, x.shape[2] // 2
        cells = x.unflatten(2, (w, 2)).unflatten(1, (h, 2)).permute(0, 1, 3, 2, 4, 5)
        return self.coarse(cells.flatten(3).flatten(1, 2)), self.fine(x)


def draw_maps(
    points: Tensor,
    labels: Tensor,
    masks: Tensor,
    clicked: tuple[Tensor, Tensor],
    features: tuple[Tensor, Tensor],
) -> Tensor:
    """All maps of N prompts at stride 8.

    points    (N, P, 2) in 0..1, corners of boxes included
    labels    (N, P) as ModelPrompts.labels
    masks     (N, 1, 4h, 4w) earlier logits, zeros without one
    clicked   (N, P, C) coarse and (N, P, C') fine features under the points
    features  (1 or N, C, h, w) and (1 or N, C', 2h, 2w)
    returns   (N, MAPS, 2h, 2w)
    """
    h, w = features[1].shape[-2:]
    positive, negative = (labels == 1).to(points.dtype), (labels == 0).to(points.dtype)
    maps = []
    for width in WIDTHS:
        bumps = gaussians(points, width, h, w)
        maps += [strongest(bumps, positive), strongest(bumps, negative)]
    corners, has_box = box_corners(points, labels)
    inside = soft_box(corners, has_box, h, w)
    maps += [inside, torch.zeros_like(inside) + has_box[:, None, None, None]]
    earlier = F.avg_pool2d(masks.clamp(-8, 8), 2) / 4
    maps += [earlier, torch.sigmoid(4 * earlier) * (earlier != 0).to(earlier.dtype)]
    for seen, at in zip(features, clicked, strict=True):
        alike = likeness(at, seen)
        for chosen in (positive, negative):
            best = strongest(alike, chosen)
            if best.shape[-1] != w:
                best = F.interpolate(best, size=(h, w), mode="bilinear", align_corners=False)
            maps.append(best)
    return torch.cat(maps, dim=1)
