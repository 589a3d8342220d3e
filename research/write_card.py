"""Measure the figures of `nano` and write them into the pages of results:

    python research/write_card.py --data ../shared/data/eval -o out/card [--only NAMES] [-- OPTIONS]

Each block of figures is written between `<!-- NAME -->` and `<!-- /NAME -->` in its document. Its
figures come from runs of `research.paper` (`RUNS`), to which OPTIONS are added (`--limit 2` for a
trial). `FORMS` turns the tables of a run into the text of the block. Tables show means; the rows of
single datasets become CSV files in docs/reference/data. The runs write their figures
to the output folder, as JSON by name, so that an interrupted run is resumed; use another folder for
another model. The text outside of the marks is written by hand.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
DIGITS = 12  # of the weights' hash that are written

WIDTH = 150  # of the lines of a sentence in the documents

IMAGE = "--clicks 3 --only --measure clicks --measure box --refine-edges"
RUNS = {
    "all-masks": "zero-shot --clicks 3 --only --measure clicks --measure box",
    "calibration": "natural --only --measure calibration",
    "baselines": "zero-shot --limit 40 --clicks 3 --only --measure clicks --measure box "
    "--baselines --slow-limit 20",
    "refinement": f"zero-shot {IMAGE} --measure boundary",
    "noc": "zero-shot --sets berkeley,grabcut --only --measure noc --refine-edges",
    "names": "zero-shot --sets coco_val --only --measure names",
}
MODEL = "--model nano"
MEANS = ("| **", "| 95 %")  # the first cells of rows of means
NO_FIGURES = "| set | masks |\n"
EDGES = "nano, edges"  # the name of nano with refinement in the tables


def main() -> None:
    """Run, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", default=",".join(RUNS), help="blocks, with commas between")
    parser.add_argument("options", nargs="*", help="behind --, for each run")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.only.split(","):
        measure(name, args.data, args.output, args.options)
        write(page_of(name), name, block_of(name, args.output, args.options))
        if name not in FORMS:
            write_rows(text_of(name, args.output), REFERENCE / "data" / f"{name}.csv")
        print(f"{name}: written", flush=True)


def page_of(name: str) -> Path:
    """The page of results with the marks of a block."""
    pages = REFERENCE.glob("results*.md")
    return next(page for page in pages if f"<!-- {name} -->" in page.read_text("utf-8"))


def measure(name: str, data: Path, folder: Path, options: Sequence[str]) -> None:
    """One run of `research.paper`, or what is left of it."""
    path = folder.resolve() / name
    file = ["--json", f"{path}.json"]
    words = [*shlex.split(f"{RUNS[name]} {MODEL}"), "--data", str(data.resolve()), *file, *options]
    resume = ["--resume"] if path.with_suffix(".json").exists() else []
    command = [sys.executable, "-m", "research.paper", *words, *resume]
    with Path(f"{path}.md").open("wb") as tables:
        subprocess.run(command, check=True, cwd=ROOT, stdout=tables)


def block_of(name: str, folder: Path, options: Sequence[str]) -> str:
    """The text between the marks of a block."""
    return FORMS.get(name, tables_with_head)(name, folder, options)


def tables_with_head(name: str, folder: Path, options: Sequence[str]) -> str:
    """The command, the weights, and the rows of means of the tables."""
    means = [means_of(part) for part in tables(text_of(name, folder))]
    return "\n\n".join([head_of(name, folder, options), *filter(None, means)])


def means_of(part: str) -> str:
    """A table and its title without the rows of single datasets; empty if it has no other."""
    means = [line for line in part.splitlines() if line.startswith(MEANS)]
    head, rule, _ = part.partition("---|\n")
    return head + rule + "\n".join(means) if means else ""


def write_rows(markdown: str, path: Path) -> None:
    """Write the rows of single datasets as CSV files: NAME.csv, NAME-2.csv for the second table."""
    for number, part in enumerate(tables(markdown), 1):
        file = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        lines = [line for line in part.splitlines() if line.startswith("| ")]
        rows = [line[2:-2].split(" | ") for line in lines if not line.startswith(MEANS)]
        with file.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened, lineterminator="\n").writerows(rows)


def head_of(name: str, folder: Path, options: Sequence[str]) -> str:
    """The line above the tables."""
    report = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return f"{command_of(name, options)}, weights {report['weights_hash'][:DIGITS]}:"


def command_of(name: str, options: Sequence[str]) -> str:
    """The command of a run, as code."""
    words = shlex.split(f"python -m research.paper {RUNS[name]} {MODEL}")
    return f"`{shlex.join([*words, *options])}`"


def text_of(name: str, folder: Path) -> str:
    """The report of a run in Markdown."""
    return (folder / f"{name}.md").read_text("utf-8")


def tables(markdown: str) -> list[str]:
    """The tables of a report that have figures, each with its title above it.

    A title such as "boundary: mean boundary IoU" is written without the name of the measure.
    """
    parts = markdown.strip().split("\n\n")
    return [
        f"{sentence(before.partition(': ')[2] or before)}:\n\n{part}"
        if before and before[0] not in "|-"
        else part
        for before, part in zip(["", *parts], parts, strict=False)
        if part.startswith("|") and not part.startswith(NO_FIGURES)
    ]


def sentence(text: str) -> str:
    """A text that starts with a capital letter."""
    return text[:1].upper() + text[1:]


def rows_of(markdown: str) -> Iterator[dict[str, str]]:
    """The rows of all tables of a report, each by the names of its columns."""
    for part in markdown.split("\n\n"):
        lines = [line for line in part.splitlines() if line.startswith("|")]
        cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]
        for row in cells[2:]:
            yield dict(zip(cells[0], row, strict=True))


def mean_row(markdown: str, group: str) -> dict[str, str]:
    """The first row with the means of a group."""
    return next(row for row in rows_of(markdown) if row.get("set") == f"{group} mean")


def interval(cell: str, scale: str = "") -> str:
    """`0.350 (0.170–0.480)` as "0.350 (0.170 to 0.480)", or in percent."""
    numbers = re.findall(r"[\d.]+", cell)
    if scale == "%":
        numbers = [f"{100 * float(number):.0f}" for number in numbers]
    value, *ends = numbers
    unit = " %" if scale else ""
    return f"{value}{unit} ({' to '.join(ends)}{unit})" if ends else f"{value}{unit}"


def first_of(cell: str, scale: str = "") -> str:
    """The value of a cell, without its interval."""
    return interval(cell.partition("(")[0], scale)


def baselines_form(name: str, folder: Path, options: Sequence[str]) -> str:
    """One row for each method and measure."""
    row = mean_row(text_of(name, folder), "dev")
    lines = ["| method | measure | dev mean |", "|---|---|---|"]
    own = []
    for column, cell in list(row.items())[2:]:
        method, _, measure = column.rpartition(": ")
        shown = f"| {method or 'nano, the same masks'} | {measure} | {cell} |"
        if cell and measure != "oracle":
            (lines if method else own).append(shown)
    return "\n\n".join([head_of(name, folder, options), "\n".join([*lines, *own])])


def calibration_form(name: str, folder: Path, options: Sequence[str]) -> str:
    """The figures of the order of candidates in sentences."""
    row = mean_row(text_of(name, folder), "natural")
    own, own_best, ranked, best, first, error = (
        first_of(row[column])
        for column in ("own argmax", "own oracle", "argmax", "oracle", "picks the best", "ECE")
    )
    closed, whole = (interval(row[n], "%") for n in ("own gap closed", "whole gap closed"))
    return filled(
        "Choice of the first mask on six datasets of everyday photos "
        f"({command_of(name, options)}): the masks with the highest network score have a mean IoU "
        f"of {own}, and the best of the three candidates {own_best}. The masks that the learned "
        "ranking puts first have a mean "
        f"IoU of {ranked}, and the best of its three candidates {best}. The learned ranking thus "
        f"closes {closed.replace('(', '(95 % interval ')} of the gap between {own} and {own_best}. "
        f"Of the gap between {own} and {best}, it closes {whole}. The best candidate is first for "
        f"{first_of(first, '%')} of the clicks, and the expected calibration error is {error}."
    )


def noc_form(name: str, folder: Path, options: Sequence[str]) -> str:
    """The numbers of clicks, with and without refinement."""
    columns = {"dataset": "clicks to reach an IoU", "masks": "masks"}
    for most in (85, 90):
        columns |= {f"NoC@{most}": f"nano NoC@{most}"}
        columns |= {f"NoC@{most} with the image": f"{EDGES} NoC@{most}"}
    rows = [row for row in rows_of(text_of(name, folder)) if columns["dataset"] in row]
    return small_table(columns, [[row[column] for column in columns.values()] for row in rows])


def names_form(name: str, folder: Path, options: Sequence[str]) -> str:
    """The accuracy of names for both kinds of masks."""
    row = next(row for row in rows_of(text_of(name, folder)) if "top 1, drawn" in row)
    kinds = {"annotated masks": "drawn", "masks predicted from tight boxes": "box"}
    return small_table(
        ("masks that are named", "right name first", "right name among the first five"),
        [[k, *(interval(row[f"top {n}, {kind}"]) for n in (1, 5))] for k, kind in kinds.items()],
    )


def small_table(header: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    names = list(header)
    lines = [f"| {' | '.join(line)} |" for line in (names, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(names)}", *lines[1:]])


def filled(text: str) -> str:
    """A paragraph, with the line width of the documents."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


FORMS: dict[str, Callable[[str, Path, Sequence[str]], str]] = {
    "baselines": baselines_form,
    "calibration": calibration_form,
    "noc": noc_form,
    "names": names_form,
}


def write(path: Path, name: str, text: str) -> None:
    """Put a text between a document's marks of that name; ends where it has none."""
    old = path.read_text("utf-8")
    marks = re.compile(rf"(<!-- {name} -->)(\n*| ).*?(\n*| )(<!-- /{name} -->)", re.DOTALL)
    if not marks.search(old):
        sys.exit(f"{path.name}: wanted the marks <!-- {name} --> and <!-- /{name} -->, found none")
    path.write_text(marks.sub(lambda m: f"{m[1]}{m[2]}{text}{m[3]}{m[4]}", old), "utf-8")


if __name__ == "__main__":
    main()
