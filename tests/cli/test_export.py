import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import anymask
from anymask import models
from anymask.cli.main import main
from anymask.runtime import OnnxRuntime, TorchRuntime, file_hash, load_module, read_manifest
from anymask.training import export_verify as verify
from tests.conftest import CommandLine
from tests.runtime.exports import export_once, network


@pytest.fixture
def checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Weights of a tiny model that stands where mobile_sam's network would."""
    export_once(monkeypatch, tmp_path_factory)
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    build, spec = models.build, models.spec
    monkeypatch.setattr(models, "build", lambda name: build("tiny"))
    monkeypatch.setattr(models, "spec", lambda name: spec("tiny"))
    path = tmp_path / "tiny.pt"
    torch.save(network("tiny").state_dict(), path)
    return path


def test_it_writes_verifies_and_reports(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mobile_sam", "-o", str(tmp_path / "x"), "--weights", str(checkpoint)]
    assert main(["export", *words, "--verify"]) == 0
    runtime = OnnxRuntime(tmp_path / "x")
    assert runtime.spec.name == "mobile_sam"
    assert runtime.weights_hash == file_hash(checkpoint)
    said = capsys.readouterr().out
    assert said.startswith(f"mobile_sam (fp32) -> {tmp_path / 'x'}\n  decoder.onnx")
    licence = "licence unknown (from tiny.pt; the licence of the published weights of mobile_sam"
    assert licence in " ".join(said.split())
    assert said.endswith("verified\n")


def test_a_failed_verification_exits_with_2_and_says_what_is_wrong(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(verify, "FEATURE_ERROR", {"fp32": 0.0})
    words = ["mobile_sam", "-o", str(tmp_path / "x"), "--weights", str(checkpoint)]
    assert main(["export", *words, "--verify"]) == 2
    out, err = capsys.readouterr()
    assert out.endswith("NOT verified\n")
    assert "does not match the checkpoint: feature_error is" in err


def test_an_export_that_browsers_do_not_run_says_so(tmp_path: Path, cli: CommandLine) -> None:
    assert "Export nano for it" in cli.out(["export", "small", "-o", str(tmp_path / "x")])


def test_the_bundled_model_is_exported_from_the_weights_beside_its_graphs() -> None:
    module, digest = load_module("nano")
    folder = Path(anymask.__file__).parent / "assets" / "nano"
    assert digest == read_manifest(folder).weights_hash  # the same numbers, whatever the file
    pixels = np.random.default_rng(0).standard_normal((1, 3, 320, 512)).astype(np.float32)
    ours = TorchRuntime(module, device="cpu").encode_images(pixels)[0].maps()
    shipped = OnnxRuntime(folder).encode_images(pixels)[0].maps()
    for one, other in zip(ours, shipped, strict=True):
        assert one.name == other.name
        assert np.abs(one.values - other.values).max() < 1e-3 * np.abs(other.values).max()


def test_video_graphs_of_a_bundled_model_are_refused_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    message = cli.refused(["export", "nano@384", "-o", str(tmp_path / "x"), "--video"])
    assert "nano is an image model" in message
    assert "torch" not in message
    assert not (tmp_path / "x").exists()


def test_the_bundled_model_is_copied_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.setitem(sys.modules, "anymask.training.export_graphs", None)  # what needs torch
    monkeypatch.setitem(sys.modules, "torch", None)
    target, shipped = tmp_path / "x", Path(anymask.__file__).parent / "assets" / "nano"
    lines = cli.out(["export", "nano", "-o", str(target)]).splitlines()
    assert any(line.split() == ["licence", "Apache-2.0"] for line in lines)
    assert len({line.rindex(" MB") for line in lines if line.endswith(" MB")}) == 1  # aligned
    copied = {path.name for path in target.iterdir()}
    told = {"README.md", "example.py", "answer.py", "shapes.py", "manifest.json"}
    assert json.loads((target / "manifest.json").read_text())["domains"] == ["com.microsoft"]
    assert copied == {path.name for path in shipped.iterdir()} - {"weights.json"} | told
    same = copied - told
    assert all((target / name).read_bytes() == (shipped / name).read_bytes() for name in same)
    (target / "notes.txt").write_text("mine")
    assert main(["export", "nano", "-o", str(target)]) == 0  # again, over itself
    assert (target / "notes.txt").read_text() == "mine"
