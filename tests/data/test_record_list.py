"""A list of masks: what its methods keep, draw and write."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.data.formats import FORMATS, read_annotations
from anymask.data.photo_sources import PictureFile
from anymask.data.record_list import MaskRecords
from anymask.primitives.errors import ImageError, InputError
from anymask.primitives.previews import HeldPicture
from anymask.primitives.records import MaskRecord, record_from_rle
from anymask.primitives.rle import mask_to_rle


def square(at: int, side: int, quality: float, label: str | None = None) -> MaskRecord:
    mask = np.zeros((20, 30), np.bool_)
    mask[at : at + side, at : at + side] = True
    return record_from_rle(mask_to_rle(mask), quality=quality, stability=quality, label=label)


LARGE, INNER, OTHER = square(0, 10, 0.5), square(2, 4, 0.9, "hole"), square(12, 6, 0.7)
SOME = MaskRecords([LARGE, INNER, OTHER])


def test_it_is_a_list_of_records() -> None:
    assert isinstance(SOME, list)
    assert SOME[1] is INNER
    assert SOME == [LARGE, INNER, OTHER]


def test_filter_keeps_what_reaches_everything_that_is_asked() -> None:
    assert SOME.filter(min_quality=0.6) == [INNER, OTHER]
    assert SOME.filter(min_area=17) == [LARGE, OTHER]
    assert SOME.filter(label="hole") == [INNER]
    assert SOME.filter(lambda record: record.area == 36, min_stability=0.1) == [OTHER]
    assert len(SOME) == 3


def test_nms_keeps_the_better_one_of_two_that_overlap() -> None:
    twin = square(0, 9, 0.6)  # IoU .81 with the large one
    assert MaskRecords([*SOME, twin]).nms(0.8) == [INNER, OTHER, twin]
    assert MaskRecords([*SOME, twin]).nms(0.82) == [INNER, OTHER, twin, LARGE]
    with pytest.raises(InputError, match="IoU from 0 to 1, got 7"):
        SOME.nms(7)


def test_tree_tells_which_mask_lies_in_which() -> None:
    assert [(record.parent, record.depth) for record in SOME.tree()] == [
        (None, 0),
        (0, 1),
        (None, 0),
    ]
    assert SOME[1].parent is None


def test_drawing_colours_the_masks_and_leaves_the_rest() -> None:
    photo = np.full((200, 300, 3), 100, np.uint8)
    masks = [np.zeros((200, 300), np.bool_) for _ in range(3)]
    for mask, (low, high) in zip(masks, [(0, 100), (30, 70), (120, 180)], strict=True):
        mask[low:high, low:high] = True
    drawn = MaskRecords(record_from_rle(mask_to_rle(mask)) for mask in masks).draw(photo)
    assert (photo == 100).all()
    assert (drawn[:, 200:] == 100).all()
    middles = [drawn[15, 15], drawn[50, 50], drawn[150, 150]]
    assert len({tuple(pixel) for pixel in middles}) == 3
    with pytest.raises(InputError, match=r"masks are \(20, 30\) .* the photo is \(4, 4\)"):
        SOME.draw(np.zeros((4, 4, 3), np.uint8))


def test_saving_writes_records_that_read_back_and_pictures(tmp_path: Path) -> None:
    SOME.save(tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["image"] == {"width": 30, "height": 20}
    back = [MaskRecord.from_sa1b(record) for record in document["annotations"]]
    assert [record.area for record in back] == [100, 16, 36]
    photo = np.full((20, 30, 3), 100, np.uint8)
    SOME.save(tmp_path / "a.png", photo)
    assert (cv2.imread(str(tmp_path / "a.png"))[..., ::-1] == SOME.draw(photo)).all()
    with pytest.raises(InputError, match="photo of these masks is not known .* give image="):
        SOME.save(tmp_path / "b.png")
    with pytest.raises(InputError, match="saved as .json, .geojson"):
        SOME.save(tmp_path / "b.doc")


def test_its_repr_is_one_line() -> None:
    assert repr(SOME) == ("<MaskRecords: 3 masks of 30x20, best quality 0.90, 23 % of the photo>")
    assert repr(MaskRecords()) == "<MaskRecords: none>"


PHOTO = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)


def test_a_slice_and_what_methods_answer_remember_the_photo() -> None:
    seen = MaskRecords(SOME, picture=HeldPicture(PHOTO))
    for made in (seen[1:], seen.filter(min_area=17), seen.nms(), seen.tree(), seen.merge([INNER])):
        assert isinstance(made, MaskRecords)
        assert made.picture is seen.picture
    assert MaskRecords([], image_hw=(4, 5)).image_hw == (4, 5)
    with pytest.raises(InputError, match="empty list of masks has no size"):
        _ = MaskRecords().image_hw


def test_an_empty_list_is_drawn_as_the_photo_alone() -> None:
    np.testing.assert_array_equal(MaskRecords().draw(PHOTO), PHOTO)
    np.testing.assert_array_equal(MaskRecords(image_hw=(20, 30)).draw(PHOTO), PHOTO)


def test_a_photo_that_is_gone_leaves_the_words(tmp_path: Path) -> None:
    gone = PictureFile(tmp_path / "gone.png")
    shown = MaskRecords(SOME, picture=gone)
    assert shown._repr_png_() is None
    assert "3 masks of 30x20" in shown._repr_html_()
    with pytest.raises(ImageError, match="there is no file"):
        shown.draw()


def test_merged_lists_hold_each_mask_once() -> None:
    assert SOME.merge([INNER], [OTHER, LARGE]) == [INNER, OTHER, LARGE]


def test_a_union_is_every_pixel_of_any_mask() -> None:
    whole = SOME.union("all")
    np.testing.assert_array_equal(whole.mask, SOME.masks().any(axis=0))
    assert whole.label == "all"
    assert whole.quality == SOME.best.quality == 0.9
    with pytest.raises(InputError, match="no best one"):
        MaskRecords().union()


def test_a_notebook_shows_the_photo_and_a_line_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = MaskRecords([LARGE] * 25, picture=HeldPicture(PHOTO))
    assert "and 5 more" in seen._repr_html_()
    assert (seen._repr_png_() or b"").startswith(b"\x89PNG")
    assert SOME._repr_png_() is None
    assert pickle.loads(pickle.dumps(seen)) == seen


@pytest.mark.parametrize("form", [name for name in FORMATS if name not in ("set", "davis", "sav")])
def test_every_format_is_written_and_reads_back(form: str, tmp_path: Path) -> None:
    """Formats of one layer keep what lies on top; the lone square is whole in each of them."""
    lone = MaskRecords([OTHER], picture=HeldPicture(PHOTO, "photo.png"))
    suffix = {"cvat": ".xml"}.get(form, ".json" if form.startswith(("coco", "label-s")) else "")
    target = tmp_path / f"out{suffix}"
    lone.write(target, form)
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    (image,), _ = read_annotations(target, form, tmp_path)
    assert [mask.rle for mask in image.masks] == [OTHER.rle]
    assert lone.encode(form)


def test_the_common_formats_have_a_method_each() -> None:
    assert [row["category_id"] for row in SOME.to_coco()["annotations"]] == [2, 1, 2]
    assert SOME.to_coco(polygons=True)["annotations"][0]["segmentation"][0][:2] == [0, 0]
    assert len(SOME.to_labelme()["shapes"]) == 3
    assert SOME.to_geojson()["features"][1]["properties"]["label"] == "hole"
    assert SOME.to_svg().count("<path") == 3
    assert SOME.to_cvat().count("<mask") == 3
    assert len(SOME.to_label_studio()) == 1
    assert SOME.to_yolo().splitlines()[1].startswith("0 ")
    assert len(SOME.to_sa1b()) == 3


def test_the_pipeline_s_answer_is_masks_and_scores() -> None:
    told = SOME.to_pipeline()
    assert told["scores"].tolist() == pytest.approx([0.5, 0.9, 0.7])
    np.testing.assert_array_equal(np.array(told["masks"]), SOME.masks())


@pytest.mark.parametrize("name", ["a.geojson", "a.svg", "a.xml"])
def test_the_end_of_the_name_chooses_the_format(name: str, tmp_path: Path) -> None:
    SOME.save(tmp_path / name)
    (image,), _ = read_annotations(tmp_path / name)
    assert [mask.rle for mask in image.masks] == [record.rle for record in SOME]


def test_arrays_and_pictures_are_saved_too(tmp_path: Path) -> None:
    SOME.save(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), SOME.masks())
    seen = MaskRecords(SOME, picture=HeldPicture(PHOTO))
    seen.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.tif")), seen.draw())


@pytest.mark.parametrize(
    ("name", "form"),
    [("m.json", "coco"), ("m.xml", "cvat"), ("m.geojson", "geojson"), ("yolo", "yolo")],
)
def test_the_name_says_the_format_where_nobody_does(tmp_path: Path, name: str, form: str) -> None:
    SOME.write(tmp_path / "named" / name)
    SOME.write(tmp_path / "asked" / name, form)
    files = [path for path in (tmp_path / "asked").rglob("*") if path.is_file()]
    assert files
    for path in files:
        other = tmp_path / "named" / path.relative_to(tmp_path / "asked")
        assert other.read_bytes() == path.read_bytes()
    with pytest.raises(InputError, match="does not say which format is meant; name one"):
        SOME.write(tmp_path / "masks")


def test_a_text_file_is_the_lines_of_yolo(tmp_path: Path) -> None:
    assert SOME.save(tmp_path / "a" / "m.txt").read_text("utf-8") == SOME.to_yolo() != ""
