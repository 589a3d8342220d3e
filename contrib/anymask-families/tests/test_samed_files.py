"""A file of SAMed is opened as weights of SAM, and labels every pixel."""

from pathlib import Path

import numpy as np
import pytest
import torch

import anymask
from anymask.base import InputError, PromptError
from anymask.models.class_head import class_logits
from tests.runtime.conftest import Shelf
from tests.runtime.test_converted import install

CLASSES = 2


@pytest.fixture
def samed(shelf: Shelf, tmp_path: Path) -> Path:
    """SAM in the store, and a file with the names of SAMed that belongs to it."""
    base = torch.load(install(shelf, tmp_path), weights_only=True)
    torch.manual_seed(0)
    made = {name: one for name, one in base.items() if "image_encoder" not in name}
    for name, one in list(made.items()):
        if "mlps.0." in name:
            made |= {name.replace("mlps.0", f"mlps.{n}"): one + n for n in range(1 + CLASSES)}
        if "mlps.3." in name:
            del made[name]
        if "mask_tokens" in name or "prediction_head.layers.2" in name:
            made[name] = torch.randn(1 + CLASSES, *one.shape[1:])
    for number in range(2 * 3):
        made[f"w_a_{number:03d}"] = torch.randn(4, 24)
        made[f"w_b_{number:03d}"] = torch.randn(24, 4)
    torch.save(made, tmp_path / "epoch_159.pth")
    return tmp_path / "epoch_159.pth"


@pytest.mark.parametrize("runtime", ["torch", "auto"])
def test_it_labels_every_pixel(samed: Path, runtime: str) -> None:
    model = anymask.load("tiny@64", weights=samed, device="cpu", runtime=runtime)
    assert model.spec.classes == ("class 1", "class 2")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    labels = model.label(image)
    module, _ = anymask.runtime.load_module("tiny@64", samed)
    pixels = torch.from_numpy(image).float().permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        logits = class_logits(module, module.encode(pixels))
        whole = torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear")
    assert np.mean(labels.numbers == whole[0].argmax(0).numpy()) > 0.99
    with pytest.raises(PromptError, match="point"):
        model.segment(image, points=[[3, 3]])


def test_the_input_side_is_a_multiple_of_the_patch(samed: Path) -> None:
    with pytest.raises(InputError, match="multiple of 8"):
        anymask.load("tiny@60", weights=samed, device="cpu")
