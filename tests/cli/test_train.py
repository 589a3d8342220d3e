"""`anymask train`: from a recipe to a model that opens, and what it says when it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest

from anymask.cli.main import main
from anymask.runtimes.onnx import OnnxRuntime
from tests.training.small_data import write_sets

RECIPE = """
model = "nano_tiny"
workers = 1
warmup = 2
save_every = 2
[[stage]]
steps = 20
side = 64
images = 1
masks = 1
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def test_it_trains_reports_and_writes_a_bundle_that_opens(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run, bundle = write_sets(tmp_path / "data"), tmp_path / "run", tmp_path / "bundle"
    last = tmp_path / "last.json"
    words = [str(recipe), "--data", str(data), "-o", str(run), "--bundle", str(bundle)]
    assert main(["train", *words, "--json", str(last)]) == 0
    assert capsys.readouterr().out.startswith("step 20/20  loss ")
    assert json.loads(last.read_text())["step"] == 20
    runtime = OnnxRuntime(bundle)
    assert runtime.spec.image_side == 128
    (seen,) = runtime.see(np.zeros((1, 3, 128, 128), np.float32))
    assert [one.values.shape for one in seen.maps()] == [(32, 8, 8), (16, 16, 16), (8, 32, 32)]


@pytest.mark.parametrize(
    ("data", "text", "says"),
    [
        ("nowhere", RECIPE, "wanted a folder of training sets, found none there"),
        ("empty", RECIPE, "no set with a masks.jsonl; give --data FOLDER of sets"),
        ("empty", "model = 3", "no [[stage]]"),
        ("empty", RECIPE.replace("nano_tiny", "sam_vit_b"), "cannot train 'sam_vit_b'"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line_and_exit_code_2(
    data: str, text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    path = tmp_path / "r.toml"
    path.write_text(text)
    words = [str(path), "--data", str(tmp_path / data), "-o", str(tmp_path / "run")]
    assert main(["train", *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
