"""Classes: labels become a map of numbers, a head learns it, and its class is each mask's class."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask import models
from anymask.base import ConfigError, InputError, ModelError
from anymask.formats import AnnotatedImage
from anymask.masks import ClassOverlaps, LabelMap, Mask, mask_to_rle
from anymask.models.class_head import add_class_head, class_head_of
from anymask.runtime import TorchRuntime, load_official
from anymask.segment import Model
from anymask.training import Recipe, newest_state, trained_module
from anymask.training.classes import class_masks, class_names, class_numbers
from anymask.training.loop import TrainingRun, train
from anymask.training.recipe import recipe_of
from anymask.training.samples import TrainingImages
from anymask.training.trainee import build_trainee
from anymask.training.weights import load_start
from tests.training.small_data import small_recipe, write_named_sets

CLASSES = ("round", "square")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_named_sets(tmp_path_factory.mktemp("data"))


def class_recipe(steps: int = 4, **changes: object) -> Recipe:
    return small_recipe(steps, classes=CLASSES, **changes)


def scene() -> AnnotatedImage:
    masks = np.zeros((3, 16, 24), np.bool_)
    masks[0, 2:8, 2:8] = masks[1, 4:12, 5:10] = masks[2, 10:, 14:] = True
    labels = ("cat", "cat", None)
    return AnnotatedImage(
        file_name="a.png",
        hw=(16, 24),
        masks=tuple(
            Mask(mask_to_rle(mask), label) for mask, label in zip(masks, labels, strict=True)
        ),
    )


def test_masks_of_one_label_are_one_class() -> None:
    image = scene()
    cats, dogs, rest = class_masks(image, ("cat", "dog", "object"))
    assert (cats > 0).sum() == 36 + 40 - 4 * 3
    assert not dogs.any()
    assert (rest > 0).sum() == 6 * 10


def test_a_cell_is_of_the_class_that_has_most_of_it() -> None:
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[0, :4, :4] = 1
    masks[1, :4, 4:7] = 1
    masks[1, 4:5, :4] = 1  # a quarter of a cell
    assert class_numbers(masks, (2, 2)).tolist() == [[1, 2], [0, 0]]


def test_classes_are_those_wanted_or_all_that_there_are() -> None:
    assert class_names(["b", "a", "", "b"], None) == ("a", "b", "object")
    assert class_names(["b", "a"], ["b"]) == ("b",)
    with pytest.raises(InputError, match=r"Unknown class 'c'.*Use: a, b"):
        class_names(["b", "a"], ["c"])
    with pytest.raises(InputError, match="number of classes: 2. Set 1 to 100"):
        class_names(["b", "a"], ["a", "a"])


def test_the_map_lies_over_the_picture(data: Path) -> None:
    images = TrainingImages(class_recipe(), data)
    visited = set()
    for seed in range(6):
        _, targets, *_, numbers = images.image(np.random.default_rng(seed), 64, 2)
        assert numbers.shape == (16, 16)
        assert ((targets[0] > 200) <= (numbers > 0)).all()
        visited |= set(numbers.unique().tolist())
    assert visited == {0, 1, 2}


@pytest.mark.parametrize("name", ["nano_tiny", "tiny", "tiny_hq", "tiny_efficient", "tiny_video"])
def test_a_head_answers_for_the_cells_of_a_mask(name: str) -> None:
    model = models.build(name)
    add_class_head(model, 3)
    spec = models.spec(name)
    maps = model.encode(torch.zeros(1, 3, spec.image_side, spec.image_side))
    head = class_head_of(model)
    assert head is not None
    assert head(*maps).shape == (1, 4, spec.mask_side, spec.mask_side)


@pytest.mark.parametrize("learn", ["all", "decoder", "lora"])
def test_a_run_learns_the_classes_whatever_else_learns(
    data: Path, tmp_path: Path, learn: str
) -> None:
    recipe = class_recipe(2, learn=learn)
    torch.manual_seed(recipe.seed)
    before = build_trainee(recipe, data).state_dict()
    train(recipe, TrainingRun(data, tmp_path / "run"))
    found = newest_state(tmp_path / "run")
    module = trained_module(found[1])
    assert module.spec.classes == CLASSES
    name = "class_head.classify.bias"
    assert (module.state_dict()[name] != before[name]).all()


@pytest.mark.parametrize("seed", [0, 3])  # of 3 the third mask is empty
def test_each_mask_has_the_class_of_its_cells(seed: int) -> None:
    torch.manual_seed(seed)
    module = models.build("nano_tiny")
    add_class_head(module, 2)
    module.spec = replace(module.spec, classes=CLASSES)
    with torch.no_grad():
        module.class_head.classify.weight.zero_()
        module.class_head.classify.bias.copy_(torch.tensor([0.0, 1.0, 3.0]))
    model = Model(TorchRuntime(module, "in memory", device="cpu"))
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    answer = model.segment(image, points=[(20, 20)])
    expected = 1 / (1 + np.exp(1.0 - 3.0))
    for one in answer.items:
        assert one.label == ("square" if (one.shown_logits > one.threshold).any() else None)
    assert answer.first.label_probability == pytest.approx(expected, abs=1e-3)
    record = answer.best
    assert record.to_sa1b()["label_probability"] == record.label_probability
    assert type(record).from_sa1b(record.to_sa1b()) == record
    assert (model.label(image).numbers == 2).all()
    assert model.label(model.encode(image)).shares() == {"round": 0.0, "square": 1.0}
    found = model.everything(image, grid=2, score=0.0, stability=0.0)
    assert len(found)
    assert {one.label for one in found} == {"square"}


def test_a_model_without_classes_says_how_to_get_them() -> None:
    model = Model(TorchRuntime(models.build("nano_tiny"), "in memory", device="cpu"))
    image = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ModelError, match="does not predict classes. Train a model"):
        model.label(image)
    assert model.segment(image, points=[(5, 5)]).first.label is None


def test_weights_with_a_head_start_a_run_without_it(tmp_path: Path) -> None:
    from anymask.training.weights import write_result

    module = models.build("nano_tiny")
    add_class_head(module, 2)
    write_result(tmp_path / "w.safetensors", module, "nano_tiny", {"classes": list(CLASSES)})
    plain = models.build("nano_tiny")
    load_start(plain, tmp_path / "w.safetensors")
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name])
    with pytest.raises(ModelError, match="left over"):
        load_official(plain, module.state_dict())


def test_a_label_map_says_its_parts() -> None:
    numbers = np.array([[0, 1], [2, 2]], np.uint8)
    found = LabelMap(CLASSES, numbers)
    assert found.shares() == {"round": 0.25, "square": 0.5}
    assert found.mask("square").tolist() == [[False, False], [True, True]]
    with pytest.raises(InputError, match="Unknown class 'cat'. Available classes: round, square"):
        found.mask("cat")
    overlaps = ClassOverlaps((*CLASSES, "none"))
    overlaps.add(numbers, np.array([[0, 1], [1, 2]], np.uint8))
    assert overlaps.ious() == {"round": 0.5, "square": 0.5, "none": None}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"synthetic": 0.5}, "requires synthetic = 0"),
        ({"task": "distil"}, "requires synthetic = 0 and task"),
        ({"classes": [1]}, "classes must be a list of text"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        recipe_of({**asdict(class_recipe()), **changes}, "it")
