"""The network of names in a bundle: torch and ONNX Runtime say the same, its names come along."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.base import WeightsError, file_sha256
from anymask.models.rules import NameTable
from anymask.models.rules.crops import CROP_SIDE
from anymask.runtime import ASSETS, NAME_VECTORS, GraphNames, OnnxRuntime, read_manifest
from anymask.runtime.onnx import read_table
from anymask.training import copy_bundle
from anymask.training.export_graphs import round_to_half
from research.frozen_features import FrozenLite0
from research.frozen_names import NameHead, Namer
from research.nano.graphs import add_names, round_to_bytes
from research.nano.name_words import NameWords

WORDS = NameWords(
    ("cat", "dog", "window"),
    np.random.default_rng(4).standard_normal((3, 8)).astype(np.float32),
    {"cat": 0, "dog": 1, "hound": 1, "window": 2},
)
SCALE = 12.5


@pytest.fixture(scope="module")
def namer() -> Namer:
    """Random weights, as they are stored."""
    torch.manual_seed(3)
    made = Namer(FrozenLite0(), NameHead(WORDS)).eval()
    round_to_half(made)
    round_to_bytes(made)
    return made


@pytest.fixture(scope="module")
def bundle(namer: Namer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names") / "nano"
    copy_bundle(ASSETS / "nano", folder)
    vectors = np.eye(3, 192, dtype=np.float32)
    learned = np.array([True, False, True])
    add_names(folder, namer, NameTable(WORDS.words, vectors, learned, WORDS.also, SCALE))
    return folder


@pytest.mark.parametrize("count", [1, 17])
def test_torch_and_onnx_say_the_same(bundle: Path, namer: Namer, count: int) -> None:
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, CROP_SIDE, CROP_SIDE, 3), dtype=np.uint8)
    masks = rng.integers(0, 256, (count, CROP_SIDE, CROP_SIDE), dtype=np.uint8)
    masks[0] = 0  # of nothing
    naming = OnnxRuntime(bundle).naming
    assert naming is not None
    vectors = naming.embed_crops(images, masks)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = namer(planes, torch.from_numpy(masks)[:, None].float() / 255)
    assert np.allclose(vectors, expected.numpy(), atol=2e-3)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_the_mask_is_looked_at(bundle: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, CROP_SIDE, CROP_SIDE, 3), dtype=np.uint8)
    images[1] = images[0]
    masks = np.zeros((2, CROP_SIDE, CROP_SIDE), np.uint8)
    masks[0, : CROP_SIDE // 2], masks[1, CROP_SIDE // 2 :] = 255, 255
    naming = OnnxRuntime(bundle).naming
    assert naming is not None
    vectors = naming.embed_crops(images, masks)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_the_names_come_along(bundle: Path) -> None:
    naming = OnnxRuntime(bundle).naming
    assert naming is not None
    table = naming.name_table()
    assert table.words == ("cat", "dog", "window")
    assert table.learned.tolist() == [True, False, True]
    assert table.also["hound"] == 1
    assert table.scale == pytest.approx(SCALE)
    assert np.allclose(np.linalg.norm(table.vectors, axis=1), 1, atol=1e-6)
    assert table.network == read_manifest(bundle).sha256["names.onnx"]


def test_manifest_and_readme_name_it(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert manifest.has_graph(GraphNames.NAMES)
    for name in ("names.onnx", NAME_VECTORS):
        assert manifest.sha256[name] == hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    assert "names.onnx" in (bundle / "README.md").read_text(encoding="utf-8")
    assert (bundle / "names.onnx").stat().st_size < 5.0e6


def test_damaged_names_are_one_clear_error(bundle: Path, tmp_path: Path) -> None:
    copy_bundle(bundle, tmp_path / "copy")
    path = tmp_path / "copy" / NAME_VECTORS
    np.savez(path, words=np.zeros(3, np.uint8))
    with pytest.raises(WeightsError, match="Not a valid file of class names"):
        read_table(path)
    with pytest.raises(WeightsError, match="was changed"):
        _ = OnnxRuntime(tmp_path / "copy").naming
    assert file_sha256(path) != read_manifest(tmp_path / "copy").sha256[NAME_VECTORS]


def test_a_bundle_without_names_has_none(bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(bundle)
    graphs = tuple(one for one in manifest.graphs if one.name != GraphNames.NAMES)
    runtime = OnnxRuntime(bundle)
    runtime.manifest = replace(manifest, graphs=graphs)
    assert runtime.naming is None
