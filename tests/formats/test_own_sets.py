"""Our sets as a format: what eval reads is what was converted."""

from pathlib import Path

import pytest
from PIL import Image

from anymask.base import DataError
from anymask.formats import (
    AnnotatedImage,
    LossReport,
    load_set,
    read_annotations,
    write_annotations,
)
from anymask.masks import Mask
from tests.formats.annotated import pixels, rings


def written(folder: Path, image: AnnotatedImage) -> LossReport:
    """Write a set with its (black) picture."""
    report = write_annotations([image], folder, "set")
    source_image = folder / "images" / image.file_name
    source_image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", image.hw[::-1]).save(source_image)
    return report


def test_crowds_are_joined_to_what_does_not_count(tmp_path: Path) -> None:
    masks = tuple(Mask(rings().masks[n].rle, "people", crowd=True) for n in (0, 1))
    image = AnnotatedImage(file_name="a.png", hw=(9, 12), masks=masks)
    report = written(tmp_path, image)
    assert [str(loss) for loss in report.losses] == [
        f"a.png, mask {number}: the crowd became ignored pixels" for number in (0, 1)
    ]
    _, (sample,) = load_set(tmp_path)
    assert sample.ignore is not None
    assert sample.ignore.counts[1::2].sum() == 41
    assert not sample.rles


def test_masks_are_read_where_their_pictures_are_not(tmp_path: Path) -> None:
    """`convert --to set` without --copy-images leaves such a set; the way back must be open."""
    image = rings()
    write_annotations([image], tmp_path / "set", "set")
    (found,), _ = read_annotations(tmp_path / "set")
    assert pixels(found) == pixels(image)
    with pytest.raises(DataError, match=r"is missing.* --copy-images"):
        load_set(tmp_path / "set")
