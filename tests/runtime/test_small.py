"""`small`: one file of numbers, read by torch and by ONNX Runtime; named by a variable."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import anymask
from anymask.base import InputError, WeightsError
from anymask.edit import main_subject
from anymask.jobs import ModelSettings
from anymask.runtime import ASSETS, OnnxRuntime, onnx, read_manifest, store
from anymask.runtime.checkpoints import from_8_bits
from anymask.studio.pages import model_files, page_bundle, write_static

SMALL = ASSETS / "small"
CLICK = {"points": [(60, 40)], "multimask": True}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A disc on a gradient."""
    y, x = np.mgrid[:96, :128]
    disc = (x - 60) ** 2 + (y - 40) ** 2 < 25**2
    return np.stack([x, y, np.where(disc, 220, 30)], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def small() -> anymask.Model:
    return anymask.load("small")


def test_eight_bits_come_back_with_the_scale_of_their_row() -> None:
    stored = {
        "a.weight": torch.tensor([[127, -1], [2, 0]], dtype=torch.int8),
        "a.weight_scale": torch.tensor([0.5, 2.0]),
        "a.bias": torch.ones(2),
    }
    found = from_8_bits(stored)
    assert found.keys() == {"a.weight", "a.bias"}
    assert found["a.weight"].tolist() == [[63.5, -0.5], [4.0, 0.0]]


def test_the_graphs_hold_no_numbers_of_their_own() -> None:
    assert read_manifest(SMALL).refers
    assert sum(path.stat().st_size for path in SMALL.glob("*.onnx")) < 1_000_000


def test_both_runtimes_agree(small: anymask.Model, photo: np.ndarray) -> None:
    other = anymask.load("small", device="cpu", runtime="torch")
    assert small.runtime.weights_hash == other.runtime.weights_hash
    ours, theirs = small.encode(photo), other.encode(photo)
    for one, two in zip(ours.encoder_output.maps(), theirs.encoder_output.maps(), strict=True):
        assert np.abs(one.values - two.values).max() < 1e-3 * np.abs(two.values).max()
    ours, theirs = small.segment(ours, **CLICK), other.segment(theirs, **CLICK)
    assert np.abs(ours.scores - theirs.scores).max() < 1e-3
    assert (ours.masks != theirs.masks).mean() < 1e-3


def test_the_variable_names_the_model_of_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMASK_MODEL", "nano@384")
    assert anymask.load().name == "nano@384"
    assert ModelSettings().model == "nano@384"
    monkeypatch.setenv("ANYMASK_MODEL", "")
    assert ModelSettings().model == "small"


def test_altered_numbers_are_refused(tmp_path: Path, photo: np.ndarray) -> None:
    shutil.copytree(SMALL, tmp_path / "small")
    with (tmp_path / "small" / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(WeightsError, match="altered"):
        anymask.load(tmp_path / "small").encode(photo)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which every image takes long; its ANYMASK_HOME."""
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(onnx, "SLOW", 0.0)
    monkeypatch.setattr(store, "_given", set())
    return tmp_path / "home"


def test_a_slow_machine_is_told_once(
    photo: np.ndarray, slow: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = anymask.Model(OnnxRuntime(SMALL, threads=1))
    for _ in range(2):
        model.encode(photo)
        monkeypatch.setattr(store, "_given", set())  # another process
    (record,) = caplog.records
    assert "--model nano" in record.message
    assert [path.name for path in (slow / "notices").iterdir()] == ["slow-small"]


def test_a_home_that_cannot_be_written_to_remembers_for_the_process(
    slow: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow.write_text("a file")
    for _ in range(2):
        store.advise_once("one", "do this")
    assert [record.message for record in caplog.records] == ["do this"]


def test_nothing_is_said_of_the_network_that_finds_subjects(
    photo: np.ndarray, slow: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main_subject(anymask.load("nano"), photo)
    assert not caplog.records
    assert not slow.exists()


def test_a_page_has_its_decoder_and_not_its_encoder(
    small: anymask.Model, photo: np.ndarray, tmp_path: Path
) -> None:
    folder = page_bundle(SMALL, tmp_path / "model")
    assert {"decoder.onnx", "refiner.onnx", "tables.json"} < set(model_files(folder))
    assert (folder / "encoder.onnx").stat().st_size == 0
    assert page_bundle(folder, tmp_path / "other") == folder
    features = small.encode(photo)
    ours, theirs = (
        one.segment(features, points=[(40, 40)]).logits
        for one in (anymask.Model(OnnxRuntime(folder)), small)
    )
    assert np.allclose(ours, theirs, atol=1e-3)


def test_a_page_without_a_server_is_no_place_for_it(tmp_path: Path) -> None:
    assert model_files(SMALL) == {}
    with pytest.raises(InputError, match="small cannot run in a browser. Use nano"):
        write_static(tmp_path / "page", SMALL)
