"""A list of masks: what its methods keep, draw and write."""

import copy
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.base import ImageError, InputError
from anymask.formats import Policy, read_annotations
from anymask.images import ImageFile
from anymask.masks import TOLERANCE, ImageInMemory, Mask, Masks, mask_to_rle
from anymask.segment import Model
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime, discs


def square(at: int, side: int, quality: float, label: str | None = None) -> Mask:
    return Mask(
        mask_to_rle(rectangle((20, 30), (at, at, at + side, at + side))),
        score=quality,
        stability=quality,
        label=label,
    )


LARGE, INNER, OTHER = square(0, 10, 0.5), square(2, 4, 0.9, "hole"), square(12, 6, 0.7)
SOME = Masks([LARGE, INNER, OTHER])


def test_filter_keeps_what_reaches_everything_that_is_asked() -> None:
    assert SOME.filter(min_score=0.6) == [INNER, OTHER]
    assert SOME.filter(min_area=17) == [LARGE, OTHER]
    assert SOME.filter(label="hole") == [INNER]
    assert SOME.filter(lambda record: record.area == 36, min_stability=0.1) == [OTHER]
    assert len(SOME) == 3


def test_nms_keeps_the_better_one_of_two_that_overlap() -> None:
    twin = square(0, 9, 0.6)  # IoU .81 with the large one
    assert Masks([*SOME, twin]).nms(0.8) == [INNER, OTHER, twin]
    assert Masks([*SOME, twin]).nms(0.82) == [INNER, OTHER, twin, LARGE]
    with pytest.raises(InputError, match="threshold must be a number from 0 to 1"):
        SOME.nms(7)


def test_drawing_colours_the_masks_and_leaves_the_rest() -> None:
    image = np.full((200, 300, 3), 100, np.uint8)
    masks = [np.zeros((200, 300), np.bool_) for _ in range(3)]
    for mask, (low, high) in zip(masks, [(0, 100), (30, 70), (120, 180)], strict=True):
        mask[low:high, low:high] = True
    drawn = Masks(Mask(mask_to_rle(mask)) for mask in masks).draw(image)
    assert (image == 100).all()
    assert (drawn[:, 200:] == 100).all()
    middles = [drawn[15, 15], drawn[50, 50], drawn[150, 150]]
    assert len({tuple(pixel) for pixel in middles}) == 3
    with pytest.raises(InputError, match=r"= \(20, 30\), .* image has \(4, 4\)"):
        SOME.draw(np.zeros((4, 4, 3), np.uint8))


def test_saving_writes_records_that_read_back_and_pictures(tmp_path: Path) -> None:
    SOME.save(tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    about = {"image_id": 1, "width": 30, "height": 20, "file_name": "photo.jpg"}
    assert document["image"] == about
    (image,), _ = read_annotations(tmp_path / "a.json")
    assert (image.file_name, len(image.masks)) == ("photo.jpg", 3)
    back = [Mask.from_sa1b(record) for record in document["annotations"]]
    assert [record.area for record in back] == [100, 16, 36]
    pixels = np.full((20, 30, 3), 100, np.uint8)
    SOME.save(tmp_path / "a.png", pixels)
    assert (cv2.imread(str(tmp_path / "a.png"))[..., ::-1] == SOME.draw(pixels)).all()
    with pytest.raises(InputError, match="image of these masks is unknown.*image="):
        SOME.save(tmp_path / "b.png")
    with pytest.raises(InputError, match="in .json, .csv, .svg, .geojson"):
        SOME.save(tmp_path / "b.doc")


def test_its_repr_is_one_line() -> None:
    assert repr(SOME) == ("<Masks: 3 masks of 30x20, best score 0.90, 23 % of the image>")
    assert repr(Masks()) == "<Masks: none>"


IMAGE = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)


def test_a_slice_and_what_methods_answer_remember_the_photo() -> None:
    seen = Masks(SOME, source_image=ImageInMemory(IMAGE))
    for made in (seen[1:], seen.filter(min_area=17), seen.nms(), seen.tree(), seen.merge([INNER])):
        assert isinstance(made, Masks)
        assert made.source_image is seen.source_image
    assert Masks([], image_hw=(4, 5)).image_hw == (4, 5)
    with pytest.raises(InputError, match="has no size"):
        _ = Masks().image_hw


def test_a_sum_a_multiple_and_a_copy_are_lists_of_the_same_photo(tmp_path: Path) -> None:
    seen = Masks([LARGE, INNER], image_hw=(20, 30), source_image=ImageInMemory(IMAGE))
    again = Masks([OTHER], source_image=ImageInMemory(IMAGE))
    plain = [OTHER]
    made = [seen + again, again + seen, seen + plain, plain + seen, seen + SOME, SOME + seen]
    made += [seen * 2, 2 * seen, seen.copy(), copy.copy(seen)]
    for one in made:
        assert isinstance(one, Masks)
        assert isinstance(one.source_image, ImageInMemory)
        assert one.source_image.pixels is IMAGE
        assert one.image_hw == (20, 30)
    assert seen + again == [LARGE, INNER, OTHER]
    assert plain + seen == [OTHER, LARGE, INNER]
    assert 2 * seen == seen * 2 == [LARGE, INNER, LARGE, INNER]
    assert (seen * 0).image_hw == (Masks() + seen[:0]).image_hw == (20, 30)
    assert (seen + again).save(tmp_path / "m.png").exists()
    assert seen.copy() is not seen
    assert len(repr(SOME + SOME)) < 100


def test_lists_of_other_photos_join_without_a_photo_and_of_other_sizes_not_at_all() -> None:
    seen = Masks(SOME, source_image=ImageInMemory(IMAGE))
    assert (seen + Masks(SOME, source_image=ImageInMemory(IMAGE.copy()))).source_image is None
    files = [Masks(SOME, source_image=ImageFile(Path(name))) for name in ("a.png", "b.png")]
    assert (files[0] + files[1]).source_image is None
    assert (files[0] + files[0].copy()).source_image == files[0].source_image
    with pytest.raises(InputError, match=r"different images: \(4, 5\) and \(20, 30\)"):
        _ = seen + Masks(image_hw=(4, 5))
    numbers = [7]
    with pytest.raises(InputError, match="but 7 was passed"):
        _ = seen + numbers
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = seen + 7


def test_an_empty_list_is_drawn_as_the_photo_alone() -> None:
    np.testing.assert_array_equal(Masks().draw(IMAGE), IMAGE)
    np.testing.assert_array_equal(Masks(image_hw=(20, 30)).draw(IMAGE), IMAGE)


def test_a_photo_that_is_gone_leaves_the_words(tmp_path: Path) -> None:
    gone = ImageFile(tmp_path / "gone.png")
    shown = Masks(SOME, source_image=gone)
    assert shown._repr_png_() is None
    assert "3 masks of 30x20" in shown._repr_html_()
    with pytest.raises(ImageError, match="File not found"):
        shown.draw()


def test_a_union_is_every_pixel_of_any_mask() -> None:
    whole = SOME.union("all")
    np.testing.assert_array_equal(whole.mask, SOME.masks.any(axis=0))
    assert whole.label == "all"
    assert whole.score == SOME.best.score == 0.9
    with pytest.raises(InputError, match="has no best mask"):
        Masks().union()


def test_a_notebook_shows_the_photo_and_a_line_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Masks([LARGE] * 25, source_image=ImageInMemory(IMAGE))
    assert "and 5 more" in seen._repr_html_()
    assert (seen._repr_png_() or b"").startswith(b"\x89PNG")
    assert SOME._repr_png_() is None
    assert pickle.loads(pickle.dumps(seen)) == seen


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


def document_of(files: dict[str, bytes]) -> str:
    (text,) = (
        data.decode()
        for name, data in files.items()
        if name.endswith((".json", ".geojson", ".svg"))
    )
    return text


def test_outlines_move_by_the_tolerance_in_every_format_that_has_them() -> None:
    disc = np.hypot(*np.ogrid[-30:30, -40:40]) < 25
    found = Masks([Mask(mask_to_rle(disc))])
    writers: dict[str, Callable[..., Any]] = {
        "coco-polygon": partial(found.to_coco, True),
        "labelme-polygon": partial(found.to_labelme, True),
        "label-studio-polygon": partial(found.to_label_studio, True),
        "geojson": found.to_geojson,
        "svg": found.to_svg,
    }
    for form, write in writers.items():
        told = [document_of(found.encode(form, Policy(tolerance=one))) for one in (0, TOLERANCE, 2)]
        read = str if form == "svg" else json.loads
        assert write() == read(told[1]), form
        assert [write(tolerance=one) for one in (0, 2)] == [read(told[0]), read(told[2])], form
        assert len(told[2]) < len(told[1]) < len(told[0]), form
    assert found.to_labelme(True)["shapes"][0]["shape_type"] == "polygon"


def test_a_single_record_is_kept_as_a_list_of_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, shown = Masks(SOME, source_image=ImageInMemory(IMAGE)), []
    for name in ("m.overlay.jpg", "m.svg", "m.txt"):
        one, list_of_one = tmp_path / "one" / name, tmp_path / "list" / name
        assert seen[1].save(one) == one
        seen[1:2].save(list_of_one)
        if name != "m.svg":
            assert one.read_bytes() == list_of_one.read_bytes()
    np.testing.assert_array_equal(seen[1].draw(), seen[1:2].draw())
    np.testing.assert_array_equal(INNER.draw(IMAGE), seen[1].draw())
    monkeypatch.setattr(Image.Image, "show", lambda self: shown.append(self.size))
    seen[1].show()
    seen.show()
    assert shown == [(30, 20)] * 2
    (image,), _ = read_annotations(INNER.save(tmp_path / "m.svg"))
    assert [mask.rle for mask in image.masks] == [INNER.rle]
    assert "data:image/png" in INNER._repr_html_()


def test_a_record_without_a_photo_says_so_and_equality_and_pickles_do_not_ask(
    tmp_path: Path,
) -> None:
    seen = Masks(SOME, source_image=ImageInMemory(IMAGE))
    with pytest.raises(InputError, match="image of these masks is unknown"):
        INNER.save(tmp_path / "m.png")
    with pytest.raises(InputError, match="Cannot write "):
        seen[0].save(tmp_path / "m.doc")
    assert seen[1] == INNER
    again = pickle.loads(pickle.dumps(seen[1]))
    assert again == INNER
    assert again.source_image is None
    elsewhere = Masks(seen, source_image=ImageInMemory(IMAGE.copy()))
    assert elsewhere[1].source_image is seen.source_image


def test_the_pipeline_s_answer_is_masks_and_scores() -> None:
    told = SOME.to_pipeline()
    assert told["scores"].tolist() == pytest.approx([0.5, 0.9, 0.7])
    np.testing.assert_array_equal(np.array(told["masks"]), SOME.masks)


def test_an_answer_is_never_saved_over_its_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels, _ = discs((60, 90), [(30, 30, 20)])
    Image.fromarray(pixels).save("p.png")
    Path("link.png").symlink_to("p.png")
    before = Path("p.png").read_bytes()
    model = Model(ColorRuntime())
    answer, records = model.segment("p.png", points=[(30, 30)]), model.everything("p.png")
    for one in (answer, answer[1], records, records[0]):
        for name in ("p.png", tmp_path / "p.png", "link.png"):
            with pytest.raises(InputError, match="' is also an input"):
                one.save(name)
        one.save("q.png")
        one.save("q.png")  # its own earlier output
    with pytest.raises(InputError, match="is also an input"):
        records.write("p.png", "label-png")
    assert Path("p.png").read_bytes() == before


def test_arrays_and_pictures_are_saved_too(tmp_path: Path) -> None:
    SOME.save(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), SOME.masks)
    seen = Masks(SOME, source_image=ImageInMemory(IMAGE))
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
    with pytest.raises(InputError, match="is unknown. Pass one"):
        SOME.write(tmp_path / "masks")


def test_a_text_file_is_the_lines_of_yolo(tmp_path: Path) -> None:
    assert SOME.save(tmp_path / "a" / "m.txt").read_text("utf-8") == SOME.to_yolo() != ""
