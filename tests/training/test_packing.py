"""Packed sets: small enough, the same masks, and nothing but files of their own when unpacked."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.data.sets import load_set
from anymask.primitives.errors import DataError, InputError
from anymask.primitives.rle import mask_to_rle, rle_to_mask, rle_to_string
from anymask.training import packing
from anymask.training.loop import train
from anymask.training.packing import LEVELS, pack, unpack
from anymask.training.worker import TrainingRun
from tests.training.small_data import small_recipe, write_sets


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of four smooth photos of 900 x 600 with an ellipse each."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:600, :900]
    for name in ("a", "b"):
        (folder / name / "images").mkdir(parents=True)
        rows = []
        for i in range(4):
            cy, cx, ry, rx = rng.uniform((200, 300, 60, 60), (400, 600, 150, 250))
            mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
            speck = (y == 5) & (x == 5)
            small = rng.integers(0, 256, (12, 18, 3), dtype=np.uint8)
            photo = np.array(Image.fromarray(small).resize((900, 600)))
            photo[mask] = (240, 30, 30)
            Image.fromarray(photo).save(folder / name / "images" / f"{i}.jpg")
            masks = [{"rle": rle_to_string(mask_to_rle(m)), "label": "egg"} for m in (mask, speck)]
            rows.append({"image": f"images/{i}.jpg", "hw": [600, 900], "masks": masks})
        (folder / name / "masks.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / name / "set.json").write_text(json.dumps({"name": name, "licence": "CC0"}))
    return folder


@pytest.mark.parametrize("name", ["sets.tar", "sets.tar.gz"])
def test_a_pack_holds_the_photos_smaller_and_their_masks_with_them(
    name: str, large: Path, tmp_path: Path
) -> None:
    what = pack(small_recipe(), large, tmp_path / name, 10_000_000)
    assert (what.photos, what.photos_in_all, what.side) == (8, 8, LEVELS[0].side)
    sets = unpack(tmp_path / name, tmp_path / "run")
    for folder in ("a", "b"):
        info, packed = load_set(sets / folder)
        _, wide = load_set(large / folder)
        assert (info.name, info.licence, len(packed)) == (folder, "CC0", 4)
        for one, other in zip(packed, wide, strict=True):
            assert one.hw == (320, 480)
            assert [mask.label for mask in one.objects] == ["egg"]  # the speck is gone
            mask = rle_to_mask(one.rles[0])
            image = one.image().astype(int)
            red = (image[..., 0] - image[..., 1]) > 120
            assert (red & mask).sum() > 0.9 * mask.sum()
            assert mask.mean() == pytest.approx(rle_to_mask(other.rles[0]).mean(), rel=0.03)


def test_a_pack_stays_under_its_limit_first_by_quality_then_by_fewer_photos_of_each_set(
    large: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.tar.gz"
    pack(small_recipe(), large, whole, 10_000_000)
    for part, side in ((0.7, None), (0.2, LEVELS[-1].side)):
        limit = int(part * whole.stat().st_size)
        what = pack(small_recipe(), large, tmp_path / "small.tar.gz", limit)
        assert (tmp_path / "small.tar.gz").stat().st_size <= limit
        assert side in (None, what.side)
    sets = unpack(tmp_path / "small.tar.gz", tmp_path / "run")
    kept = [len(load_set(sets / name)[1]) for name in ("a", "b")]
    assert kept[0] == kept[1] < 4


def test_a_limit_that_holds_nothing_is_refused(large: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is too little: one photo of each of 2 sets takes"):
        pack(small_recipe(), large, tmp_path / "a.tar", 1000)
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_is_refused(large: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wanted a name that ends in .tar or .tar.gz"):
        pack(small_recipe(), large, tmp_path / "a.zip", 10_000_000)


def test_small_photos_are_not_enlarged_and_a_pack_trains(tmp_path: Path) -> None:
    data = write_sets(tmp_path / "data")
    pack(small_recipe(), data, tmp_path / "a.tar", 1_000_000)
    sets = unpack(tmp_path / "a.tar", tmp_path / "run")
    assert load_set(sets / "round")[1][0].hw == (48, 64)
    assert unpack(tmp_path / "a.tar", tmp_path / "run") == sets
    train(small_recipe(steps=2), TrainingRun(sets, tmp_path / "run"))
    assert (tmp_path / "run" / "last.pt").is_file()


def tar_with(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../out"),
        member("a/../../out"),
        member("/tmp/out"),
        member("out"),
        member("a/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("a/hard", tarfile.LNKTYPE, "../../x"),
        member("a/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda one: one.name,
)
def test_a_member_that_leaves_the_folder_or_is_no_file_is_refused(
    bad: tarfile.TarInfo, tmp_path: Path
) -> None:
    file = tar_with(tmp_path / "bad.tar", member("a/fine"), bad)
    with pytest.raises(DataError, match="wanted files SET/..., the pack has a member"):
        unpack(file, tmp_path / "run" / "deep")
    assert not list((tmp_path / "run" / "deep").glob("data-*"))
    assert not (tmp_path / "run" / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\x1f\x8b\x08 broken gzip"])
def test_a_file_that_is_no_pack_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match="a.tar: not a file of `anymask train --pack`"):
        unpack(tmp_path / "a.tar", tmp_path / "run")


def test_a_pack_that_claims_to_be_huge_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = tarfile.TarInfo("a/huge")
    huge.size = 10**12
    header = huge.tobuf(tarfile.GNU_FORMAT)
    for name, data in (("a.tar", header), ("a.tar.gz", gzip.compress(header + bytes(10**6)))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="wanted a pack that unpacks to at most 50 times"):
            unpack(tmp_path / name, tmp_path / "run")
        assert not list((tmp_path / "run").glob(".*"))
    zeros = gzip.compress(bytes(1024) * 200)
    monkeypatch.setattr(packing, "FREE_BYTES", 0)
    huge.size = 1024 * 200
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(huge.tobuf() + gzip.decompress(zeros)))
    with pytest.raises(InputError, match="its headers say more"):
        unpack(tmp_path / "b.tar.gz", tmp_path / "run")
    monkeypatch.setattr(packing, "MOST_FILES", 1)
    monkeypatch.setattr(packing, "FREE_BYTES", 10**6)
    many = tar_with(tmp_path / "c.tar", member("a/one"), member("a/two"))
    with pytest.raises(InputError, match="and 1 files"):
        unpack(many, tmp_path / "run")
