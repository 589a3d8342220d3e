"""Training pictures and prompts made on a GPU, from photos and masks that lie there.

What `anymask.training` does for a processor in OpenCV (`augment`, `interaction`), for hundreds of
pictures at once. How deep a pixel lies inside of a mask is counted in erosions, finely near the
edge and in steps of four pixels further in (`depth`).

Letters: B pictures, K masks a picture, N = B * K prompts, S the side, s = S / 4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from anymask.training.interaction import BOX_AND_CLICK, TIGHT, WITHOUT_CLICK, SimulatedPrompts
from research.small.image_pool import MODEL_SIDE, SCENE_MASKS, SCENES, Crops, ImagePool
from research.small.pack_images import SIDE

FINE_STEPS = 5  # erosions by a pixel
THICKEST = 0.6  # of the corrections are in the thickest error
GRAY = (0.299, 0.587, 0.114)


class ImagesOnDevice:
    """The pool's copy on a device."""

    CHUNKS = 8  # parts in which scenes come anew

    def __init__(self, pool: ImagePool, device: torch.device) -> None:
        self.pool, self.device = pool, device
        self.pixels = torch.from_numpy(pool.pixels).to(device)
        self.bits = torch.from_numpy(pool.bits).to(device)
        self.places = 2 ** torch.arange(7, -1, -1, device=device, dtype=torch.uint8)
        self._chunk = 0

    def refresh(self) -> None:
        """Copy a part of the scenes that were made meanwhile."""
        each = SCENES // self.CHUNKS
        first = self._chunk * each
        self._chunk = (self._chunk + 1) % self.CHUNKS
        for ours, theirs, start, size in (
            (self.pixels, self.pool.pixels, self.pool.images, 1),
            (self.bits, self.pool.bits, self.pool.drawn, SCENE_MASKS),
        ):
            span = slice(start + first * size, start + (first + each) * size)
            ours[span] = torch.from_numpy(theirs[span]).to(self.device)

    def render(self, crops: Crops, side: int) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, S, S) in -1..1, 0 beyond a photo; masks (B, K, S, S) of 0 and 1.

        Pictures that are smaller than the model's are drawn twice as large and averaged.
        """
        finer = 2 if side < MODEL_SIDE else 1
        grid, inside = self._grid(torch.from_numpy(crops.geometry).to(self.device), side, finer)
        images = self.pixels[torch.from_numpy(crops.images).to(self.device)]
        rows = self.bits[torch.from_numpy(crops.masks).to(self.device)]
        masks = ((rows[..., None] & self.places) > 0).flatten(-2).float()
        seen = [
            F.avg_pool2d(one, finer)
            for one in (
                _sampled(images.permute(0, 3, 1, 2).float(), grid),
                _sampled(masks, grid) * inside,
                inside.float(),
            )
        ]
        return recolored(seen[0]) * (seen[2] > 0.5), (seen[1] > 0.5).to(torch.bfloat16)

    def _grid(self, geometry: Tensor, side: int, finer: int) -> tuple[Tensor, Tensor]:
        """Where each place of a picture lies in the pool's square, -1..1; whether in the photo."""
        left, top, along_x, along_y, turned, mirrored, flipped, w, h = (
            one[:, None, None] for one in geometry.unbind(1)
        )
        steps = (torch.arange(side * finer, device=self.device) + 0.5) / finer
        x, y = torch.broadcast_tensors(left + along_x * steps, top + along_y * steps[:, None])
        x, y = torch.where(turned > 0, y, x), torch.where(turned > 0, x, y)
        x, y = torch.where(mirrored > 0, w - x, x), torch.where(flipped > 0, h - y, y)
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        x, y = torch.minimum(x.clamp(min=0.5), w - 0.5), torch.minimum(y.clamp(min=0.5), h - 0.5)
        return torch.stack([x, y], -1) * (2 / SIDE) - 1, inside[:, None]


def _sampled(maps: Tensor, grid: Tensor) -> Tensor:
    """(B, C, 480, 480) at the places of a grid (B, T, T, 2), linearly."""
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def recolored(images: Tensor) -> Tensor:  # (B, 3, S, S) 0..255 -> -1..1
    """Gamma, contrast, brightness, inversion, saturation, gains, blur, grain: each at times."""
    count, device = len(images), images.device

    def some(low: float = 0.0, high: float = 1.0, channels: int = 1) -> Tensor:
        return torch.empty(count, channels, 1, 1, device=device).uniform_(low, high)

    y = (images / 255).clamp(1e-4, 1)
    shaded = (y ** some(-0.5, 0.5).exp() - 0.5) * some(-0.5, 0.35).exp() + 0.5 + some(-0.15, 0.15)
    y = torch.where(some() < 0.7, shaded, y)
    y = torch.where(some() < 0.06, 1 - y, y).clamp(0, 1)
    gray = (y * torch.tensor(GRAY, device=device)[:, None, None]).sum(1, keepdim=True)
    saturation = some(-0.7, 0.5).exp() * (some() >= 0.35)
    tinted = (gray + (y - gray) * saturation) * some(-0.12, 0.12, 3).exp()
    y = torch.where(some() < 0.5, tinted, y).clamp(0, 1)
    y = torch.where(some() < 0.15, blurred(y, some(0.4, 1.6).flatten()), y)
    grain = torch.randn_like(y) * some(2 / 255, 14 / 255)
    return torch.where(some() < 0.15, y + grain, y).clamp(0, 1) * 2 - 1


def blurred(images: Tensor, sigmas: Tensor) -> Tensor:  # (B, C, S, S), (B,)
    """Each picture by a gaussian of its own width, of nine pixels."""
    count, channels = images.shape[:2]
    steps = torch.arange(-4, 5, device=images.device) / sigmas[:, None]
    kernel = torch.exp(-0.5 * steps**2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = F.pad(images.flatten(0, 1)[None], (4, 4, 4, 4), mode="replicate")
    rows = F.conv2d(flat, kernel[:, None, None, :], groups=count * channels)
    return F.conv2d(rows, kernel[:, None, :, None], groups=count * channels).view_as(images)


def depth(masks: Tensor) -> Tensor:  # (N, 1, S, S) of 0 and 1 -> the same
    """How deep inside of the mask each of its pixels lies: at least its pixels to the edge, and
    up to nine more, as whole blocks count beside the fine steps."""
    fine = _erosions(masks, FINE_STEPS + 1)
    blocks = -F.max_pool2d(-masks, 4)  # of 4 by 4 pixels that are whole
    coarse = _erosions(blocks, max(4, masks.shape[-1] // 12))
    return (fine + 4 * F.interpolate(coarse, size=masks.shape[-2:], mode="bilinear")) * masks


def _erosions(masks: Tensor, count: int) -> Tensor:
    """How many erosions by a pixel, up to `count`, each pixel outlasts; beyond the border is
    nothing."""
    left = F.pad(masks, (1, 1, 1, 1))
    lasted = torch.zeros_like(left)
    for _ in range(count):
        lasted = lasted + left
        left = -F.max_pool2d(-left, 3, 1, 1)
        left[..., 0, :] = left[..., -1, :] = left[..., 0] = left[..., -1] = 0
    return lasted[..., 1:-1, 1:-1]


def _highest(scores: Tensor) -> Tensor:  # (N, S, S) -> (N, 2)
    """x, y of the middle of the pixel with the largest score."""
    side = scores.shape[-1]
    best = scores.flatten(1).argmax(1)
    return torch.stack([best % side, best // side], -1).float() + 0.5


class Objects:
    """What masks (N, 1, S, S) say about their objects.

    centres, insides (N, 2) places; boxes (N, 4); targets (N, 1, s, s) 0..1
    counts (N,) 1 where a mask is neither tiny nor all of the picture
    """

    def __init__(self, masks: Tensor) -> None:
        side, device = masks.shape[-1], masks.device
        chance = torch.rand(masks.shape, device=device) * masks  # in 32 bits: ties would be many
        self.centers = _highest((depth(masks).float() + 0.9 * chance)[:, 0])
        self.insides = _highest(chance[:, 0])
        places = torch.arange(side, device=device)
        columns, rows = masks[:, 0].amax(1) > 0, masks[:, 0].amax(2) > 0
        firsts = [torch.where(one, places, side).amin(1) for one in (columns, rows)]
        lasts = [torch.where(one, places + 1, 0).amax(1) for one in (columns, rows)]
        area = masks.float().sum((1, 2, 3))
        good = (area >= 16) & (area < 0.95 * side * side)
        boxes = torch.stack([*firsts, *lasts], -1).float()
        self.boxes = torch.where(good[:, None], boxes, torch.tensor([0.0, 0, 8, 8], device=device))
        self.counts = good.float()
        self.targets = F.avg_pool2d(masks.float(), 4)

    def first_prompts(self, side: int) -> SimulatedPrompts:
        """A click or a box on each, sometimes both (`interaction.first_prompts`)."""
        count, device = len(self.centers), self.centers.device
        pick = torch.rand(count, device=device)
        boxed, clicked = pick < 0.5, (pick >= 0.5) | (pick < BOX_AND_CLICK)
        middle = torch.rand(count, 1, device=device) < 0.5
        click = torch.where(middle, self.centers, self.insides)
        size = (self.boxes[:, 2:] - self.boxes[:, :2]).repeat(1, 2)
        part = torch.where(torch.rand(count, 1, device=device) < TIGHT, 0.01, 0.08)
        shift = (torch.randn(count, 4, device=device) * part * size).clamp(-20, 20)
        box = (self.boxes + shift).clamp(0, side).view(count, 2, 2)
        kinds = [torch.where(boxed, 2, -1), torch.where(boxed, 3, -1), torch.where(clicked, 1, -1)]
        return SimulatedPrompts(
            torch.cat([box, click[:, None]], 1),
            torch.stack(kinds, 1),
            torch.zeros(count, 1, side // 4, side // 4, device=device),
            torch.zeros(count, device=device),
            ~boxed,
        )


def corrected(prompts: SimulatedPrompts, shown: Tensor, targets: Tensor) -> SimulatedPrompts:
    """The answer (N, s, s) fed back, mostly with one more click in an error
    (`interaction.corrected`)."""
    expected, given = targets[:, 0] > 0.5, shown > 0
    count, side = len(shown), shown.shape[-1]
    errors = torch.stack([given & ~expected, expected & ~given], 1).to(torch.bfloat16)
    chance = torch.rand(errors.shape, device=shown.device)
    deep = depth(errors.flatten(0, 1)[:, None]).view_as(errors).float()
    thick = torch.rand(count, 1, 1, 1, device=shown.device) < THICKEST
    best = (torch.where(thick, deep + 0.5 * chance, chance) * errors).flatten(1).argmax(1)
    place = torch.stack([best % side, best % (side * side) // side], -1).float() + 0.5
    silent = (errors.flatten(1).amax(1) == 0) | (
        torch.rand(count, device=shown.device) < WITHOUT_CLICK
    )
    label = torch.where(silent, -1, best // (side * side))
    return SimulatedPrompts(
        torch.cat([prompts.coords, 4 * place[:, None]], 1),
        torch.cat([prompts.labels, label[:, None]], 1),
        shown[:, None].clamp(-20, 20),
        torch.ones(count, device=shown.device),
        torch.zeros_like(prompts.ambiguous),
    )
