"""A bundle's files: those that lie in it under plain names, unaltered, and no others."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from anymask.base import WeightsError
from anymask.runtime import ASSETS
from anymask.studio.pages import model_files, write_static


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret")
    place = tmp_path / "bundle"
    shutil.copytree(ASSETS / "nano", place)
    return place


def name_file(bundle: Path, name: str, digest: str) -> None:
    path = bundle / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text())
    manifest["sha256"][name] = digest
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "name", ["{}/secret.txt", "../secret.txt", "a/../../secret.txt", "..\\secret.txt", "c:x", "..",
             ".", "", "a\0b"],
)  # fmt: skip
def test_a_manifest_names_plain_files_only(bundle: Path, tmp_path: Path, name: str) -> None:
    name_file(bundle, name.format(tmp_path), hashlib.sha256(b"secret").hexdigest())
    for use in (model_files, lambda place: write_static(tmp_path / "site", place)):
        with pytest.raises(WeightsError, match="Files of a bundle have plain names"):
            use(bundle)
    assert not (tmp_path / "site" / "secret.txt").exists()


def test_a_file_is_served_only_with_the_bytes_that_the_manifest_promises(
    bundle: Path, tmp_path: Path
) -> None:
    expected = {"encoder.onnx", "decoder.onnx", "tables.json"}
    assert set(model_files(bundle)) >= expected
    (bundle / "notes.txt").symlink_to(tmp_path / "secret.txt")
    name_file(bundle, "notes.txt", "x" * 64)
    with pytest.raises(WeightsError, match=r"notes.txt was changed or truncated"):
        model_files(bundle)
    (bundle / "notes.txt").unlink()
    with pytest.raises(WeightsError, match=r"notes.txt is missing"):
        model_files(bundle)
