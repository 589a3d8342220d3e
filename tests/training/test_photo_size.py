"""Large photos are made smaller once, as far as no training picture could tell; what cannot be
learned from is said before it is tried for ever."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import BoolArray, DataError
from anymask.formats import load_set
from anymask.masks import mask_to_rle, rle_to_string
from anymask.training import Recipe, loop, samples
from anymask.training.images import ImageStore, SmallMasks, enough, kept_hw
from anymask.training.loop import TrainingRun
from anymask.training.recipe import RecipeStage
from anymask.training.samples import SetImages, TrainingImages
from tests.training.small_data import small_recipe


def write_set(folder: Path, masks: list[BoolArray], hw: tuple[int, int] | None = None) -> Path:
    """`one`: a photo a mask, white where it is and dark elsewhere; `hw`: of the photos' files."""
    (folder / "one" / "images").mkdir(parents=True)
    lines = []
    for number, mask in enumerate(masks):
        image = Image.fromarray(np.where(mask, 240, 30).astype(np.uint8)).convert("RGB")
        if hw is not None:
            image = image.resize(hw[::-1])
        image.save(folder / "one" / "images" / f"{number}.png")
        told = {"rle": rle_to_string(mask_to_rle(mask)), "label": "thing"}
        row = {"image": f"images/{number}.png", "hw": list(mask.shape), "masks": [told]}
        lines.append(json.dumps(row))
    (folder / "one" / "masks.jsonl").write_text("\n".join(lines))
    (folder / "one" / "set.json").write_text(json.dumps({"name": "one", "ships": True}))
    return folder


def disc(hw: tuple[int, int], radius: float) -> BoolArray:
    y, x = np.mgrid[: hw[0], : hw[1]]
    return (y - hw[0] / 2) ** 2 + (x - hw[1] / 2) ** 2 < radius**2


def recipe_of(**changes: object) -> Recipe:
    return small_recipe(sets=("one",), **changes)


def test_what_is_kept_is_enough_for_the_finest_crop() -> None:
    two = (RecipeStage(steps=1, side=64, images=1, masks=1, sides=(64, 128)),)
    assert enough(recipe_of(stages=two)) == int(128 / (0.35 * np.exp(-0.2))) + 1
    assert kept_hw((300, 400), 0) == kept_hw((300, 400), 300) == (300, 400)
    assert kept_hw((3000, 4000), 300) == (300, 400)
    assert kept_hw((4000, 900), 300) == (1333, 300)
    assert kept_hw((1, 9000), 300) == (1, 9000)


@pytest.mark.parametrize("classes", [(), ("thing",)])
def test_a_large_photo_gives_the_training_pictures_that_it_gave(
    classes: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared with pictures cut from the photo itself, in its own colours."""
    monkeypatch.setattr(samples, "recolor", lambda image, _rng: image)
    data = write_set(tmp_path, [disc((900, 1200), 200)])
    recipe = recipe_of(classes=classes)
    (pixels,) = load_set(data / "one")[1]
    large, small = ImageStore(tmp_path), ImageStore(tmp_path, shorter=enough(recipe))
    assert small.pixels(pixels).shape == (224, 299, 3)
    for seed in range(12):
        one, other = (
            TrainingImages(recipe, data, store).image(np.random.default_rng(seed), 64, 1)
            for store in (large, small)
        )
        for index in (0, 1, *((5,) if classes else ())):  # picture, target, classes
            apart = np.abs(one[index].numpy().astype(float) - other[index].numpy())
            assert apart.mean() < (0.02 if index == 5 else 4)
        assert np.abs(one[4].numpy() - other[4].numpy()).max() <= 2  # boxes, in pixels


def test_masks_are_made_smaller_by_the_half_rule_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the means of blocks of 4 x 4."""
    rng = np.random.default_rng(4)
    mask = rng.random((40, 60)) < 0.5
    (image,) = load_set(write_set(tmp_path, [mask]) / "one")[1]
    masks = SmallMasks()
    expected = mask.reshape(10, 4, 15, 4).mean((1, 3)) >= 0.5
    np.testing.assert_array_equal(masks.mask(image, (0,), (10, 15)), expected)
    monkeypatch.setattr("anymask.training.images.shrunk", None)
    np.testing.assert_array_equal(masks.mask(image, (0,), (10, 15)), expected)
    np.testing.assert_array_equal(masks.mask(image, (), (10, 15)), 0 * expected)
    np.testing.assert_array_equal(masks.mask(image, (0,), (40, 60)), mask)


def test_photos_that_were_kept_in_another_size_are_decoded_anew(tmp_path: Path) -> None:
    data = write_set(tmp_path, [disc((60, 80), 20)])
    (image,) = load_set(data / "one")[1]
    for shorter, width in ((0, 80), (30, 40), (0, 80)):
        store = ImageStore(tmp_path / "store", shorter=shorter)
        store.keep([image])
        assert store.pixels(image).shape[1] == width


def test_a_photo_of_another_size_than_its_masks_is_named_before_learning(tmp_path: Path) -> None:
    data = write_set(tmp_path, [disc((48, 64), 20)], hw=(24, 32))
    with pytest.raises(DataError, match="0.png: the masks were drawn on an image of 64 x 48"):
        loop.get_ready(recipe_of(), TrainingRun(data, tmp_path / "run"))


def test_objects_that_no_training_picture_shows_are_an_error(tmp_path: Path) -> None:
    data = write_set(tmp_path, [disc((900, 1200), 3), disc((48, 64), 9)])
    ((_, seen),) = SetImages.of(recipe_of(), data).sets
    assert [image.file_name for image in seen] == ["1.png"]  # the other would be drawn in vain
    tiny = write_set(tmp_path / "tiny", [disc((900, 1200), 3)])
    with pytest.raises(
        DataError, match="No mask in .* covers 16 pixels in a training crop of 64 x 64"
    ):
        SetImages.of(recipe_of(), tiny)
    larger = (RecipeStage(steps=1, side=512, images=1, masks=1),)
    assert SetImages.of(recipe_of(stages=larger), tiny).sets


def test_masks_of_whole_photos_end_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MAX_TRIES", 20)
    data = write_set(tmp_path, [np.ones((64, 64), bool)])
    images = TrainingImages(replace(recipe_of(), turns=0.5), data)
    with pytest.raises(DataError, match="between 16 pixels and 95% of the crop"):
        images.image(np.random.default_rng(1), 64, 2)
