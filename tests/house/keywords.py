"""Writes the types of keyword arguments that stand below the mark in `anymask/keywords.pyi`.

    python -m tests.house.keywords

Type checkers cannot derive them from the dataclasses of the settings.
"""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "src" / "anymask" / "keywords.pyi"
MARK = "# Written by tests/house/keywords.py:\n"
SETTINGS = {
    "SegmentSettingsDict": ("segment.settings.SegmentSettings",),
    "GridDict": ("segment.settings.Grid",),
    "MaskFilterDict": ("segment.settings.MaskFilter",),
    "PartSettingsDict": ("segment.settings.PartSettings",),
    "FindDict": ("find.words.FindSettings",),
    "CutoutDict": ("edit.cutouts.CutoutSettings",),
    "TrackOptions": (
        "track.settings.TrackSettings", "track.settings.FrameSampling",
        "track.settings.MonitorSettings", "track.settings.MemorySettings",
    ),
    "VolumeOptions": ("volumes.session.VolumeSettings",),
    "TrainSettings": ("training.by_recipe.TrainOptions",),
    "TuningSettings": ("training.options.TuningOptions",),
    "DistillSettings": ("training.options.DistillOptions",),
    "AuditSettings": ("evaluation.audit_options.AuditOptions",),
    "ServerSettings": ("studio.server_options.ServerOptions",),
}  # fmt: skip


def written() -> tuple[str, str]:
    """Return the import statements and the classes."""
    imports: dict[str, str] = {}
    classes = [
        "".join([f"class {name}(TypedDict, total=False):\n", *_rows(settings, imports)])
        for name, settings in SETTINGS.items()
    ]
    return "\n".join(imports.values()), "\n".join(classes)


def _rows(settings: tuple[str, ...], imports: dict[str, str]) -> Iterator[str]:
    for one in settings:
        module, _, name = f"anymask.{one}".rpartition(".")
        declared = getattr(importlib.import_module(module), name)
        owners = {own: kind.__module__ for kind in declared.__mro__[-2::-1]
                  for own in vars(kind).get("__annotations__", ())}  # fmt: skip
        for field in fields(declared):
            # Fields without a default value are parameters, and so is `model`.
            if field.default is field.default_factory is MISSING or field.name == "model":
                continue
            hint = ast.parse(str(field.type), mode="eval").body
            if isinstance(hint, ast.Subscript) and ast.unparse(hint.value) == "Annotated":
                hint = hint.slice.elts[0]  # type: ignore[attr-defined]
            names = {node.id for node in ast.walk(hint) if isinstance(node, ast.Name)}
            imports |= _imports(owners[field.name], names - imports.keys())
            also = "str | " if "Path" in names and "str" not in names else ""
            yield f"    {field.name}: {also}{ast.unparse(hint)}\n"


def _imports(module: str, names: set[str]) -> dict[str, str]:
    """Return the statements that import names which a module imports or defines."""
    tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text("utf-8"))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {one.name: f"from {node.module} import {one.name}" for one in node.names}
        elif isinstance(node, ast.Assign):
            name = ast.unparse(node.targets[0])
            found[name] = f"from {module} import {name}"
    return {name: found[name] for name in names if name in found}


if __name__ == "__main__":
    head = FILE.read_text("utf-8").partition(MARK)[0]
    FILE.write_text("\n".join([head + MARK, *written()]), "utf-8")
    for command in (["check", "--fix", "--select", "I"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, "-q", FILE], check=True)
