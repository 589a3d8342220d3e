"""Measures soft alpha on composites whose alpha is known: strands, fur, defocus and plain edges.

    python -m research.matting --images ../shared/data/unlabelled [--count 24] [--library]
    python -m research.matting --sharp ../shared/data/eval/grabcut

A shape with a soft rim is filled with one photo and laid over another. What goes in is the
composite and the mask `alpha >= 0.5`; what comes out is compared with the true alpha. Baselines
are that hard mask and its Gaussian blur of the one width that is best over all composites. SAD is
the sum of absolute differences in thousands, the gradient error that of Rhemann et al., "A
perceptually motivated online benchmark for image matting", CVPR 2009 (sigma 1.4).

`--sharp` takes objects with sharp edges and their true masks, and prints how many pixels farther
than 3 pixels from the outline have an alpha of 0.05 to 0.95, as a share of the mask.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.edit.alpha import foreground_colors, soft_alpha
from anymask.edit.cutouts import covering
from anymask.formats import load_set
from anymask.images import list_images, load_image
from anymask.masks import rle_to_mask

KINDS = ("strands", "fur", "defocus", "plain")
SUPER = 3  # strands are drawn this much larger and shrunk
SHARP = (
    "106024", "208001", "21077", "227092", "24077", "37073", "banana1", "banana2", "banana3",
    "book", "ceramic", "cross", "elefant", "fullmoon", "grave", "memorial", "music", "scissors",
    "stone1", "stone2",
)  # fmt: skip  # images of GrabCut whose object has a sharp edge all around
WIDTHS = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12)  # of the blurs that are tried, sigma in pixels


def make_alpha(
    kind: str, hw: tuple[int, int], random: np.random.Generator
) -> FloatArray:  # (H, W) in 0..1
    """A blob whose rim is of one kind; how wide the rim is, is drawn too."""
    height, width = hw
    blob = _blob(hw, random)
    if kind == "defocus":
        return cv2.GaussianBlur(blob, (0, 0), float(random.uniform(1.5, 14)))
    if kind == "plain":
        return cv2.GaussianBlur(blob, (0, 0), 0.7)
    large = cv2.resize(blob, (width * SUPER, height * SUPER), interpolation=cv2.INTER_LINEAR)
    large = (large >= 0.5).astype(np.uint8) * 255
    outlines, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)[:, 0].astype(float)
    middle = outline.mean(axis=0)
    reach = float(random.uniform(15, 60) if kind == "strands" else random.uniform(6, 20)) * SUPER
    count = len(outline) // (18 if kind == "strands" else 4)
    for start in outline[random.integers(len(outline), size=count)]:
        away = (start - middle) / np.linalg.norm(start - middle)
        away += random.normal(0, 0.35, 2)
        bend = random.normal(0, 0.5, 2)
        steps = np.linspace(0, 1, 12)[:, None]
        length = reach * random.uniform(0.3, 1.2)
        line = start - away * 4 * SUPER + length * (away * steps + bend * steps**2)
        thick = int(random.integers(1, 6 if kind == "strands" else 5))
        cv2.polylines(large, [np.round(line).astype(np.int32)], False, 255, thick, cv2.LINE_AA)
    alpha = (
        cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    )
    return cv2.GaussianBlur(alpha, (0, 0), float(random.uniform(0.4, 1.2)))


def _blob(hw: tuple[int, int], random: np.random.Generator) -> FloatArray:
    """A round shape with bays, of 15 to 35 percent of the picture."""
    height, width = hw
    turn = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    radius = 1 + sum(
        random.normal(0, 0.25 / k) * np.cos(k * turn + random.uniform(0, 6.3)) for k in range(1, 7)
    )
    radius = np.clip(radius, 0.45, 1.6) * min(height, width) * random.uniform(0.22, 0.3)
    points = np.stack(
        [width / 2 + radius * np.cos(turn), height / 2 + radius * np.sin(turn)], axis=1
    )
    mask = np.zeros(hw, np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def composites(
    images: list[Path], count: int, side: int = 900, seed: int = 7
) -> Iterator[tuple[str, UintImage, FloatArray, FloatArray]]:
    """Kind, composite (H, W, 3), true alpha (H, W), the object's own colours (H, W, 3)."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(images))
    hw = (side * 3 // 4, side)
    for number in range(count):
        pair = [load_image(images[order[2 * number + k]]) for k in range(2)]
        front, back = (covering(image, hw).astype(np.float32) for image in pair)
        kind = KINDS[number % len(KINDS)]
        alpha = make_alpha(kind, hw, random)
        mixed = front * alpha[..., None] + back * (1 - alpha[..., None])
        yield kind, np.round(mixed).astype(np.uint8), alpha, front


def sad(alpha: FloatArray, truth: FloatArray) -> float:
    """Sum of absolute differences, in thousands."""
    return float(np.abs(alpha - truth).sum() / 1000)


def _gradient(values: FloatArray) -> FloatArray:
    smooth = cv2.GaussianBlur(values, (0, 0), 1.4)
    across, down = (cv2.Sobel(smooth, -1, x, 1 - x, scale=0.125) for x in (1, 0))
    return cv2.magnitude(across, down)


def by_library(image: UintImage, mask: BoolArray) -> FloatArray:
    """Closed-form matting of PyMatting, in a band of 15 pixels round the mask's outline."""
    from pymatting import estimate_alpha_cf

    sides = [cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (mask, ~mask)]
    trimap = np.where(np.where(mask, *sides) <= 15, 0.5, mask.astype(float))
    return np.asarray(estimate_alpha_cf(image / 255.0, trimap), np.float32)


def print_sharp(folder: Path) -> None:
    """A line for each object, and the mean."""
    shares = []
    for sample in load_set(folder)[1]:
        if (name := Path(sample.file_name).stem) in SHARP:
            mask = rle_to_mask(sample.rles[0])
            # Undecided pixels more than 3 pixels from the outline, as a share of the mask.
            alpha = soft_alpha(sample.image(), mask)
            sides = [
                cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)
                for side in (mask, ~mask)
            ]
            far = np.where(mask, *sides) - 0.5 > 3
            shares.append(float(((alpha > 0.05) & (alpha < 0.95) & far).sum() / mask.sum()))
            print(f"{name}: {100 * shares[-1]:.2f} %")
    few = sum(share <= 0.01 for share in shares)
    print(f"mean {100 * np.mean(shares):.2f} %, {few} of {len(shares)} objects at most 1 %")


def main() -> None:
    """Prints the table; see the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", type=Path)
    what.add_argument("--sharp", type=Path, metavar="GRABCUT")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--library", action="store_true", help="also PyMatting, if installed")
    words = parser.parse_args()
    if words.sharp is not None:
        print_sharp(words.sharp)
        return
    methods: dict[str, Callable[[UintImage, BoolArray], FloatArray]] = {
        "hard mask": lambda image, mask: mask.astype(np.float32),
        "soft_alpha": soft_alpha,
    }
    for width in WIDTHS:
        methods[f"blur {width:g}"] = lambda image, mask, width=width: cv2.GaussianBlur(
            mask.astype(np.float32), (0, 0), width
        )
    if words.library:
        methods["PyMatting"] = by_library
    rows, rims = [], []
    for kind, image, truth, front in composites(list_images(words.images), words.count):
        mask = truth >= 0.5
        for name, method in methods.items():
            begun = time.perf_counter()
            alpha = method(image, mask)
            took = time.perf_counter() - begun
            # Sum of the squared differences of the gradients' lengths, in thousands.
            ours, theirs = (_gradient(values) for values in (alpha, truth))
            rows.append(
                (name, kind, sad(alpha, truth), float(((ours - theirs) ** 2).sum() / 1000), took)
            )
            if name == "soft_alpha":
                rim = (truth > 0.05) & (truth < 0.95)
                freed = foreground_colors(image, alpha)
                rims.append([np.abs(c[rim] - front[rim]).mean() for c in (image, freed)])
    _print(rows)
    print(
        "colours of the rim, mean error of 255: photo {:.1f}, freed {:.1f}".format(
            *np.mean(rims, 0)
        )
    )


def _print(rows: list[tuple[str, str, float, float, float]]) -> None:
    """A line a method: SAD by kind, the means; of the blurs the best one."""
    names = list(dict.fromkeys(row[0] for row in rows))
    mean = {name: np.mean([row[2:] for row in rows if row[0] == name], axis=0) for name in names}
    best = min((name for name in names if name.startswith("blur")), key=lambda name: mean[name][0])
    print(f"| method | {' | '.join(KINDS)} | SAD | gradient | s |")
    for name in names:
        if name.startswith("blur") and name != best:
            continue
        kinds = [np.mean([r[2] for r in rows if r[:2] == (name, kind)]) for kind in KINDS]
        print(f"| {name} | {' | '.join(f'{v:.2f}' for v in [*kinds, *mean[name]])} |")


if __name__ == "__main__":
    main()
