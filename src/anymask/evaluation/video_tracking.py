"""Videos of one object as folders of pictures: VIDEO/images and VIDEO/masks in, clips out."""

from __future__ import annotations

from pathlib import Path

from anymask.data.clips import Clip
from anymask.primitives.errors import DataError
from anymask.video.sources import natural_order


def masked_clips(folder: Path) -> list[Clip]:
    """The videos of a folder, with as many masks as frames each. Raises DataError."""
    found = []
    for place in sorted(folder.glob("*/masks")):
        pictures, masks = (
            tuple(sorted((place.parent / part).iterdir(), key=natural_order))
            for part in ("images", "masks")
        )
        if len(pictures) != len(masks) or len(masks) < 3:
            raise DataError(
                f"{place.parent}: wanted a mask for each of three frames or more, got "
                f"{len(pictures)} images and {len(masks)} masks"
            )
        clip = Clip(
            name=place.parent.name,
            frames=pictures,
            annotations=dict(enumerate(masks)),
            single=True,
        )
        found.append(clip)
    if not found:
        raise DataError(f"{folder} holds no videos; wanted VIDEO/images and VIDEO/masks in it")
    return found
