"""Measures whether doubts find the bad frames of tracked masks.

    python -m research.measure_doubts --clips ../shared/data/video
    python -m research.measure_doubts --made ../shared/data/train --count 12

A frame is bad whose mask has an IoU under 0.5 with the truth. Printed are the share of bad frames
with a doubt, and the share of good ones. `--made`: clips of made motion, some with occluders and
look-alikes (`research.nano.motion`). Each object is begun with its true mask on the first frame.
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
from anymask.training import Recipe
from anymask.training.samples import TrainingImages
from research.nano.motion import make_clip

BAD = 0.5
SEED = 7


def stored_clips(folder: Path) -> Iterator[tuple[str, UintImage, BoolArray]]:
    """Name, frames (T, H, W, 3) and masks (T, 1, H, W) of each clip."""
    for clip in sorted(one for one in folder.iterdir() if (one / "masks").is_dir()):
        frames = [np.asarray(Image.open(one).convert("RGB")) for one in _files(clip / "images")]
        masks = [np.asarray(Image.open(one).convert("L")) > 0 for one in _files(clip / "masks")]
        yield clip.name, np.stack(frames), np.stack(masks)[:, None]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def made_clips(data: Path, count: int, frames: int) -> Iterator[tuple[str, UintImage, BoolArray]]:
    """The same of made motion."""
    source = TrainingImages(Recipe(), data)
    for number in range(count):
        clip = make_clip(source, np.random.default_rng([SEED, number]), frames=frames)
        yield f"made {number}", clip.frames, clip.masks


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
    parser.add_argument("--clips", type=Path, help="a folder of clips: NAME/images, NAME/masks")
    parser.add_argument("--made", type=Path, help="training sets that made clips are cut from")
    parser.add_argument("--count", type=int, default=12, help="made clips")
    parser.add_argument("--frames", type=int, default=20, help="of a made clip")
    parser.add_argument("--model", default="nano")
    args = parser.parse_args()
    if (args.clips is None) == (args.made is None):
        parser.error("give --clips or --made")
    clips = stored_clips(args.clips) if args.clips else None
    clips = clips or made_clips(args.made, args.count, args.frames)
    model, rows = anymask.load(args.model), []
    for name, frames, truth in clips:
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
