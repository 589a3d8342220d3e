import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.images.decoding import DECODERS
from anymask.masks import iou
from anymask.models.rules import open_family
from anymask.runtime import manifest_to_json, read_manifest
from anymask.training import copy_bundle
from anymask.training.export_folder import export
from tests.runtime.exports import exported

SHIPPED = Path(anymask.__file__).parent / "assets" / "nano"


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


def run_several(folder: Path, work: Path, calls: list[list[str]]) -> list[str]:
    """What the program says to each call, all in one process."""
    program = (folder / "example.py").as_posix()
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, program, json.dumps(calls)],
        cwd=work, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


PROMPTS = {
    "click": (["20", "10"], {"points": [(20, 10)]}),
    "box": (["5", "4", "40", "25.5"], {"box": (5, 4, 40, 25.5)}),
    "clicks": (
        ["+20,10", "+30.5,15", "-44,22"],
        {"points": [(20, 10), (30.5, 15), (44, 22)], "point_labels": [1, 1, 0]},
    ),
    "box and click": (["5", "4", "40", "25.5", "-20,10"],
                      {"box": (5, 4, 40, 25.5), "points": [(20, 10)], "point_labels": [0]}),
}  # fmt: skip


@pytest.mark.parametrize("name", ["tiny", "tiny_hq", "video", "shipped"])
def test_the_example_writes_the_first_mask_of_the_package(
    name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Masks of random weights are noise, so both must encode, choose and draw in the same way."""
    bundle = SHIPPED if name == "shipped" else exported(name, tmp_path_factory)
    copy_bundle(bundle, tmp_path / "bundle")
    given = str(photo(tmp_path))
    run_several(
        tmp_path / "bundle",
        tmp_path,
        [[given, *words, f"{kind}.png"] for kind, (words, _) in PROMPTS.items()],
    )
    for kind, (_, prompt) in PROMPTS.items():
        got = np.asarray(Image.open(tmp_path / f"{kind}.png"))
        assert (got == first_mask(bundle, tmp_path / "photo.png", **prompt)).mean() >= 0.99, kind


def first_mask(bundle: Path, given: Path, **prompt: Any) -> np.ndarray:
    """The package's first mask on features, so without crops and edge refinement."""
    model = anymask.load(str(bundle))
    return np.asarray(model.segment(model.encode(given), **prompt).masks[0])


def test_the_rules_beside_the_example_are_the_package_s_own_and_numpy_alone(bundle: Path) -> None:
    package = Path(anymask.__file__).parent
    for name in ("answer.py", "shapes.py"):
        text = (bundle / name).read_text("utf-8")
        assert text == (package / "masks" / name).read_text("utf-8")
        roots = {line.split()[1].partition(".")[0] for line in text.splitlines()
                 if line.startswith(("import ", "from "))}  # fmt: skip
        assert roots - sys.stdlib_module_names == {"numpy"}


MANY = """
import json, runpy, sys
import numpy as np
sys.modules["anymask"] = sys.modules["torch"] = sys.modules["cv2"] = None
folder, work = sys.argv[1:]
sys.path[0] = folder
model = runpy.run_path(folder + "/example.py", run_name="example")["BundleModel"]()
encode, opened, masks = model.encode, "", []
for photo, prompt in json.loads(open(work + "/asked.json").read()):
    if photo != opened:
        opened, image = photo, model.open(photo)
        seen = encode(image)
        model.encode = lambda _: seen
    masks.append(np.packbits(model.segment(image, **prompt)[0]))
np.savez(work + "/masks.npz", *masks)
"""


def seeded_prompts(rng: np.random.Generator, size: np.ndarray) -> list[dict[str, Any]]:
    """Ten clicks, five boxes and four times three clicks, as example.py takes them."""
    clicks = rng.uniform(0.1, 0.9, (10, 1, 2)) * size
    middles, halves = rng.uniform(0.25, 0.75, (5, 2)) * size, rng.uniform(0.08, 0.25, (5, 2)) * size
    several = rng.uniform(0.2, 0.8, (4, 3, 2)) * size
    return [
        *({"points": click.tolist(), "labels": [1]} for click in clicks),
        *({"box": box.tolist()} for box in np.hstack([middles - halves, middles + halves])),
        *({"points": three.tolist(), "labels": [1, 1, 0]} for three in several),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nano", "small"])
def test_an_exported_model_answers_as_the_package_does(
    name: str, tmp_path: Path, shared: Path
) -> None:
    """40 clicks, 20 boxes and 16 times three clicks, on four photographs."""
    images = [shared / "images" / f"{one}.jpg" for one in ("dog", "groceries", "truck")]
    images.append(shared / "images" / "bedroom" / "00000.jpg")
    model, rng = anymask.load(name), np.random.default_rng(0)
    asked, expected = [], []
    for image in images:
        features = model.encode(image)
        for prompt in seeded_prompts(rng, np.array(features.image_hw[::-1])):
            asked.append((str(image), prompt))
            words = {"point_labels" if key == "labels" else key: prompt[key] for key in prompt}
            expected.append(model.segment(features, **words).masks[0])
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    folder = export(name, tmp_path / name)
    command = [sys.executable, "-c", MANY, str(folder), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    with np.load(tmp_path / "masks.npz") as masks:
        ious = [
            iou(np.unpackbits(bits, count=mask.size).reshape(mask.shape).astype(bool), mask)
            for bits, mask in zip(masks.values(), expected, strict=True)
        ]
    assert np.count_nonzero(np.array(ious) > 0.95) >= 0.95 * len(ious)


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
        ([given, "9", "9", "4", "20", "m.png"], "Use X Y, X0 Y0 X1 Y1, +X,Y or -X,Y in (50, 30)"),
        ([given, "9", "9", "4", "m.png"], "Invalid prompt ['9', '9', '4']"),
        ([given, "+9,9", "-9,40", "m.png"], "Invalid prompt ['+9,9', '-9,40']"),
        ([given, "9", "9", given], "would overwrite"),
        ([str(deep), "9", "9", "m.png"], "Use 8 bits per channel"),
        ([str(cut), "9", "9", "m.png"], "truncated"),
        (["gone.png", "9", "9", "m.png"], "No such file"),
    ]
    lines = run_several(bundle, tmp_path, [arguments for arguments, _ in asked])
    for line, (_, expected) in zip(lines, asked, strict=True):
        assert line.startswith("example.py: ")
        assert expected in line
    assert not (tmp_path / "m.png").exists()


def test_the_example_sees_what_is_transparent_on_white(bundle: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    got = run_example(bundle, tmp_path, "20", "10", of=tmp_path / "alpha.png")
    expected = first_mask(bundle, tmp_path / "alpha.png", points=[(20, 10)])
    assert (got == expected).mean() >= 0.99


def test_the_shipped_manifest_has_the_numbers_of_today() -> None:
    manifest = read_manifest(SHIPPED)
    assert manifest_to_json(manifest) == (SHIPPED / "manifest.json").read_text("utf-8")
    closer = open_family(manifest.spec).crop_refinement
    assert closer is not None
    assert json.loads(manifest_to_json(manifest))["closer"] == asdict(closer)
