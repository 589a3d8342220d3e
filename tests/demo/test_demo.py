"""`make demo` shows three real photos, or the user's own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def demo(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "demo" / "demo.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_three_photos_become_twelve_pictures_and_a_sheet(tmp_path: Path) -> None:
    done = demo("--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sheet.jpg" in done.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"sheet.jpg"} | {
        f"{photo}-{what}.jpg"
        for photo in ("dog", "coffee", "truck")
        for what in ("one-click", "one-box", "cut-out", "everything")
    }


def test_the_users_photo_comes_instead(tmp_path: Path) -> None:
    photo = tmp_path / "mine.png"
    grey = np.full((80, 120, 3), 90, np.uint8)
    grey[20:60, 30:90] = (200, 40, 40)
    Image.fromarray(grey).save(photo)
    done = demo("--out", tmp_path / "out", "--photo", photo)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "mine-one-click.jpg") as picture:
        assert picture.size == (120, 80)
    assert len(list((tmp_path / "out").iterdir())) == 5
