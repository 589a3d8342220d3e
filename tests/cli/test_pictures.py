"""Options that say what of a picture is looked at."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from anymask.cli.main import main
from tests.conftest import CommandLine


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Six bands of 16 bits on two pages; a bright square in band 5 of the second."""
    pages = np.random.default_rng(3).integers(300, 500, (2, 64, 96, 6)).astype(np.uint16)
    pages[1, 16:48, 24:60, 4] += 2000
    path = tmp_path / "scene.tif"
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            writer.write(page, photometric="minisblack", planarconfig="contig")
    return path


def test_a_mask_is_made_of_the_chosen_bands(scene: Path, tmp_path: Path) -> None:
    target = tmp_path / "mask.npy"
    words = ["segment", str(scene), "--point", "42,32", "-o", str(target)]
    assert main([*words, "--bands", "5", "--page", "1"]) == 0
    mask = np.load(target)
    truth = np.zeros((64, 96), np.bool_)
    truth[16:48, 24:60] = True
    assert (mask & truth).sum() / (mask | truth).sum() > 0.8


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "has 6 bands and does not declare which are red, green and blue. Choose one or three"),
        (["--bands", "7"], "Band 7 does not exist: '{scene}' has 6 bands, numbered from 1"),
        (["--bands", "1,2"], "Expected one or three whole numbers, counted from 1"),
        (["--bands", "red"], "--bands: Expected comma-separated numbers, got 'red'"),
        (["--bands", "1", "--page", "9"], "Page 9 is out of range: '{scene}' has 2 pages"),
        (["--ranges", "9"], "--ranges: Expected values such as 200:4000, or 200:4000,:,0:900"),
        (["--ranges", "9:1"], "Expected one pair (black, white)"),
        (["--ranges", "1:9", "--stretch", "2,98"], "cannot be combined"),
        (["--stretch", "2"], "Expected two percentiles from 0 to 100"),
    ],
)
def test_what_cannot_be_is_told(words: list[str], told: str, scene: Path, cli: CommandLine) -> None:
    assert told.format(scene=scene) in cli.refused(
        ["segment", str(scene), "--point", "1,1", *words]
    )
