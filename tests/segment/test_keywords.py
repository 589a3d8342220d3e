"""Photos and keywords as people write them who come from other tools."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError, PromptError, WeightsError
from anymask.masks import Masks, Prompt
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime, discs
from tests.segment.test_image import assert_same

IMAGE, _ = discs((80, 120), [(35, 40, 25), (95, 40, 16)])
CLICK = Prompt.of(points=[(35, 40)])


@pytest.fixture
def model() -> Model:
    return Model(ColorRuntime())


def test_boxes_are_one_mask_each_with_the_names_that_were_given(model: Model) -> None:
    boxes = np.array([(10, 15, 60, 65), (75, 20, 115, 60)])
    masks = model.segment(IMAGE, boxes=boxes, names=["left", "right"])
    assert [mask.label for mask in masks] == ["left", "right"]
    assert masks[1].rle == model.segment(IMAGE, box=boxes[1]).best.rle
    assert [mask.label for mask in model.segment(IMAGE, boxes=boxes)] == [None, None]
    assert list(model.segment(IMAGE, boxes=[])) == []
    for wrong in ([1, 2, 3, 4], [[1, 2]], "a"):
        with pytest.raises(PromptError, match=r"Invalid boxes .*\(N, 4\) numbers"):
            model.segment(IMAGE, boxes=wrong)
    with pytest.raises(
        PromptError, match="Options points=, box=, mask= and text= describe one object"
    ):
        model.segment(IMAGE, boxes=boxes, points=[(1, 2)])
    with pytest.raises(InputError, match="2 boxes have .* labels"):
        model.segment(IMAGE, boxes=boxes, names=["one"])


def test_several_photos_need_a_prompt_each(model: Model) -> None:
    with pytest.raises(PromptError, match="Several images require prompts="):
        model.segment([IMAGE, IMAGE], points=[(35, 40)])
    with pytest.raises(PromptError, match="Invalid prompt of type str"):
        list(model.segment([IMAGE], prompts=["a.jpg"]))
    with pytest.raises(PromptError, match="Got 1 for 2 images"):
        model.segment([IMAGE, IMAGE], prompts=[CLICK])
    batch = np.stack([IMAGE, IMAGE[:, ::-1]])
    with pytest.raises(PromptError, match=r"segment\(images, prompts=\[Prompt.of\(points="):
        model.segment(batch, points=[(35, 40)])
    mirrored = Prompt.of(points=[(84, 40)])
    one, two = model.segment(batch, prompts=[CLICK, mirrored])
    np.testing.assert_array_equal(one.mask, model.segment(IMAGE, prompts=[CLICK])[0].mask)
    np.testing.assert_array_equal(two.mask, model.segment(batch[1], prompts=[mirrored])[0].mask)


def test_a_folder_or_a_pattern_leads_to_the_list_of_its_photos(
    model: Model, tmp_path: Path
) -> None:
    for name in ("b.png", "a.png"):
        Image.fromarray(IMAGE).save(tmp_path / name)
    for pattern in ("*.png", "?.png", "[ab].png"):
        with pytest.raises(
            InputError, match=r"the pattern '.*png' was passed.*anymask.list_images"
        ):
            model.everything(tmp_path / pattern)
    with pytest.raises(InputError, match=r"the folder '.*' was passed.*anymask.list_images\("):
        model.everything(str(tmp_path))
    with pytest.raises(InputError, match="Only one image is supported, but a list"):
        model.refine([IMAGE], IMAGE[..., 0] > 9)  # type: ignore[arg-type]  # what a user may try
    Image.fromarray(IMAGE).save(tmp_path / "[ab].png")  # a file by that very name is one photo
    assert model.encode(tmp_path / "[ab].png").image_hw == IMAGE.shape[:2]


def test_several_photos_give_an_iterator(model: Model, tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        Image.fromarray(IMAGE).save(tmp_path / name)
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    told: list[tuple[int, int]] = []
    found = model.everything(images, grid=4, progress=lambda *now: told.append(now))
    alone = model.everything(IMAGE, grid=4)
    assert [one.rle for one in next(found)] == [one.rle for one in alone]
    assert len(list(found)) == 1
    assert told == [(1, 2), (2, 2)]
    hashes = {seen.image_hash for seen in model.encode(iter([*images, IMAGE]))}
    assert hashes == {model.encode(IMAGE).image_hash}
    assert list(model.encode([])) == []


def test_progress_may_be_a_bar(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    model.everything(IMAGE, grid=4, progress=True)
    assert "everything" in capsys.readouterr().err
    with pytest.raises(InputError, match="Pass True or a function"):
        model.everything(IMAGE, progress="yes")


def test_an_answer_knows_its_photo_and_its_prompt(model: Model, tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", IMAGE):
        answer = model.segment(source, points=[(35, 40)])
        np.testing.assert_array_equal(answer.source_image(), IMAGE)
        assert answer.best.points == ((35, 40),)
        assert model.everything(source, grid=4).source_image is not None
    assert model.segment(model.encode(IMAGE), points=[(35, 40)]).source_image is None
    of_file, of_array = model.segment([tmp_path / "a.png", IMAGE], prompts=[CLICK, CLICK])
    assert (of_file.source_image is None, of_array.source_image is None) == (False, True)


def test_colours_of_opencv_give_the_same_answer(model: Model) -> None:
    turned = np.ascontiguousarray(IMAGE[..., ::-1])
    assert model.encode(turned, bgr=True).image_hash == model.encode(IMAGE).image_hash
    plain = model.segment(IMAGE, points=[(35, 40)])
    assert_same(model.segment(turned, points=[(35, 40)], bgr=True), plain)
    assert_same(model.refine(turned, plain.mask, bgr=True), model.refine(IMAGE, plain.mask))
    (answer,) = model.segment([turned], prompts=[CLICK], bgr=True)
    assert_same(answer, plain)
    with pytest.raises(InputError, match="bgr cannot be combined with an embedding"):
        model.segment(model.encode(IMAGE), points=[(35, 40)], bgr=True)


def test_a_model_pickled_with_other_weights_is_refused(model: Model) -> None:
    state = pickle.loads(pickle.dumps(model)).__getstate__()
    with pytest.raises(
        WeightsError, match="pickled with the weights other, but the local weights are colour"
    ):
        Model.__new__(Model).__setstate__(state | {"weights_hash": "other"})


@pytest.mark.parametrize(
    ("kind", "name", "ours"),
    [
        ("Model", "set_image", "Use encode(image) and segment(features, ...), or anymask.sam."),
        ("Model", "cuda", 'Use anymask.load(name, device="cuda").'),
        ("Model", "eval", "No call is required, because"),
        ("Model", "fly", "no attribute 'fly'."),
        ("Mask", "bbox", "Use xyxy of a mask or of masks (pixel edges)"),
        ("Masks", "area", "or areas of masks"),
        ("Masks", "iou", "anymask.masks.mask_iou"),
        ("Prediction", "score", "Use score of a mask, such as prediction.best.score"),
    ],
)
def test_an_attribute_of_another_tool_names_ours(
    model: Model, kind: str, name: str, ours: str
) -> None:
    prediction = model.segment(IMAGE, points=[(35, 40)])
    one = {"Model": model, "Mask": prediction.best, "Masks": Masks(prediction)}.get(
        kind, prediction
    )
    with pytest.raises(AttributeError, match=f"{kind} has no attribute '{name}'") as told:
        getattr(one, name)
    assert ours in str(told.value)
    assert not hasattr(one, name)
    assert (told.value.name, told.value.obj) == (name, one)  # for Python's own suggestion


@pytest.mark.parametrize("asked", [{}, {"points": [(35, 40)]}, {"bboxes": [[1, 2, 3, 4]]}])
def test_a_called_model_names_its_two_questions(model: Model, asked: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"not callable.*model\.segment\(image, points=") as told:
        model(IMAGE, **asked)  # type: ignore[operator]  # what users of other tools write
    assert "model.everything(image) for all masks" in str(told.value)
