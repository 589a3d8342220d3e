"""Holes filled by a network: where it looks, what it changes, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError, WeightsError
from anymask.cli.main import main
from anymask_inpaint import open_lama, remove
from anymask_inpaint.inpainting import inpaint_hole

GRAY = np.full((700, 900, 3), 90, np.uint8)


def red(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Stands for a network: it answers red, and checks what it is given."""
    assert image.shape[1:] == hole.shape
    assert image.dtype == hole.dtype == np.float32
    assert max(hole.shape) <= 512
    assert not any(side % 8 for side in hole.shape)
    assert 0 <= image.min() <= image.max() <= 1
    assert set(np.unique(hole)) <= {0, 1}
    return np.stack([np.ones_like(hole), np.zeros_like(hole), np.zeros_like(hole)])


@pytest.mark.parametrize(
    "places",
    [
        [np.s_[10:30, 10:30]],
        [np.s_[0:700, 0:450]],
        [np.s_[0:5, 0:5], np.s_[690:700, 890:900], np.s_[300:500, 40:90]],
    ],
    ids=["small", "half the photo", "several"],
)
def test_only_the_hole_is_changed(places: list[tuple[slice, slice]]) -> None:
    hole = np.zeros(GRAY.shape[:2], bool)
    for place in places:
        hole[place] = True
    filled = inpaint_hole(GRAY, hole, red)
    np.testing.assert_array_equal(filled[~hole], GRAY[~hole])
    assert (filled[hole][:, 0] > 250).all()


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (33, 50), (513, 40)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    hole = np.zeros(size, bool)
    hole[0, 0] = True
    assert inpaint_hole(np.zeros((*size, 3), np.uint8), hole, red)[0, 0, 0] > 100


def test_an_object_is_taken_out_with_its_margin() -> None:
    mask = np.zeros(GRAY.shape[:2], bool)
    mask[200:260, 300:400] = True
    changed = remove(GRAY, mask, lambda image, hole: np.where(hole[..., None], 7, image))
    assert (changed[mask] == 7).all()
    assert (changed[197, 350] == 7).all()
    assert (changed[150, 350] == 90).all()


def test_a_photo_that_is_all_hole_is_refused() -> None:
    with pytest.raises(InputError, match="whole"):
        inpaint_hole(GRAY, np.ones(GRAY.shape[:2], bool), red)


def test_weights_are_never_fetched_and_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(GRAY).save("a.png")
    words = ["edit", "a.png", "--box", "5,5,90,90"]
    assert main([*words, "--remove", "--with", "lama"]) == 2
    assert "hf download Carve/LaMa-ONNX" in capsys.readouterr().err
    assert main([*words, "--blur", "--with", "lama"]) == 2
    assert "Add --remove" in capsys.readouterr().err
    with pytest.raises(WeightsError, match="do not exist"):
        open_lama("absent.ckpt")
    Path("a.onnx").write_bytes(b"no graph")
    with pytest.raises(WeightsError, match="Cannot load"):
        open_lama("a.onnx")


@pytest.mark.slow
def test_a_checkpoint_fills_as_its_network_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from anymask_inpaint.lama import Lama, LamaConfig, pad_to_step

    torch.manual_seed(0)
    model = Lama(LamaConfig(width=8, blocks=1)).eval()
    kept = {"state_dict": model.state_dict() | {"discriminator.model0.0.weight": torch.ones(2)}}
    torch.save(kept, tmp_path / "best.ckpt")
    fill = open_lama(tmp_path / "best.ckpt")
    image = np.random.default_rng(1).integers(0, 255, (60, 90, 3)).astype(np.uint8)
    hole = np.zeros((60, 90), bool)
    hole[20:40, 30:60] = True
    filled = fill(image, hole)
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    shown = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    masked = torch.from_numpy(hole.astype(np.float32))[None, None]
    with torch.inference_mode():
        expected = model(pad_to_step(shown), pad_to_step(masked))[0, :, :60, :90]
    inside = np.s_[28:32, 40:50]  # away from the seam
    off = filled[inside] - expected.permute(1, 2, 0).numpy()[inside] * 255
    assert np.abs(off).max() < 1
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "other.ckpt")
    with pytest.raises(WeightsError, match="not a LaMa"):
        open_lama(tmp_path / "other.ckpt")


@pytest.mark.parametrize("most", [1.0, 255.0], ids=["shares", "bytes"])
def test_a_graph_takes_squares_and_answers_in_either_range(tmp_path: Path, most: float) -> None:
    onnx = pytest.importorskip("onnx")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    side = [1, 3, 512, 512]
    graph = make.make_graph(
        [  # the hole's place all white, the rest as it is
            make.make_node("Max", ["image", "mask"], ["whole"]),
            make.make_node("Mul", ["whole", "most"], ["output"]),
        ],
        "white",
        [make.make_tensor_value_info("image", kind, side),
         make.make_tensor_value_info("mask", kind, [1, 1, 512, 512])],
        [make.make_tensor_value_info("output", kind, side)],
        [make.make_tensor("most", kind, [1], [most])],
    )  # fmt: skip
    opset = make.make_opsetid("", 13)
    onnx.save(make.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "lama.onnx")
    hole = np.zeros(GRAY.shape[:2], bool)
    hole[100:200, 650:900] = True
    filled = open_lama(tmp_path / "lama.onnx")(GRAY, hole)
    assert (filled[hole] == 255).all()
    np.testing.assert_array_equal(filled[~hole], GRAY[~hole])
