"""A photo and a Chromium for the programs that measure the page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.web.chromium import find_chromium


@contextmanager
def image_and_browser(image: Path | None) -> Iterator[tuple[Path, Any]]:
    """The photo, or scikit-image's cup of coffee, and a browser."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        if image is None:
            from skimage import data

            image = Path(folder) / "coffee.png"
            Image.fromarray(data.coffee()).save(image)
        yield (
            image,
            playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"]),
        )
