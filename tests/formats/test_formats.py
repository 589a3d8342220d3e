"""All formats: recognised, read again, and none loses without telling."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anymask.base import DataError
from anymask.formats import (
    DOCUMENTS,
    AnnotatedImage,
    Policy,
    find_format,
    read_annotations,
    write_annotations,
    write_files,
)
from anymask.formats.documents import output_paths
from anymask.formats.registry import FORMATS, WRITABLE_FORMATS, recognized
from anymask.masks import Mask, mask_to_rle, rle_iou
from tests.formats.annotated import annotated_images, pixels, rings
from tests.masks.strategies import quickly

TEXTS = {".txt", ".json", ".xml", ".svg", ".geojson"}


def place(folder: Path, name: str) -> Path:
    return folder / f"all{find_format(name).ending}"


def with_images(folder: Path, image: AnnotatedImage) -> Path:
    for image_root in ("all/images", "pictures"):  # beside our own sets, and elsewhere
        path = folder / image_root / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", image.hw[::-1]).save(path)
    return folder / "pictures"


def test_outputs_of_one_photo_and_formats_agree_on_suffixes() -> None:
    for suffix, kind in DOCUMENTS.items():
        assert kind == "npy" or suffix in WRITABLE_FORMATS[kind].suffixes


@pytest.mark.parametrize("name", FORMATS)
@settings(quickly, max_examples=25)
@given(image=annotated_images(least=1))
def test_pixels_come_back_or_their_loss_is_told(
    tmp_path_factory: pytest.TempPathFactory, name: str, image: AnnotatedImage
) -> None:
    folder = tmp_path_factory.mktemp("set")
    image_root = with_images(folder, image)
    report = write_annotations([image], place(folder, name), name)
    (found,), more = read_annotations(place(folder, name), name, image_root)
    told = set(report.counts()) | set(more.counts())
    ours, theirs = pixels(image), pixels(found)
    if "labels" in told:
        ours, theirs = [("", row[1]) for row in ours], [("", row[1]) for row in theirs]
    if not told & {"overlaps", "empty", "pixels"}:
        assert sorted(theirs, key=str) == sorted(ours, key=str)
    assert len(theirs) == len(ours) or told & {"overlaps", "empty"}
    assert found.hw == image.hw


# What a format may lose of masks that have pixels, where outlines are exact.
EXACT: dict[str, set[str]] = {
    "coco": set(), "coco-polygon": {"holes"}, "cvat": set(), "labelme": set(), "sa1b": set(),
    "labelme-polygon": {"holes"}, "label-studio": {"ids"}, "svg": set(), "set": {"ids"},
    "label-studio-polygon": {"ids", "holes", "parts"}, "yolo": {"ids", "holes", "parts"},
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
@quickly
@given(image=annotated_images(least=1, filled=True))
def test_exact_outlines_and_runs_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, name: str, image: AnnotatedImage
) -> None:
    folder = tmp_path_factory.mktemp("set")
    image_root = with_images(folder, image)
    report = write_annotations([image], place(folder, name), name, Policy(tolerance=0))
    assert set(report.counts()) <= EXACT[name]
    (found,), _ = read_annotations(place(folder, name), name, image_root)
    assert pixels(found) == pixels(image)
    assert found == image or EXACT[name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_recognised_from_what_it_writes(name: str, tmp_path: Path) -> None:
    write_annotations([rings()], place(tmp_path, name), name)
    assert recognized(place(tmp_path, name))[0] == name.removesuffix("-polygon")


@pytest.mark.parametrize("text", ["[1, 2]", '["images"]', '{"a": 1}', "7"])
def test_other_json_is_not_taken_for_annotations(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json: Unknown format. Pass one"):
        recognized(tmp_path / "a.json")


@pytest.mark.parametrize("name", FORMATS)
def test_no_picture_and_a_picture_without_masks_are_fine(name: str, tmp_path: Path) -> None:
    empty = AnnotatedImage(file_name="0/00000.jpg", hw=(3, 4))
    image_root = with_images(tmp_path, empty)
    assert not write_annotations([empty], place(tmp_path, name), name)
    (found,), _ = read_annotations(place(tmp_path, name), name, image_root)
    assert (found.hw, found.masks) == ((3, 4), [])


OUTLINES = ("yolo", "coco-polygon", "labelme-polygon", "label-studio-polygon", "svg", "geojson")


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_follow_the_edge_and_say_what_that_costs(name: str, tmp_path: Path) -> None:
    """A tilted ellipse: its outline has far fewer corners than stairs, and its loss is reported."""
    y, x = np.mgrid[:80, :100] + 0.5
    along, across = 0.8 * (x - 50) + 0.6 * (y - 40), 0.8 * (y - 40) - 0.6 * (x - 50)
    mask = (along / 38) ** 2 + (across / 17) ** 2 < 1
    drawn = Mask(mask_to_rle(mask), "egg")
    image = AnnotatedImage(file_name="a.png", hw=mask.shape, masks=(drawn,))
    sizes, lost = [], []
    for policy in (Policy(), Policy(tolerance=0)):
        target = place(tmp_path / str(policy.tolerance), name)
        report = write_annotations([image], target, name, policy)
        image_root = with_images(tmp_path / str(policy.tolerance), image)
        (again,), _ = read_annotations(target, name, image_root)
        overlap = float(rle_iou([drawn.rle], [again.masks[0].rle])[0, 0])
        told = [float(loss.reason.split()[-1]) for loss in report.losses if loss.kind == "pixels"]
        assert told == (
            [pytest.approx(overlap, abs=1e-3)] if again.masks[0].rle != drawn.rle else []
        )
        lost.append(overlap)
        written = [path for path in [target, *target.rglob("*")] if path.suffix in TEXTS]
        sizes.append(sum(path.stat().st_size for path in written))
    assert lost[1] == 1
    assert lost[0] > 0.975
    assert sizes[0] < 0.7 * sizes[1]


def test_masks_of_another_size_are_refused() -> None:
    mask = Mask(rings().masks[0].rle)
    with pytest.raises(DataError, match="a.jpg, mask 0: The mask has .* the image .*13"):
        AnnotatedImage(file_name="a.jpg", hw=(9, 13), masks=(mask,))


# Names of files.


@quickly
@given(st.text(alphabet="./\\a:b\0", max_size=12))
def test_outputs_stay_inside_whatever_a_file_calls_its_picture(name: str) -> None:
    image = AnnotatedImage(file_name=name, hw=(1, 1))
    (path,) = output_paths([image], Path("out"), ".json")
    assert ".." not in path.parts
    assert path.parts[0] == "out"


def test_what_a_killed_run_left_of_a_file_is_removed_when_it_is_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f".{name}.json.parts").mkdir()
        (tmp_path / f".{name}.json.parts" / "0").write_bytes(b"{")
    assert write_files([(tmp_path / "a.json", b"{}")], tmp_path / "a.json") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.json.parts", "a.json"]
