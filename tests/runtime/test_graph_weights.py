"""Weights of a network read out of its graphs."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from anymask import models
from anymask.base import WeightsError
from anymask.runtime import ASSETS, load_official, read_checkpoint
from anymask.runtime.checkpoints import as_stored
from anymask.runtime.manifest import GRAPH_WEIGHTS

NANO = ASSETS / "nano"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The package's `nano`, to be spoiled."""
    return Path(shutil.copytree(NANO, tmp_path / "nano"))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_axes_come_back_into_their_order(order: tuple[int, ...]) -> None:
    tensor = np.random.default_rng(3).random((2, 3, 5)).astype(np.float32)
    seen = tensor.transpose(order)
    for held in (seen, seen.reshape(-1), seen[None]):  # as a graph may hold it
        back = as_stored(held.astype(np.float32), [2, 3, 5], list(order))
        assert (back.numpy() == tensor).all()
        assert back.is_contiguous()


def test_of_nano_every_tensor_is_there() -> None:
    found = read_checkpoint(NANO / GRAPH_WEIGHTS)
    load_official(models.build("nano"), found)  # raises for one that is missing, or left over
    assert not [name for name, one in found.items() if not one.isfinite().all()]


def test_an_index_of_other_graphs_is_refused(bundle: Path) -> None:
    index = json.loads((bundle / GRAPH_WEIGHTS).read_text("utf-8"))
    index["encoder.onnx"]["encoder.norm.weight"]["initializer"] = "no such"
    (bundle / GRAPH_WEIGHTS).write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"do not match the graphs"):
        read_checkpoint(bundle / GRAPH_WEIGHTS)
    for damaged in (
        "{",
        "[]",
        '{"encoder.onnx": 3}',
        '{"../a.onnx": {}}',
        '{"decoder.onnx": {"a": {}}}',
    ):
        (bundle / GRAPH_WEIGHTS).write_text(damaged)
        with pytest.raises(WeightsError):
            read_checkpoint(bundle / GRAPH_WEIGHTS)


def test_altered_graphs_are_refused(bundle: Path) -> None:
    with (bundle / "decoder.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match=r"decoder.onnx was changed or truncated"):
        read_checkpoint(bundle / GRAPH_WEIGHTS)
