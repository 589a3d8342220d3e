"""`anymask segment PHOTO --semantic`: the class of every pixel, by a model tuned on classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anymask.primitives.errors import InputError
from anymask.primitives.storage import write_whole

if TYPE_CHECKING:
    from anymask.jobs.choices import PictureChoice
    from anymask.jobs.photos import PhotoItem
    from anymask.predictors.image import Model
    from anymask.primitives.label_map import LabelMap
    from anymask.primitives.types import UintImage

ENDING = ".classes.png"
KINDS = (".overlay.png", ".png", ".npy")


def plan_maps(outputs: Sequence[str], item: PhotoItem) -> list[Path]:
    """Where a photo's label map goes. Raises InputError for what it cannot be written as."""
    words = list(outputs) or [item.stem.name + ENDING]
    paths = [Path(word.replace("{name}", item.stem.name)) for word in words]
    for path in paths:
        if not path.name.lower().endswith(KINDS):
            raise InputError(
                f"a label map is written as .png (class numbers), .overlay.png or .npy, got "
                f"{str(path)!r}; name one of these"
            )
    return paths


def label_file(
    model: Model,
    pictures: PictureChoice,
    item: PhotoItem,
    paths: Sequence[Path],
    say: Callable[[str], None],
) -> None:
    """Write one photo's label map and tell the part of each class. Raises as `Model.label`."""
    from anymask.data.channels import shown_picture

    mix = model.spec.channels
    given = pictures.load(item.photo, item.page, mix)
    found = model.label(given)
    for path in paths:
        write_map(path, found, shown_picture(given, mix))
        say(f"wrote {path}")
    for name, share in found.shares().items():
        say(f"{1 + found.classes.index(name)} {name}: {100 * share:.1f} % of the photo")


def write_map(path: Path, found: LabelMap, photo: UintImage) -> None:
    """As the name says: numbers in a palette, drawn on the photo, or an array."""
    import io

    from anymask.data.label_pictures import encode_palette
    from anymask.primitives.draw import overlay
    from anymask.primitives.mask_files import save_picture

    file = io.BytesIO()
    name = path.name.lower()
    if name.endswith(".npy"):
        np.save(file, found.numbers)
    elif name.endswith(".overlay.png"):
        masks = np.stack([found.mask(one) for one in found.classes])
        save_picture(file, overlay(photo, masks), ".png")
    else:
        file.write(encode_palette(found.numbers))
    write_whole(path, file.getvalue())
