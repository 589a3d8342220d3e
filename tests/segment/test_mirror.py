"""Answers with the photo's mirror image: prompts laid over, answers laid back, means."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import UintImage
from anymask.masks import ModelPrompts, geometry, mask_iou
from anymask.segment.pipeline import flip_columns, mirror_prompts, with_mirrored

SPEC = replace(anymask.load().spec, image_side=512, mask_side=128)
LEFT = {"wide": (0, 600), "square": (100, 500), "tall": (150, 416)}  # columns of the photo


def image_of(shape: str) -> UintImage:
    image = np.asarray(Image.open(anymask.sample("coffee")).convert("RGB"))
    return np.ascontiguousarray(image[:, slice(*LEFT[shape])])


def prompts_at(coords: list[list[float]], labels: list[int], side: int = 128) -> ModelPrompts:
    rng = np.random.default_rng(1)
    return ModelPrompts(
        coords=np.array([coords], np.float32),
        labels=np.array([labels], np.int64),
        masks=rng.normal(size=(1, 1, side, side)).astype(np.float32),
        has_mask=np.ones(1, np.float32),
    )


def test_columns_are_mirrored_within_what_the_photo_fills() -> None:
    planes = np.arange(6, dtype=np.float32)[None]
    assert flip_columns(planes, 6.0)[0].tolist() == [5, 4, 3, 2, 1, 0]
    assert flip_columns(planes, 4.0)[0, :4].tolist() == [3, 2, 1, 0]
    assert flip_columns(planes, 4.5)[0, :4].tolist() == [3.5, 2.5, 1.5, 0.5]


def test_a_prompt_is_laid_over_the_mirror_image() -> None:
    place = geometry((100, 80), SPEC)  # 512 x 410 of the model's square
    given = prompts_at([[10, 20], [40, 50], [30, 5], [0, 0]], [2, 3, 1, -1])
    turned = mirror_prompts(given, place, place.input_hw[1] / 4)
    assert turned.coords[0].tolist() == [[370, 20], [400, 50], [380, 5], [0, 0]]
    assert np.array_equal(turned.labels, given.labels)
    again = mirror_prompts(turned, place, place.input_hw[1] / 4)
    assert np.array_equal(again.coords, given.coords)


def test_the_answer_is_the_mean_of_both() -> None:
    place = geometry((64, 64), SPEC)
    asked: list[ModelPrompts] = []

    def decoder(shift: float) -> object:
        def decode(prompts: ModelPrompts) -> tuple[np.ndarray, np.ndarray]:
            asked.append(prompts)
            ramp = np.broadcast_to(np.arange(128, dtype=np.float32), (1, 4, 128, 128))
            return ramp + np.float32(shift), np.full((1, 4), shift, np.float32)

        return decode

    given = prompts_at([[100, 20]], [1])
    decode = with_mirrored(decoder(0.0), decoder(1.0), place, SPEC)  # type: ignore[arg-type]
    logits, quality = decode(given)
    assert np.allclose(logits, (127 + 1) / 2)  # a ramp and its mirror image
    assert np.allclose(quality, 0.5)
    assert asked[0] is given
    assert asked[1].coords[0, 0].tolist() == [412, 20]


@pytest.mark.parametrize("shape", ["wide", "square", "tall"])
@pytest.mark.parametrize("kind", ["click", "box", "corrected"])
def test_a_mirrored_photo_gets_the_mirrored_answer(shape: str, kind: str) -> None:
    """Both are means of the same two looks; only rounding and padding tell them apart."""
    model, pixels = anymask.load(), image_of(shape)
    width = pixels.shape[1]

    def asked(x: float, flip: bool) -> dict[str, Any]:
        across = [width - n if flip else n for n in (290 - x, 300 - x, 176 - x, 405 - x)]
        clicks = [(across[0], 120), (across[1], 20)]
        x0, x1 = sorted(across[2:])
        given: dict[str, dict[str, Any]] = {
            "click": {"points": clicks[:1]},
            "box": {"box": (x0, 19, x1, 226)},
            "corrected": {"points": clicks, "point_labels": [1, 0]},
        }
        return given[kind]

    def alike(mirror: bool) -> float:
        one, other = (
            model.segment(source_image, **asked(LEFT[shape][0], flip), zoom=False, mirror=mirror)
            for source_image, flip in (
                (pixels, False),
                (np.ascontiguousarray(pixels[:, ::-1]), True),
            )
        )
        return float(mask_iou(one.masks[:1], other.masks[:1, :, ::-1])[0, 0])

    assert alike(mirror=True) > max(0.97, alike(mirror=False))
