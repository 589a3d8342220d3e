import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask import models
from anymask.base import InputError, ModelError, WeightsError
from anymask.masks import EDGE_SIDE, ChannelMix
from anymask.runtime import (
    OnnxRuntime,
    TorchRuntime,
    file_hash,
    license_of_weights,
    open_runtime,
    store,
)
from anymask.runtime import open as opening
from anymask.training.lora import adapters_of, add_adapters, merge_adapters, save_adapters


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


def test_other_weights_of_a_family_have_the_networks_of_the_package(tmp_path: Path) -> None:
    """As a fine-tuning leaves them: in a folder of their own."""
    torch.manual_seed(0)
    path = tmp_path / "weights.pt"
    torch.save(models.build("nano").state_dict(), path)
    tuned = open_runtime("nano", weights=path, device="cpu")
    shipped = open_runtime("nano")
    assert isinstance(tuned, TorchRuntime)
    rng = np.random.default_rng(0)
    window = rng.integers(0, 256, (EDGE_SIDE, EDGE_SIDE, 3), dtype=np.uint8)
    cells = rng.normal(0, 3, (64, 64)).astype(np.float32)
    asked = window, cells, np.zeros((2, EDGE_SIDE, EDGE_SIDE), np.float32)
    ours, theirs = (one.refine_edge for one in (tuned, shipped))
    np.testing.assert_allclose(ours(*asked), theirs(*asked), atol=1e-2)
    named, known = (one.naming for one in (tuned, shipped))
    assert named.name_table().network == known.name_table().network
    assert tuned.read_memory is None  # it was learned with other maps


def test_pictures_of_other_channels_and_other_families_share_no_networks() -> None:
    spec = models.spec("nano")
    mix = ChannelMix.initial([(0, 255)] * 5, None, "uint8")
    assert opening.shared_folder(spec) == opening.ASSETS / "nano"
    assert opening.shared_folder(replace(spec, channels=mix)) is None
    assert opening.shared_folder(models.spec("mobile_sam")) is None


def test_adapters_are_merged_into_their_model(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.build("tiny")
    model.load_state_dict(torch.load(checkpoint))
    add_adapters(model, 2, 4.0)
    torch.manual_seed(5)
    with torch.no_grad():
        for change in adapters_of(model).values():
            change.lora_B.normal_(std=0.05)
    save_adapters(model, tmp_path / "adapter", "mobile_sam", 4.0)
    merge_adapters(model)
    monkeypatch.setattr(store, "trainable_weights", lambda name: checkpoint)
    for name, weights in (("mobile_sam", tmp_path / "adapter"), (tmp_path / "adapter", None)):
        module, merged_hash = opening.load_module(str(name), weights)
        for key, tensor in model.state_dict().items():
            torch.testing.assert_close(module.state_dict()[key], tensor, rtol=1e-6, atol=1e-6)
        assert merged_hash != file_hash(checkpoint)
        runtime = open_runtime(str(name), weights=weights, device="cpu")
        assert (runtime.spec.name, runtime.weights_hash) == ("mobile_sam", merged_hash)
    assert license_of_weights("mobile_sam", tmp_path / "adapter").startswith(
        "unknown (from the adapters in adapter; the licence of the published weights of mobile_sam"
    )
    with pytest.raises(InputError, match="trained for mobile_sam, not for edge_sam"):
        open_runtime("edge_sam", weights=tmp_path / "adapter")


@pytest.mark.parametrize(
    ("name", "options", "error", "told"),
    [
        ("nano", {"runtime": "tf"}, InputError, "runtime 'tf'. Choose from: auto, onnx, torch"),
        ("mobile_sam", {"weights": "{checkpoint}", "runtime": "onnx"}, ModelError,
         "requires an exported model. Run: anymask models convert"),
        ("{bundle}", {"runtime": "torch"}, ModelError,
         "is an exported model, but runtime='torch' requires a"),
        ("nano", {"precision": "fp61"}, InputError, "'fp61'. Choose from: fp32, bf16, fp16"),
        ("{bundle}", {"precision": "bf16"}, InputError, "'bf16' does not apply. Remove"),
        ("mobile_sam", {"weights": "{empty}"}, WeightsError,
         "is not an exported model: it has no manifest"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(
    name: str, options: dict[str, str], error: type[Exception], told: str,
    bundle: Path, checkpoint: Path, tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    places = {"bundle": bundle, "checkpoint": checkpoint, "empty": tmp_path / "empty"}
    given = {key: value.format(**places) for key, value in options.items()}
    with pytest.raises(error, match=told):
        open_runtime(name.format(**places), **given)


def test_files_of_openvino_beside_the_graphs_are_ignored(bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle, tmp_path / "both"))
    (folder / "encoder.xml").write_text("<net/>")
    (folder / "encoder.bin").write_bytes(b"weights")
    record = json.loads((folder / "manifest.json").read_text())
    record["sha256"] |= dict.fromkeys(("encoder.xml", "encoder.bin"), "0" * 64)
    record["graphs"]["encoder"]["file"] = "encoder.xml"
    (folder / "manifest.json").write_text(json.dumps(record))
    images = np.zeros((1, 3, 32, 32), np.float32)
    pairs = zip(
        *(open_runtime(str(one)).encode_images(images)[0].maps() for one in (folder, bundle)),
        strict=True,
    )
    assert all(np.array_equal(one.values, other.values) for one, other in pairs)
    del record["sha256"]["encoder.onnx"]
    (folder / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(WeightsError, match=r"no sha256 for encoder\.onnx. Export the model again"):
        open_runtime(str(folder))
