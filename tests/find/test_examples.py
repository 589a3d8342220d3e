"""Things like an example: found where they are, not where they are not; inputs; folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import InputError, ModelError, UintImage
from anymask.find import open_detector
from anymask.find.examples import (
    Example,
    alike_scores,
    compare,
    learn_kinds,
    mark_groups,
    parse_example,
)
from anymask.masks import mask_to_rle
from tests.evaluation.small_sets import rectangle

CAT = (200, 150)


@pytest.fixture(scope="module")
def cat() -> UintImage:
    return anymask.load_image(anymask.sample("cat"))


def test_the_same_thing_is_found_in_another_view_and_not_elsewhere(
    model: anymask.Model, cat: UintImage
) -> None:
    whole = model.segment(cat, points=[CAT]).best.mask
    turned = np.ascontiguousarray(cat[:, ::-1])
    rocket = anymask.load_image(anymask.sample("rocket"))
    seen, other = model.find([turned, rocket], like=(cat, {"mask": whole}))
    assert anymask.masks.iou(np.any(seen.masks, axis=0), whole[:, ::-1]) > 0.5
    assert not len(other)
    assert seen.scores[0] == max(seen.scores)


def test_a_score_is_the_photo_s_chance_times_how_near_a_mask_is_to_the_likeliest() -> None:
    def told(*probabilities: float, scene: float = 0.5) -> Any:
        return alike_scores(np.array(probabilities, np.float32), scene)

    (there,) = told(0.8)
    assert 0 < there < 1
    np.testing.assert_allclose(told(0.2, 0.8, 0), [there * 0.25**0.7, there, 0], rtol=1e-5)
    assert told(0.7)[0] < there < told(0.8, scene=0.9)[0]  # the likelier, the more alike, the surer
    assert not told(0, 0, scene=1.0).any()
    assert told(scene=1.0).shape == (0,)


def test_a_mask_of_several_things_is_a_group() -> None:
    def square(x: int, y: int, side: int) -> Any:
        return mask_to_rle(rectangle((40, 40), (x, y, x + side, y + side)))

    whole, first, second = square(0, 0, 30), square(2, 2, 12), square(16, 2, 12)
    near, far = 0.1, 2.0
    sizes = np.array([far, near, near], np.float32)
    rles = [whole, first, second]
    assert mark_groups(rles, sizes).tolist() == [True, False, False]
    parts = np.array([near, far, far], np.float32)
    assert not mark_groups(rles, parts).any()
    assert not mark_groups([whole, first], sizes[:2]).any()  # one is no group
    same = [whole, first, square(3, 3, 12)]  # twice the same thing
    assert not mark_groups(same, sizes).any()
    tiny = [whole, square(2, 2, 4), square(16, 2, 4)]  # most of it is something else
    assert not mark_groups(tiny, sizes).any()
    assert mark_groups([], np.zeros(0, np.float32)).tolist() == []


def test_the_scene_is_the_whole_photo_s(model: anymask.Model, cat: UintImage) -> None:
    example = Example(cat, model.segment(cat, points=[CAT]).best.mask)
    rocket = anymask.load_image(anymask.sample("rocket"))
    expected = learn_kinds(model, [example])
    same, other = compare(model, cat, expected), compare(model, rocket, expected)
    assert same.scene == pytest.approx(1, abs=1e-4)
    assert other.scene < 0.5
    both = learn_kinds(model, [example, Example(rocket, np.ones(rocket.shape[:2], np.bool_))])
    assert compare(model, rocket, both).scene == pytest.approx(1, abs=1e-4)  # the nearest counts


def test_what_is_not_meant_is_left_out(model: anymask.Model, cat: UintImage) -> None:
    given: Any = (cat, {"point": CAT})
    assert len(model.find(cat, like=[given]))
    assert not len(model.find(cat, like=given, unlike=[given]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("a@b.jpg@click:3,4.5", ("a@b.jpg", "point", (3.0, 4.5))),
        ("a.jpg@box:1,2,3,4", ("a.jpg", "box", (1.0, 2.0, 3.0, 4.0))),
        ("a.jpg@mask:m.png", ("a.jpg", "mask", Path("m.png"))),
        (("a.jpg", {"box": [1, 2, 3, 4]}), ("a.jpg", "box", [1, 2, 3, 4])),
    ],
)
def test_examples_are_pairs_or_texts(given: Any, told: tuple[Any, ...]) -> None:
    assert parse_example(given) == told


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "neither"),
        ({"words": "cat", "like": "a.jpg@click:1,2"}, "both"),
        ({"like": "a.jpg"}, "@point"),
        ({"like": "a.jpg@click:one,2"}, "numbers"),
        ({"like": []}, "empty"),
        ({"like": ("a.jpg", {"line": 3})}, "line"),
        ({"like": (np.zeros((4, 4, 3), np.uint8), {"mask": np.zeros((4, 4))})}, "empty"),
        ({"like": (np.zeros((4, 4, 3), np.uint8), {"mask": np.ones((5, 4))})}, "size"),
        ({"like": "a.jpg@click:1,2", "method": "magic"}, "method"),
        ({"like": "a.jpg@click:1,2", "score": {"cat": 0.5}}, "score"),
        ({"words": "cat", "method": "persam"}, "exemplars"),
    ],
)
def test_what_is_no_example_is_told(
    model: anymask.Model, photo: UintImage, settings: dict[str, Any], word: str
) -> None:
    with pytest.raises(InputError, match=word):
        model.find(photo, **settings)


def test_a_model_on_onnx_cannot_be_guided(model: anymask.Model, photo: UintImage) -> None:
    with pytest.raises(ModelError, match="torch"):
        model.find(photo, like=(photo, {"box": (10, 10, 60, 60)}), method="persam")


def opened_with_boxes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A detector with a box in each cell: those of random weights have no area."""
    torch = pytest.importorskip("torch")
    detector: Any = open_detector(folder, "cpu")
    y, x = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    sides = torch.full((16,), 0.2)
    boxes = torch.stack([(x.flatten() + 0.5) / 4, (y.flatten() + 0.5) / 4, sides, sides], 1)[None]
    monkeypatch.setattr(detector._model, "box_predictor", lambda *_: boxes)
    return detector


@pytest.mark.parametrize("kind", ["owlv2", "owlvit"])
def test_owl_looks_for_the_example_as_transformers_does(
    folders: dict[str, Path], photo: UintImage, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    detector = opened_with_boxes(folders[kind], monkeypatch)
    other = np.ascontiguousarray(photo[:, ::-1])
    network, rule = detector._model, detector._rule
    given = [torch.from_numpy(rule.apply(one, rule.exact)) for one in (photo, other)]
    with torch.inference_mode():
        told = network.image_guided_detection(*given)
        cells = network.image_embedder(given[1])[0].flatten(1, 2)
        _, names = network.class_predictor(cells)
        query, *_ = network.embed_image_query(cells, network.image_embedder(given[1])[0])
    place = int((names[0] == query[0, 0]).all(1).nonzero()[0])
    boxes = detector.detect_examples(other, detector.learn_examples([(other, (0, 0, 1, 1))]))
    learned = detector.learn_examples([(other, boxes.boxes[place])])
    scores = detector.detect_examples(photo, learned).scores[:, 0]
    np.testing.assert_allclose(scores, told.logits[0, :, 0].sigmoid().numpy(), atol=1e-5)
