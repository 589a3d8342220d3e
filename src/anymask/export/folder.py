"""The folder of an exported model: graphs and their files in, written whole or not at all.

The model of the package is an exported model already; it is copied, which needs no torch.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from anymask.export.readme import CLOSER, EDGES, EXAMPLE, FAMILY, README, write_readme
from anymask.primitives.errors import InputError
from anymask.runtimes.manifest import (
    CONSTANTS,
    MANIFEST,
    REFINER_WEIGHTS,
    TABLES,
    Manifest,
    check_file,
    manifest_to_json,
    read_manifest,
)
from anymask.runtimes.onnx import OnnxRuntime

MODEL_CARD = "MODEL_CARD.md"
OURS = (
    MANIFEST,
    TABLES,
    CONSTANTS,
    README,
    EXAMPLE,
    FAMILY,
    REFINER_WEIGHTS,
)  # files that no export carries over


def copy_bundle(source: Path, target: Path, side: int | None = None) -> Manifest:
    """An exported model's files in another folder, each compared with its hash.

    side  of the copy's pictures, in pixels (`OnnxRuntime`); None: as before

    Raises WeightsError for a bundle that is not whole, InputError for a foreign target or a side
    that the model does not see.
    """
    refuse_to_replace(target)
    manifest = read_manifest(source) if side is None else OnnxRuntime(source, side=side).manifest
    with staging(target) as stage:
        for name in manifest.sha256:
            shutil.copyfile(check_file(source, manifest, name), stage / name)
        for name in (MANIFEST, README, EXAMPLE, FAMILY, CLOSER, EDGES, MODEL_CARD):
            if (source / name).is_file():
                shutil.copyfile(source / name, stage / name)
        if side is not None:
            (stage / MANIFEST).write_text(manifest_to_json(manifest), encoding="utf-8")
            write_readme(stage, manifest)
    return manifest


def refuse_to_replace(target: Path) -> None:
    """Raises InputError for a file, or a folder of other things than an exported model."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target} is a file; give the name of a folder for the exported model")
    if any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise InputError(
            f"{target} holds files that are no exported model and would be mixed with one; "
            "give the name of a new folder"
        )


@contextlib.contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place at the end, or vanishes on an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        stage.chmod(0o755)
        yield stage
        if target.exists():
            _keep_others(target, stage)
            old = stage.with_name(f"{stage.name}.old")
            target.rename(old)
            stage.rename(target)
            shutil.rmtree(old)
        else:
            stage.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _keep_others(target: Path, stage: Path) -> None:
    """Carry over what an earlier export did not write, such as a model card."""
    for path in target.iterdir():
        if path.name in OURS or ".onnx" in path.name:
            continue
        if path.is_dir():
            shutil.copytree(path, stage / path.name)
        else:
            shutil.copy2(path, stage / path.name)
