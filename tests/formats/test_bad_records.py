"""Invalid records: each reader keeps the others, and names what it skipped, or lists all of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import anymask
from anymask.formats import LossReport
from anymask.formats.loss_report import BadRecordsError
from tests.conftest import CommandLine

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
        [[[5, 5], [15, 5], [15, 15]]], [[5, 5, 6, 6], [1, 2, 3, 4]], [[5, 5, 5, 5, 5, 5]],
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


HW = {"height": 60, "width": 100}
BOX = [[5, 5], [15, 5], [15, 15], [5, 15]]
FAR = [[205, 5], [215, 5], [215, 15]]
# Outlines of [x, y] corners that no reader takes: too few points, no area, invalid values.
CORNERS: list[Any] = [
    [[5, 5], [15, 15]], [], [[5, 5]], [[5, 5], [5, 5], [5, 5]], FAR, [[5, 5], [9, 9], [15, 15]],
    [[5, 5], [15, NAN], [15, 15]], [[5, 5], [15, float("inf")], [15, 15]], [[5, 5], [15], [15, 15]],
    [[5, 5, 1, 1], [15, 5, 1, 1], [15, 15, 1, 1]], [5, 5, 15, 5, 15, 15], [[[5, 5], [15, 5]]],
    [["a", 5], [15, 5], [15, 15]], "5,5 15,5", 7, None, {"x": 5}, [[1e300, 5], [15, 5], [15, 15]],
]  # fmt: skip
ABSENT = object()


def change(record: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The record with another value of a key, or without it."""
    kept = {name: old for name, old in record.items() if name != key}
    return kept if value is ABSENT else kept | {key: value}


def dumped(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def write_labelme(folder: Path) -> Path:
    base = {"label": "cat", "points": BOX, "group_id": None, "shape_type": "polygon"}
    broken: list[Any] = [change(base, "points", one) for one in CORNERS[:14]]
    broken += [change(base, key, ABSENT) for key in ("label", "points")]
    broken += [
        change(base, "shape_type", "blob"), change(base, "group_id", "x"), "shape",
        base | {"shape_type": "mask", "mask": "AAAA"},
    ]  # fmt: skip
    document = {"shapes": spread(lambda _: base, broken), "imagePath": "a.jpg"}
    sizes = {"imageHeight": 60, "imageWidth": 100}
    return dumped(folder / "a.json", document | sizes | {"version": "5", "flags": {}})


def write_label_studio(folder: Path) -> Path:
    value = {"points": BOX, "polygonlabels": ["cat"]}
    base = {"type": "polygonlabels", "value": value, "original_width": 100, "original_height": 60}
    far = [[205, 5], [215, 5], [215, 15]]
    broken: list[Any] = [
        base | {"value": value | {"points": one if one is not FAR else far}} for one in CORNERS[:14]
    ]
    box = {"x": 5, "y": 5, "width": 0, "height": 9, "rectanglelabels": ["cat"]}
    broken += [
        change(base, "value", ABSENT), base | {"value": {"polygonlabels": ["cat"]}}, 7,
        base | {"score": "high"}, base | {"type": "rectanglelabels", "value": box},
        base | {"type": "brushlabels", "value": {"format": "rle", "rle": [1, 2, 3]}},
    ]  # fmt: skip
    result = spread(lambda _: base, broken)
    task = {"data": {"image": "a.jpg"}, "annotations": [{"result": result}]}
    return dumped(folder / "tasks.json", [task])


def write_cvat(folder: Path) -> Path:
    points = "5,5;15,5;15,15;5,15"
    good = f'<polygon label="cat" points="{points}"/>'
    texts = [
        "5,5;15,15", "", "5,5", "5,5;5,5;5,5", "205,5;215,5;215,15", "5,5;9,9;15,15",
        "5,5;15,nan;15,15", "5,5;15;15,15", "5,5,1;15,5,1;15,15,1", "a,5;15,5;15,15",
        "1e300,5;9,9;9,1",
    ]  # fmt: skip
    box = '<box label="cat" xtl="{}" ytl="5" xbr="15" ybr="15"/>'
    mask = '<mask label="cat" rle="{}" left="5" top="5" width="10" height="10"/>'
    broken = [f'<polygon label="cat" points="{text}"/>' for text in texts]
    broken += [
        f'<polygon points="{points}"/>', '<polygon label="cat"/>', '<blob label="cat"/>',
        box.format("x"), box.format("15"), mask.format("1,2"), mask.format("1,x"),
        mask.format("100"), f'<polygon label="cat" points="{points}" group_id="x"/>',
    ]  # fmt: skip
    shapes = "".join(spread(lambda _: good, broken))
    path = folder / "a.xml"
    image = f'<image id="0" name="a.jpg" width="100" height="60">{shapes}</image>'
    path.write_text(f"<annotations><version>1.1</version>{image}</annotations>")
    return path


def write_yolo(folder: Path) -> Path:
    good = "0 0.05 0.1 0.15 0.1 0.15 0.3"
    broken = [
        "0 0.05 0.1 0.15 0.1", "0", "0 0.05 0.1", "0 0.05 0.1 0.05 0.1 0.05 0.1", "cat 0.1 0.1",
        "0 0.05 nan 0.15 0.1 0.15 0.3", "0 0.05 inf 0.15 0.1 0.15 0.3",
        "9 0.05 0.1 0.15 0.1 0.15 0.3",
        "-1 0.05 0.1 0.15 0.1 0.15 0.3", "0 0.05 0.1 0.15 0.1 0.15 0.3 0.5", "0 5 6 15 6 15 18",
        "0,0.05,0.1,0.15,0.1,0.15,0.3", "0 a 0.1 0.15 0.1 0.15 0.3", "0 0.5 0.5 0.1", "{}",
        "0 0.05 0.1 0.15 0.1 0.15 " + "9" * 5000,
        "0.5 0.05 0.1 0.15 0.1 0.15 0.3", "0 1.2 0.1 1.3 0.1 1.3 0.3", "null",
        "0 0.1 0.1 0.1 0.1 0.1",
    ]  # fmt: skip
    (folder / "labels").mkdir()
    (folder / "images").mkdir()
    Image.new("L", (100, 60)).save(folder / "images" / "a.png")
    (folder / "labels" / "a.txt").write_text("\n".join(spread(lambda _: good, broken)))
    (folder / "data.yaml").write_text("names: [cat]")
    return folder


def write_geojson(folder: Path) -> Path:
    def shape(points: Any) -> dict[str, Any]:
        ring = [*points, points[0]] if isinstance(points, list) and points else points
        geometry = {"type": "Polygon", "coordinates": [ring]}
        return {"type": "Feature", "properties": {"label": "cat"}, "geometry": geometry}

    base = shape(BOX)
    broken: list[Any] = [shape(one) for one in CORNERS if one != CORNERS[9]][:14]
    broken += [
        change(base, "geometry", ABSENT), base | {"geometry": {"type": "Blob"}}, 7,
        base | {"properties": {"score": "x"}}, base | {"properties": {"group": "x"}},
        base | {"geometry": {"type": "Point", "coordinates": [1, 2]}},
    ]  # fmt: skip
    about = {"file_name": "a.jpg"} | HW
    features = spread(lambda _: base, broken)
    document = {"type": "FeatureCollection", "anymask": about, "features": features}
    return dumped(folder / "a.geojson", document)


def write_voc_xml(folder: Path) -> Path:
    def shape(*points: tuple[Any, Any], more: str = "") -> str:
        tags = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(points, 1))
        return f"<object><name>cat</name><polygon>{tags}{more}</polygon></object>"

    good = shape(*map(tuple, BOX))
    box = "<object><name>cat</name>{}</object>"
    broken = [
        shape((5, 5), (15, 15)), shape((5, 5)), shape((5.5, 5), (5.5, 5), (5.5, 5)),
        shape((205.5, 5), (215, 5), (215, 15)), shape((5.5, 5), (9.5, 9), (15.5, 15)),
        shape((5, 5), (15, "nan"), (15, 15)), shape((5, 5), (15, "inf"), (15, 15)),
        shape((5, 5), (15, 5), (15, 15), more="<x4>5</x4>"), shape(("a", 5), (15, 5), (15, 15)),
        shape((5, 5), (15, 5), (15, 15), more="<x9>5</x9><y9>5</y9>"),
        shape(("", 5), (15, 5), (15, 15)),
        shape(("1e300", 5), (15, 5), (15, 15)), shape((205, 5), (215, 5), (215, 15)),
        shape((5, 5), (15, "5,5"), (15, 15)), shape((5, 5), (15, "None"), (15, 15)),
        box.format(""), box.format("<polygon/>"), box.format("<bndbox/>"),
        box.format("<bndbox><xmin>1</xmin></bndbox>"), shape(("5 5", 5), (15, 5), (15, 15)),
    ]  # fmt: skip
    path = folder / "a.xml"
    size = "<size><width>100</width><height>60</height><depth>3</depth></size>"
    objects = "".join(spread(lambda _: good, broken))
    path.write_text(f"<annotation><filename>a.jpg</filename>{size}{objects}</annotation>")
    return path


def write_svg(folder: Path) -> Path:
    good = '<path d="M5,5L15,5L15,15L5,15Z" data-label="cat"/>'
    paths = [
        "M5,5L15,15Z", "M5,5Z", "M5,5L5,5L5,5Z", "M205,5L215,5L215,15Z", "M5,5L9,9L15,15Z", "L5,5",
        "M5,5C1,1,2,2,3,3Z", "M5,5L15,nanL15,15Z", "M5,5L15L15,15Z", "5,5 15,5",
        "M5,5A1,1,0,0,0,9,9Z",
        "M 5 5 L #", "M5,5Q1,1,2,2Z",
    ]  # fmt: skip
    broken = [f'<path d="{path}"/>' for path in paths]
    broken += [
        '<polygon points="5,5 15,15"/>', '<polygon points="a,b"/>', '<rect width="5" height="5"/>',
        good.replace("/>", ' transform="scale(2)"/>'), good.replace("/>", ' data-group="x"/>'),
        good.replace("/>", ' data-quality="x"/>'), '<circle r="5"/>',
    ]  # fmt: skip
    path = folder / "a.svg"
    shapes = "".join(spread(lambda _: good, broken))
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 60">{shapes}</svg>')
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "coco": write_coco,
    "labelme": write_labelme,
    "label-studio": write_label_studio,
    "cvat": write_cvat,
    "yolo": write_yolo,
    "geojson": write_geojson,
    "voc-xml": write_voc_xml,
    "svg": write_svg,
}


@pytest.fixture(params=WRITERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return WRITERS[request.param](folder)


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


def test_all_of_them_are_listed_where_they_are_errors(source: Path) -> None:
    with pytest.raises(BadRecordsError) as error:
        list(anymask.read(source, on_bad="error"))
    assert len(error.value.losses) == 20
    assert len(str(error.value).splitlines()) == 21
    assert not any(word in str(error.value) for word in PYTHON), str(error.value)


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


@pytest.mark.parametrize("form", ["coco", "geojson"])
def test_the_good_part_of_an_object_is_kept(form: str, tmp_path: Path) -> None:
    """As pycocotools fills it: 100 pixels; the other part has two points."""
    if form == "coco":
        path = coco_file(tmp_path / "a.json", [SQUARE, [1, 1, 5, 5]])
    else:
        parts = [[[*BOX, BOX[0]]], [[[1, 1], [5, 5], [1, 1]]]]
        shape = {"type": "MultiPolygon", "coordinates": parts}
        about = {"file_name": "a.jpg"} | HW
        path = dumped(tmp_path / "a.geojson", {"features": [{"geometry": shape}], "anymask": about})
    found = anymask.read(path)
    assert [mask.area for image in found for mask in image.masks] == [100]
    assert len(found.lost.losses) == 1


def test_shapes_of_several_types_are_counted_apart(tmp_path: Path) -> None:
    points = '<{0} label="a" points="1,1"/>'
    shapes = "".join(map(points.format, ("points", "points", "cuboid")))
    box = '<box label="a" xtl="1" ytl="1" xbr="4" ybr="4"/>'
    image = f'<image name="a.jpg" width="9" height="9">{shapes}{box}</image>'
    (tmp_path / "a.xml").write_text(f"<annotations>{image}</annotations>")
    found = anymask.read(tmp_path / "a.xml")
    list(found)
    assert [line.split(":")[0] for line in found.unread_lines()] == [
        "Skipped 2 records (shapes of type 'points' have no mask)",
        "Skipped 1 record (shapes of type 'cuboid' have no mask)",
    ]


def test_a_source_without_a_mask_left_is_an_error(tmp_path: Path, cli: CommandLine) -> None:
    one = coco_file(tmp_path / "one.json", [[1, 1, 5, 5]])
    assert "one.json: annotation 0 (id 1): Too few points. Pol" in cli.refused(
        ["convert", str(one), str(tmp_path / "out.json")]
    )
    two = coco_file(tmp_path / "two.json", [[1, 1, 5, 5]], [[1, 1, 5]])
    with pytest.raises(BadRecordsError, match="two.json: No valid record is left,"):
        list(anymask.read(two))
    wide = coco_file(tmp_path / "wide.json", [SQUARE], width=0)
    with pytest.raises(BadRecordsError, match="No valid record is left, because all "):
        list(anymask.read(wide))


def test_one_broken_file_of_a_folder_is_a_record(tmp_path: Path) -> None:
    coco_file(tmp_path / "a.json", [SQUARE])
    (tmp_path / "b.json").write_text('{"images": [')
    dataset = anymask.read(tmp_path, "coco")
    assert len(list(dataset)) == 1
    (line,) = dataset.unread_lines()
    assert line.startswith("Skipped 1 record (not valid JSON")


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


def test_what_should_be_hidden_is_never_skipped(tmp_path: Path, cli: CommandLine) -> None:
    Image.new("L", (100, 60)).save(tmp_path / "a.jpg")
    labels = coco_file(tmp_path / "a.json", [SQUARE], [[1, 1, 5, 5]])
    words = ["redact", str(tmp_path / "a.jpg"), "--labels", str(labels)]
    assert "annotation 1 (id 2): Too few points" in cli.refused(
        [*words, "-o", str(tmp_path / "out.jpg")]
    )
    assert not (tmp_path / "out.jpg").exists()


def test_without_settings_the_first_bad_record_is_an_error() -> None:
    report, told = LossReport(), "record 3: the key 'x' is missing"
    with pytest.raises(anymask.errors.DataError, match=told), report.record("record 3"):
        raise KeyError("x")
    assert report.places == []
