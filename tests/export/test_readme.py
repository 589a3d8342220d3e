import ast
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.export.family_source import family_to_source
from anymask.export.readme import write_readme
from anymask.families import family_names, open_family
from anymask.primitives.spec import ModelSpec
from anymask.runtimes.manifest import manifest_to_json, read_manifest
from tests.runtimes.exports import exported

SHIPPED = Path(anymask.__file__).parent / "assets" / "nano"
CAT = SHIPPED.parent / "photos" / "cat.jpg"


def photo(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder / "photo.png"


BLOCKED = """
import runpy, sys
sys.modules["anymask"] = sys.modules["torch"] = None
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
    assert re.fullmatch(r"mask.png: quality -?\d+\.\d{3}\n", done.stdout)
    return np.asarray(Image.open(work / "mask.png"))


def test_the_example_runs_without_anymask_and_without_torch(bundle: Path, tmp_path: Path) -> None:
    code = (bundle / "example.py").read_text("utf-8")
    assert "anymask" not in code
    assert "import torch" not in (bundle / "example.py").read_text("utf-8")
    elsewhere = Path(shutil.copytree(bundle, tmp_path / "elsewhere"))
    mask = run_example(elsewhere, tmp_path, "20", "10")
    assert mask.shape == (30, 50)
    assert mask.dtype == np.bool_


@pytest.mark.parametrize("place", [("20", "10"), ("5", "4", "40", "25.5")])
@pytest.mark.parametrize("name", ["tiny", "tiny_hq", "video", "shipped"])
def test_the_example_answers_a_click_and_a_box_as_the_package_does(
    name: str, place: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = SHIPPED if name == "shipped" else exported(name, tmp_path_factory)
    refined = (bundle / "edges.py").is_file()  # its photo is larger than the logits
    given, times = (CAT, 5.0) if refined else (photo(tmp_path), 1.0)
    numbers = [times * float(number) for number in place]
    asked = {"points": [numbers]} if len(place) == 2 else {"box": numbers}
    model = anymask.load(str(bundle))
    wanted = model.segment(given, refine_edges=refined, **asked).masks[0]
    got = run_example(bundle, tmp_path, *map(str, numbers), of=given)
    assert got.shape == wanted.shape
    assert (got == wanted).mean() >= 0.99


@pytest.mark.parametrize("arguments", [[], ["photo.png"], ["photo.png", "1", "2", "3", "m.png"]])
def test_the_example_says_how_it_is_called(
    bundle: Path, tmp_path: Path, arguments: list[str]
) -> None:
    done = call_example(bundle, tmp_path, *arguments)
    assert done.returncode == 2
    assert "python example.py PHOTO X0 Y0 X1 Y1 MASK.png" in done.stderr
    assert "Traceback" not in done.stderr


SEVERAL = """
import io, json, runpy, sys
from contextlib import redirect_stderr
sys.modules["anymask"] = sys.modules["torch"] = None
sys.path[0] = sys.argv[1].rpartition("/")[0]
program = runpy.run_path(sys.argv[1], run_name="example")
for arguments in json.loads(sys.argv[2]):
    with redirect_stderr(io.StringIO()) as said:
        code = program["main"](arguments)
    print(json.dumps([code, said.getvalue()]))
"""


def test_the_example_refuses_what_it_would_answer_wrongly(bundle: Path, tmp_path: Path) -> None:
    given, deep, cut = str(photo(tmp_path)), tmp_path / "deep.png", tmp_path / "cut.jpg"
    Image.fromarray(np.zeros((30, 50), np.uint16)).save(deep)
    Image.open(given).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    asked = [
        ([given, "50.5", "3", "m.png"], "wanted places in the photo of 50 x 30"),
        ([given, "nan", "3", "m.png"], "wanted places in the photo"),
        ([given, "x", "3", "m.png"], "could not convert string to float: 'x'"),
        ([given, "9", "9", "4", "20", "m.png"], "wanted a box X0 Y0 X1 Y1"),
        ([given, "9", "9", given], "would be written over the photo"),
        ([str(deep), "9", "9", "m.png"], "wanted a photo of 8 bits a channel"),
        ([str(cut), "9", "9", "m.png"], "truncated"),
        (["gone.png", "9", "9", "m.png"], "No such file"),
    ]
    program, cases = (bundle / "example.py").as_posix(), json.dumps([one for one, _ in asked])
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, program, cases],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for line, (_, wanted) in zip(done.stdout.splitlines(), asked, strict=True):
        code, said = json.loads(line)
        assert code == 2
        assert wanted in said
    assert not (tmp_path / "m.png").exists()


def test_the_example_sees_what_is_transparent_on_white(bundle: Path, tmp_path: Path) -> None:
    """As the package does."""
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    got = run_example(bundle, tmp_path, "20", "10", of=tmp_path / "alpha.png")
    wanted = anymask.load(str(bundle)).segment(tmp_path / "alpha.png", points=[(20, 10)]).masks[0]
    assert (got == wanted).mean() >= 0.99


def test_the_shipped_bundle_has_the_readme_example_and_rules_of_today(tmp_path: Path) -> None:
    write_readme(tmp_path, read_manifest(SHIPPED))
    for written in tmp_path.iterdir():
        assert written.read_text("utf-8") == (SHIPPED / written.name).read_text("utf-8")


def test_the_shipped_manifest_has_the_numbers_of_today() -> None:
    manifest = read_manifest(SHIPPED)
    assert manifest_to_json(manifest) == (SHIPPED / "manifest.json").read_text("utf-8")
    closer = open_family(manifest.spec).closer
    assert closer is not None
    assert json.loads(manifest_to_json(manifest))["closer"] == asdict(closer)


def test_a_family_that_gains_nothing_by_a_closer_look_says_so(bundle: Path) -> None:
    assert json.loads((bundle / "manifest.json").read_text("utf-8"))["closer"] is None
    assert not (bundle / "closer.py").exists()


@pytest.mark.parametrize("name", family_names())
def test_the_rules_of_every_family_are_a_file_of_their_own(name: str) -> None:
    family = open_family(ModelSpec(name="any", family=name), {})
    source = family_to_source(family)
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "anymask" not in " ".join(ast.unparse(node) for node in imports)
    room: dict[str, Any] = {"__name__": "rules_of_a_test"}
    sys.modules["rules_of_a_test"] = ModuleType("rules_of_a_test")  # dataclasses look it up
    exec(compile(source, "family.py", "exec"), room)
    del sys.modules["rules_of_a_test"]
    assert room["FAMILY"].__name__ == type(family).__name__
    assert source.count("def wants_many") == 1


def test_the_readme_shows_the_example_the_licence_and_every_tensor(bundle: Path) -> None:
    text = (bundle / "README.md").read_text("utf-8")
    assert (bundle / "example.py").read_text("utf-8") in text
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
