"""A folder with label-studio-sdk, which cannot live in the project's environment.

It asks for an opencv that would overwrite the project's, so its packages lie in a folder of their
own below pytest's cache, made once by pip, and only the process that runs
`label_studio_client.py` sees them.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("label_studio_requirements.txt")
CLIENT = Path(__file__).with_name("label_studio_client.py")
INSTALL_SECONDS = 300


class NoSdk(Exception):
    """Why there can be none on this machine."""


def sdk_folder(cache: Path) -> Path:
    """The folder, made where it is not there. Raises NoSdk."""
    made_of = REQUIREMENTS.read_bytes() + sys.version.encode()
    folder = cache / hashlib.sha256(made_of).hexdigest()[:12]
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=cache) as name:
        half = Path(name) / "half"
        _install(half)
        try:
            half.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was quicker
                raise
    return folder


def _install(target: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-compile", "--retries", "2", "--target", target]
    try:
        done = subprocess.run(
            [*pip, *options, "-r", REQUIREMENTS],
            capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NoSdk("needs label-studio-sdk: pip does not come to an end here") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise NoSdk(f"needs label-studio-sdk: pip cannot install it here ({reason[:200]})")
