"""Converted checkpoints: made once, compared, used on a CPU, with every capability of PyTorch."""

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import anymask
from anymask.base import ModelError, WeightsError
from anymask.cli.main import main
from anymask.masks import ModelPrompts
from anymask.runtime import OnnxRuntime, TorchRuntime, find_converted, open_runtime, store
from anymask.runtime.converted import (
    FAILURE_FILE,
    RUNTIME_FEATURES,
    ConvertedRuntime,
    conversions_of,
)
from anymask.training import conversion
from tests.runtime.conftest import Shelf
from tests.runtime.exports import export_once, network

FAMILIES = ("tiny", "tiny_hq", "tiny_efficient", "tiny_edge")


@pytest.fixture(autouse=True)
def traced_once(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    export_once(monkeypatch, tmp_path_factory)


def checkpoint(name: str) -> bytes:
    buffer = io.BytesIO()
    torch.save(network(name).state_dict(), buffer)
    return buffer.getvalue()


def install(shelf: Shelf, tmp_path: Path, name: str = "tiny") -> Path:
    """A model in the store; the path of its weights there."""
    content = checkpoint(name)
    shelf.put(name, content)
    file = tmp_path / f"{name}.pt"
    file.write_bytes(content)
    store.add(name, file)
    return store.find(name)


def prompts(runtime: OnnxRuntime | TorchRuntime, vectors: int = 0) -> ModelPrompts:
    side, points = runtime.spec.mask_side, runtime.spec.fixed_points or 2
    rng = np.random.default_rng(0)
    coords = rng.uniform(0, runtime.spec.image_side, (3, points, 2)).astype(np.float32)
    labels = np.ones((3, points), np.int64)
    masks, has_mask = np.zeros((3, 1, side, side), np.float32), np.zeros(3, np.float32)
    tokens = rng.standard_normal((3, 1, vectors)).astype(np.float32) if vectors else None
    return ModelPrompts(coords, labels, masks, has_mask, tokens)


def image(runtime: OnnxRuntime | TorchRuntime) -> np.ndarray:
    side = runtime.spec.image_side
    return np.random.default_rng(1).standard_normal((1, 3, side, side)).astype(np.float32)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_conversion_has_every_capability_of_pytorch(
    name: str, shelf: Shelf, tmp_path: Path
) -> None:
    install(shelf, tmp_path, name)
    ours = anymask.load(name, device="cpu").runtime
    eager = open_runtime(name, device="cpu", runtime="torch")
    assert isinstance(ours, ConvertedRuntime)
    for name in RUNTIME_FEATURES.values():
        if getattr(eager, name) is not None:
            assert getattr(ours, name) is not None, name
    assert ours._torch is None  # asking opens nothing
    features = ours.encode_images(image(ours))[0]
    logits, quality = ours.decode(features, prompts(ours))
    expected = eager.decode(eager.encode_images(image(ours))[0], prompts(ours))
    np.testing.assert_allclose(logits, expected[0], rtol=0, atol=1e-3 * np.abs(expected[0]).max())
    np.testing.assert_allclose(quality, expected[1], rtol=0, atol=1e-3)
    assert (ours.weights_hash, ours.spec) == (eager.weights_hash, eager.spec)
    assert ours.origin == eager.origin
    assert ours._torch is None


def test_pytorch_answers_what_the_graphs_do_not_take(shelf: Shelf, tmp_path: Path) -> None:
    install(shelf, tmp_path)
    ours = anymask.load("tiny", device="cpu").runtime
    eager = open_runtime("tiny", device="cpu", runtime="torch")
    features, theirs = ours.encode_images(image(ours))[0], eager.encode_images(image(ours))[0]
    wide = ours.vector_length()
    given = prompts(ours, wide)
    for got, expected in zip(
        ours.decode(features, given), eager.decode(theirs, given), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3)
    cells = ours.spec.mask_side // 4
    attention = np.random.default_rng(2).uniform(size=(cells, cells)).astype(np.float32)
    target = np.ones(wide, np.float32)
    for got, expected in zip(
        ours.decode_guided(features, prompts(ours), attention, target),
        eager.decode_guided(theirs, prompts(ours), attention, target),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3)


def test_a_conversion_is_made_once_and_read_without_pytorch(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    install(shelf, tmp_path)
    anymask.load("tiny", device="cpu")
    assert "tiny: converting for ONNX Runtime 3/3" in capsys.readouterr().err
    monkeypatch.setattr(conversion, "_convert", lambda *_: pytest.fail("converted again"))
    monkeypatch.setattr("anymask.runtime.open._open_torch", lambda *_: pytest.fail("torch"))
    again = anymask.load("tiny")
    assert isinstance(again.runtime, ConvertedRuntime)
    assert capsys.readouterr().err == ""
    copied = pickle.loads(pickle.dumps(again.runtime))
    assert isinstance(copied, ConvertedRuntime)
    assert type(anymask.load("tiny", runtime="onnx").runtime) is OnnxRuntime


@pytest.mark.parametrize(
    "options", [{"runtime": "torch"}, {"precision": "bf16"}, {"convert": False}], ids=str
)
def test_pytorch_is_used_where_it_was_asked_for(
    shelf: Shelf, tmp_path: Path, options: dict
) -> None:
    weights = install(shelf, tmp_path)
    assert isinstance(anymask.load("tiny", device="cpu", **options).runtime, TorchRuntime)
    assert conversions_of(weights) == []


def test_a_weights_file_is_converted_only_when_asked(shelf: Shelf, tmp_path: Path) -> None:
    install(shelf, tmp_path)
    mine = tmp_path / "mine.pt"
    mine.write_bytes(checkpoint("tiny"))
    assert isinstance(anymask.load("tiny", mine, device="cpu").runtime, TorchRuntime)
    model = anymask.load("tiny", mine, device="cpu", convert=True)
    assert isinstance(model.runtime, ConvertedRuntime)
    assert isinstance(anymask.load("tiny", mine, device="cpu").runtime, ConvertedRuntime)


def test_conversions_of_other_weights_and_versions_are_not_used_and_deleted(
    shelf: Shelf, tmp_path: Path
) -> None:
    weights = install(shelf, tmp_path)
    stale = weights.with_name(f"{weights.name}.onnx-{'0' * 16}-1.0")
    stale.mkdir()
    anymask.load("tiny", device="cpu")
    (folder,) = conversions_of(weights)
    assert folder != stale
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"weights_hash": "', '"weights_hash": "0'))
    assert find_converted("tiny") is None


def test_an_interrupted_conversion_leaves_nothing_that_is_used(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = install(shelf, tmp_path)

    def interrupted(stage: Path, *_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(conversion, "write_manifest", interrupted)  # the graphs have been written
        with pytest.raises(KeyboardInterrupt):
            anymask.load("tiny", device="cpu")
    assert conversions_of(weights) == []
    killed = weights.with_name(f"{weights.name}.onnx-unfinished")
    killed.mkdir()
    (killed / "manifest.json").write_text("{}")
    assert find_converted("tiny") is None
    assert isinstance(anymask.load("tiny", device="cpu").runtime, ConvertedRuntime)
    assert not killed.exists()


def test_a_conversion_that_differs_is_reported_once_and_never_used(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    weights = install(shelf, tmp_path)
    monkeypatch.setattr(conversion, "difference", lambda *_: 2e-3)
    assert isinstance(anymask.load("tiny", device="cpu").runtime, TorchRuntime)
    assert "differ from those of PyTorch by 2.0e-03 of the largest" in caplog.text
    (folder,) = conversions_of(weights)
    assert [path.name for path in folder.iterdir()] == [FAILURE_FILE]
    monkeypatch.setattr(conversion, "_convert", lambda *_: pytest.fail("converted again"))
    assert isinstance(anymask.load("tiny", device="cpu").runtime, TorchRuntime)
    with pytest.raises(ModelError, match="failed"):
        conversion.convert("tiny")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(30, "Read-only file system"), "Read-only"),
        (RuntimeError("x"), "could not be exported"),
    ],
)
def test_a_machine_that_cannot_convert_runs_pytorch(
    shelf: Shelf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    told: str,
) -> None:
    install(shelf, tmp_path)
    monkeypatch.setattr("anymask.runtime.store._given", set())

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(conversion, "_convert", fail)
    assert isinstance(anymask.load("tiny", device="cpu").runtime, TorchRuntime)
    assert told in caplog.text


def test_a_full_disk_is_found_before_the_conversion(shelf: Shelf, tmp_path: Path) -> None:
    install(shelf, tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(conversion, "SPARE", 1e12)
        with pytest.raises(WeightsError, match="Not enough disk space in"):
            conversion.convert("tiny")


def test_two_conversions_at_once_write_one(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, write, calls = install(shelf, tmp_path), conversion._convert, []

    def counted(*given: object) -> None:
        calls.append(given)
        write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(conversion, "_convert", counted)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(conversion.convert, ["tiny", "tiny"])
    assert first == second == find_converted("tiny")
    assert len(calls) == len(conversions_of(weights)) == 1


def test_commands_convert_and_remove(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    weights = install(shelf, tmp_path)
    assert main(["models", "convert", "tiny"]) == 0
    assert "converted for ONNX Runtime" in capsys.readouterr().out
    assert main(["models", "info", "tiny"]) == 0
    assert "converted:" in capsys.readouterr().out
    assert main(["models", "remove", "tiny", "--converted"]) == 0
    assert "tiny: removed 1." in capsys.readouterr().out
    assert conversions_of(weights) == []
    assert weights.is_file()
    assert main(["models", "remove", "tiny", "--converted"]) == 2
    assert "tiny has no conversion in" in capsys.readouterr().err
    assert main(["models", "remove", "tiny"]) == 0
    assert not weights.exists()
    assert main(["models", "convert", "tiny"]) == 2
    assert main(["models", "convert", str(tmp_path / "tiny.pt"), "--model", "tiny"]) == 0
    assert find_converted("tiny", tmp_path / "tiny.pt") is not None


def test_the_mode_of_the_caller_does_not_matter(shelf: Shelf, tmp_path: Path) -> None:
    install(shelf, tmp_path)
    with torch.inference_mode():
        assert isinstance(anymask.load("tiny", device="cpu").runtime, ConvertedRuntime)
