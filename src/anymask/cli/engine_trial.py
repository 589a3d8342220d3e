"""`anymask engine trial`: the whole loop on a set whose masks are hidden, round by round.

Each round labels new photos with the leading model and the simulated annotator, retrains on
everything accepted so far, and promotes the new model where it is surely better. The leading model
is then measured on a test set that no round sees.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from anymask.cli.engine_training import Tuning, judge_on, open_model, scores_of, trainer
from anymask.cli.outputs import json_bytes, whole_file
from anymask.cli.progress import follow
from anymask.primitives.errors import InputError

if TYPE_CHECKING:
    from anymask.data.annotations import AnnotatedImage
    from anymask.engine.entries import Stage
    from anymask.engine.project import Project

STAGE_OF_ROUND = ("assisted", "semi")  # the last one goes on
HELD_OUT = 0.3  # of the photos: a trial has few


def configure_trial(parser: argparse.ArgumentParser) -> None:
    """Add the action's own options; `folder` is the set that is labelled."""
    parser.add_argument("--test", metavar="SET", type=Path, required=True, help="to measure on")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--photos", type=int, default=16, help="labelled in each round (16)")
    parser.add_argument("--test-photos", type=int, default=12, help="measured after each (12)")
    parser.add_argument(
        "--masks-a-photo", type=int, default=40,
        help="at most, the largest (40); proposals on others count as wrong, and cost a look",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the annotator's hand (0)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure there")


def run_trial(args: argparse.Namespace, tuning: Tuning) -> None:
    """Print a table of rounds. Raises DataError, InputError."""
    from anymask.engine.project import create_project

    truth, test = read_part(args.folder, args.masks_a_photo), read_part(args.test, 40)
    wanted = args.rounds * args.photos
    if len(truth) < wanted or args.rounds < 1:
        raise InputError(
            f"{args.rounds} rounds of {args.photos} photos need {wanted} photos, "
            f"{args.folder} has {len(truth)}; ask for fewer"
        )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="anymask-trial-") as name:
        folder = Path(name) / "photos"
        folder.mkdir()
        measured = test[: args.test_photos]
        rows.append(measure(0, "nano", args.test / "images", measured))
        for number in range(args.rounds):
            fresh = truth[number * args.photos : (number + 1) * args.photos]
            for image in fresh:
                shutil.copy(args.folder / "images" / image.file_name, folder / image.file_name)
            settings = {"held_out": HELD_OUT}
            project = create_project(folder, name=args.folder.name, settings=settings)
            made = label(project, fresh, number, args.seed)
            learned = learn(project, tuning)
            lead = measure(number + 1, project.lead(), args.test / "images", measured)
            rows.append(made | learned | lead)
            print_row(rows[-1])
    print_table(rows)
    if args.json:
        document = {"set": args.folder.name, "test": args.test.name, "rounds": rows,
                    "tuning": {k: str(v) for k, v in vars(tuning).items()}}  # fmt: skip
        with whole_file(args.json) as file:
            file.write(json_bytes(document))


def read_part(folder: Path, most: int) -> list[AnnotatedImage]:
    """A set's photos that have masks, the largest `most` of each."""
    from dataclasses import replace

    from anymask.data.formats import read_annotations
    from anymask.primitives.rle import rle_area

    images, _ = read_annotations(folder, "set")
    kept = []
    for image in images:
        good = [mask for mask in image.masks if not mask.crowd and rle_area(mask.rle) >= 64]
        if good:
            largest = sorted(good, key=lambda mask: -rle_area(mask.rle))[:most]
            kept.append(replace(image, masks=tuple(largest)))
    return kept


def label(project: Project, fresh: list[AnnotatedImage], number: int, seed: int) -> dict[str, Any]:
    """One round of labelling: what it brought and took."""
    from anymask.engine.annotator import Annotator, Hand
    from anymask.engine.runs import Work, run_stage
    from anymask.primitives.rle import rle_iou

    stage = cast("Stage", STAGE_OF_ROUND[min(number, len(STAGE_OF_ROUND) - 1)])
    truth = {image.file_name: image for image in fresh}
    work = Work(
        model=open_model(project.lead()), stage=stage, annotator=Annotator(Hand(seed=seed)),
        truth=truth,
    )  # fmt: skip
    done = list(follow(run_stage(project, work), f"round {number + 1}", len(fresh)))
    seconds, ious = 0.0, []
    for image in done:
        entries = project.store.records(image.id)
        seconds += sum(entry.seconds for entry in entries)
        good = [entry.rle for entry in entries if entry.status == "accepted"]
        if good:
            ious += rle_iou(good, [m.rle for m in truth[image.name].masks]).max(axis=1).tolist()
    return {
        "stage": stage,
        "photos": len(done),
        "masks": len(ious),
        "label_miou": float(np.mean(ious)) if ious else 0.0,
        "seconds_a_mask": seconds / max(len(ious), 1),
    }


def learn(project: Project, tuning: Tuning) -> dict[str, Any]:
    """Retrain on everything accepted so far."""
    from anymask.engine.rounds import retrain

    outcome = retrain(project, trainer(tuning), judge_on(project.folder), open_model)
    return {"outcome": outcome.to_json(), "promoted": outcome.promoted}


def measure(number: int, place: str, folder: Path, images: list[AnnotatedImage]) -> dict[str, Any]:
    """Mean IoU after one and three clicks, with intervals over photos."""
    from anymask.evaluation.metrics import cluster_mean

    model = open_model(place)
    scores = [scores_of(model, folder, image, 3) for image in images]
    clusters = np.repeat(np.arange(len(scores)), [len(one) for one in scores])
    table = np.concatenate(scores)
    return {
        "round": number,
        "weights": model.runtime.weights_hash,
        "test_masks": len(table),
        "miou_1": vars(cluster_mean(table[:, 0], clusters)),
        "miou_3": vars(cluster_mean(table[:, 2], clusters)),
    }


def print_row(row: dict[str, Any]) -> None:
    """One line as soon as a round is over."""
    print(
        f"round {row['round']}: {row['masks']} masks, {row['seconds_a_mask']:.1f} s each, "
        f"{'promoted' if row['promoted'] else 'not promoted'}",
        flush=True,
    )


def print_table(rows: list[dict[str, Any]]) -> None:
    """Markdown."""
    header = ["round", "stage", "masks", "their mIoU", "s a mask", "gain (held out)", "leads",
              "test mIoU, 1 click", "3 clicks"]  # fmt: skip
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        outcome = row.get("outcome")
        made = ["-"] * 6
        if outcome:
            gain = f"{outcome['gain']:+.3f} ({outcome['low']:+.3f} to {outcome['high']:+.3f})"
            made = [row["stage"], str(row["masks"]), f"{row['label_miou']:.3f}",
                    f"{row['seconds_a_mask']:.1f}", gain,
                    "new" if row["promoted"] else "old"]  # fmt: skip
        cells = [str(row["round"]), *made, _interval(row["miou_1"]), _interval(row["miou_3"])]
        print("| " + " | ".join(cells) + " |")


def _interval(mean: dict[str, float]) -> str:
    return f"{mean['value']:.3f} ({mean['low']:.3f} to {mean['high']:.3f})"
