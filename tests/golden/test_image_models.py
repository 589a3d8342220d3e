"""Image models with the recipe's weights against the reference code's outputs for one photo.

The whole path is ours: resize, encode, decode, the choice of masks, and logits in image pixels.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from anymask import models
from anymask.base import FloatArray
from anymask.masks import (
    EncoderOutput,
    Geometry,
    ModelPrompts,
    geometry,
    image_to_model,
    logits_to_image,
    points_to_model,
)
from anymask.models.rules import SamFamily
from anymask.runtime import TorchRuntime
from tests.golden.parity import assert_embedding, assert_logits, assert_quality, load_recipe

VIT_B = ("sam_vit_b", "sam_hq_vit_b")  # one encoder, for which the recipe has one set of weights
SAM_LIKE = ("sam_vit_b", "mobile_sam", "sam_hq_vit_b", "sam_hq_vit_tiny")
EFFICIENT = ("efficient_sam_ti", "efficient_sam_s")
SAM_2_LIKE = ("sam2.1_hiera_t", "sam2.1_hiera_b+", "edgetam", "efficienttam_ti_512x512")
EXACT = ("edge_sam",)  # float32 differs by 1e-4 from processor to processor, the reference, too
PROMPTS = ("point", "points", "box", "boxpoint")
NO_POINT = -1


@dataclass
class Looked:
    """A model with the recipe's weights that has seen the photo once."""

    runtime: TorchRuntime
    seen: EncoderOutput
    geometry: Geometry
    reference: dict[str, np.ndarray]

    def prompt(self, name: str, mask: FloatArray | None = None) -> ModelPrompts:
        """A stored prompt in model space; `mask` (1, m, m) logits."""
        points = self.reference.get(f"in_{name}_point_coords", np.empty((0, 2)))
        labels = list(self.reference.get(f"in_{name}_point_labels", ()))
        box = self.reference.get(f"in_{name}_box")
        if box is not None:
            points = np.concatenate([points, box.reshape(2, 2)])
            labels += [2, 3]
        coords = points_to_model(points, self.geometry)
        if box is None or self.runtime.spec.pad_box:
            coords = np.concatenate([coords, np.zeros((1, 2), np.float32)])
            labels.append(NO_POINT)
        return self.prompts(coords[None], np.array([labels]), mask)

    def prompts(
        self, coords: FloatArray, labels: np.ndarray, mask: FloatArray | None = None
    ) -> ModelPrompts:
        side = self.runtime.spec.mask_side
        masks = np.zeros((len(coords), 1, side, side), np.float32)
        has_mask = np.full(len(coords), float(mask is not None), np.float32)
        if mask is not None:
            masks[:] = mask
        return ModelPrompts(coords.astype(np.float32), labels, masks, has_mask)

    def answer(
        self, name: str, multimask: bool, mask: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """(K, m, m) logits and (K,) quality as the reference's predictor gives them."""
        decoded = self.runtime.decode(self.seen, self.prompt(name, mask))
        logits, quality = chosen(self.runtime, *decoded, multimask)
        return logits[0], quality[0]


def chosen(
    runtime: TorchRuntime, logits: FloatArray, quality: FloatArray, multimask: bool
) -> tuple[FloatArray, FloatArray]:
    """The masks of one family or the other, in the model's order."""
    family = runtime.family
    assert isinstance(family, SamFamily)
    return (family.candidates if multimask else family.single)(logits, quality)


class SeesOnce(nn.Module):
    """An encoder whose maps of the photo are kept, for all models that have its weights."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.maps: tuple[Tensor, ...] = ()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        self.maps = self.maps or self.encoder(images)
        return self.maps


@pytest.fixture(scope="module")
def vit_b() -> list[SeesOnce]:
    """The first one that is built."""
    return []


def share_encoder(model: nn.Module, vit_b: list[SeesOnce]) -> None:
    """ViT-B takes twenty seconds for the photo; SAM-HQ's gives SAM's map, and an earlier one."""
    own = model.image_encoder
    own.config = replace(own.config, extras="first_global")
    if not vit_b:
        vit_b.append(SeesOnce(own))
    pairs = zip(own.parameters(), vit_b[0].encoder.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    model.image_encoder = vit_b[0]


@pytest.fixture(scope="module")
def looked(request: pytest.FixtureRequest, shared: Path, vit_b: list[SeesOnce]) -> Looked:
    name: str = request.param
    recipe = load_recipe(shared)
    module = models.build(name)
    weights = recipe.fill(recipe.shapes(name))
    module.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    if name in VIT_B:
        share_encoder(module, vit_b)
    runtime = TorchRuntime(module, device="cpu")
    image = np.asarray(Image.open(shared / "images" / "truck.jpg").convert("RGB"))
    spec = runtime.spec
    if name in EXACT:
        runtime._module.double()
        runtime.dtype = torch.float64
    features = runtime.encode_images(image_to_model(image, spec)[None])[0]
    runtime._module.float()
    runtime.dtype = torch.float32
    with recipe.reference(name) as stored:
        reference = dict(stored)
    return Looked(runtime, features, geometry(image.shape[:2], spec), reference)


def every_name(names: tuple[str, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("looked", names, indirect=True)


@every_name((*SAM_LIKE, "edge_sam", *EFFICIENT, *SAM_2_LIKE))
def test_the_embedding_agrees(looked: Looked) -> None:
    features = looked.seen.maps()[0].values
    assert_embedding(features[None, :, ::8, ::8], looked.reference["embedding_s8"])
    assert_embedding(features.mean((1, 2))[None], looked.reference["embedding_mean"])
    deviation = features.std((1, 2), ddof=1)[None]
    np.testing.assert_allclose(deviation, looked.reference["embedding_std"], rtol=1e-3)


@every_name(SAM_LIKE)
@pytest.mark.parametrize("multimask", [True, False], ids=["multi", "single"])
@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_gets_the_same_answer(looked: Looked, name: str, multimask: bool) -> None:
    case = f"{name}_{'multi' if multimask else 'single'}"
    logits, quality = looked.answer(name, multimask)
    assert_quality(quality, looked.reference[f"{case}_scores"])
    assert_logits(logits[:, ::2, ::2], looked.reference[f"{case}_lowres_s2"])
    in_image = logits_to_image(logits, looked.geometry)
    assert_logits(in_image[:, ::16, ::16], looked.reference[f"{case}_logits_s16"])


@every_name(SAM_2_LIKE)
def test_the_fine_maps_agree(looked: Looked) -> None:
    maps = [one.values for one in looked.seen.maps()]
    for fine, name in zip(maps[1:], ("highres0_s16", "highres1_s16"), strict=False):
        assert_embedding(fine[None, ::4, ::16, ::16], looked.reference[name])
    assert len(maps) == (1 if "efficienttam" in looked.runtime.spec.name else 3)


@every_name(SAM_2_LIKE)
@pytest.mark.parametrize("multimask", [True, False], ids=["multi", "single"])
@pytest.mark.parametrize("name", ["point", "points", "box"])
def test_a_prompt_to_sam_2_gets_the_same_answer(looked: Looked, name: str, multimask: bool) -> None:
    case = f"{name}_{'multi' if multimask else 'single'}"
    logits, quality = looked.answer(name, multimask)
    assert_quality(quality, looked.reference[f"{case}_scores"])
    assert_logits(logits[:, ::2, ::2], looked.reference[f"{case}_lowres_s2"])


@every_name(SAM_LIKE)
def test_an_answer_fed_back_as_a_mask_gets_the_same_answer(looked: Looked) -> None:
    logits, quality = looked.answer("point", multimask=True)
    best = logits[quality.argmax()]
    logits, quality = looked.answer("points", multimask=False, mask=best)
    assert_quality(quality, looked.reference["refine_scores"])
    assert_logits(logits[:, ::2, ::2], looked.reference["refine_lowres_s2"])


@every_name(("edge_sam",))
@pytest.mark.parametrize("name", PROMPTS)
def test_edge_sam_gives_one_three_or_all_four_masks(looked: Looked, name: str) -> None:
    decoded = looked.runtime.decode(looked.seen, looked.prompt(name))
    asked = {
        1: chosen(looked.runtime, *decoded, False),
        3: chosen(looked.runtime, *decoded, True),
        4: decoded,
    }
    for count, (logits, quality) in asked.items():
        assert_quality(quality[0], looked.reference[f"{name}_n{count}_scores"])
        assert_logits(logits[0, :, ::2, ::2], looked.reference[f"{name}_n{count}_lowres_s2"])


@every_name(EFFICIENT)
def test_efficient_sam_answers_two_queries_in_one_call(looked: Looked) -> None:
    points, labels = looked.reference["in_points"][0], looked.reference["in_labels"][0]
    spare = looked.runtime.spec.fixed_points - points.shape[1]
    coords = np.pad(points_to_model(points, looked.geometry), ((0, 0), (0, spare), (0, 0)))
    padded = np.pad(labels, ((0, 0), (0, spare)), constant_values=NO_POINT)
    logits, quality = looked.runtime.decode(looked.seen, looked.prompts(coords, padded))
    assert_quality(quality, looked.reference["scores"][0])
    assert_logits(logits[:, :, ::2, ::2], looked.reference["lowres_s2"][0])
