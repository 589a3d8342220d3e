"""Compare the speed of this checkout with that of another one, in alternating calls.

    git worktree add ../before REVISION
    python -m research.measure_versions ../before --image photo.jpg -o versions.json

Each model is loaded in one process per checkout, and the processes alternate, so that changes of
the machine's speed affect both. The steps are: encode the image; predict the mask of a click, of a
further click with the previous prediction, and of a box; run `anymask segment` from its start to a
mask file (cold start). Times are medians; the ratio is the median of the ratios of the turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from anymask.base import this_machine, write_json

TURNS = {"encode": 15, "click": 40, "further click": 40, "box": 40}
COLD = 10  # starts of the command
HERE = Path(__file__).resolve().parents[1]

# Runs in both checkouts, so it calls only what both of them have.
WORKER = """
import sys, time
import anymask
from anymask.base import InputError
from anymask.images import load_image

model, photo = anymask.load(sys.argv[1]), load_image(sys.argv[2])
height, width = photo.shape[:2]
click, other = (0.48 * width, 0.52 * height), (0.6 * width, 0.6 * height)
box = (0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height)
seen = model.encode(photo)
first = model.segment(seen, points=[click])

def further():
    try:
        return model.segment(seen, points=[click, other], previous=first)
    except InputError:  # earlier versions take the logits
        return model.segment(seen, points=[click, other], mask=first.logits[0])

steps = {
    "encode": lambda: model.encode(photo),
    "click": lambda: model.segment(seen, points=[click]).masks,
    "further click": lambda: further().masks,
    "box": lambda: model.segment(seen, box=box).masks,
}
for line in sys.stdin:
    began = time.perf_counter()
    steps[line.strip()]()
    print(time.perf_counter() - began, flush=True)
"""


class Version:
    """Run the model of one checkout in a separate process."""

    def __init__(self, checkout: Path, model: str, image: Path) -> None:
        self.model, self.image = model, image
        self.environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, model, str(image)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Version:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def seconds(self, step: str) -> float:
        """Return the time of one step in that process, in seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{step}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("The process of a checkout ended; its error is above.")
        return float(line)

    def cold_start(self) -> float:
        """Return the time of `anymask segment` from its start to a mask file, in seconds."""
        with tempfile.TemporaryDirectory() as folder:
            words = ["segment", str(self.image), "--model", self.model, "--point", "40,30"]
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "anymask", *words, "-o", f"{folder}/mask.png"],
                env=self.environment,
                check=True,
                capture_output=True,
            )
            return time.perf_counter() - began


def in_turns(before: Callable[[], float], now: Callable[[], float], turns: int) -> list[float]:
    """Return both median times in seconds, and the median ratio; the first turn is a warm-up."""
    pairs = []
    for turn in range(turns + 1):
        later = None if turn % 2 else now()
        pairs.append((before(), now() if later is None else later))
    pairs = pairs[1:]
    medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
    return [*medians, statistics.median(new / old for old, new in pairs)]


def main(given: list[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("before", type=Path, help="folder of the other checkout")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["nano", "small"])
    parser.add_argument("--turns", type=int, help="turns of each step")
    parser.add_argument("-o", "--output", type=Path, help="figures as JSON")
    args = parser.parse_args(given)
    print(this_machine().line())
    print("| model | step | before | now | ratio |\n|---|---|---|---|---|")
    rows: dict[str, dict[str, list[float]]] = {}
    for model in args.models:
        rows[model] = {}
        with ExitStack() as stack:
            before, now = (
                stack.enter_context(Version(checkout.resolve(), model, args.image.resolve()))
                for checkout in (args.before, HERE)
            )
            steps = {
                step: (partial(before.seconds, step), partial(now.seconds, step), turns)
                for step, turns in TURNS.items()
            }
            steps["cold start"] = (before.cold_start, now.cold_start, COLD)
            for step, (old, new, turns) in steps.items():
                found = rows[model][step] = in_turns(old, new, args.turns or turns)
                milliseconds = " | ".join(f"{1000 * one:.1f} ms" for one in found[:2])
                print(f"| `{model}` | {step} | {milliseconds} | {found[2]:.2f} |", flush=True)
    if args.output:
        write_json(args.output, {"machine": this_machine().line(), "seconds": rows})


if __name__ == "__main__":
    main()
