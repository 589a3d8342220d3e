"""The files of the JavaScript package: built from these sources, and named as they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import anymask
from tests.web.package_server import PACKAGE, WEB


def sources() -> list[Path]:
    """What the package is made of, in the order of web/package/vite.config.ts."""
    folders = [WEB / "package" / "src", WEB / "src" / "masks", WEB / "src" / "model"]
    inside = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    own = [WEB / "package-lock.json", PACKAGE / "vite.config.ts"]
    return sorted([*inside, *own], key=lambda path: path.relative_to(WEB).as_posix())


def test_the_built_package_is_made_of_these_sources() -> None:
    digest = hashlib.sha256()
    for path in sources():
        digest.update(f"{path.relative_to(WEB).as_posix()}\0".encode() + path.read_bytes())
    about = json.loads((PACKAGE / "lib" / "build.json").read_text("utf-8"))
    assert about == {"sources": digest.hexdigest()}, "run `make web`"


def test_the_package_names_files_that_are_there_and_the_version_that_it_goes_with() -> None:
    manifest = json.loads((PACKAGE / "package.json").read_text("utf-8"))
    assert manifest["version"] == anymask.__version__
    for entry in manifest["exports"].values():
        assert all((PACKAGE / file).is_file() for file in entry.values())
    assert len((PACKAGE / "example.html").read_text("utf-8").splitlines()) <= 60
    for built in (PACKAGE / "lib").glob("*.js"):
        assert "http://" not in built.read_text("utf-8").replace("http://www.w3.org", "")
