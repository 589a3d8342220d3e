"""Prints every help screen and resolves every public name of the anymask that this interpreter has.

    python surface.py [EXTRA ...]

EXTRA: the extras that are installed; none of them may be asked for. The last line of the output
is JSON: how many were tried, and what failed. Needs the standard library alone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator, Sequence

MIN_COMMANDS = 26
GENERAL = ([], ["--help"], ["-h"], ["help"], ["--version"], ["version"], ["help", "segment"])


class Surface:
    """What was tried, and what failed."""

    def __init__(self, installed: Sequence[str]) -> None:
        self.installed = frozenset(installed)
        self.tried = 0
        self.failures: list[tuple[str, str]] = []

    def run(self, words: Sequence[str], codes: Sequence[int] = (0,)) -> str:
        """Run a command line in this process and return what it printed."""
        from anymask.cli.main import main

        self.tried += 1
        name = " ".join(["anymask", *words])
        out, error = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
                code = main(list(words))
        except BaseException:  # also a SystemExit, which should be a code
            self.failures.append((name, traceback.format_exc()))
            return ""
        text = out.getvalue() + error.getvalue()
        if code not in codes:
            self.failures.append((name, f"exit code {code}: {text}"))
        return text

    def help_screens(self) -> None:
        """Of the program, of every command, and of every sub-command that their parsers declare."""
        for words in GENERAL:
            self.run(words)
        self.run(["segmnt"], codes=(2,))
        from anymask.cli.main import commands

        found = [(name,) for name in commands()]
        if len(found) < MIN_COMMANDS:
            self.failures.append(("commands", f"{len(found)}, wanted {MIN_COMMANDS}"))
        visited: set[tuple[str, ...]] = set()
        while found:
            command = found.pop()
            if command in visited:
                continue
            visited.add(command)
            for option in ("--help", "--help-all"):
                with declared_commands() as declared:
                    text = self.run([*command, option])
                if text and not text.startswith(f"usage: anymask {' '.join(command)}"):
                    self.failures.append((" ".join([*command, option]), text))
                found += declared

    def names(self) -> None:
        """Of the package, which has a placeholder for what is missing, and of its rooms."""
        import anymask

        rooms = [one.name for one in pkgutil.iter_modules(anymask.__path__) if one.ispkg]
        for name in ("anymask", *(f"anymask.{room}" for room in rooms)):
            self._names_of(name)
        with self._told("from anymask import *"):
            exec("from anymask import *", {})

    def _names_of(self, package: str) -> None:
        with self._told(f"import {package}"):
            module = importlib.import_module(package)
            dir(module)
            for name in getattr(module, "__all__", ()):
                with self._told(f"{package}.{name}", may_miss=package != "anymask"):
                    getattr(module, name)

    @contextlib.contextmanager
    def _told(self, what: str, may_miss: bool = False) -> Iterator[None]:
        from anymask.base import MissingExtra

        self.tried += 1
        try:
            yield
        except MissingExtra as error:
            asked = set(re.findall(r"anymask\[([\w-]+)\]", str(error)))
            if not may_miss or not asked or asked & self.installed:
                self.failures.append((what, f"MissingExtra: {error}"))
        except Exception:
            self.failures.append((what, traceback.format_exc()))


@contextlib.contextmanager
def declared_commands() -> Iterator[list[tuple[str, ...]]]:
    """The commands whose parsers are made meanwhile, as words."""
    found: list[tuple[str, ...]] = []
    original = argparse.ArgumentParser.__init__

    def remember(self: argparse.ArgumentParser, *args: object, **options: object) -> None:
        original(self, *args, **options)  # type: ignore[arg-type]
        program, *words = self.prog.split()
        if program == "anymask" and words:
            found.append(tuple(words))

    argparse.ArgumentParser.__init__ = remember  # type: ignore[method-assign,assignment]
    try:
        yield found
    finally:
        argparse.ArgumentParser.__init__ = original  # type: ignore[method-assign]


if __name__ == "__main__":
    surface = Surface(sys.argv[1:])
    surface.help_screens()
    surface.names()
    print(json.dumps({"tried": surface.tried, "failures": surface.failures}))
