"""Photos of discs, projects of them, and work on them, for the tests of stages and of export."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from anymask.formats import AnnotatedImage
from anymask.masks import Mask, mask_to_rle
from anymask.studio import Draft
from anymask.studio.options import Stage
from anymask.studio.project import Project
from anymask.studio.records import Provenance
from tests.segment.fakes import discs

PLACES = [(30.0, 34.0, 18.0), (92.0, 40.0, 22.0), (60.0, 96.0, 20.0)]
SIDE = 128
SECONDS = 3.0  # that a person spends on a mask


def write_images(folder: Path, count: int = 4) -> dict[str, AnnotatedImage]:
    """Photos of three discs each, and their masks."""
    folder.mkdir(exist_ok=True)
    truth = {}
    for number in range(count):
        image, masks = discs((SIDE, SIDE), [(x + number, y, r) for x, y, r in PLACES])
        name = f"{number}.png"
        Image.fromarray(image).save(folder / name)
        kept = tuple(Mask(mask_to_rle(m), f"disc {n}") for n, m in enumerate(masks))
        truth[name] = AnnotatedImage(file_name=name, hw=(SIDE, SIDE), masks=kept)
    return truth


def label(project: Project, truth: Mapping[str, AnnotatedImage], stage: Stage = "assisted") -> None:
    """Draw the true masks of photos in SECONDS each, and finish the photos, as a person does."""
    origin = Provenance(kind="human", tool="click", stage=stage)
    for image in project.images:
        if image.name in truth:
            drafts = [
                Draft(rle=one.rle, label=one.label, seconds=SECONDS, provenance=origin)
                for one in truth[image.name].masks
            ]
            project.store.add_records(image.id, drafts, "ann", status="done")


def add(project: Project, count: int, image: int = 1, **more: object) -> None:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    drafts = []
    for number in range(count):
        mask = mask.copy()
        mask[number] = True
        drafts.append(Draft(rle=mask_to_rle(mask), score=number / 10, **more))  # type: ignore[arg-type]
    project.store.add_records(image, drafts, "model nano", status="proposed")
