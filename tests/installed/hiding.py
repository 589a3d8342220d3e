"""Runs the checks of one extra while the packages of the others are hidden.

    python hiding.py FILE.json

The file holds the top-level modules to hide, the extras that count as installed, command lines
that prepare, those to run, and those to refuse with the extras that bring what each misses. The
last line of the output is JSON: what failed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


class VisiblePackages(importlib.abc.MetaPathFinder):
    """Finds modules as Python does, but for those of the hidden packages."""

    def __init__(self, hidden: Iterable[str]) -> None:
        self.hidden = frozenset(hidden)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As the standard finder; None for a hidden package."""
        if fullname.partition(".")[0] in self.hidden:
            return None
        return importlib.machinery.PathFinder.find_spec(fullname, path, target)

    def find_distributions(self, context: Any) -> Iterable[importlib.metadata.Distribution]:
        """All of them, as the standard finder: their entry points are not used."""
        return importlib.metadata.MetadataPathFinder.find_distributions(context)


def hide(modules: Iterable[str]) -> None:
    """Hide top-level modules from every import that follows."""
    finder = VisiblePackages(modules)
    sys.meta_path[:] = [
        finder if one is importlib.machinery.PathFinder else one for one in sys.meta_path
    ]
    for name in [name for name in sys.modules if name.partition(".")[0] in finder.hidden]:
        del sys.modules[name]


def main(file: Path) -> None:
    """Check what the file names, in the working folder."""
    from extras import names_missing, output_names

    asked = json.loads(file.read_text("utf-8"))
    hide(asked["hidden"])
    from surface import Surface

    surface = Surface(asked["installed"])
    surface.help_screens()
    surface.names()
    for line in asked["before"]:
        surface.run(shlex.split(line), codes=(0, 2))
    for line in asked["run"]:
        surface.run(shlex.split(line))
    unwritten = {name for line, _ in asked["refused"] for name in output_names(line)}
    for line, remedies in asked["refused"]:
        text = surface.run(shlex.split(line), codes=(2,))
        extra_is_named = any(f"anymask[{name}]" in text for name in remedies)
        if text and not extra_is_named and not names_missing(text, unwritten):
            surface.failures.append((line, f"no extra of {remedies} is named: {text}"))
    print(json.dumps(surface.failures))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
