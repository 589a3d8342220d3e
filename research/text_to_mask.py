"""Text to mask: trains SAM's decoder on CLIP's vectors of image crops and prompts it with texts.

    python -m research.text_to_mask clip-vit-base-patch32 TRAIN --test TEST --model sam_vit_b -o RUN

Segment Anything (Kirillov et al. 2023), section 7.5 and appendix D.5. CLIP maps images and texts to
one space, so that no training mask needs a text: for each mask, the vector of a crop is the
first prompt. The crop is the mask's box, enlarged by a random factor from 1 to 2; in half of the
cases everything outside the mask is gray. A linear layer converts the vector to a token of the
prompt encoder. In a test, the vector of a text takes the place of the crop's.

Deviations: the image encoder is frozen, so its maps are computed once; there are no further
clicks; CLIP attends to the whole crop, not only to the mask; the crop is resized with its gray
border instead of zeros. TRAIN and TEST are sets of `anymask convert` with labels.

RUN gets `projection.pt` and `scores.json`: the mean IoU with the prompts "text", "crop", "other
text" (of another label, the control arm) and "none" (a zero vector).

Letters: D the length of a vector of CLIP, C of a token, m the side of a mask, h w a feature map.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from anymask.base import FloatArray, InputError, UintImage, write_json
from anymask.find.clip import SENTENCE, ClipNames
from anymask.formats import load_set
from anymask.masks import (
    NO_POINT,
    Mask,
    geometry,
    image_to_model,
    mask_to_model,
    rle_area,
    rle_to_mask,
)
from anymask.models.image_model import ImageModel
from anymask.models.rules import close_up
from anymask.runtime import load_module
from anymask.training.losses import FOCAL_WEIGHT, dice_loss, focal_loss, mask_iou
from research.command import exit_status

LEAST_AREA = 100**2  # pixels of a training mask, as in the paper
STEPS, BATCH, RATE = 2000, 16, 1e-3
DECODER_RATE = 0.1  # of the rate of the projection
ENLARGED = (1.0, 2.0)


class Embedder(Protocol):
    """The two towers, as `find.clip.ClipNames` has them."""

    def embed_texts(self, texts: Sequence[str]) -> FloatArray: ...

    def embed_images(self, images: Sequence[UintImage]) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class Example:
    """One mask of an image.

    Attributes:
        maps: Feature maps (1, C, h, w) of its image, shared by all of its masks.
        target: The mask (1, m, m), 0 or 1.
        crop: Unit vector (D,) of its crop.
        label: Its label.
    """

    maps: tuple[Tensor, ...]
    target: Tensor
    crop: Tensor
    label: str


def read_examples(
    module: ImageModel,
    clip: Embedder,
    images: Iterable[tuple[UintImage, Sequence[Mask]]],
    rng: np.random.Generator,
    least: int = LEAST_AREA,
) -> list[Example]:
    """Encode images and crops.

    Args:
        module: The model.
        clip: CLIP.
        images: Images (H, W, 3) with their masks.
        rng: Chooses the size of each crop, and whether its surroundings are gray.
        least: Minimum area of a mask in pixels.
    """
    found = []
    for image, masks in images:
        kept = [one for one in masks if one.label and rle_area(one.rle) >= least]
        if not kept:
            continue
        place = geometry((image.shape[0], image.shape[1]), module.spec)
        with torch.inference_mode():
            features = module.encode(torch.from_numpy(image_to_model(image, module.spec))[None])
        maps = tuple(one.clone() for one in features)
        crops = [close_up(image, one.rle, context=rng.uniform(*ENLARGED)) for one in kept]
        crops = [one.alone() if rng.random() < 0.5 else one for one in crops]
        vectors = torch.from_numpy(clip.embed_images([one.image for one in crops]))
        for one, vector in zip(kept, vectors, strict=True):
            cells = mask_to_model(rle_to_mask(one.rle), place, module.spec.mask_side)
            found.append(
                Example(maps, torch.from_numpy(cells > 0).float(), vector, one.label or "")
            )
    if not found:
        raise InputError(
            f"No labeled mask has an area of at least {least} pixels. Pass another set, or a "
            "smaller --least."
        )
    return found


def decode_vectors(module: ImageModel, examples: Sequence[Example], tokens: Tensor) -> Tensor:
    """Logits (N, 1, m, m) of the mask for clear prompts, with a token (N, C) each as the prompt."""
    count, side = len(examples), module.spec.mask_side
    maps = tuple(torch.cat(same) for same in zip(*(one.maps for one in examples), strict=True))
    logits, _ = module.decode(
        maps,
        torch.zeros(count, 1, 2),
        torch.full((count, 1), NO_POINT),
        torch.zeros(1, 1, side, side),
        torch.zeros(1),
        tokens[:, None],
    )
    return logits[:, :1]


def train(
    module: ImageModel,
    examples: Sequence[Example],
    steps: int,
    rng: np.random.Generator,
    rate: float = RATE,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> nn.Linear:
    """Train the projection from crops, together with the mask decoder, and return it."""
    projection = nn.Linear(len(examples[0].crop), module.prompt_encoder.config.dim)
    module.requires_grad_(False)
    module.mask_decoder.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [
            {"params": projection.parameters(), "lr": rate},
            {"params": module.mask_decoder.parameters(), "lr": rate * DECODER_RATE},
        ]
    )
    for step in range(steps):
        chosen = [examples[n] for n in rng.integers(0, len(examples), min(BATCH, len(examples)))]
        logits = decode_vectors(module, chosen, projection(torch.stack([x.crop for x in chosen])))
        target = torch.stack([one.target for one in chosen])
        loss = (FOCAL_WEIGHT * focal_loss(logits, target) + dice_loss(logits, target)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        on_step(step, float(loss.detach()))
    return projection.requires_grad_(False)


def measure(
    module: ImageModel, clip: Embedder, projection: nn.Linear, examples: Sequence[Example]
) -> dict[str, float]:
    """Mean IoU by kind of prompt; see the module."""
    labels = sorted({one.label for one in examples})
    texts = torch.from_numpy(clip.embed_texts([SENTENCE.format(label) for label in labels]))
    by_label = dict(zip(labels, texts, strict=True))
    after = dict(zip(labels, [*labels[1:], labels[0]], strict=True))
    scores: dict[str, list[float]] = {"text": [], "crop": [], "other text": [], "none": []}
    with torch.inference_mode():
        for one in examples:
            vectors = {
                "text": by_label[one.label],
                "crop": one.crop,
                "other text": by_label[after[one.label]],
                "none": torch.zeros_like(one.crop),
            }
            for kind, vector in vectors.items():
                logits = decode_vectors(module, [one], projection(vector)[None])
                scores[kind].append(float(mask_iou(logits, one.target[None])))
    return {kind: round(float(np.mean(values)), 4) for kind, values in scores.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add: Any = parser.add_argument
    add("clip", type=Path, help="folder of a CLIP model of transformers")
    add("train", type=Path, nargs="+", help="sets to train on")
    add("--test", type=Path, nargs="+", required=True, help="sets to measure on")
    add("--model", default="sam_vit_b", help="model of the family of SAM")
    add("--weights", type=Path, help="its checkpoint")
    add("--steps", type=int, default=STEPS)
    add("--least", type=int, default=LEAST_AREA, help="minimum area of a mask in pixels")
    add("--most", type=int, help="maximum number of images of a set")
    add("--seed", type=int, default=0)
    add("-o", "--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    module, digest = load_module(args.model, args.weights)
    if not isinstance(module, ImageModel):
        raise InputError(f"{args.model} has no SAM decoder. Use a model such as sam_vit_b.")
    clip, rng = ClipNames(args.clip.name, args.clip, 0.1, "cpu"), np.random.default_rng(args.seed)
    torch.manual_seed(args.seed)
    sets = {
        name: read_examples(
            module, clip, ((one.image(), one.objects) for place in places
                           for one in load_set(place)[1][: args.most]), rng, args.least,
        )
        for name, places in (("train", args.train), ("test", args.test))
    }  # fmt: skip
    projection = train(module, sets["train"], args.steps, rng)
    args.output.mkdir(parents=True, exist_ok=True)
    decoder = module.mask_decoder.state_dict()
    torch.save({"projection": projection.state_dict(), "mask_decoder": decoder},
               args.output / "projection.pt")  # fmt: skip
    scores = measure(module, clip, projection, sets["test"])
    about = {"model": args.model, "weights": digest, "clip": args.clip.name, "steps": args.steps}
    write_json(args.output / "scores.json", about | {"iou": scores}, indent=1)
    print(scores)


if __name__ == "__main__":
    sys.exit(exit_status("research.text_to_mask", main))
