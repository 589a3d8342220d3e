"""Edges are put where the photo has them; what prompts fixed, and what is off, stays."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.masks import Prompt, clean_mask, iou, parse_region_size
from anymask.segment.prediction import prompt_fixed_pixels, remove_small_components, scaled_area
from tests.evaluation.small_sets import rectangle


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A star on a ground of another colour, and its mask."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:240, :320]
    angle = np.arctan2(y - 120, x - 160)
    truth = np.hypot(y - 120, x - 160) < 70 + 18 * np.cos(7 * angle)
    image = np.where(truth[..., None], (190, 60, 50), (60, 130, 90)).astype(np.float64)
    image += rng.normal(0, 12, image.shape)
    return image.clip(0, 255).astype(np.uint8), truth


IMAGE, TRUTH = scene()


def test_crumbs_go_and_those_of_clicks_stay() -> None:
    """A speck and a hole that a click speaks for stay; the others, below 5 % of the mask, go."""
    mask = rectangle((60, 80), (20, 10, 60, 50))
    mask[20:23, 30:33] = mask[20:23, 40:43] = False
    mask[5:7, 20:22] = mask[5:7, 50:52] = True
    clicks = np.array([(21, 6), (31, 21), (75, 3)]), np.array([1, 0, 0])
    tidy = remove_small_components(mask.copy(), clicks, (0.05, 0.05))
    assert tidy[5:7, 20:22].all()
    assert not tidy[5:7, 50:52].any()
    assert not tidy[20:23, 30:33].any()
    assert tidy[20:23, 40:43].all()
    np.testing.assert_array_equal(remove_small_components(mask.copy(), clicks, (0, 0)), mask)


def test_what_a_prompt_settles_stays() -> None:
    """Outside of the box and under a click the prompt has said what the pixels are."""
    prompt = Prompt.of(points=[(160.0, 50.0)], box=(100, 60, 220, 200))
    fixed = prompt_fixed_pixels(prompt, TRUTH.shape)
    assert fixed[50, 160]
    assert fixed[:60].all()
    assert not fixed[60:200, 100:220].any()


@pytest.fixture(scope="module")
def answers() -> dict[str, np.ndarray]:
    """What nano says of the star with each setting."""
    model = anymask.load()
    box = (70, 30, 250, 212)
    asked: dict[str, dict[str, Any]] = {
        "default": {}, "on": {"refine_edges": True}, "off": {"refine_edges": False},
        "single": {"multimask": False}, "single, on": {"multimask": False, "refine_edges": True},
    }  # fmt: skip
    found = {name: model.segment(IMAGE, box=box, **it).masks[0] for name, it in asked.items()}
    found["embedding"] = model.segment(model.encode(IMAGE), box=box).masks[0]
    return found


def test_it_is_on_for_photos_and_off_for_the_papers_answers(answers: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(answers["default"], answers["on"])
    np.testing.assert_array_equal(answers["embedding"], answers["off"])
    assert (answers["on"] != answers["off"]).any()
    assert (answers["single, on"] != answers["single"]).any()
    assert iou(answers["on"], TRUTH) >= iou(answers["off"], TRUTH)


class Everywhere:
    """A network of edges that says the same of every pixel, and counts how often it is asked."""

    def __init__(self, says: float) -> None:
        self.says, self.asked = says, 0

    def refine_edge(self, image: Any, logits: Any, prompt: Any) -> np.ndarray:
        self.asked += 1
        assert image.shape == (256, 256, 3)
        assert prompt.shape == (2, 256, 256)
        return np.full((256, 256), self.says, np.float32)


def only_edges(runtime: Any, network: Everywhere | None) -> Any:
    """nano's runtime with another network of edges."""
    other = copy.copy(runtime)
    other.refine_edge = network.refine_edge if network else None
    return other


def test_a_network_is_asked_for_what_is_read_and_obeys_the_prompt() -> None:
    """The first candidate at once, the others when their pixels are read, each once."""
    network, runtime = Everywhere(100.0), anymask.load().runtime
    model = anymask.Model(only_edges(runtime, network))
    answer = model.segment(IMAGE, points=[(160, 120)])
    assert (len(answer), network.asked) == (3, 1)
    twin = pickle.loads(pickle.dumps(answer))
    assert network.asked == 3
    np.testing.assert_array_equal(twin.masks, answer.masks)
    assert network.asked == 3
    boxed = model.segment(IMAGE, box=(100, 60, 220, 200)).first.pixels()
    own = model.segment(IMAGE, box=(100, 60, 220, 200), refine_edges=False).first.pixels()
    assert boxed[60:200, 100:220].all()  # whatever the network says inside the box
    outside = np.ones(boxed.shape, np.bool_)
    outside[60:200, 100:220] = False
    np.testing.assert_array_equal(boxed[outside], own[outside])


def test_sizes_in_pixels_are_counted_behind_the_edge() -> None:
    """Every mask of the answer has the photo's edge, and then loses what the sizes say."""
    model = anymask.load()
    image, point = anymask.sample("coffee"), [(460, 180)]
    raw, own, cleaned = (
        model.segment(
            image, points=point, max_hole_area=size, min_island_area=size, refine_edges=on
        )
        for size, on in ((0, "auto"), (300, False), (300, "auto"))
    )
    for fine, coarse, mask in zip(raw.masks, own.masks, cleaned.masks, strict=True):
        np.testing.assert_array_equal(mask, clean_mask(fine, 300, 300))
        assert (mask != coarse).any()
    assert (cleaned.masks[0] != raw.masks[0]).any()


@pytest.mark.parametrize(
    ("size", "scale", "least"), [(100, 0.5, 25), (3, 0.5, 0), ("5%", 0.5, 0.05)]
)
def test_a_size_is_of_the_users_photo(size: float | str, scale: float, least: float) -> None:
    assert scaled_area(parse_region_size(size, "area"), scale) == least


def test_what_is_read_later_is_of_the_photo_that_was_asked_about() -> None:
    """Whatever the caller does with the array meanwhile: a camera's buffer is written again."""
    model, image = anymask.load(), IMAGE.copy()
    expected = model.segment(IMAGE, points=[(160, 120)]).masks
    answer = model.segment(image, points=[(160, 120)])
    image[:] = 0
    np.testing.assert_array_equal(answer.masks, expected)


def test_a_network_that_says_nothing_changes_nothing() -> None:
    runtime = anymask.load().runtime
    model = anymask.Model(only_edges(runtime, Everywhere(0.0)))
    for asked in ({"points": [(160, 120)]}, {"box": (70, 30, 250, 212)}):
        given: dict[str, Any] = {**asked, "min_island_area": 0, "max_hole_area": 0}
        refined, own = (model.segment(IMAGE, refine_edges=on, **given) for on in (True, False))
        np.testing.assert_array_equal(refined.masks, own.masks)
