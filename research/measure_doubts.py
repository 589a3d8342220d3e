"""Measures whether doubts find the bad frames of tracked masks.

    python -m research.measure_doubts --clips ../shared/data/video

A frame is bad whose mask has an IoU under 0.5 with the truth. Printed are the share of bad frames
with a doubt, and the share of good ones. Each object is begun with its true mask on the first
frame. `research.made_clips` writes other clips.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import anymask
from anymask.base import BoolArray, UintImage
from anymask.masks import iou

BAD = 0.5


def stored_clips(folder: Path) -> Iterator[tuple[str, UintImage, BoolArray]]:
    """Name, frames (T, H, W, 3) and masks (T, 1, H, W) of each clip."""
    for clip in sorted(one for one in folder.iterdir() if (one / "masks").is_dir()):
        frames = [np.asarray(Image.open(one).convert("RGB")) for one in _files(clip / "images")]
        masks = [np.asarray(Image.open(one).convert("L")) > 0 for one in _files(clip / "masks")]
        yield clip.name, np.stack(frames), np.stack(masks)[:, None]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def judged(
    model: anymask.Model, frames: UintImage, truth: BoolArray
) -> Iterator[tuple[bool, bool]]:
    """(bad, doubted) of every followed frame of every object."""
    for number in range(truth.shape[1]):
        with model.track(list(frames)) as session:
            session.add(0, 1, mask=truth[0, number])
            for frame in session:
                one = frame.objects[1]
                if not one.prompted:
                    yield iou(one.mask, truth[frame.index, number]) < BAD, bool(one.doubts)


def main() -> None:
    """Print a row for each clip and one for all."""
    parser = argparse.ArgumentParser(description="Do doubts find the bad frames?")
    parser.add_argument(
        "--clips", type=Path, required=True, help="a folder of clips: NAME/images, NAME/masks"
    )
    parser.add_argument("--model", default="nano")
    args = parser.parse_args()
    model, rows = anymask.load(args.model), []
    for name, frames, truth in stored_clips(args.clips):
        found = list(judged(model, frames, truth))
        rows += found
        print(name, told(found), flush=True)
    print("all", told(rows))


def told(rows: list[tuple[bool, bool]]) -> str:
    """How many frames of each kind are doubted."""
    parts = []
    for expected, name in ((True, "bad"), (False, "good")):
        doubts = [doubted for bad, doubted in rows if bad is expected]
        parts.append(f"{name}: {sum(doubts)} of {len(doubts)} doubted")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
