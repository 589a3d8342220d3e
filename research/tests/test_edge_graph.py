"""The network of edges in a bundle: torch and ONNX Runtime say the same; without it, colours do."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import anymask
from anymask.base import WeightsError, file_sha256
from anymask.masks import EDGE_SIDE as SIDE
from anymask.models.edge_refiner import EdgeRefiner
from anymask.runtime import (
    ASSETS,
    REFINER_WEIGHTS,
    GraphNames,
    OnnxRuntime,
    manifest_to_json,
    read_checkpoint,
    read_manifest,
)
from anymask.runtime.manifest import GRAPH_WEIGHTS
from anymask.runtime.open import load_refiner
from anymask.runtime.torch import TorchEdges
from anymask.training import copy_bundle
from research.nano.graphs import add_refiner


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of nano with a network of random weights, which changes edges at random."""
    folder = tmp_path_factory.mktemp("refined") / "nano"
    copy_bundle(ASSETS / "nano", folder)
    torch.manual_seed(3)
    refiner = EdgeRefiner()
    torch.nn.init.normal_(refiner.head[-1].weight, std=0.5)  # type: ignore[arg-type]
    add_refiner(folder, refiner)
    return folder


@pytest.mark.parametrize("cells", [16, 37, 150])
def test_torch_and_onnx_say_the_same(refined: Path, cells: int) -> None:
    rng = np.random.default_rng(cells)
    image = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    logits = cv2.GaussianBlur(rng.normal(0, 20, (cells, cells)).astype(np.float32), (0, 0), 3)
    prompt = rng.normal(0, 1, (2, SIDE, SIDE)).astype(np.float32)
    onnx = OnnxRuntime(refined).refine_edge
    module = load_refiner(refined)
    assert onnx is not None
    assert module is not None
    expected = TorchEdges(module, torch.device("cpu")).refine_edge(image, logits, prompt)
    got = onnx(image, logits, prompt)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_the_manifest_names_the_graph_and_its_hash(refined: Path) -> None:
    manifest = read_manifest(refined)
    for name in (f"{GraphNames.REFINER}.onnx", REFINER_WEIGHTS):
        assert manifest.sha256[name] == file_sha256(refined / name)
    assert [one.shape for one in manifest.graph(GraphNames.REFINER).outputs] == [(1, 1, SIDE, SIDE)]
    assert "refiner.onnx" in (refined / "README.md").read_text(encoding="utf-8")
    assert manifest.weights_hash == read_manifest(ASSETS / "nano").weights_hash


def test_another_network_takes_the_place_of_the_first(refined: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(refined, folder)
    before = read_manifest(folder)
    add_refiner(folder, EdgeRefiner())
    after = read_manifest(folder)
    assert [graph.name for graph in after.graphs] == [graph.name for graph in before.graphs]
    assert after.sha256["refiner.onnx"] != before.sha256["refiner.onnx"]


def test_without_the_network_colours_decide(refined: Path, tmp_path: Path) -> None:
    """The bundle's own graph is asked; the same bundle without it has the model of colours."""
    y, x = np.mgrid[:300, :400]
    disc = np.hypot(y - 150, x - 200) < 90
    image = np.where(disc[..., None], (190, 60, 50), (60, 130, 90)).astype(np.uint8)
    plain = tmp_path / "plain"
    shutil.copytree(refined, plain)
    # A bundle without one of its graphs.
    manifest = read_manifest(plain)
    kept = tuple(graph for graph in manifest.graphs if graph.name != GraphNames.REFINER)
    text = manifest_to_json(replace(manifest, graphs=kept))
    (plain / "manifest.json").write_text(text, encoding="utf-8")
    asked = {"box": (100, 50, 300, 250), "refine_edges": True}
    with_network, colors = (
        anymask.load(str(folder)).segment(image, **asked).first.pixels()  # type: ignore[arg-type]
        for folder in (refined, plain)
    )
    assert OnnxRuntime(plain).refine_edge is None
    assert (with_network != colors).any()


def test_an_altered_graph_is_refused(refined: Path, tmp_path: Path) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(refined, folder)
    with (folder / "refiner.onnx").open("ab") as file:
        file.write(b"x")
    edges = OnnxRuntime(folder).refine_edge
    assert edges is not None
    blank = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((20, 20), np.float32)
    with pytest.raises(WeightsError, match="refiner.onnx was changed or truncated"):
        edges(*blank, np.zeros((2, SIDE, SIDE), np.float32))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(read_checkpoint(ASSETS / "nano" / GRAPH_WEIGHTS), tmp_path / REFINER_WEIGHTS)
    with pytest.raises(WeightsError, match="Not valid weights of an edge network"):
        load_refiner(tmp_path)
    assert load_refiner(tmp_path / "absent") is None
