"""A Chromium for the page's tests: the one that is there, Debian's, or Playwright's own.

python tests/web/chromium.py     # install one where there is none; says what it found
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The path of a Chromium that starts, or None."""
    for name in NAMES:
        path = shutil.which(name)
        if path and _starts(path):
            return path
    own = _of_playwright()
    return own if own and Path(own).exists() and _starts(own) else None


def _of_playwright() -> str | None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def _starts(path: str) -> bool:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def install_chromium() -> None:
    """Debian's when we may, else Playwright's; neither is an error.

    Without what Debian recommends beside it (printers, their network, sound): fontconfig alone
    brings the font that the page's text is drawn with.
    """
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        words = ["install", "-qq", "-y", "--no-install-recommends", "chromium"]
        subprocess.run(["apt-get", *words], check=False)
    if find_chromium() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)


if __name__ == "__main__":
    if find_chromium() is None:
        install_chromium()
    print(find_chromium() or "no Chromium could be had: the page's tests will be skipped")
