"""What every encoder of images promises; the parts of each have modules of their own."""

import pytest
import torch

from anymask.models import efficient_vit, repvit, tiny_vit
from tests.models.encoder_parity import noise, randomise, relative_error

BUILD = {
    "repvit": lambda: randomise(repvit.RepViT(repvit.TINY)),
    "tiny_vit": lambda: randomise(tiny_vit.TinyViT(tiny_vit.TINY)),
    "efficient_vit": lambda: randomise(efficient_vit.EfficientVit(efficient_vit.TINY)),
}
SIDES = {"repvit": 64, "tiny_vit": 64, "efficient_vit": 16}


@pytest.mark.parametrize(
    ("name", "height", "width", "shapes"),
    [
        ("repvit", 32, 32, [(16, 2, 2)]), ("repvit", 64, 96, [(16, 4, 6)]),
        ("tiny_vit", 16, 16, [(16, 1, 1), (24, 1, 1)]),
        ("tiny_vit", 32, 48, [(16, 2, 3), (24, 2, 3)]),
        ("tiny_vit", 80, 64, [(16, 5, 4), (24, 5, 4)]),
        ("efficient_vit", 8, 20, [(8, 2, 5)]),
    ],
)  # fmt: skip
@torch.inference_mode()
def test_maps_have_the_size_that_follows_from_the_image(
    name: str, height: int, width: int, shapes: list[tuple[int, ...]]
) -> None:
    maps = BUILD[name]()(noise(2, 3, height, width))
    assert [tuple(one.shape) for one in maps] == [(2, *shape) for shape in shapes]


@pytest.mark.parametrize("name", BUILD)
@torch.inference_mode()
def test_a_batch_equals_its_pictures_one_by_one(name: str) -> None:
    model, images = BUILD[name](), noise(3, 3, SIDES[name], SIDES[name])
    together = model(images)
    for index, image in enumerate(images):
        for batched, alone in zip(together, model(image[None]), strict=True):
            assert relative_error(batched[index], alone[0]) <= 1e-5


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_half_precision_stays_close(name: str, dtype: torch.dtype) -> None:
    image = noise(1, 3, SIDES[name], SIDES[name])
    half = BUILD[name]().to(dtype)(image.to(dtype))[0]
    assert half.dtype == dtype
    assert relative_error(half.float(), BUILD[name]()(image)[0]) <= 0.1
