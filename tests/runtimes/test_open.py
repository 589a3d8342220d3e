import shutil
from pathlib import Path

import pytest
import torch

from anymask import models
from anymask.primitives.errors import InputError, ModelError, WeightsError
from anymask.runtimes import open as opening
from anymask.runtimes.onnx import OnnxRuntime
from anymask.runtimes.open import find_bundle, open_runtime
from anymask.runtimes.torch import TorchRuntime
from anymask.weights import file_hash


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a tiny model that stands where mobile_sam's network would."""
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    build, spec = models.build, models.spec
    monkeypatch.setattr(models, "build", lambda name: build("tiny"))
    monkeypatch.setattr(models, "spec", lambda name: spec("tiny"))
    path = tmp_path / "tiny.pt"
    torch.save(build("tiny").state_dict(), path)
    return path


def test_a_folder_opens_in_onnx_runtime(bundle: Path) -> None:
    assert isinstance(open_runtime(str(bundle)), OnnxRuntime)
    assert isinstance(open_runtime("stand_in", weights=bundle), OnnxRuntime)


def test_nano_is_the_bundle_in_the_package() -> None:
    assert find_bundle("nano") == opening.ASSETS / "nano"


def test_nano_opens_without_weights(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle, tmp_path / "nano")
    monkeypatch.setattr(opening, "ASSETS", tmp_path)
    assert open_runtime("nano").weights_hash == "f" * 64


def test_a_checkpoint_opens_in_torch_under_the_name_that_was_asked(checkpoint: Path) -> None:
    runtime = open_runtime("mobile_sam", weights=checkpoint, device="cpu")
    assert isinstance(runtime, TorchRuntime)
    assert runtime.spec.name == "mobile_sam"
    assert runtime.weights_hash == file_hash(checkpoint)


def test_absent_weights_tell_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="run: anymask models get mobile_sam"):
        open_runtime("mobile_sam")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ModelError, match="nanno"):
        open_runtime("nanno")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is no exported model: it has no manifest"):
        open_runtime("mobile_sam", weights=tmp_path)


def test_options_that_do_not_go_together_are_refused(bundle: Path, checkpoint: Path) -> None:
    with pytest.raises(InputError, match="runtime must be one of auto, onnx, torch, got 'tf'"):
        open_runtime("nano", runtime="tf")
    with pytest.raises(ModelError, match="needs an exported model; run: anymask export mobile_sam"):
        open_runtime("mobile_sam", weights=checkpoint, runtime="onnx")
    with pytest.raises(ModelError, match="is an exported model, and runtime='torch' needs a check"):
        open_runtime(str(bundle), runtime="torch")
    with pytest.raises(InputError, match="runs as it was exported, got precision='bf16'; leave"):
        open_runtime(str(bundle), precision="bf16")
