"""Detectors of every kind behind one surface, opened from folders, with nothing fetched."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import AnymaskError, InputError, ModelError, UintImage, WeightsError
from anymask.cli.main import main
from anymask.find import DEFAULT_DETECTOR, known_detectors, open_detector
from tests.find.tiny import write_preprocessor

KINDS = ("grounding-dino", "mm-grounding-dino", "owlv2", "owlvit")
PHRASES = ["cat", "red cup", "dogs"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_network")
def test_every_kind_answers_in_the_same_five_lines(
    kind: str, folders: dict[str, Path], photo: UintImage
) -> None:
    detector = open_detector(folders[kind])
    boxes, scores = detector.detect(photo, PHRASES)
    assert boxes.shape == (len(scores), 4)
    assert scores.shape[1] == len(PHRASES)
    assert np.isfinite(boxes).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert detector.about["kind"] == kind
    assert re.fullmatch("[0-9a-f]{64}", detector.about["weights"])
    assert open_detector(folders[kind]) is detector  # not loaded twice


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_the_same_again_and_each_phrase_is_scored_alone(
    kind: str, folders: dict[str, Path], photo: UintImage
) -> None:
    detector = open_detector(folders[kind])
    first = detector.detect(photo, PHRASES)
    again = detector.detect(photo, PHRASES)  # the text is remembered
    assert np.array_equal(first.boxes, again.boxes)
    assert np.array_equal(first.scores, again.scores)
    other = detector.detect(photo[:, ::-1].copy(), PHRASES)
    assert not np.array_equal(first.boxes, other.boxes)
    if kind in ("owlv2", "owlvit"):  # boxes do not depend on the words there
        alone = detector.detect(photo, PHRASES[1:2])
        assert np.allclose(first.scores[:, 1], alone.scores[:, 0], atol=1e-5)


def test_long_lists_take_several_captions_and_lose_no_phrase(
    folders: dict[str, Path], photo: UintImage
) -> None:
    detector = open_detector(folders["grounding-dino"])
    words = [f"{a}{b} cup" for a in "abcdefgh" for b in "abcdefgh"]  # 4 tokens each
    found = detector.detect(photo, words)
    assert found.scores.shape == (80, 64)  # two passes of 40 boxes
    assert (found.scores.max(0) > 0).all()
    with pytest.raises(InputError, match="tokens"):
        detector.detect(photo, ["abc " * 100])
    with pytest.raises(InputError, match="tokens"):
        detector.detect(photo, ["..."])


def test_the_side_of_what_is_seen_is_bounded(folders: dict[str, Path], photo: UintImage) -> None:
    detector = open_detector(folders["grounding-dino"])
    own, larger = detector.detect(photo, ["cat"]), detector.detect(photo, ["cat"], side=160)
    assert not np.array_equal(own.boxes, larger.boxes)
    for side in (3, 100_000, 2.5):
        with pytest.raises(InputError, match="side"):
            detector.detect(photo, ["cat"], side=side)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["grounding-dino", "owlvit"])
def test_boxes_and_scores_agree_with_transformers_own_processor(
    kind: str, folders: dict[str, Path], photo: UintImage
) -> None:
    """Its photo and its arithmetic; only the scores are ours for each phrase."""
    import torch
    import transformers
    from PIL import Image

    folder = folders[kind]
    found = open_detector(folder).detect(photo, ["cat"])
    model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(folder)
    height, width = photo.shape[:2]
    if kind == "grounding-dino":
        images: Any = transformers.GroundingDinoImageProcessorPil.from_pretrained(folder)
        text = {"input_ids": torch.tensor([[101, 1030, 1012, 102]])}
        processor: Any = transformers.GroundingDinoProcessor.post_process_grounded_object_detection
    else:
        images = transformers.OwlViTImageProcessorPil.from_pretrained(folder)
        words = transformers.AutoTokenizer.from_pretrained(folder)
        text = dict(words(["a photo of a cat"], padding="max_length", max_length=16,
                          return_tensors="pt"))  # fmt: skip
    seen = images(images=Image.fromarray(photo), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        answer = model(pixel_values=seen, **text)
    if kind == "grounding-dino":
        judge = type("Judge", (), {"batch_decode": lambda self, ids: ids})()
        told = processor(judge, answer, text["input_ids"], -1.0, 0.0, [(height, width)])[0]
        assert np.allclose(found.boxes, told["boxes"].numpy(), atol=0.05)
        probabilities = torch.sigmoid(answer.logits[0, :, 1]).numpy()
        assert np.allclose(found.scores[:, 0], probabilities, atol=1e-4)
    else:
        told = images.post_process_object_detection(answer, -1.0, torch.tensor([[height, width]]))
        assert np.allclose(found.boxes, told[0]["boxes"].numpy(), atol=0.05)
        assert np.allclose(found.scores[:, 0], told[0]["scores"].numpy(), atol=1e-4)


def test_the_catalogue_states_licence_and_source_of_every_checkpoint() -> None:
    catalogue = known_detectors()
    assert next(iter(catalogue)) == DEFAULT_DETECTOR
    for facts in catalogue.values():
        assert facts.licence in ("Apache-2.0", "MIT") or facts.licence.startswith(
            "SAM License, gated"
        )
        assert facts.stated_by
        assert 0 < facts.threshold < 1
        assert facts.revision is None or re.fullmatch("[0-9a-f]{40}", facts.revision)
        assert facts.sha256 is None or re.fullmatch("[0-9a-f]{64}", facts.sha256)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "detectors"


@pytest.mark.usefixtures("no_network", "store")
@pytest.mark.parametrize(
    ("name", "error", "word"),
    [
        (DEFAULT_DETECTOR, WeightsError, "anymask models get llmdet_tiny"),
        ("sam3", WeightsError, "SAM License, gated"),
        ("llmdet-tiny", ModelError, "llmdet_tiny"),
        ("no/such/folder", ModelError, "folder"),
    ],
)
def test_an_absent_detector_is_one_error_with_the_command_to_get_it(
    name: str, error: type[AnymaskError], word: str
) -> None:
    with pytest.raises(error, match=word):
        open_detector(name)
    with pytest.raises(error, match=word):
        anymask.load().find(anymask.sample(), ["cup"], detector=name)


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """The address of a server like huggingface.co, and the paths that it was asked for."""
    asked: list[str] = []
    files = {"model.safetensors": b"weights", "config.json": b"{}", "merges.txt": b"a b",
             "pytorch_model.bin": b"pickle", "README.md": b"text"}  # fmt: skip

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            body: Any = files.get(path.rpartition("/")[2])
            if "/tree/" in path:
                body = [{"type": "file", "path": name, "size": len(data), "oid": f"{len(data):040}"}
                        for name, data in files.items()]  # fmt: skip
            elif "/revision/" in path:
                siblings = [{"rfilename": name} for name in files]
                body = {"id": "a/b", "sha": "1" * 40, "siblings": siblings}
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(404 if body is None else 200)
            for name, value in {"Content-Length": str(len(data)), "ETag": f'"{len(data):040}"',
                                "X-Repo-Commit": "1" * 40}.items():  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", asked
    served.shutdown()
    thread.join()
    served.server_close()


def test_a_detector_is_downloaded_at_its_revision_without_pickles(
    hub: tuple[str, list[str]], store: Path
) -> None:
    pytest.importorskip("huggingface_hub", reason="needs the extra [words]")
    env = os.environ | {"HF_ENDPOINT": hub[0], "no_proxy": "*"}
    line = [sys.executable, "-m", "anymask", "models", "get", "clip_vit_b32", "grounding_dino_base"]
    env.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    digest = hashlib.sha256(b"weights").hexdigest()
    weights = store / "clip_vit_b32" / "model.safetensors"
    assert f"clip_vit_b32: {weights}\n  sha256 {digest}\n" in done.stdout, done.stderr
    here = {path.name for path in weights.parent.iterdir() if path.is_file()}
    assert here == {"model.safetensors", "config.json", "merges.txt", "record.json"}
    assert done.returncode == 2  # the second one has a published hash
    assert "differs from the published file" in done.stderr
    pinned = known_detectors()["grounding_dino_base"].revision
    fetched = {path for path in hub[1] if "/resolve/" in path and "grounding" in path}
    names = ("model.safetensors", "config.json", "merges.txt", "README.md")
    assert {path.split("/resolve/")[1] for path in fetched} == {f"{pinned}/{n}" for n in names}


def test_a_download_that_fails_is_one_error(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("401 Client Error.\n\nAccess to model facebook/sam3 is restricted.")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=refuse))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert main(["models", "get", "sam3"]) == 2
    assert "Error. Access to model facebook/sam3 is restricted." in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["models", "get", "sam3"]) == 2
    assert "pip install 'anymask[words]'" in capsys.readouterr().err


@pytest.mark.usefixtures("no_network")
def test_the_hash_is_recorded_at_the_first_load_and_a_change_is_told(
    folders: dict[str, Path], store: Path, photo: UintImage
) -> None:
    place = store / "mm_grounding_dino_tiny"  # no public source states its hash
    shutil.copytree(folders["mm-grounding-dino"], place)
    detector = open_detector("mm_grounding_dino_tiny")
    assert detector.threshold == known_detectors()["mm_grounding_dino_tiny"].threshold
    assert len(detector.detect(photo, ["cat"]).boxes)
    recorded = json.loads((place / "record.json").read_text())
    assert recorded["sha256"] == detector.about["weights"]
    assert open_detector("mm_grounding_dino_tiny") is detector
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(WeightsError, match="loaded first"):
        open_detector("mm_grounding_dino_tiny")


def test_another_file_than_the_published_one_is_refused(
    folders: dict[str, Path], store: Path
) -> None:
    shutil.copytree(folders["grounding-dino"], store / "grounding_dino_tiny")
    with pytest.raises(WeightsError, match="published"):
        open_detector("grounding_dino_tiny")


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ("model.safetensors", "does not contain a detector"),
        ("config.json", "Cannot load"),
        ("preprocessor_config.json", "preprocessor_config"),
        ("vocab.txt", "vocab"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_a_folder_that_is_not_whole_says_what_it_lacks(
    broken: str, word: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "detector"
    shutil.copytree(folders["grounding-dino"], folder)
    (folder / broken).unlink()
    with pytest.raises(WeightsError, match=word):
        open_detector(folder)


def test_weights_and_rules_of_something_else_are_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "detector"
    shutil.copytree(folders["grounding-dino"], folder)
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(WeightsError, match="missing|Cannot load"):
        open_detector(folder)
    shutil.copy(folders["grounding-dino"] / "model.safetensors", folder)
    (folder / "preprocessor_config.json").write_text('{"size": "large"}')
    with pytest.raises(WeightsError, match="preprocessor"):
        open_detector(folder)
    with pytest.raises(InputError, match="detector"):
        open_detector(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "hw", "side", "expected"),
    [
        ({"shortest_edge": 800, "longest_edge": 1333}, (600, 800), None, (800, 1066)),
        ({"shortest_edge": 800, "longest_edge": 1333}, (400, 1600), None, (333, 1333)),
        ({"shortest_edge": 800, "longest_edge": 1333}, (600, 800), 640, (480, 640)),
        ({"height": 960, "width": 960}, (600, 800), None, (960, 960)),
        ({"height": 960, "width": 960}, (600, 800), 640, (640, 640)),
    ],
)
def test_photos_are_sized_as_the_folder_says(
    size: dict[str, int], hw: tuple[int, int], side: int | None, expected: tuple[int, int],
    tmp_path: Path,
) -> None:  # fmt: skip
    from anymask.find.grounding import ResizeRule

    write_preprocessor(tmp_path, **size)
    rule = ResizeRule.read(tmp_path)
    assert rule.size(hw, side) == expected
    assert rule.size(hw, side, 640)[1] <= max(640, expected[1] if rule.exact else 0)
    seen = rule.apply(np.zeros((*hw, 3), np.uint8), expected)
    assert seen.shape == (1, 3, *expected)
    assert np.allclose(seen[0, :, 0, 0], -np.divide(rule.mean, rule.std), atol=1e-6)
