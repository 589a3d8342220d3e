"""Cellpose's _seg.npy: label images come back, and no pickle runs a program."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import DataError
from anymask.cli.main import main
from anymask.formats import AnnotatedImage, read_annotations, write_annotations
from anymask.masks import Mask, mask_to_rle
from anymask_formats.pickled import read_pickled

VALUES = np.zeros((6, 9), np.uint16)
VALUES[1:3, 1:4], VALUES[4:6, 5:9], VALUES[0, 8] = 1, 2, 7


def saved(path: Path, document: Any, **keys: Any) -> Path:
    """As Cellpose saves it: numpy.save of a dictionary."""
    np.save(path, document, **keys)
    return path


def of_cellpose(**keys: Any) -> dict[str, Any]:
    """The keys that Cellpose 3 writes."""
    document = {
        "outlines": VALUES * 0, "masks": VALUES, "chan_choose": [0, 0],
        "ismanual": np.zeros(3, bool), "filename": "C:\\data\\a.tif", "flows": [[], None],
        "colors": np.zeros((3, 3), np.uint8), "diameter": np.float32(17.5), "est_diam": np.int64(3),
        "model_path": PurePosixPath("/models/cyto3"), "flow_threshold": 0.4, "restore": None,
        "normalize_params": {"lowhigh": None, "percentile": [1.0, 99.0], "norm3D": True},
    }  # fmt: skip
    return document | keys


def numbers(image: AnnotatedImage) -> dict[int | None, int]:
    return {mask.id: mask.area for mask in image.masks}


def test_what_cellpose_saves_is_read(tmp_path: Path) -> None:
    source = saved(tmp_path / "a_seg.npy", of_cellpose())
    assert anymask.read(source).format == anymask.read(tmp_path).format == "cellpose"
    (image,), lost = read_annotations(source)
    assert (image.file_name, image.hw) == ("a.tif", (6, 9))
    assert numbers(image) == {1: 6, 2: 8, 7: 1}
    np.testing.assert_array_equal(image.masks[1].mask, VALUES == 2)
    assert not lost
    Image.new("L", (9, 6)).save(tmp_path / "a.png")
    assert read_annotations(tmp_path)[0][0].file_name == "a.png"


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["<u1", "<u2", ">u4", "<i8"])
def test_pickles_of_every_age_are_read(protocol: int, dtype: str, tmp_path: Path) -> None:
    head = b"\x93NUMPY\x01\x00\x76\x00{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    head = head.ljust(127) + b"\n"
    document = np.array(of_cellpose(masks=np.asfortranarray(VALUES.astype(dtype))), object)
    path = tmp_path / "a_seg.npy"
    path.write_bytes(head + pickle.dumps(document, protocol))
    assert np.load(path, allow_pickle=True).item()["est_diam"] == 3  # NumPy's own reading
    (image,), _ = read_annotations(path)
    assert numbers(image) == {1: 6, 2: 8, 7: 1}
    assert read_pickled(path.read_bytes())["model_path"].endswith("models/cyto3")


def test_what_is_written_numpy_reads(tmp_path: Path) -> None:
    masks = tuple(Mask(mask_to_rle(value == VALUES), "cell", id=value) for value in (1, 2, 7))
    image = AnnotatedImage(file_name="b/a.jpg", hw=(6, 9), masks=masks)
    lost = write_annotations([image], tmp_path / "out", "cellpose")
    assert lost.counts() == {"labels": 1}
    found = np.load(tmp_path / "out" / "b" / "a_seg.npy", allow_pickle=True).item()
    np.testing.assert_array_equal(found["masks"], VALUES)
    assert found["ismanual"].shape == (3,)
    assert found["filename"] == "b/a.jpg"
    outlines = found["outlines"]
    np.testing.assert_array_equal(outlines[outlines > 0], VALUES[outlines > 0])
    assert outlines[2, 2] == 1
    assert numbers(read_annotations(tmp_path / "out")[0][0]) == {1: 6, 2: 8, 7: 1}


def test_masks_drawn_by_hand_are_reported(tmp_path: Path) -> None:
    source = saved(tmp_path / "a_seg.npy", of_cellpose(ismanual=np.array([True, False, True])))
    _, lost = read_annotations(source)
    assert [loss.name for loss in lost.losses] == ["ismanual"]


class Command:
    """What a hostile file holds."""

    def __init__(self, call: Any, *words: Any) -> None:
        self.called = call, words

    def __reduce__(self) -> Any:
        return self.called


HOSTILE = {
    "os.system": lambda mark: Command(os.system, f"touch {mark}"),
    "eval": lambda mark: Command(eval, f"open({str(mark)!r}, 'w')"),
    "getattr": lambda _: Command(getattr, "a", "upper"),
    "class": lambda _: OrderedDict(a=1),
    "numpy.load": lambda mark: Command(np.load, str(mark)),
    "numpy.memmap": lambda mark: Command(np.memmap, str(mark), "u1", "w+", 0, (4,)),
    "numpy.ndarray": lambda _: Command(np.ndarray, (1 << 50,), "u1"),
    "numpy.zeros": lambda _: Command(np.zeros, 1 << 50),
    "open": lambda mark: Command(open, str(mark), "w"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("key", ["masks", "filename", "unused"])
def test_hostile_pickles_are_refused(
    name: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"
    source = saved(tmp_path / "a_seg.npy", of_cellpose(**{key: HOSTILE[name](mark)}))
    assert main(["convert", str(source), str(tmp_path / "o.json")]) == 2
    told = capsys.readouterr().err
    assert "The pickled object" in told
    assert "Traceback" not in told
    assert not mark.exists()


def test_a_pickle_cannot_change_what_reads_it(tmp_path: Path) -> None:
    """BUILD sets attributes of whatever is on the stack: names are frozen."""
    good = saved(tmp_path / "a_seg.npy", of_cellpose()).read_bytes()
    head = good[: good.index(b"\n") + 1]
    for name in (b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n"):
        with pytest.raises(DataError):
            read_pickled(head + name + b"}(Vanswer\nNub.")
    assert isinstance(read_pickled(good)["masks"], np.ndarray)


@pytest.mark.parametrize("leaf", [0, 1])
def test_a_pickle_that_names_one_list_often_is_refused(leaf: int, tmp_path: Path) -> None:
    """10 to the 60 values in 800 bytes; also a list that contains itself, and a far memo."""
    value: Any = [leaf]
    for _ in range(60):
        value = [value] * 10
    own: list[Any] = []
    own.append(own)
    for one in (value, own):
        source = saved(tmp_path / "a_seg.npy", of_cellpose(masks=one, flows=one))
        with pytest.raises(DataError, match="contains itself, or over"):
            read_pickled(source.read_bytes())
    head = source.read_bytes()[: source.read_bytes().index(b"\n") + 1]
    with pytest.raises(DataError, match="one value too many"):
        read_pickled(head + b"]r\xff\xff\xff\x7f.")  # LONG_BINPUT would take 32 GB
    keys = b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60))  # hash: 2 to the 60 visits
    for end in (b"}h\x3cK\x01s.", b"}(h\x3cK\x01u."):
        with pytest.raises(DataError, match="one value too many"):
            read_pickled(head + b")q\0" + keys + end)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"a": 1}, "the key 'masks' is missing"),
        ([1, 2], "`_seg.npy` is not an object"),
        ({"masks": [1, 2]}, "`masks` is not a label image of one plane"),
        ({"masks": np.zeros((2, 3, 4), int)}, "given: int64 (2, 3, 4)"),
        ({"masks": np.zeros((2, 3))}, "given: float64 (2, 3)"),
        ({"masks": np.full((2, 3), -1)}, "`masks` contains negative numbers"),
    ],
)
def test_other_documents_are_named(document: Any, message: str, tmp_path: Path) -> None:
    saved(tmp_path / "a_seg.npy", np.array(document, object) if isinstance(document, dict) else 0)
    if not isinstance(document, dict):
        box = np.empty((), object)
        box[()] = document
        np.save(tmp_path / "a_seg.npy", box)
    with pytest.raises(DataError) as error:
        list(anymask.read(tmp_path / "a_seg.npy", "cellpose"))
    assert message in str(error.value)


def test_one_broken_file_among_many_is_skipped(tmp_path: Path) -> None:
    for name in "abc":
        saved(tmp_path / f"{name}_seg.npy", of_cellpose())
    whole = (tmp_path / "b_seg.npy").read_bytes()
    (tmp_path / "b_seg.npy").write_bytes(whole[: len(whole) // 2])
    dataset = anymask.read(tmp_path, "cellpose")
    assert len(list(dataset)) == 2
    assert dataset.unread_lines() == [
        "Skipped 1 record (the pickled object is corrupted): b_seg.npy"
    ]
