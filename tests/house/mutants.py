"""Breaks the package in 60 places, one at a time, and records which tests notice it.

    python -m tests.house.mutants choose              # write the mutants to mutants.json
    python -m tests.house.mutants run                 # find a killing test of each; resumes
    python -m tests.house.mutants check               # run each against its killing test

`run` and `check` change files of the checkout in which they start, and restore them: use a separate
clone or worktree. A mutant is a changed operator, constant or condition. It is found again by its
file and the text of its line, so that other changes do not invalidate the list.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("mutants.json")
SEED, EACH = 20261130, 20
KINDS = ("operator", "constant", "branch")
PARTS = ("src/anymask", "contrib")
# Files that were about to be deleted or moved to plug-ins when the mutants were drawn.
LEFT_OUT = """
assets commands integrations points point_sam lama inpainting diffusion changes edit v7 via encord
supervisely cellpose pickled hqseg semantic_sam swin deformable xmem xmem_memory xmem_tracker
sam_med3d samed signing openvino proposals panoptic_quality check plan
"""
SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.In: (" in ", " not in "),
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
    ast.And: (" and ", " or "), ast.Or: (" or ", " and "),
}  # fmt: skip
LIMIT_S = 1500  # of the tests of one mutant


def sites(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the possible mutants of a file whose change stands on one line."""
    lines = path.read_text("utf-8").splitlines()
    name = path.relative_to(ROOT).as_posix()

    def site(kind: str, line: int, start: int, end: int, text: str) -> dict[str, Any]:
        old = lines[line - 1]
        new = old[:start] + text + old[end:]
        return {"file": name, "kind": kind, "line": line, "old": old, "new": new}

    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp):
            if isinstance(node, ast.Compare):
                left, operator, right = node.left, node.ops[0], node.comparators[0]
            elif isinstance(node, ast.BinOp):
                left, operator, right = node.left, node.op, node.right
            else:
                left, operator, right = node.values[0], node.op, node.values[1]
            swap = SWAPS.get(type(operator))
            if swap and left.end_lineno == right.lineno and left.end_lineno is not None:
                start, end = left.end_col_offset or 0, right.col_offset
                between = lines[right.lineno - 1][start:end]
                if between.count(swap[0]) == 1 and not isinstance(right, ast.Constant | ast.List):
                    yield site("operator", right.lineno, start, end, between.replace(*swap))
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            text = lines[node.lineno - 1][node.col_offset : node.end_col_offset]
            if re.fullmatch(r"[\d.]+", text):
                changed = repr(node.value + 1 if type(node.value) is int else node.value * 2)
                yield site(
                    "constant", node.lineno, node.col_offset, node.end_col_offset or 0, changed
                )
        elif isinstance(node, ast.If | ast.IfExp) and node.test.lineno == node.test.end_lineno:
            start, end = node.test.col_offset, node.test.end_col_offset or 0
            text = lines[node.test.lineno - 1][start:end]
            if "TYPE_CHECKING" not in text:
                yield site("branch", node.test.lineno, start, end, f"not ({text})")


def choose() -> list[dict[str, Any]]:
    """Draw the mutants: as many of each kind, from all files."""
    chance = random.Random(SEED)
    files = [
        path for path in sorted((ROOT / "src/anymask").rglob("*.py"))
        if not set(LEFT_OUT.split()) & {path.stem, *path.relative_to(ROOT).parts[:-1]}
    ]  # fmt: skip
    every = [one for path in files for one in sites(path) if one["old"] != one["new"]]
    drawn: list[dict[str, Any]] = []
    for kind in KINDS:
        drawn += chance.sample([one for one in every if one["kind"] == kind], EACH)
    return drawn


def room_tests(file: str) -> str:
    """Return the folder with the tests of a file's room."""
    parts = Path(file).parts
    folder = f"tests/{parts[2]}"
    return folder if (ROOT / folder).is_dir() else "tests"


def fails(mutant: dict[str, Any], tests: list[str]) -> list[str] | None:
    """Apply a mutant and return the tests that fail, [] if all pass; None if it is gone."""
    path = next((
        found for found in (ROOT / mutant["file"], *_moved(mutant["file"]))
        if found.is_file() and mutant["old"] in found.read_text("utf-8").splitlines()
    ), None)  # fmt: skip
    if path is None:
        return None
    text = path.read_text("utf-8")
    lines = text.splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.rstrip("\n") == mutant["old"]]
    place = min(places, key=lambda number: abs(number - mutant["line"]))
    lines[place] = mutant["new"] + "\n"
    words = ["-x", "-q", "--color=no", "-p", "no:cacheprovider", "--tb=no", "-m", "not slow"]
    try:
        path.write_text("".join(lines), "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, *tests], cwd=ROOT, check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
        out = done.stdout
    except subprocess.TimeoutExpired:
        return ["(endless)"]
    finally:
        path.write_text(text, "utf-8")
    found = re.findall(r"^(?:FAILED|ERROR) (\S+)", out, re.MULTILINE)
    return found or ([] if done.returncode in (0, 5) else [f"(exit code {done.returncode})"])


def _moved(file: str) -> Iterator[Path]:
    """Yield files of the same name, for code that was moved to another place."""
    for part in PARTS:
        yield from (ROOT / part).rglob(Path(file).name)


def main() -> None:
    """Choose, run or check the mutants."""
    parser = argparse.ArgumentParser(description="which tests notice a broken line")
    parser.add_argument("action", choices=("choose", "run", "check"))
    args = parser.parse_args()
    if args.action == "choose":
        mutants = choose()
    else:
        mutants = json.loads(FILE.read_text("utf-8"))
    for one in mutants:
        if args.action == "run" and "killed_by" not in one:
            one["killed_by"] = fails(one, [room_tests(one["file"])])
        elif args.action == "check" and one.get("killed_by"):
            one["now"] = fails(one, one["killed_by"])
            print(one["file"], one["line"], one["now"], flush=True)
        FILE.write_text(json.dumps(mutants, indent=1) + "\n", "utf-8")
    if args.action == "check":
        survivors = [one for one in mutants if one.get("killed_by") and not one["now"]]
        print(f"{len(survivors)} of {len(mutants)} mutants survive or are gone")


if __name__ == "__main__":
    main()
