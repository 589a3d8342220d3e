"""Invalid records: each reader keeps the others, and names what it skipped, or lists all of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import anymask
from anymask.cli.main import main
from anymask.formats import BadRecordsError, LossError, LossReport

GOOD, EVERY = 200, 10  # records, of which each tenth is broken
NAN = float("nan")


def spread(good: Callable[[int], Any], broken: list[Any]) -> list[Any]:
    """200 records, each tenth of which is the next of the broken ones."""
    assert len(broken) == GOOD // EVERY
    return [broken[n // EVERY] if n % EVERY == EVERY - 1 else good(n) for n in range(GOOD)]


def write_coco(folder: Path) -> Path:
    square = [5, 5, 15, 5, 15, 15, 5, 15]
    base = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [square]}
    rle = {"size": [60, 100], "counts": [0, 10, 5990]}

    def without(key: str) -> dict[str, Any]:
        return {name: value for name, value in base.items() if name != key}

    segmentations = [
        [[5, 5, 15, 15]], [[]], [[5, 5, 15, 5, 15, 15, 5]], [[5, 5, 15, NAN, 15, 15]],
        [[[5, 5], [15, 5], [15, 15]]], [square, [1, 2, 3, 4]], [[5, 5, 5, 5, 5, 5]],
        [[205, 5, 215, 5, 215, 15]], "[[5, 5, 15, 5, 15, 15]]", [rle], 7,
        [[5, 5, "a", 5, 15, 15]], {"size": [60, 100]}, rle | {"counts": [0, 10, 5]},
        rle | {"size": [100, 60]}, rle | {"counts": "zzz"}, [[1e300, 5, 15, 5, 15, 15]],
    ]  # fmt: skip
    broken = [base | {"segmentation": one} for one in segmentations]
    broken += [without("category_id"), base | {"category_id": 9}, base | {"image_id": 77}]
    rows = spread(lambda n: base | {"id": n + 1}, broken)
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 60}],
        "annotations": rows,
        "categories": [{"id": 1, "name": "cat"}],
    }
    path = folder / "many.json"
    path.write_text(json.dumps(document))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {"coco": write_coco}


@pytest.fixture(params=WRITERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return WRITERS[request.param](tmp_path)


PYTHON = ("Error", "could not", "invalid literal", "object is not", "unpack", "NoneType", "numpy")


def test_the_other_records_are_read_and_each_bad_one_is_reported(source: Path) -> None:
    dataset = anymask.read(source)
    assert sum(len(image.masks) for image in dataset) == GOOD - GOOD // EVERY
    lines = dataset.unread_lines()
    assert sum(int(line.split()[1]) for line in lines if line.startswith("Skipped")) == 20
    assert len(dataset.lost.losses) == 20
    text = "\n".join(lines)
    assert str(source) not in text
    assert not any(word in text for word in PYTHON), text


def test_all_of_them_are_listed_where_they_are_errors(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadRecordsError) as error:
        list(anymask.read(source, on_bad="error"))
    assert len(error.value.losses) == 20
    assert len(str(error.value).splitlines()) == 21
    assert not any(word in str(error.value) for word in PYTHON), str(error.value)
    target = tmp_path / "out.json"
    assert main(["convert", str(source), str(target), "--on-bad", "error"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 21
    assert not target.exists()


def test_a_strict_conversion_fails_on_what_was_skipped(source: Path, tmp_path: Path) -> None:
    with pytest.raises(LossError):
        anymask.convert(source, tmp_path / "out.json", strict=True)


def coco_file(path: Path, *segmentations: Any, **image: Any) -> Path:
    about = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 60} | image
    rows = [
        {"id": n, "image_id": 1, "category_id": 1, "segmentation": one}
        for n, one in enumerate(segmentations, start=1)
    ]
    categories = [{"id": 1, "name": "cat"}]
    document = {"images": [about], "annotations": rows, "categories": categories}
    path.write_text(json.dumps(document))
    return path


SQUARE = [5, 5, 15, 5, 15, 15, 5, 15]


def test_a_report_counts_by_reason_and_names_three_places(tmp_path: Path) -> None:
    bad = [[1, 1, 5, 5]]
    path = coco_file(tmp_path / "a.json", [SQUARE], bad, bad, bad, bad, [[NAN, 1, 2, 3, 4, 5]])
    dataset = anymask.read(path)
    assert len(list(dataset)) == 1
    places = "annotation 1 (id 2), annotation 2 (id 3), annotation 3 (id 4), and 1 more"
    assert dataset.unread_lines() == [
        f"Skipped 4 records (too few points): {places}",
        "Skipped 1 record (invalid number): annotation 5 (id 6)",
    ]


def test_a_source_without_a_mask_left_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = coco_file(tmp_path / "one.json", [[1, 1, 5, 5]])
    assert main(["convert", str(one), str(tmp_path / "out.json")]) == 2
    assert "one.json: annotation 0 (id 1): Too few points. Exp" in capsys.readouterr().err
    two = coco_file(tmp_path / "two.json", [[1, 1, 5, 5]], [[1, 1, 5]])
    with pytest.raises(BadRecordsError, match=r"two.json: No mask is left: 2 records are invalid"):
        list(anymask.read(two))
    wide = coco_file(tmp_path / "wide.json", [SQUARE], width=0)
    with pytest.raises(BadRecordsError, match="No mask is left: 2 records are invalid"):
        list(anymask.read(wide))


def test_one_broken_file_of_a_folder_is_a_record(tmp_path: Path) -> None:
    coco_file(tmp_path / "a.json", [SQUARE])
    (tmp_path / "b.json").write_text('{"images": [')
    dataset = anymask.read(tmp_path, "coco")
    assert len(list(dataset)) == 1
    (line,) = dataset.unread_lines()
    assert line.startswith("Skipped 1 record (not JSON")


def test_images_of_one_id_are_skipped_both(tmp_path: Path) -> None:
    path = coco_file(tmp_path / "a.json", [SQUARE])
    document = json.loads(path.read_text())
    document["images"] += [
        {"id": 1, "file_name": "b.jpg", "width": 100, "height": 60},
        {"id": 2, "file_name": "c.jpg", "width": 100, "height": 60},
    ]
    document["annotations"].append(document["annotations"][0] | {"id": 2, "image_id": 2})
    path.write_text(json.dumps(document))
    dataset = anymask.read(path)
    assert [(image.file_name, len(image.masks)) for image in dataset] == [("c.jpg", 1)]
    assert len(dataset.lost.losses) == 2


def test_a_flat_list_of_numbers_is_one_polygon(tmp_path: Path) -> None:
    (image,) = anymask.read(coco_file(tmp_path / "a.json", SQUARE))
    assert image.masks[0].area == 100
    (image,) = anymask.read(coco_file(tmp_path / "a.json", [SQUARE], width="100", height="60"))
    assert image.hw == (60, 100)


def test_without_settings_the_first_bad_record_is_an_error() -> None:
    report, told = LossReport(), "record 3: the key 'x' is missing"
    with pytest.raises(anymask.errors.DataError, match=told), report.record("record 3"):
        raise KeyError("x")
    assert report.places == []
