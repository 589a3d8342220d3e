"""Measure the figures of `nano` and write them into the page of results and the README:

    python research/write_card.py --data ../shared/data/eval -o out/card [--only NAMES] [-- OPTIONS]

Each block of figures stands in its document between `<!-- NAME -->` and `<!-- /NAME -->`, and comes
from one run of `research.paper` (`BLOCKS`); OPTIONS are added to each, `--limit 2` for a try. The
runs keep their figures in the output folder, as JSON by name, so that one which was cut goes on;
another model needs another folder. What stands outside of the marks is written by people.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CARD = ROOT / "docs" / "reference" / "results.md"
README = ROOT / "README.md"
DIGITS = 12  # of the weights' hash that are written

PHOTO = "--clicks 3 --only --measure clicks --measure box --refine-edges"
BLOCKS = {
    "results": "zero-shot",
    "calibration": "natural --only --measure calibration",
    "baselines": "zero-shot --limit 40 --clicks 3 --only --measure clicks --measure box "
    "--baselines --slow-limit 20",
    "photo": f"zero-shot {PHOTO} --measure boundary",
    "mirror": f"zero-shot --limit 24 {PHOTO} --mirror",
    "noc": "zero-shot --sets berkeley,grabcut --only --measure noc --refine-edges",
    "names": "zero-shot --sets coco_val --only --measure names",
}
NO_FIGURES = "| set | masks |\n"
MEANS_ONLY = ("baselines", "mirror")  # of whose tables the means alone are written
# The README's marks that a block's figures of `coco_val` are written between, and what stands
# before the names of their columns.
ROWS = {"photo": ("coco-photo", "nano, edges: ")}


def main() -> None:
    """Run, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", default=",".join(BLOCKS), help="blocks, with commas between")
    parser.add_argument("options", nargs="*", help="behind --, for each run")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.only.split(","):
        measure(name, args.data, args.output, args.options)
        write(CARD, name, block_of(name, args.output, args.options))
        if name in ROWS:
            marks, before = ROWS[name]
            write(README, marks, coco_row(args.output / f"{name}.json", before))
        print(f"{name}: written", flush=True)


def measure(name: str, data: Path, folder: Path, options: Sequence[str]) -> None:
    """One run of `research.paper`, or what is left of it."""
    path = folder.resolve() / name
    files = ["--json", f"{path}.json", "--markdown", f"{path}.md"]
    asked = [*shlex.split(BLOCKS[name]), "--data", str(data.resolve()), *files, *options]
    resume = ["--resume"] if path.with_suffix(".json").exists() else []
    subprocess.run([sys.executable, "-m", "research.paper", *asked, *resume], check=True, cwd=ROOT)


def block_of(name: str, folder: Path, options: Sequence[str]) -> str:
    """What stands between the marks: the command, the weights, the tables."""
    command = shlex.join(["python", "-m", "research.paper", *shlex.split(BLOCKS[name]), *options])
    report = json.loads((folder / f"{name}.json").read_text("utf-8"))
    found = tables((folder / f"{name}.md").read_text("utf-8"))
    if name in MEANS_ONLY:
        found = [means(table) for table in found if "mean**" in table]
    head = f"`{command}`, weights {report['weights_hash'][:DIGITS]}:"
    return "\n\n".join([head, *found])


def tables(markdown: str) -> list[str]:
    """The tables of a report that have figures, each with the line above it, where it has one."""
    parts = markdown.strip().split("\n\n")
    return [
        f"{before[0].upper()}{before[1:]}:\n\n{part}" if is_title(before) else part
        for before, part in zip(["", *parts], parts, strict=False)
        if part.startswith("|") and not part.startswith(NO_FIGURES)
    ]


def is_title(line: str) -> bool:
    """Whether a part of a report is the line above a table."""
    return bool(line) and line[0] not in "|-"


def means(table: str) -> str:
    """A table's head and its rows of means."""
    lines = table.splitlines()
    return "\n".join([*lines[:2], *(line for line in lines[2:] if "mean**" in line)])


def coco_row(path: Path, before: str) -> str:
    """A row of the README's table: one click, three clicks, box on `coco_val`."""
    rows = tables(path.with_suffix(".md").read_text("utf-8"))[0].splitlines()
    header, row = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (rows[0], next(line for line in rows if line.startswith("| coco_val")))
    )
    figures = dict(zip(header, row, strict=True))
    shown = [figures[before + word] for word in ("1 click", "3 clicks", "box")]
    return " | ".join(shown)


def write(path: Path, name: str, text: str) -> None:
    """Put a text between a document's marks of that name; ends where it has none."""
    old = path.read_text("utf-8")
    marks = re.compile(rf"(<!-- {name} -->)(\n*| ).*?(\n*| )(<!-- /{name} -->)", re.DOTALL)
    if not marks.search(old):
        sys.exit(f"{path.name}: wanted the marks <!-- {name} --> and <!-- /{name} -->, found none")
    path.write_text(marks.sub(lambda m: f"{m[1]}{m[2]}{text}{m[3]}{m[4]}", old), "utf-8")


if __name__ == "__main__":
    main()
