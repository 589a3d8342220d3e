"""`small`'s backbone against torch's own resizing and against reference outputs."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from anymask.models.frozen_vit import POSITION_TABLE_SIDE, FrozenVit, bicubic, shrinking
from anymask.models.mobilenet import EfficientNetLite0
from anymask.models.nano import SMALL, Nano
from anymask.runtime import ASSETS, load_official, read_checkpoint
from research.small.pack import whole_state

PARTS = "ANYMASK_SMALL_PARTS"  # what research/small/convert_parts.py wrote


def largest_error(ours: torch.Tensor, reference: np.ndarray) -> float:
    """Relative to the largest value; the reference holds every fourth channel of some places."""
    step = ours.shape[-1] // reference.shape[-1]
    channels = ours.shape[0] // reference.shape[0]
    kept = ours[::channels, ::step, ::step].numpy()
    assert kept.shape == reference.shape
    return float(np.abs(kept - reference).max() / np.abs(reference).max())


@pytest.fixture(scope="module")
def reference(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "small" / "reference.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def picture(reference: dict[str, np.ndarray]) -> torch.Tensor:
    pixels = torch.from_numpy(reference["picture"].astype(np.float32))
    return (pixels.permute(2, 0, 1)[None] - 127.5) / 127.5


@pytest.mark.parametrize("cells", [2, 5, 32])
def test_shrinking_is_antialiased_bilinear_resizing(cells: int) -> None:
    image = torch.rand(1, 1, 16 * cells, 32)
    expected = F.interpolate(image, (14 * cells, 28), mode="bilinear", antialias=True)
    ours = shrinking(cells, image) @ image @ shrinking(2, image).t()
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cells", [4, 16, 32, 48])
def test_positions_are_resized_bicubically(cells: int) -> None:
    table = torch.randn(1, 1, POSITION_TABLE_SIDE, POSITION_TABLE_SIDE)
    expected = F.interpolate(table, (cells, cells), mode="bicubic", align_corners=False)
    matrix = bicubic(cells, table)
    torch.testing.assert_close(matrix @ table @ matrix.t(), expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_photo_that_is_no_square_has_the_positions_of_a_square_s_upper_part() -> None:
    torch.manual_seed(0)
    vit = FrozenVit().eval()
    torch.nn.init.normal_(vit.positions)
    for block in vit.blocks:  # what is left are patches and positions
        torch.nn.init.zeros_(block.proj.weight)
        torch.nn.init.zeros_(block.fc2.weight)
        torch.nn.init.zeros_(block.proj.bias)
        torch.nn.init.zeros_(block.fc2.bias)
    flat = torch.zeros(1, 3, 32, 64)
    square = torch.zeros(1, 3, 64, 64)
    torch.testing.assert_close(vit(flat), vit(square)[..., :2, :])


@torch.inference_mode()
def test_the_learned_half_agrees_with_its_reference(
    shared: Path, reference: dict[str, np.ndarray], picture: torch.Tensor
) -> None:
    learned = load_file(shared / "small" / "weights.safetensors")
    prefix, own = "encoder.backbone.", EfficientNetLite0()
    own.load_state_dict({name: learned[prefix + name].float() for name in own.state_dict()})
    for n, found in enumerate(own.eval()(picture)):
        assert largest_error(found[0], reference[f"lite{n}"]) < 1e-3


@torch.inference_mode()
def test_in_float32_every_part_agrees_with_its_reference(
    shared: Path, reference: dict[str, np.ndarray], picture: torch.Tensor
) -> None:
    parts = os.environ.get(PARTS)
    if parts is None:
        pytest.skip("needs the parts of small (research/small/convert_parts.py)")
    model = Nano(SMALL).eval()
    model.load_state_dict(whole_state(Path(parts), shared / "small" / "weights.safetensors"))
    agree(model, reference, picture, 1e-3)


@torch.inference_mode()
def test_as_it_ships_the_frozen_half_is_near_its_reference(
    reference: dict[str, np.ndarray], picture: torch.Tensor
) -> None:
    """Of the frozen half: what is learned goes on learning."""
    model = Nano(SMALL).eval()
    load_official(model, read_checkpoint(ASSETS / "small" / "weights.safetensors"))
    seen = model.encoder.backbone.vit(picture)[0]
    assert largest_error(seen, reference["vit_s4"]) < 0.05


def agree(model: Nano, reference: dict[str, np.ndarray], image: torch.Tensor, bound: float) -> None:
    """The frozen half, the maps and three answers."""
    assert largest_error(model.encoder.backbone.vit(image)[0], reference["vit_s4"]) < bound
    maps = model.encode(image)
    for n, found in enumerate(maps):
        assert largest_error(found[0], reference[f"map{n}"]) < bound
    none = torch.zeros(1, 1, 128, 128)
    earlier, asked = none, torch.zeros(1)
    for name in ("click", "box", "more"):
        coords, labels = (
            torch.from_numpy(reference[f"{name}_{kind}"])[None] for kind in ("points", "labels")
        )
        given = (earlier, torch.ones(1)) if name == "more" else (none, asked)
        logits, quality = model.decode(maps, coords, labels, *given)
        if name == "click":
            earlier = logits[:, 1:2]  # the mask that the third prompt goes on from
        assert largest_error(logits[0], reference[f"{name}_logits_s2"]) < bound
        assert np.abs(quality[0].numpy() - reference[f"{name}_quality"]).max() < bound
