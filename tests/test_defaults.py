"""Which of the package's models answers where none is named, without the suite's ANYMASK_MODEL."""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import anymask
from anymask import models
from anymask.base import ModelError
from anymask.cli.main import main
from anymask.cli.options import read_model
from anymask.jobs import ModelSettings
from anymask.models.rules import DEFAULT_IMAGE_MODEL, DEFAULT_VIDEO_MODEL, default_model
from anymask.runtime import ASSETS
from anymask.runtime.manifest import GRAPH_WEIGHTS
from anymask.runtime.open import named_weights, stated_model
from anymask.segment import EmbeddingCache
from anymask.studio import Inference, serve
from anymask.track import tracking_model
from tests.studio.servers import client


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANYMASK_MODEL")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Two frames, each of them a photo, too, and beside them what has a video's name."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for n in range(2):
        Image.fromarray(np.full((32, 48, 3), 90 + n, np.uint8)).save(folder / f"{n}.png")
    folder.with_suffix(".mp4").touch()
    return folder


def refuse(choice: ModelSettings) -> NoReturn:
    raise ModelError(f"asked for {choice.model}")


def test_photos_are_asked_with_the_better_model() -> None:
    assert (DEFAULT_IMAGE_MODEL, DEFAULT_VIDEO_MODEL) == ("small", "nano")
    assert anymask.load().name == ModelSettings().model == default_model() == "small"


def test_trained_weights_state_their_model(tmp_path: Path) -> None:
    """In Python, on the command line and for a further training, whatever the default is."""
    file = tmp_path / "weights.safetensors"
    about = json.dumps({"variant": "small"})
    save_file(models.build("small").state_dict(), file, metadata={"anymask": about})
    assert anymask.load(weights=file).spec.name == "small"
    assert read_model(argparse.Namespace(weights=file)).model == "small"
    for place in (file, tmp_path):  # a file, or the folder of its run
        assert stated_model(place) == "small"
    save_file({"a": torch.zeros(1)}, file)
    assert stated_model(file) == stated_model(tmp_path / "missing.pth") == "nano"


def test_checkpoints_state_their_model_by_their_tensors(tmp_path: Path) -> None:
    """Whatever the file is named; names and files of Ultralytics are those of the catalogue."""
    file = tmp_path / "mobile_sam.pt"
    torch.save(models.build("small").state_dict(), file)
    assert stated_model(file) == "small"
    assert named_weights(str(file), None) == ("small", file)
    names = {"sam_b.pt": "sam_vit_b", "sam2_t": "sam2_hiera_t", "sam2.1_b.pt": "sam2.1_hiera_b+"}
    assert [named_weights(name, None)[0] for name in names] == [*names.values()]
    assert named_weights("mobile_sam.pt", None) == ("mobile_sam", None)
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match="its tensors are not those of a published model"):
        anymask.load(str(file))


def test_weights_without_a_name_are_of_the_model_that_is_trained() -> None:
    assert anymask.load(weights=ASSETS / "nano" / GRAPH_WEIGHTS).spec.family == "nano"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["segment", "{}/0.png", "--point", "9,9", "-o", "mask.png"], "small"),
        (["track", "{}", "--box", "0:1:2,2,9,9", "-o", "tracks.jsonl"], "nano"),
        (["track", "{}", "--box", "0:1:2,2,9,9", "-o", "tracks.jsonl", "--model", "small"],
         "small"),
        (["everything", "{}/0.png", "-o", "all.json"], "small"),
        (["cutout", "{}.mp4", "--words", "dog"], "nano"),
        (["redact", "{}.mp4", "--words", "dog"], "nano"),
        (["find", "{}.mp4", "dog"], "nano"),
    ],
)  # fmt: skip
def test_commands_on_photos_and_on_videos(
    words: list[str], name: str, frames: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(frames.parent)
    monkeypatch.setattr(ModelSettings, "load", refuse)
    assert main([word.format(frames) for word in words]) == 2
    assert f"asked for {name}" in capsys.readouterr().err


def test_videos_and_scans_of_the_better_model_are_followed_by_the_one_with_a_memory(
    frames: Path,
) -> None:
    model = anymask.load()
    with model.track(frames) as session:
        assert session.tracker_id.startswith("memory:nano:")
    with model.track(frames, model=model) as session:
        assert session.tracker_id.startswith("match:small:")
    with model.track(frames, model="small") as session:
        assert session.tracker_id.startswith("match:small:")
    assert tracking_model(anymask.load("nano@384")).name == "nano@384"


@pytest.mark.parametrize(("words", "name"), [([], "small"), (["--static", "page"], "nano")])
def test_a_page_of_a_server_and_one_without(
    words: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = []

    def listen(parts: Any, _: object) -> None:
        asked.append(parts.inference.health().model)

    def write(_: Path, bundle: Path) -> int:
        asked.append(bundle.name)
        return 1

    monkeypatch.setattr(serve, "_listen", listen)
    monkeypatch.setattr("anymask.studio.pages.write_static", write)
    assert main(["serve", *words]) == 0
    assert asked == [name]


@pytest.mark.parametrize(("name", "tracker_id"), [("small", "nano"), ("nano@384", "nano@384")])
def test_a_server_says_what_follows_in_videos_and_scans(name: str, tracker_id: str) -> None:
    with client(Inference(partial(anymask.load, name), name, EmbeddingCache(1))) as http:
        opened = [http.post(f"/api/{what}", json={}).json() for what in ("videos", "volumes")]
        assert [state["model"] for state in opened] == [tracker_id] * 2
        assert http.get("/health").json()["model"] == name
