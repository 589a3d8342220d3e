"""Test findings of the Segment Anything paper with small models at 128 pixels.

    python -m research.paper claims -o OUT              train and evaluate, or resume; then print
    python -m research.paper claims -o OUT --only size rounds
    python -m research.paper claims -o OUT --table      write the tables of the finished runs

Each finished run is a line of OUT/runs.jsonl. A run that was interrupted resumes from its
checkpoint. All runs use one thread. The number of steps follows from the time of a step, which is
measured at the start, and is stored in OUT/settings.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch

from anymask.base import ConfigError, write_json
from research.claims.arms import ARMS, FINDINGS
from research.claims.pools import PoolSizes, make_pools
from research.claims.runs import Place, add_run, finished_runs, planned, run_arm, step_seconds
from research.claims.table import write_table
from research.command import exit_status
from research.write_card import page_of, write

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SETTINGS = "settings.json"
TRAINING = 0.8  # part of the time for training steps; the rest is for evaluation and images
QUICK_STEPS, QUICK_SEEDS = 2, 2
QUICK_SIZES = PoolSizes(train=2, dense=2, test=1)


def read_words(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        "python -m research.paper claims", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, help="results and pools")
    parser.add_argument("--data", type=Path, default=SHARED, help="with train, eval and backbone")
    parser.add_argument("--minutes", type=float, default=35.0, help="processor time of all runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(FINDINGS), help="findings to test")
    parser.add_argument("--quick", action="store_true", help="two steps on a few images")
    parser.add_argument("--table", action="store_true", help="only write --card")
    parser.add_argument("--card", type=Path, default=page_of("claims"), help="document of --table")
    return parser.parse_args(words)


def read_settings(args: argparse.Namespace, place: Place, names: Sequence[str]) -> dict[str, int]:
    """Return the steps of each arm: those of the first call, or from the time of a step."""
    path = place.folder / SETTINGS
    known: dict[str, int] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if missing := [name for name in names if name not in known]:
        if known:
            raise ConfigError(
                f"{path} has no steps for {', '.join(missing)}. Pass the same findings as in the "
                "first call, or another folder."
            )
        if args.quick:
            known = dict.fromkeys(names, QUICK_STEPS)
        else:
            known = steps_for({name: step_seconds(ARMS[name], place) for name in {*names, "base"}},
                              60 * args.minutes * TRAINING / args.seeds)  # fmt: skip
        write_json(path, known)
    return {name: known[name] for name in names}


def steps_for(seconds: dict[str, float], budget: float) -> dict[str, int]:
    """Return the steps of each arm, from the seconds of a step, for a budget in seconds.

    Arms with `same_time` take the time of "base", which may be missing in the result.
    """
    total = 0.0
    for name, each in seconds.items():
        arm = ARMS[name]
        twice = 2 if arm.start == "mae" else 1  # pretraining has as many steps
        total += seconds["base"] if arm.same_time else twice * each
    count = max(2, int(budget / total))
    return {
        name: max(2, round(count * seconds["base"] / each)) if ARMS[name].same_time else count
        for name, each in seconds.items()
    }


def run(args: argparse.Namespace) -> None:
    """Run the command. Raises AnymaskError."""
    place = Place(
        folder=args.output, backbone=args.data.resolve() / "backbone/mobilenet_v2_imagenet.npz"
    )
    if args.table:
        write(args.card, "claims", write_table(finished_runs(place.folder)))
        print(f"wrote {args.card}")
        return
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    chosen = args.only or list(FINDINGS)
    names = [name for name in ARMS if any(name in FINDINGS[one].arms for one in chosen)]
    sizes = QUICK_SIZES if args.quick else PoolSizes()
    make_pools(args.data / "train", args.data / "eval", place.pools, sizes)
    steps = read_settings(args, place, names)
    seeds = QUICK_SEEDS if args.quick else args.seeds
    done = {(one.arm, one.seed) for one in finished_runs(place.folder)}
    for name, seed in planned(steps, seeds):
        if (name, seed) not in done:
            found = run_arm(name, seed, steps[name], place)
            add_run(place.folder, found)
            means = (f"{key} {values.mean():.3f}" for key, values in found.values.items())
            cost = f"{found.steps} steps, {found.seconds:.0f} s"
            print(f"{found.arm} seed {found.seed}: {' '.join(means)}, {cost}", flush=True)
    runs = finished_runs(place.folder)
    print(write_table(runs))


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    return exit_status("research.paper claims", lambda: run(read_words(words)))


if __name__ == "__main__":
    sys.exit(main())
