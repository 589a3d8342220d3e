"""Which photos are whose, and where results go."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import InputError
from anymask.jobs import FolderJob, ImageItem, own_names
from anymask.jobs.settings import PlacedImages, output_names, parse_shard, place_number

NAMES = st.lists(
    st.builds("".join, st.lists(st.sampled_from(["a", "b", ".", ".jpg", ".png"]), max_size=4)),
    unique=True,
).map(lambda names: [f"{name}.jpg" for name in names])


def find_items(source: Path, out: Path, **how: Any) -> list[ImageItem]:
    return FolderJob(source=source, output=out, **how).items()


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_results_keep_the_sub_folders_and_lose_the_suffix(tmp_path: Path) -> None:
    source = touch(tmp_path / "in", "a b.jpg", "sub/ü.PNG", "sub/deep/c.d.webp")
    jobs = find_items(source, Path("out"))
    assert [job.output(".json").as_posix() for job in jobs] == [
        "out/a b.json", "out/sub/ü.json", "out/sub/deep/c.d.json",
    ]  # fmt: skip
    assert all(job.image.is_file() for job in jobs)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg"], ["a"]),
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg", "a.png", "a.jpg.png"]),
        (["a.jpg", "a.jpg.png"], ["a", "a.jpg.png"]),
        (["a.jpg.png"], ["a.jpg"]),
    ],
)
def test_names_are_short_where_they_can_be(names: list[str], expected: list[str]) -> None:
    assert list(output_names(names).values()) == expected


@given(NAMES)
def test_no_two_photos_share_a_result(names: list[str]) -> None:
    found = output_names(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)


@given(st.lists(st.text("ab/é\u0301", min_size=1), max_size=30), st.integers(1, 7))
def test_every_photo_belongs_to_exactly_one_machine(names: list[str], parts: int) -> None:
    images = PlacedImages("set", tuple((Path("a.jpg"), Path(f"{n}.jpg", name.replace("/", "_")))
                                       for n, name in enumerate(names)))  # fmt: skip
    found = [
        item.place
        for part in range(1, parts + 1)
        for item in FolderJob(source=images, output=Path("out"), shard=(part, parts)).items()
    ]
    assert sorted(map(str, found)) == sorted(str(place) for _, place in images.images)


def test_the_number_of_a_place_is_the_same_for_ever() -> None:
    # sha256(b"a/b.jpg")[:8]; another answer would do finished data sets again
    assert place_number(Path("a/b.jpg")) == 0x4A51636246E7C418
    assert place_number(Path("u\u0308.jpg")) == place_number(Path("\u00fc.jpg"))
    assert place_number(Path(os.fsdecode(b"\xff.jpg"))) > 0


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "a/b", "-1/4", "1/2/3", "1.5/2"])
def test_a_shard_that_makes_no_sense_is_told(text: str) -> None:
    with pytest.raises(InputError, match="such as 1/4 to 4/4"):
        parse_shard(text)


def test_a_shard_is_two_numbers() -> None:
    assert parse_shard("3/16") == (3, 16)


@pytest.mark.parametrize("out", [".", "in", "in/../in"])
def test_results_may_not_lie_among_the_photos(tmp_path: Path, out: str) -> None:
    source = touch(tmp_path / "in", "a.jpg")
    with pytest.raises(InputError, match="output folder .* contains the images.* Choose another"):
        find_items(source, tmp_path / out)


def test_an_output_folder_inside_is_not_taken_for_photos(tmp_path: Path) -> None:
    source = touch(tmp_path / "in", "a.jpg", "out/a.png", "output/b.jpg")
    found = [job.image.name for job in find_items(source, source / "out")]
    assert found == ["a.jpg", "b.jpg"]


def test_a_link_to_the_photos_will_do(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    assert [job.image.name for job in find_items(tmp_path / "link", tmp_path / "out")] == ["a.jpg"]


@pytest.mark.parametrize(
    ("sources", "places"),
    [
        (["a/x.jpg", "b/y.jpg"], ["x.jpg", "y.jpg"]),
        (["a/x.jpg", "b/x.jpg", "b/y.jpg"], ["a/x.jpg", "b/x.jpg", "b/y.jpg"]),
        (["a/x.jpg", "x.jpg"], ["x.jpg", "a/x.jpg"]),
        (["a", "b"], ["a/x.jpg", "a/deep/z.jpg", "b/x.jpg", "b/y.jpg"]),
        (["x.jpg", "b"], ["x.jpg", "b/x.jpg", "b/y.jpg"]),
        (["a/deep", "c/deep"], ["a/deep/z.jpg", "c/deep/z.jpg"]),
        (["a", "a/deep", "a/x.jpg", "./a"], ["a/x.jpg", "a/deep/z.jpg"]),  # each once
        (["a/x.jpg", "a/../a/x.jpg"], ["x.jpg"]),
    ],
)
def test_results_of_several_sources_lie_apart(
    sources: list[str], places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "x.jpg", "a/x.jpg", "a/deep/z.jpg", "b/x.jpg", "b/y.jpg", "c/deep/z.jpg")
    items = FolderJob(source=tuple(map(Path, sources)), output=Path("out")).items()
    assert sorted(item.name for item in items) == sorted(places)
    assert len({item.stem for item in items}) == len(items)
    assert all(item.stem == Path("out", item.name).with_suffix("") for item in items)
    alone = all(Path(source).suffix for source in sources) and len(set(places)) == len(places)
    assert own_names([Path(one) for one in sources]) == (alone and "/" not in "".join(places))


def test_several_folders_are_no_output(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg", "b/x.jpg")
    job = FolderJob(source=(tmp_path / "a", tmp_path / "b"), output=tmp_path)
    with pytest.raises(InputError, match="output folder"):
        job.items()
    touch(tmp_path, "c/readme.txt")
    job = FolderJob(source=(tmp_path / "a", tmp_path / "c"), output=tmp_path / "out")
    with pytest.raises(InputError, match="no images"):
        job.items()
