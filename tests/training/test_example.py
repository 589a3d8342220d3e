import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.images.decoding import DECODERS
from anymask.masks import ModelPrompts, image_to_model, logits_to_image, points_to_model
from anymask.models.rules import open_family
from anymask.runtime import OnnxRuntime, manifest_to_json, read_manifest
from anymask.training import copy_bundle
from tests.runtime.exports import exported

SHIPPED = Path(anymask.__file__).parent / "assets" / "nano"
CAT = SHIPPED.parent / "photos" / "cat.jpg"


def photo(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder / "photo.png"


BLOCKED = """
import runpy, sys
sys.modules["anymask"] = sys.modules["torch"] = sys.modules["cv2"] = None
sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def call_example(folder: Path, work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED, (folder / "example.py").as_posix(), *arguments]
    return subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)


def run_example(folder: Path, work: Path, *place: str, of: Path | None = None) -> np.ndarray:
    """Run the bundle's program in an empty folder, where anymask and torch cannot be imported."""
    done = call_example(folder, work, str(of or photo(work)), *place, "mask.png")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"mask.png: score -?\d+\.\d{3}\n", done.stdout)
    return np.asarray(Image.open(work / "mask.png"))


def test_the_example_runs_without_anymask_and_without_torch(bundle: Path, tmp_path: Path) -> None:
    code = (bundle / "example.py").read_text("utf-8")
    assert "import anymask" not in code
    assert "torch" not in code.replace("torch_bilinear", "")
    elsewhere = Path(shutil.copytree(bundle, tmp_path / "elsewhere"))
    mask = run_example(elsewhere, tmp_path, "20", "10")
    assert mask.shape == (30, 50)
    assert mask.dtype == np.bool_


@pytest.mark.parametrize("place", [("20", "10"), ("5", "4", "40", "25.5")])
@pytest.mark.parametrize("name", ["tiny", "tiny_hq", "video", "shipped"])
def test_the_example_draws_the_mask_that_the_decoder_scores_highest(
    name: str, place: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = SHIPPED if name == "shipped" else exported(name, tmp_path_factory)
    folder = tmp_path / "bundle"
    copy_bundle(bundle, folder)
    given, times = (CAT, 5.0) if name == "shipped" else (photo(tmp_path), 1.0)
    numbers = [times * float(number) for number in place]
    got = run_example(folder, tmp_path, *map(str, numbers), of=given)
    wanted = highest(bundle, given, np.array(numbers).reshape(-1, 2))
    assert got.shape == wanted.shape
    # Masks of random weights are noise, which one bilinear step draws otherwise than two.
    assert (got == wanted).mean() >= (0.995 if name == "shipped" else 0.95)


def highest(bundle: Path, given: Path, points: np.ndarray) -> np.ndarray:
    """The package's own resizing around one call of the decoder."""
    runtime, model = OnnxRuntime(bundle), anymask.load(str(bundle))
    spec, embedding = runtime.spec, model.encode(given)
    labels = [1] if len(points) == 1 else [2, 3]
    padding = int(spec.pad_point and (2 not in labels or spec.pad_box))
    prompts = ModelPrompts(
        np.pad(points_to_model(points, embedding.geometry), ((0, padding), (0, 0)))[None],
        np.array([[*labels, *[-1] * padding]], np.int64),
        np.zeros((1, 1, spec.mask_side, spec.mask_side), np.float32),
        np.zeros(1, np.float32),
    )
    image = image_to_model(anymask.load_image(given), spec)
    logits, quality = runtime.decode(runtime.see(image[None])[0], prompts)
    masks = logits[0, :-1] + logits[0, -1] if spec.family == "sam_hq" else logits[0]
    best = int(quality[0, : len(masks)].argmax())
    return logits_to_image(masks[best : best + 1], embedding.geometry)[0] > spec.mask_threshold


@pytest.mark.parametrize("arguments", [[], ["photo.png"], ["photo.png", "1", "2", "3", "m.png"]])
def test_the_example_says_how_it_is_called(
    bundle: Path, tmp_path: Path, arguments: list[str]
) -> None:
    done = call_example(bundle, tmp_path, *arguments)
    assert done.returncode == 1
    assert "python example.py PHOTO X0 Y0 X1 Y1 MASK.png" in done.stderr
    assert "Traceback" not in done.stderr


SEVERAL = """
import json, runpy, sys
sys.modules["anymask"] = sys.modules["torch"] = sys.modules["cv2"] = None
sys.path[0] = sys.argv[1].rpartition("/")[0]
program = runpy.run_path(sys.argv[1], run_name="example")
for arguments in json.loads(sys.argv[2]):
    try:
        program["main"](arguments)
        print("nothing")
    except SystemExit as refused:
        print(refused.code)
"""


def test_the_example_opens_no_postscript(bundle: Path, tmp_path: Path) -> None:
    """Pillow would run Ghostscript."""
    (tmp_path / "photo.jpg").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    )
    done = call_example(bundle, tmp_path, "photo.jpg", "3", "3", "mask.png")
    assert done.returncode == 1
    assert done.stderr.startswith("example.py: cannot identify image file")
    assert f"FORMATS = {json.dumps(DECODERS)[1:-1]}" in (bundle / "example.py").read_text(
        "utf-8"
    ).replace("(", "")


def test_the_example_refuses_what_it_would_answer_wrongly(bundle: Path, tmp_path: Path) -> None:
    given, deep, cut = str(photo(tmp_path)), tmp_path / "deep.png", tmp_path / "cut.jpg"
    Image.fromarray(np.zeros((30, 50), np.uint16)).save(deep)
    Image.open(given).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    asked = [
        ([given, "50.5", "3", "m.png"], "Invalid prompt ['50.5', '3']"),
        ([given, "nan", "3", "m.png"], "Invalid prompt"),
        ([given, "x", "3", "m.png"], "could not convert string to float: 'x'"),
        ([given, "9", "9", "4", "20", "m.png"], "Use X Y or X0 Y0 X1 Y1 in (50, 30)"),
        ([given, "9", "9", given], "would overwrite"),
        ([str(deep), "9", "9", "m.png"], "Use 8 bits per channel"),
        ([str(cut), "9", "9", "m.png"], "truncated"),
        (["gone.png", "9", "9", "m.png"], "No such file"),
    ]
    program, cases = (bundle / "example.py").as_posix(), json.dumps([one for one, _ in asked])
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, program, cases],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for line, (_, wanted) in zip(done.stdout.splitlines(), asked, strict=True):
        assert line.startswith("example.py: ")
        assert wanted in line
    assert not (tmp_path / "m.png").exists()


def test_the_example_sees_what_is_transparent_on_white(bundle: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    got = run_example(bundle, tmp_path, "20", "10", of=tmp_path / "alpha.png")
    wanted = highest(bundle, tmp_path / "alpha.png", np.array([[20, 10]]))
    assert (got == wanted).mean() >= 0.95


def test_the_example_is_short_and_shipped_once() -> None:
    example = SHIPPED.parent / "bundle" / "example.py"
    assert len(example.read_text("utf-8").splitlines()) <= 126
    assert not list(SHIPPED.glob("*.py"))


def test_the_shipped_manifest_has_the_numbers_of_today() -> None:
    manifest = read_manifest(SHIPPED)
    assert manifest_to_json(manifest) == (SHIPPED / "manifest.json").read_text("utf-8")
    closer = open_family(manifest.spec).closer
    assert closer is not None
    assert json.loads(manifest_to_json(manifest))["closer"] == asdict(closer)


def test_a_family_that_gains_nothing_by_a_closer_look_says_so(bundle: Path) -> None:
    assert json.loads((bundle / "manifest.json").read_text("utf-8"))["closer"] is None


def test_the_readme_shows_the_licence_and_every_tensor(bundle: Path) -> None:
    text = (bundle / "README.md").read_text("utf-8")
    assert "Licence of the weights: Apache-2.0." in text
    for row in (
        "| in | images | float32 | (B, 3, 32, 32) |",
        "| out | features | float32 | (B, 8, 8, 8) |",
        "| in | coords | float32 | (N, P, 2) |",
        "| in | labels | int64 | (N, P) |",
        "| out | quality | float32 | (N, 4) |",
    ):
        assert row in text
    assert "1. resize so that the longer side is 32, keeping the aspect ratio" in text
