import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtimes.exports import exported


def photo(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder / "photo.png"


def run_example(folder: Path, work: Path) -> np.ndarray:
    """Run the bundle's program in an empty folder, without anymask on the path."""
    command = [sys.executable, "-I", folder / "example.py", photo(work), "20", "10", "mask.png"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"mask.png: quality -?\d+\.\d{3}\n", done.stdout)
    return np.asarray(Image.open(work / "mask.png"))


def test_the_example_runs_without_anymask_and_without_torch(bundle: Path, tmp_path: Path) -> None:
    code = (bundle / "example.py").read_text("utf-8")
    assert "anymask" not in code
    assert "torch" not in code
    mask = run_example(Path(shutil.copytree(bundle, tmp_path / "elsewhere")), tmp_path)
    assert mask.shape == (30, 50)
    assert mask.dtype == np.bool_


@pytest.mark.parametrize("name", ["tiny", "tiny_hq", "tiny_video"])
def test_the_example_knows_every_way_to_choose_a_mask(
    name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert run_example(exported(name, tmp_path_factory), tmp_path).shape == (30, 50)


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
