"""`small` at the command line: by option and by variable."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.cli.main import main


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    y, x = np.mgrid[:96, :128]
    disc = (x - 60) ** 2 + (y - 40) ** 2 < 25**2
    pixels = np.stack([x, y, np.where(disc, 220, 30)], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_segment_takes_it_by_option(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "mask.png"
    words = ["segment", str(photo), "--box", "35,15,85,65", "--model", "small", "-o", str(target)]
    assert main(words) == 0
    mask = np.asarray(Image.open(target).convert("L")) > 0
    assert mask[40, 60]
    assert not mask[5, 120]


def test_everything_and_encode_take_it_by_variable(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMASK_MODEL", "small")
    target = tmp_path / "photo.npz"
    assert main(["encode", str(photo), "-o", str(target)]) == 0
    assert main(["segment", str(target), "--point", "60,40", "-o", str(tmp_path / "m.json")]) == 0
    words = ["everything", str(photo), "-o", str(tmp_path / "all.json"), "--grid", "4"]
    assert main(words) == 0
    assert (tmp_path / "all.json").is_file()
