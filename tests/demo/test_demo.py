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
        f"{image}-{what}.jpg"
        for image in ("dog", "coffee", "truck")
        for what in ("one-click", "one-box", "cut-out", "everything")
    }


def test_the_users_photo_comes_instead(tmp_path: Path) -> None:
    pixels = tmp_path / "mine.png"
    gray = np.full((80, 120, 3), 90, np.uint8)
    gray[20:60, 30:90] = (200, 40, 40)
    Image.fromarray(gray).save(pixels)
    done = demo("--out", tmp_path / "out", "--image", pixels)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "mine-one-click.jpg") as source_image:
        assert source_image.size == (120, 80)
    assert len(list((tmp_path / "out").iterdir())) == 5
