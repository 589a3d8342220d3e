"""ROI sets of ImageJ: roifile makes and reads the same pixels; positions, names, shapes."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import DataError
from anymask.formats import AnnotatedImage, Policy, read_annotations, write_annotations
from anymask.masks import Mask, mask_to_rle
from tests.conftest import CommandLine
from tests.formats.annotated import rings

roifile = pytest.importorskip("roifile", reason="needs the extra [science]")
HW = (60, 100)


def archive(path: Path, rois: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in rois.items():
            file.writestr(name, data)
    return path


def roi(points: Any, name: str = "", **keys: Any) -> bytes:
    made = roifile.ImagejRoi.frompoints(np.asarray(points))
    made.name = name
    for key, value in keys.items():
        setattr(made, key, value)
    return bytes(made.tobytes())


def moved(x: float) -> bytes:
    """A triangle with one corner elsewhere."""
    made = roifile.ImagejRoi.frompoints(np.array([(5, 5), (9, 5), (15, 15.0)]))
    made.subpixel_coordinates[1, 0] = x
    return bytes(made.tobytes())


def box(x0: int, y0: int, x1: int, y1: int) -> list[tuple[int, int]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def blank(path: Path, hw: tuple[int, int] = HW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", hw[::-1]).save(path)
    return path


def square(x0: int, y0: int, x1: int, y1: int, hw: tuple[int, int] = HW) -> Any:
    mask = np.zeros(hw, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def test_shapes_of_every_kind_are_read(tmp_path: Path) -> None:
    kinds = roifile.ROI_TYPE
    plain = roifile.ImagejRoi()
    plain.roitype, plain.left, plain.top, plain.right, plain.bottom = kinds.RECT, 5, 6, 15, 26
    oval = roifile.ImagejRoi()
    oval.roitype, oval.left, oval.top, oval.right, oval.bottom = kinds.OVAL, 20, 10, 60, 40
    shape = roifile.ImagejRoi()
    shape.roitype, shape.left, shape.top, shape.right, shape.bottom = kinds.RECT, 10, 10, 30, 30
    path = []
    for ring in (box(10, 10, 30, 30), box(15, 15, 20, 20)):
        path += [number for n, (x, y) in enumerate(ring) for number in (float(n > 0), x, y)] + [4.0]
    shape.multi_coordinates, shape.shape_roi_size = np.array(path, np.float32), len(path)
    line = roifile.ImagejRoi()
    line.roitype, line.x1, line.y1, line.x2, line.y2 = kinds.LINE, 1, 1, 9, 9
    blank(tmp_path / "a.png")
    source = archive(
        tmp_path / "a.zip",
        {
            "rect.roi": plain.tobytes(),
            "oval.roi": oval.tobytes(),
            "shape.roi": shape.tobytes(),
            "line.roi": line.tobytes(),
            "0003-0007.roi": roi([(1.2, 1.2), (8.2, 1.2), (8.2, 4.2)], "0003-0007"),
        },
    )
    (image,), lost = read_annotations(source)
    assert (image.file_name, image.hw) == ("a.png", HW)
    rect, ellipse, holed, triangle = image.masks
    assert [mask.label for mask in image.masks] == ["rect", "oval", "shape", None]
    np.testing.assert_array_equal(rect.mask, square(5, 6, 15, 26))
    y, x = np.mgrid[: HW[0], : HW[1]] + 0.5
    inside = ((x - 40) / 20) ** 2 + ((y - 25) / 15) ** 2 < 1
    assert (ellipse.mask ^ inside).sum() <= 4
    np.testing.assert_array_equal(holed.mask, square(10, 10, 30, 30) & ~square(15, 15, 20, 20))
    assert triangle.area == 6 + 4 + 1  # centres of three rows, counted by hand
    assert [loss.reason for loss in lost.losses] == ["ROIs of type 'line' have no area"]


def test_what_is_written_is_what_roifile_reads(tmp_path: Path) -> None:
    image = rings()
    lost = write_annotations([image], tmp_path / "r.zip", "imagej", Policy(tolerance=0))
    assert lost.counts() == {"empty": 1}
    found = roifile.roiread(tmp_path / "r.zip")
    assert [one.name for one in found] == ["ring", "dot", "all"]
    assert [len(one.coordinates(multi=True)) for one in found] == [3, 1, 1]
    corners = [one.coordinates(multi=True) for one in found]
    assert {tuple(map(int, corner)) for corner in corners[1][0]} == set(box(11, 8, 12, 9))
    assert {tuple(map(int, corner)) for ring in corners[0][1:] for corner in ring} <= {
        *box(3, 3, 5, 5), *box(9, 2, 11, 3),
    }  # fmt: skip
    assert (found[2].left, found[2].top) == (0, 0)


def test_scores_ids_crowds_and_names_come_back(tmp_path: Path) -> None:
    shape = mask_to_rle(square(2, 2, 9, 9))
    names = ["cell", "cell-1", "0001-0002", "Фото: a", None]
    masks = [Mask(shape, name, score=0.5, id=n + 1, crowd=n == 2) for n, name in enumerate(names)]
    image = AnnotatedImage(file_name="a.png", hw=HW, masks=tuple(masks))
    blank(tmp_path / "images" / "a.png")
    assert not write_annotations([image], tmp_path / "sets", "imagej")
    (again,), lost = read_annotations(tmp_path / "sets", "imagej", tmp_path / "images")
    assert again == image
    assert not lost.notes


def test_a_name_beyond_16_bits_is_reported(tmp_path: Path) -> None:
    image = AnnotatedImage(
        file_name="a.png", hw=HW, masks=(Mask(mask_to_rle(square(2, 2, 9, 9)), "a \U0001f408"),)
    )
    lost = write_annotations([image], tmp_path / "a.zip", "imagej")
    assert lost.counts() == {"labels": 1}
    assert roifile.roiread(tmp_path / "a.zip")[0].name == "a \ufffd"


def test_numbers_of_the_roi_manager_are_no_part_of_a_class(tmp_path: Path) -> None:
    blank(tmp_path / "a.png")
    members = dict[str, bytes]()
    for place, name in enumerate(["cell", "cell-1", "cell-2", "cd-8"]):
        members[f"{name}.roi"] = roi(box(place, 1, place + 9, 9), name)
    dataset = anymask.read(archive(tmp_path / "a.zip", members))
    (image,) = dataset
    assert image.masks.labels == ["cell", "cell", "cell", "cd-8"]
    assert dataset.lost.notes[0] == (
        "ROIs with numbered names, such as 'cell-1', are labeled 'cell'."
    )


@pytest.mark.parametrize("name", ["RoiSet.zip", "a_ROIs.zip", "a-RoiSet.zip", "a.tif.zip"])
def test_the_image_is_found(name: str, tmp_path: Path) -> None:
    blank(tmp_path / "a.tif")
    source = archive(tmp_path / name, {"1.roi": roi(box(1, 1, 9, 9), "cell")})
    (image,), _ = read_annotations(source)
    assert image.file_name == "a.tif"


def test_several_images_and_none_of_the_name_is_an_error(tmp_path: Path, cli: CommandLine) -> None:
    blank(tmp_path / "unrelated.tif")  # further up, alone: not a substitute for the two
    folder = tmp_path / "set"
    blank(folder / "a.tif")
    blank(folder / "b.tif")
    source = archive(folder / "RoiSet.zip", {"1.roi": roi(box(1, 1, 9, 9), "cell")})
    told = cli.refused(["convert", str(source), str(tmp_path / "o.json")])
    assert "The image of this ROI file is missing. ROI files do not" in told
    assert "--images DIR" in told


def test_a_folder_of_single_rois_is_one_image(tmp_path: Path) -> None:
    blank(tmp_path / "pictures" / "a.png")
    (tmp_path / "rois" / "a").mkdir(parents=True)
    for place in range(3):
        data = roi(box(place, 1, place + 9, 9), f"cell {place}")
        (tmp_path / "rois" / "a" / f"{place:04}.roi").write_bytes(data)
    (image,), _ = read_annotations(tmp_path / "rois", None, tmp_path / "pictures")
    assert (image.file_name, len(image.masks)) == ("a.png", 3)


def test_positions_are_pages_of_a_stack(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="needs the extra [science]")
    stack = np.zeros((2, 3, *HW), np.uint16)  # Z, C
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    members = {
        "1.roi": roi(box(1, 1, 9, 9), "plain", position=5),
        "2.roi": roi(box(1, 1, 9, 9), "by axes", c_position=2, z_position=2),
        "3.roi": roi(box(1, 1, 9, 9), "first"),
        "4.roi": roi(box(1, 1, 9, 9), "beyond", position=7),
    }
    dataset = anymask.read(archive(tmp_path / "s.zip", members))
    images = list(dataset)
    assert [(one.file_name, one.masks.labels) for one in images] == [
        ("s.tif.page0.png", ["first"]), ("s.tif.page4.png", ["plain", "by axes"]),
    ]  # fmt: skip
    assert dataset.unread_lines() == [
        "Skipped 1 record (the position of the ROI in the stack is out of range): beyond"
    ]
    assert dataset.pixels(images[1]).shape == (*HW, 3)
    with pytest.raises(DataError, match="s.tif.page0.png' is page 0 of .* convert .* SET --to"):
        dataset.image_path(images[0])


def test_each_broken_roi_is_skipped_and_counted(tmp_path: Path) -> None:
    blank(tmp_path / "a.png")
    good = roi(box(5, 5, 15, 15), "cell")
    broken: list[bytes] = [
        b"", b"Iout", good[:40], good[:70], b"PK" + good, good[:6] + b"\x63" + good[7:],
        roi(box(205, 5, 215, 15)), roi([(5, 5), (15, 15)]), roi([(5, 5)]), roi([(5, 5)] * 3),
        moved(np.nan), roi([(5, 5), (9, 9), (15, 15)]), moved(1e30), bytes(200), b"{}", b"<a/>",
        roi(box(5, 5, 15, 15), "x", props="score: high\n"),
        roi(box(5, 5, 15, 15), "x", props="id: 1.5\n"), good[:16] + b"\xff\xff" + good[18:],
        good[:64],
    ]  # fmt: skip
    members = {f"{n:03}.roi": broken[n // 10] if n % 10 == 9 else good for n in range(200)}
    dataset = anymask.read(archive(tmp_path / "a.zip", members))
    assert sum(len(image.masks) for image in dataset) == 180
    assert len(dataset.lost.losses) == 20
    text = "\n".join(dataset.unread_lines())
    assert "Error" not in text
    assert "numpy" not in text
    with pytest.raises(DataError, match="20 invalid records"):
        list(anymask.read(tmp_path / "a.zip", on_bad="error"))


def test_an_archive_of_other_files_is_no_roi_set(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.zip", {"a.txt": b"hello"})
    with pytest.raises(DataError):
        list(anymask.read(source))


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    blank(tmp_path / "a.png")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.roi", bytes(200 << 20))
    (tmp_path / "a.zip").write_bytes(data.getvalue())
    with pytest.raises(DataError, match="unpack to"):
        read_annotations(tmp_path / "a.zip", "imagej")
