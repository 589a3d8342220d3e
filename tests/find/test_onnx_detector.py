"""Grounding DINO as a graph: the same surface without torch.

torch cannot write the network itself as a graph at present (no `isin`, no `cummax`), so the graph
here is one of the same inputs and outputs: what it answers follows from what it was given.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anymask.base import UintImage, WeightsError
from anymask.find import open_detector
from anymask.find.wordpiece import WordPiece
from tests.find.tiny import write_preprocessor, write_vocabulary

SIDE = 64
BOXES = 5


def write_graph(path: Path, side: int | str = SIDE, tokens: int | str = "tokens") -> None:
    """Logits of a token: its number, less 1000, times the mean of the photo's red, minus the number
    of the box; boxes beside each other. Padded tokens count as such."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    text = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, tokens])
        for name in ("input_ids", "token_type_ids", "attention_mask")
    ]
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1, 3, side, side])
    mask = helper.make_tensor_value_info("pixel_mask", TensorProto.INT64, [1, side, side])
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, BOXES, tokens]),
        helper.make_tensor_value_info("pred_boxes", TensorProto.FLOAT, [1, BOXES, 4]),
    ]
    boxes = np.array([[[0.1 + 0.2 * n, 0.5, 0.2, 1.0] for n in range(BOXES)]], np.float32)
    constants = {
        "thousand": np.float32(1030), "boxes": boxes, "zero": np.array([0], np.int64),
        "rank": np.arange(BOXES, dtype=np.float32).reshape(1, BOXES, 1),
        "axes": np.array([1, 2, 3], np.int64), "one": np.array([1], np.int64),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        node("Sub", ["numbers", "thousand"], ["small"]),
        node("ReduceMean", ["pixel_values", "axes"], ["bright"], keepdims=0),
        node("Mul", ["small", "seen"], ["kept"]),
        node("Mul", ["kept", "bright"], ["told"]),
        node("Unsqueeze", ["told", "one"], ["row"]),
        node("Sub", ["row", "rank"], ["logits"]),
        node("Identity", ["boxes"], ["pred_boxes"]),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [pixels, *text, mask], outputs,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the published export is: the graph below, the tokenizer beside."""
    place = tmp_path / "export"
    (place / "onnx").mkdir(parents=True)
    write_graph(place / "onnx" / "model_quantized.onnx")
    write_vocabulary(place)
    write_preprocessor(place, height=SIDE, width=SIDE)
    return place


def test_the_graph_answers_as_the_torch_detectors_do(folder: Path, photo: UintImage) -> None:
    white = np.full_like(photo, 255)
    detector = open_detector(folder)
    boxes, scores = detector.detect(white, ["cat", "red cup"])
    height, width = photo.shape[:2]
    assert boxes.shape == (BOXES, 4)
    assert np.allclose(boxes[0], [0, 0, 0.2 * width, height], atol=1e-3)
    bright = np.mean((1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225])
    vocabulary = WordPiece.read(folder).vocabulary

    def chance(word: str) -> float:
        return float(1 / (1 + np.exp(-(vocabulary[word] - 1030) * bright)))

    assert scores[0, 0] == pytest.approx(chance("cat"), abs=1e-5)
    assert scores[0, 1] == pytest.approx((chance("red") + chance("cup")) / 2, abs=1e-5)
    assert (np.diff(scores[:, 1]) < 0).all()  # the boxes' own ranks
    assert detector.about["graph"] == "model_quantized.onnx"


def test_long_lists_take_several_passes_and_a_fixed_length_is_padded(
    folder: Path, photo: UintImage
) -> None:
    (folder / "onnx" / "model_quantized.onnx").unlink()
    write_graph(folder / "model.onnx", side="any", tokens=12)
    detector = open_detector(folder)
    found = detector.detect(photo, ["cat", "red cup", "dog", "red dogs", "cup"])
    assert found.scores.shape == (2 * BOXES, 5)
    assert (found.scores.max(0) > 0).all()


def test_other_graphs_are_refused(folder: Path, tmp_path: Path) -> None:
    graph = folder / "onnx" / "model_quantized.onnx"
    encoder = Path(__file__).resolve().parents[2] / "src/anymask/assets/nano/encoder.onnx"
    shutil.copy(encoder, graph)
    with pytest.raises(WeightsError, match="has no"):
        open_detector(folder)
    graph.write_bytes(b"not a graph")
    with pytest.raises(WeightsError, match="Cannot load"):
        open_detector(folder)


def test_neither_torch_nor_transformers_is_loaded(folder: Path, repository: Path) -> None:
    program = (
        "import sys, numpy as np\n"
        "from anymask.find import open_detector\n"
        f"found = open_detector({str(folder)!r}).detect(np.zeros((40, 60, 3), np.uint8), ['cat'])\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'torchvision'} & {*sys.modules}\n"
        "assert len(found.boxes) and not heavy, heavy\n"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        env={"PYTHONPATH": str(repository / "src"), "PATH": ""},
    )
