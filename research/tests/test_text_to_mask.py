"""Text to mask on made images: colors stand for CLIP's space, which crops and texts share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from anymask import models
from anymask.base import FloatArray, InputError, UintImage
from anymask.masks import Mask, mask_to_rle
from anymask.models.image_model import ImageModel
from research.text_to_mask import measure, read_examples, train

COLORS = {"red": (220, 30, 30), "blue": (30, 30, 220)}


class ColorClip:
    """Both towers give the share of red and of blue."""

    def embed_images(self, images: Sequence[UintImage]) -> FloatArray:
        middles = np.stack([one[100:148, 100:148].reshape(-1, 3).mean(0) for one in images])
        return np.asarray(middles[:, [0, 2]] / 220, np.float32)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        found = [COLORS[one.split()[-1]] for one in texts]
        return np.asarray(np.array(found)[:, [0, 2]] / 220, np.float32)


def images(count: int, seed: int) -> list[tuple[UintImage, list[Mask]]]:
    """Images with a red and a blue half in random order."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        image = np.full((64, 64, 3), 128, np.uint8)
        masks = []
        order = list(COLORS) if rng.random() < 0.5 else list(COLORS)[::-1]
        for place, label in enumerate(order):
            mask = np.zeros((64, 64), np.bool_)
            mask[4:60, 32 * place + 2 : 32 * place + 30] = True
            image[mask] = COLORS[label]
            masks.append(Mask(mask_to_rle(mask), label=label))
        made.append((image, masks))
    return made


def test_texts_prompt_what_crops_have_trained() -> None:
    torch.manual_seed(0)
    module, rng = models.build("tiny"), np.random.default_rng(0)
    assert isinstance(module, ImageModel)
    clip = ColorClip()
    examples = read_examples(module, clip, images(6, seed=1), rng, least=100)
    assert len(examples) == 12
    losses: list[float] = []
    projection = train(module, examples, 100, rng, 0.03, lambda _, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    unseen = read_examples(module, clip, images(4, seed=2), rng, least=100)
    scores = measure(module, clip, projection, unseen)
    assert scores["text"] > 0.7
    assert scores["crop"] > 0.7
    assert scores["other text"] < 0.2


def test_small_masks_are_left_out_and_an_empty_set_is_refused() -> None:
    module = models.build("tiny")
    with pytest.raises(InputError, match="at least 10000 pixels"):
        read_examples(module, ColorClip(), images(1, 0), np.random.default_rng(0))  # type: ignore[arg-type]
