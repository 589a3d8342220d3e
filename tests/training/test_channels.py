"""Learning on other channels: the convolution learns, and what it learned is the spec's mix."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from anymask import models
from anymask.base import ConfigError, InputError, write_json
from anymask.formats import load_set
from anymask.masks import ChannelMix, mask_to_rle, rle_to_string
from anymask.training import Recipe, newest_state, trained_module
from anymask.training.augment import brighten, recolor
from anymask.training.channels import MIX, ChannelConvolution, starting_mix
from anymask.training.images import ImageStore
from anymask.training.loop import TrainingRun, train
from anymask.training.recipe import recipe_of
from anymask.training.samples import TrainingImages
from anymask.training.trainee import build_trainee
from tests.evaluation.small_sets import rectangle
from tests.training.small_data import small_recipe

COUNT = 5
LABELS = ("left", "right")


def write_stacks(folder: Path, images: int = 4) -> Path:
    """A set of 16-bit stacks whose object is in the fourth channel alone."""
    rng = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    lines = []
    for i in range(images):
        mask = rectangle((48, 64), (10, 8 + 2 * i, 40, 30))
        stack = rng.integers(200, 2000, (COUNT, 48, 64)).astype(np.uint16)
        stack[3, mask] += 20_000
        tifffile.imwrite(folder / "images" / f"{i}.tif", stack, photometric="minisblack")
        rle = rle_to_string(mask_to_rle(mask))
        masks = [{"rle": rle, "label": LABELS[i % 2]}]
        lines.append(json.dumps({"image": f"images/{i}.tif", "hw": [48, 64], "masks": masks}))
    (folder / "masks.jsonl").write_text("\n".join(lines))
    write_json(folder / "set.json", {"name": folder.name, "ships": True})
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stacks")
    write_stacks(folder / "stacks")
    return folder


def paths(data: Path) -> list[Path]:
    return sorted((data / "stacks" / "images").iterdir())


def stack_recipe(data: Path, steps: int = 4, **changes: object) -> Recipe:
    mix = starting_mix(paths(data), COUNT, (1, 2, 3))
    return small_recipe(steps, channels=asdict(mix), **changes)


def test_ranges_and_colours_are_read_off_the_pictures(data: Path) -> None:
    mix = starting_mix(paths(data), COUNT, None)
    assert (mix.count, mix.dtype) == (COUNT, "uint16")
    assert mix.highs[3] > 20_000 > 2_100 > mix.highs[0]
    assert all(200 <= low < 300 for low in mix.lows)
    assert mix.weights[0] == pytest.approx([0.2] * COUNT)  # nothing says which are colours
    assert starting_mix(paths(data), COUNT, (3, 2, 1)).weights[0] == (0, 0, 1, 0, 0)
    with pytest.raises(
        InputError, match="has 1 channels of uint16, but every image must have 4 channels"
    ):
        starting_mix(paths(data), 4, None)


def test_pictures_are_learned_from_with_all_of_their_channels(data: Path) -> None:
    recipe = stack_recipe(data)
    mix = ChannelMix.of(recipe.channels)
    store, images = ImageStore(data / "store", channels=mix), load_set(data / "stacks")[1]
    store.keep(images)
    kept = store.pixels(images[0])
    assert kept.shape == (48, 64, COUNT)
    np.testing.assert_array_equal(
        kept, mix.scaled(np.moveaxis(tifffile.imread(paths(data)[0]), 0, -1))
    )
    planes, targets, *_ = TrainingImages(recipe, data, store).image(np.random.default_rng(3), 64, 2)
    assert planes.shape == (COUNT, 64, 64)
    small = torch.nn.functional.avg_pool2d(planes[3][None].float(), 4)[0]
    inside = targets[0] == 255
    assert small[inside].mean() > small[targets[0] == 0].mean() + 50


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_other_light_keeps_the_channels_apart(count: int) -> None:
    image = np.zeros((20, 30, count), np.uint8)
    image[:, :15, 0] = 200
    for seed in range(30):
        changed = brighten(image, np.random.default_rng(seed))
        assert (changed.dtype, changed.shape) == (np.uint8, image.shape)
        assert changed[:, :12, 0].mean() > changed[:, 18:, 0].mean()  # never inverted
    assert recolor(np.zeros((4, 4, 3), np.uint8), np.random.default_rng(0)).shape == (4, 4, 3)


def test_the_convolution_does_what_its_numbers_say() -> None:
    mix = ChannelMix.initial([(0.0, 255.0)] * COUNT, (1, 2, 3), "uint8")
    convolution = ChannelConvolution(mix)
    with torch.no_grad():
        convolution.weights.normal_(std=0.03)
        convolution.bias.normal_(std=0.01)
    array = np.random.default_rng(0).integers(0, 256, (6, 7, COUNT), np.uint8)
    given = torch.from_numpy(array.transpose(2, 0, 1)[None]).float()
    made = convolution(given)[0].detach().numpy().transpose(1, 2, 0)
    assert np.abs(made - convolution.learned().to_rgb(array)).max() <= 0.51
    assert convolution.learned().weights != mix.weights


@pytest.mark.parametrize("learn", ["all", "decoder", "lora"])
def test_a_run_learns_the_mix_and_leaves_it_in_the_spec(
    data: Path, tmp_path: Path, learn: str
) -> None:
    recipe = stack_recipe(data, learn=learn)
    start = ChannelMix.of(recipe.channels)
    train(recipe, TrainingRun(data, tmp_path / "run"))
    found = newest_state(tmp_path / "run")
    module = trained_module(found[1])
    assert not hasattr(module, MIX)
    plain = models.build("nano_tiny")
    assert set(module.state_dict()) == set(plain.state_dict())
    assert module.spec == replace(models.spec("nano_tiny"), channels=module.spec.channels)
    mix = module.spec.channels
    assert mix.count == COUNT
    assert np.abs(np.array(mix.weights) - start.weights).max() > 1e-4
    assert (mix.lows, mix.highs) == (start.lows, start.highs)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"synthetic": 0.5}, "requires synthetic = 0"),
        ({"task": "distil", "synthetic": 0.0}, "task = 'masks'"),
        ({"channels": {"lows": [1]}, "synthetic": 0.0}, "Set lows, highs, weights"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(
    changes: dict[str, object], reason: str, data: Path
) -> None:
    values = {**asdict(stack_recipe(data)), **changes}
    with pytest.raises(ConfigError, match=reason):
        build_trainee(recipe_of(values, "it"), data)
