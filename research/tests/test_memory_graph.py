"""The network of memory in a bundle: torch and ONNX Runtime say the same, on grids of any size."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.base import WeightsError, file_sha256
from anymask.models.memory_reader import MemoryReader, ReaderSizes
from anymask.models.rules import FrameMaps, MemoryQuery
from anymask.runtime import ASSETS, OnnxRuntime, read_manifest
from anymask.runtime.manifest import GraphNames
from anymask.training import copy_bundle
from anymask.training.export_graphs import round_to_half
from research.nano.graphs import add_memory


def some_reader() -> MemoryReader:
    """Random weights that change what the hints say."""
    torch.manual_seed(5)
    reader = MemoryReader(ReaderSizes(keys=192, middle=48, fine=16)).eval()
    torch.nn.init.normal_(reader.change.weight, std=0.3)
    round_to_half(reader)
    return reader


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory") / "nano"
    copy_bundle(ASSETS / "nano", folder)
    add_memory(folder, some_reader())
    return folder


def some_question(height: int, width: int, cells: int) -> MemoryQuery:
    rng = np.random.default_rng(height)

    def some(*shape: int) -> np.ndarray:
        return rng.normal(0, 1, shape).astype(np.float32)

    keys, known = some(192, height, width), some(cells, 192)
    return MemoryQuery(
        FrameMaps(
            keys / np.linalg.norm(keys, axis=0),
            some(48, 2 * height, 2 * width),
            some(16, 4 * height, 4 * width),
        ),
        some(5, 4 * height, 4 * width),
        known / np.linalg.norm(known, axis=1, keepdims=True),
        rng.random((cells, 16)).astype(np.float32),
        (np.arange(cells) < cells // 3).astype(np.float32),
    )


@pytest.mark.parametrize(("height", "width", "cells"), [(4, 6, 24), (9, 5, 90), (3, 3, 7)])
def test_torch_and_onnx_say_the_same(bundle: Path, height: int, width: int, cells: int) -> None:
    onnx = OnnxRuntime(bundle).read_memory
    assert onnx is not None
    asked = some_question(height, width, cells)
    arrays = (*astuple(asked.frame), *astuple(asked)[1:])
    with torch.no_grad():
        logits, seen = some_reader()(*(torch.from_numpy(one)[None] for one in arrays))
    (got,) = onnx([asked])
    assert got.logits.shape == (4 * height, 4 * width)
    assert np.abs(logits[0, 0].numpy() - asked.hints[0]).max() > 0.1
    np.testing.assert_allclose(got.logits, logits[0, 0].numpy(), atol=5e-3)
    assert got.presence == pytest.approx(float(seen), abs=5e-3)


def test_objects_of_one_frame_are_answered_in_their_order(bundle: Path) -> None:
    """Two that remember the same cells, and between them one that remembers others."""
    onnx = OnnxRuntime(bundle).read_memory
    assert onnx is not None
    first, other = some_question(4, 6, 24), some_question(4, 6, 30)
    second = replace(first, hints=-first.hints, memory_labels=1 - first.memory_labels)
    asked = [first, replace(other, frame=first.frame), second]
    for one, alone in zip(onnx(asked), asked, strict=True):
        (expected,) = onnx([alone])
        np.testing.assert_allclose(one.logits, expected.logits, atol=5e-3)
        assert one.presence == pytest.approx(expected.presence, abs=5e-3)


def test_where_nothing_recent_is_remembered_the_prompted_cells_are_read_alone(bundle: Path) -> None:
    onnx = OnnxRuntime(bundle).read_memory
    assert onnx is not None
    asked = some_question(4, 6, 24)
    asked = replace(asked, memory_kinds=np.ones(24, np.float32))
    arrays = (*astuple(asked.frame), *astuple(asked)[1:])
    with torch.no_grad():
        logits, _ = some_reader()(*(torch.from_numpy(one)[None] for one in arrays))
    (got,) = onnx([asked])
    np.testing.assert_allclose(got.logits, logits[0, 0].numpy(), atol=5e-3)


def test_the_manifest_names_the_graph_and_a_model_without_one_says_none(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert manifest.sha256[f"{GraphNames.MEMORY}.onnx"] == file_sha256(
        bundle / f"{GraphNames.MEMORY}.onnx"
    )
    assert manifest.graph(GraphNames.MEMORY).outputs[0].shape == ("N", 1, "4h", "4w")
    assert "memory.onnx" in (bundle / "README.md").read_text(encoding="utf-8")
    assert manifest.weights_hash == read_manifest(ASSETS / "nano").weights_hash


def test_a_graph_of_other_inputs_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy_bundle(bundle, tmp_path / "older")
    manifest = tmp_path / "older" / "manifest.json"
    told = manifest.read_text(encoding="utf-8")
    manifest.write_text(told.replace('"recent_there"', '"memory_kinds"'), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"nano has .*memory_kinds. Train the memory network"):
        _ = OnnxRuntime(tmp_path / "older").read_memory


def test_an_altered_graph_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy_bundle(bundle, tmp_path / "altered")
    with (tmp_path / "altered" / "memory.onnx").open("ab") as file:
        file.write(b"x")
    reader = OnnxRuntime(tmp_path / "altered").read_memory
    assert reader is not None
    with pytest.raises(WeightsError, match="memory.onnx was changed or truncated"):
        reader([some_question(3, 3, 7)])
