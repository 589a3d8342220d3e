"""Label Studio's own library (label-studio-sdk) and our server, bytes and files: the same masks.

`label_studio_client.py` runs once, in a process of its own; here stands what it must have seen.
label-studio-sdk asks for an opencv that would overwrite the project's, so its packages lie in a
folder of their own below pytest's cache, made once by pip, and only that process sees them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.formats import AnnotatedImage, Policy, read_annotations, read_hw, write_annotations
from anymask.masks import Mask, mask_to_rle, rle_to_mask
from anymask.studio import ServerParts
from anymask_connect import TaskImages, label_studio_routes
from tests.formats.annotated import rings
from tests.studio.servers import PATIENCE_S, inference, listening

REQUIREMENTS = Path(__file__).with_name("label_studio_requirements.txt")
CLIENT = Path(__file__).with_name("label_studio_client.py")
INSTALL_SECONDS = 300


class NoSdk(Exception):
    """Why there can be none on this machine."""


def sdk_folder(cache: Path) -> Path:
    """The folder, made where it is not there. Raises NoSdk."""
    made_of = REQUIREMENTS.read_bytes() + sys.version.encode()
    folder = cache / hashlib.sha256(made_of).hexdigest()[:12]
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=cache) as name:
        half = Path(name) / "half"
        _install(half)
        try:
            half.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was quicker
                raise
    return folder


def _install(target: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-compile", "--retries", "2", "--target", target]
    try:
        done = subprocess.run(
            [*pip, *options, "-r", REQUIREMENTS],
            capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NoSdk("needs label-studio-sdk: pip does not come to an end here") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise NoSdk(f"needs label-studio-sdk: pip cannot install it here ({reason[:200]})")


CONFIG = """<View>
<Image name="image" value="$photo" zoom="true"/>
<BrushLabels name="tag" toName="image"><Label value="cup"/><Label value="cat"/></BrushLabels>
<KeyPointLabels name="kp" toName="image" smart="true"><Label value="cat"/></KeyPointLabels>
<RectangleLabels name="box" toName="image" smart="true"><Label value="thing"/></RectangleLabels>
</View>"""
PROMPTS: list[tuple[str, str, dict[str, Any]]] = [
    ("coffee", "keypointlabels", {"points": [(290, 120)]}),
    ("coffee", "rectanglelabels", {"box": (150, 50, 480, 350)}),
    ("chelsea", "keypointlabels", {"points": [(220, 110), (20, 20)], "point_labels": [1, 0]}),
]


@pytest.fixture(scope="session")
def sdk(request: pytest.FixtureRequest) -> Path:
    cache = request.config.cache
    assert cache is not None
    try:
        return sdk_folder(Path(cache.mkdir("label-studio-sdk")))
    except NoSdk as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def model() -> anymask.Model:
    return anymask.load()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("photos")
    for name in ("coffee", "chelsea"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png", compress_level=1)
    return folder


def regions(kind: str, prompt: dict[str, Any], hw: tuple[int, int]) -> list[dict[str, Any]]:
    """A prompt in pixels as Label Studio sends it: percent of the sides."""
    height, width = hw
    rest = {"original_width": width, "original_height": height, "to_name": "image", "type": kind}
    if "box" in prompt:
        x0, y0, x1, y1 = prompt["box"]
        value = {"x": 100 * x0 / width, "y": 100 * y0 / height, "rotation": 0}
        value |= {"width": 100 * (x1 - x0) / width, "height": 100 * (y1 - y0) / height}
        return [rest | {"from_name": "box", "value": value | {kind: ["thing"]}}]
    labels = prompt.get("point_labels", [1] * len(prompt["points"]))
    return [
        rest | {
            "from_name": "kp", "is_positive": bool(label),
            "value": {"x": 100 * x / width, "y": 100 * y / height, "width": 0.4, kind: ["cat"]},
        }
        for (x, y), label in zip(prompt["points"], labels, strict=True)
    ]  # fmt: skip


@contextmanager
def labeling(model: anymask.Model, images: Path) -> Iterator[str]:
    """The real server, as a model of Label Studio, on an address of this machine."""
    behind = inference(lambda: model)
    routes = label_studio_routes(TaskImages(images))
    with listening(ServerParts(behind, routers=(routes,))) as address:
        behind.model.result(PATIENCE_S)
        yield address


def exported(image: AnnotatedImage, name: str, folder: Path) -> dict[str, str]:
    """The files of one of our formats, as annotations and as predictions."""
    tasks, predictions = folder / f"{name}.json", folder / f"{name}.predictions.json"
    write_annotations([image], tasks, name, Policy(out_type="annotations", tolerance=0))
    write_annotations([image], predictions, name, Policy(tolerance=0))
    config = folder / f"{name}.label_config.xml"
    return {"tasks": str(tasks), "predictions": str(predictions), "config": str(config)}


@pytest.fixture(scope="module")
def drawn(model: anymask.Model, images: Path) -> AnnotatedImage:
    """A photo's masks: the network's, a ring of two parts, one pixel in the far corner."""
    answer = model.segment(images / "chelsea.png", points=[(220, 110)], point_labels=[1])
    height, width = answer.masks[0].shape
    ring, corner = np.zeros((2, height, width), np.bool_)
    ring[20:90, 30:120] = ring[150:180, 10:40] = True
    ring[40:60, 60:90] = False
    corner[-1, -1] = True
    pairs = [(answer.masks[0], "cat"), (answer.masks[1], "cat"), (ring, "a ring"), (corner, "dot")]
    masks = [Mask(mask_to_rle(mask), label, score=0.5) for mask, label in pairs]
    return AnnotatedImage(file_name="chelsea.png", hw=(height, width), masks=tuple(masks))


@pytest.fixture(scope="module")
def seen(
    sdk: Path, model: anymask.Model, images: Path, drawn: AnnotatedImage,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Any], Path]:  # fmt: skip
    """What Label Studio's library said, and the folder of its files."""
    out = tmp_path_factory.mktemp("sdk")
    Image.fromarray(rle_to_mask(rings().masks[0].rle)).save(out / "ring.png")
    asked = []
    for name, kind, prompt in PROMPTS:
        hw = read_hw(images / f"{name}.png")
        task = {"id": 1, "data": {"photo": f"/data/local-files/?d=shelf/{name}.png"}}
        asked.append({"task": task, "regions": regions(kind, prompt, hw)})
    names = {"brush": "label-studio", "polygons": "label-studio-polygon"}
    job = {"config": CONFIG, "asked": asked, "mask": str(out / "ring.png")}
    job |= {"exports": {key: exported(drawn, name, out) for key, name in names.items()}}
    with labeling(model, images) as server:
        (out / "job.json").write_text(json.dumps(job | {"server": server}), "utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", CLIENT, out / "job.json"],
            env={**os.environ, "PYTHONPATH": str(sdk)}, cwd=out, timeout=PATIENCE_S,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads((out / "verdict.json").read_text("utf-8")), out


def test_the_addresses_of_a_model_answer(seen: tuple[dict[str, Any], Path]) -> None:
    told = seen[0]["server"]
    assert told["health"]["status"] == "ready"
    assert told["setup"]["model_version"].startswith("anymask-")
    assert (told["train"], told["webhook"]) == (201, 201)


@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_predictions_are_valid_and_decode_to_the_model_s_masks(
    seen: tuple[dict[str, Any], Path], model: anymask.Model, images: Path, number: int
) -> None:
    name, _, prompt = PROMPTS[number]
    told, pixels = seen[0]["server"]["answers"][number], np.load(seen[1] / f"answer-{number}.npy")
    expected = model.segment(images / f"{name}.png", **prompt)
    assert expected.masks[0].any()
    np.testing.assert_array_equal(pixels, 255 * np.repeat(expected.masks[0][..., None], 4, axis=2))
    assert told["same_bytes"]
    assert told["errors"]["but_bytes"] == []
    assert told["task"] is True
    assert told["score"] == pytest.approx(float(expected.scores[0]), abs=1e-6)
    assert told["model_version"] == seen[0]["server"]["setup"]["model_version"]


def test_our_exports_are_valid(seen: tuple[dict[str, Any], Path]) -> None:
    exports = seen[0]["exports"]
    assert exports["brush"]["errors"]["but_bytes"] == []
    assert exports["polygons"]["errors"] == {"whole": [], "but_bytes": []}
    assert {"BRUSH_TO_PNG", "BRUSH_TO_NUMPY"} <= set(exports["brush"]["formats"])
    assert {"COCO", "YOLO"} <= set(exports["polygons"]["formats"])


def test_the_check_of_brush_bytes_refuses_its_own_encoder(
    seen: tuple[dict[str, Any], Path],
) -> None:
    """When this fails, the SDK has mended it: `but_bytes` and docs/reference/formats.md can go."""
    own = seen[0]["own"]
    assert own["but_bytes"] == []
    assert len(own["whole"]) == 1
    assert "Invalid value for control 'tag'" in own["whole"][0]


def test_its_brush_pictures_are_our_masks(
    seen: tuple[dict[str, Any], Path], drawn: AnnotatedImage
) -> None:
    counts: dict[str | None, int] = {}
    for mask in drawn.masks:
        number = counts[mask.label] = counts.get(mask.label, -1) + 1
        (path,) = (seen[1] / "BRUSH_TO_PNG").glob(f"task-1-*-tag-{mask.label}-{number}.png")
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), 255 * rle_to_mask(mask.rle))
    assert len(list((seen[1] / "BRUSH_TO_PNG").iterdir())) == len(drawn.masks)


def test_its_coco_of_our_brushes_outlines_every_part(
    seen: tuple[dict[str, Any], Path], drawn: AnnotatedImage
) -> None:
    """It draws outer contours through pixel centres, and none of fewer than three corners."""
    coco = json.loads((seen[1] / "BRUSH_TO_COCO/result_coco.json").read_text("utf-8"))
    labels = {row["id"]: row["name"] for row in coco["categories"]}
    for label in {mask.label for mask in drawn.masks}:
        found, expected = np.zeros((2, *drawn.hw), np.uint8)
        for row in coco["annotations"]:
            if labels[row["category_id"]] == label:
                corners = np.array(row["segmentation"][0], np.int32).reshape(-1, 1, 2)
                cv2.drawContours(found, [corners], -1, 1, cv2.FILLED)
        for mask in drawn.masks:
            if mask.label == label:
                parts, _ = cv2.findContours(
                    rle_to_mask(mask.rle).astype(np.uint8), cv2.RETR_EXTERNAL,
                    cv2.CHAIN_APPROX_NONE,
                )  # fmt: skip
                cv2.drawContours(expected, [part for part in parts if len(part) > 2], -1, 1, -1)
        np.testing.assert_array_equal(found, expected)


def test_its_coco_of_our_polygons_is_read_again_pixel_for_pixel(
    seen: tuple[dict[str, Any], Path], drawn: AnnotatedImage
) -> None:
    (found,), _ = read_annotations(seen[1] / "COCO/result.json", "coco")
    assert [mask.label for mask in found.masks] == [mask.label for mask in drawn.masks]
    for ours, theirs in zip(drawn.masks, found.masks, strict=True):
        np.testing.assert_array_equal(rle_to_mask(theirs.rle), rle_to_mask(ours.rle))


def test_its_own_brushes_are_read(seen: tuple[dict[str, Any], Path]) -> None:
    (found,), _ = read_annotations(seen[1] / "own.json", "label-studio")
    (mask,) = found.masks
    assert (found.file_name, mask.label) == ("rings.png", "a ring")
    np.testing.assert_array_equal(rle_to_mask(mask.rle), rle_to_mask(rings().masks[0].rle))


def test_a_machine_without_a_registry_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 1, "", "WARNING: x\nERROR: no such host\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(NoSdk, match="needs label-studio-sdk: .* \\(ERROR: no such host\\)"):
        sdk_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_was_installed_is_taken_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(words: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        words[words.index("--target") + 1].mkdir()
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    folder = sdk_folder(tmp_path)
    monkeypatch.setattr(subprocess, "run", None)
    assert sdk_folder(tmp_path) == folder
    assert list(tmp_path.iterdir()) == [folder]
