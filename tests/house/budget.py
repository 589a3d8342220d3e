"""Counts the lines of each room and compares them with `budget.toml`.

    python -m tests.house.budget                              # print the lines of each room
    python -m tests.house.budget --record "find: ROI writer"  # write today's numbers

A room may shrink freely. Growth needs a reason, which `--record` appends to the file.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

from tests.house import gates

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("budget.toml")
HEADER = """\
# Lines of each room (*.py of the package and of research/, *.ts of web/). `make lint` fails when a
# room has more lines than recorded here. A commit may lower a number. Raising one needs a line in
# [raised] that says which feature arrived or what left elsewhere:
#     python -m tests.house.budget --record "formats: reader of ImageJ ROI sets"
"""


def room_lines(root: Path) -> dict[str, int]:
    """Lines of each room below a checkout, by name of the room."""
    package = root / "src" / "anymask"
    lines: dict[str, int] = {}
    for path in gates.python_files(package):
        room = gates.room_of(path, package)
        lines[room] = lines.get(room, 0) + count_lines(path)
    lines["research"] = sum(map(count_lines, gates.python_files(root / "research")))
    typescript = (path for path in (root / "web").rglob("*.ts*"))
    lines["web"] = sum(
        count_lines(path)
        for path in typescript
        if path.suffix in (".ts", ".tsx") and gates.not_generated(path, root / "web")
    )
    return dict(sorted(lines.items()))


def count_lines(path: Path) -> int:
    """Lines of one text file."""
    return len(path.read_text("utf-8").splitlines())


def excesses(recorded: dict[str, int], lines: dict[str, int]) -> list[str]:
    """Rooms that have more lines than recorded, one complaint each."""
    remedy = 'shorten it, or run: python -m tests.house.budget --record "REASON"'
    return [
        f"{room}: {count} lines, the budget is {recorded.get(room, 0)}; {remedy}"
        for room, count in lines.items()
        if count > recorded.get(room, 0)
    ]


def total(lines: dict[str, int]) -> str:
    """The sum of all rooms, as CI prints it."""
    package = sum(count for room, count in lines.items() if room not in ("research", "web"))
    return f"package {package}, research {lines['research']}, web {lines['web']} lines"


def write(path: Path, lines: dict[str, int], raised: list[str]) -> None:
    """Write the numbers of all rooms and the reasons of all raises."""
    rooms = "".join(f"{room} = {count}\n" for room, count in lines.items())
    reasons = "".join(f'    "{reason}",\n' for reason in raised)
    path.write_text(f"{HEADER}\n[lines]\n{rooms}\n[raised]\nreasons = [\n{reasons}]\n", "utf-8")


def main() -> None:
    """Print the lines of each room, or record them."""
    parser = argparse.ArgumentParser(description="lines of each room, and their budget")
    parser.add_argument("--record", metavar="REASON", help="write today's numbers and the reason")
    args = parser.parse_args()
    lines = room_lines(ROOT)
    known = tomllib.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    recorded: dict[str, int] = known.get("lines", {})
    reasons: list[str] = known.get("raised", {}).get("reasons", [])
    grown = {room: lines[room] - recorded.get(room, 0) for room in lines}
    grown = {room: more for room, more in grown.items() if more > 0 and recorded}
    if args.record is None:
        for room, count in lines.items():
            print(f"{room:<12} {count:>7}  {count - recorded.get(room, 0):+}")
        print(total(lines))
        return
    if grown:
        sizes = ", ".join(f"{room} +{more}" for room, more in grown.items())
        reasons = [*reasons, f"{sizes}: {args.record}".replace('"', "'")]
    write(FILE, lines, reasons)


if __name__ == "__main__":
    main()
