"""`anymask engine trial`: a set with hidden masks in, figures of labelling rounds out.

Each round labels new photos with the leading model and the simulated annotator, retrains on
everything accepted so far, and promotes the new model where it is surely better. The leading model
is then measured on a test set that no round sees. With `--work` everything is kept in a folder, and
the same command goes on there after an interruption: a round that was measured is read, one that
was cut short goes on at the photo or the training where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np

from anymask.cli.engine_training import Tuning, judge_on, open_model, scores_of, trainer
from anymask.families import DEFAULT_MODEL
from anymask.primitives.errors import InputError
from anymask.primitives.notation import parse_json
from anymask.primitives.progress import follow
from anymask.primitives.storage import write_json

if TYPE_CHECKING:
    from anymask.data.annotations import AnnotatedImage
    from anymask.engine.entries import Stage
    from anymask.engine.project import Project
    from anymask.evaluation.metrics import Mean

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
    parser.add_argument(
        "--work", metavar="DIR", type=Path,
        help="keep photos, database and weights there, and go on there (default: a temporary one)",
    )  # fmt: skip


def run_trial(args: argparse.Namespace, tuning: Tuning) -> None:
    """Print a table of rounds. Raises DataError, InputError."""
    truth, test = read_part(args.folder, args.masks_a_photo), read_part(args.test, 40)
    wanted = args.rounds * args.photos
    if len(truth) < wanted or min(args.rounds, args.photos, args.test_photos) < 1:
        raise InputError(
            f"{args.rounds} rounds of {args.photos} photos need {wanted} photos, "
            f"{args.folder} has {len(truth)}; ask for fewer rounds or photos, at least 1 of each"
        )
    about = {"set": args.folder.name, "test": args.test.name, "photos": args.photos,
             "test_photos": args.test_photos, "masks_a_photo": args.masks_a_photo,
             "seed": args.seed, "tuning": {k: str(v) for k, v in vars(tuning).items()}}  # fmt: skip
    with _work_folder(args.work) as folder:
        trial = Trial(folder, about, args.folder, truth, args.test, test[: args.test_photos])
        rows = trial.rows()
        if not rows:
            rows = trial.keep([trial.measure(0, DEFAULT_MODEL)])
        for number in range(len(rows) - 1, args.rounds):
            rows = trial.keep([*rows, trial.round(number, tuning)])
            print_row(rows[-1])
    print_table(rows[: args.rounds + 1])
    if args.json:
        write_json(args.json, about | {"rounds": rows[: args.rounds + 1]})


@contextlib.contextmanager
def _work_folder(place: Path | None) -> Iterator[Path]:
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="anymask-trial-") as name:
        yield Path(name)


class TrialMean(TypedDict):
    """A mean with its 95 % interval, as JSON."""

    value: float
    low: float
    high: float


class TrialRow(TypedDict, total=False):
    """One round, as `trial.json` holds it; round 0 is the model before any labelling.

    outcome  of the retraining (`RoundOutcome.to_json`)
    weights  the hash of the model that was measured
    """

    round: int
    stage: str
    photos: int
    masks: int
    label_miou: TrialMean
    seconds_a_mask: float
    outcome: dict[str, Any]
    promoted: bool
    weights: str
    test_masks: int
    miou_1: TrialMean
    miou_3: TrialMean


@dataclass(frozen=True)
class Trial:
    """The folder of a trial, and what it is about.

    about     its settings, which must be the same when it goes on
    set       the folder that is labelled, and its photos with their hidden masks
    test_set  the folder that is measured on, and its photos
    """

    folder: Path
    about: dict[str, Any]
    set: Path
    truth: list[AnnotatedImage]
    test_set: Path
    test: list[AnnotatedImage]

    @property
    def _kept(self) -> Path:
        return self.folder / "trial.json"

    def rows(self) -> list[TrialRow]:
        """Of the rounds that are over. Raises InputError for another trial's folder."""
        if not self._kept.is_file():
            return []
        kept: dict[str, Any] = parse_json(self._kept.read_bytes(), self._kept)
        rows: list[TrialRow] = kept.pop("rounds")
        if kept != json.loads(json.dumps(self.about)):
            raise InputError(
                f"{self.folder} holds a trial with other settings; give the same ones to go on, or "
                "another --work"
            )
        return rows

    def keep(self, rows: list[TrialRow]) -> list[TrialRow]:
        """Write them down, whole or not at all."""
        write_json(self._kept, self.about | {"rounds": rows})
        return rows

    def round(self, number: int, tuning: Tuning) -> TrialRow:
        """Label, learn, measure."""
        from anymask.engine.project import create_project

        count = self.about["photos"]
        fresh = self.truth[number * count : (number + 1) * count]
        photos = self.folder / "photos"
        photos.mkdir(exist_ok=True)
        for image in fresh:
            shutil.copy(self.set / "images" / image.file_name, photos / image.file_name)
        project = create_project(photos, name=self.set.name, settings={"held_out": HELD_OUT})
        made = label(project, fresh, number, self.about["seed"])
        learned = learn(project, number, tuning)
        return made | learned | self.measure(number + 1, project.lead())

    def measure(self, number: int, place: str) -> TrialRow:
        """The test set."""
        return measure(number, place, self.test_set / "images", self.test)


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


def label(project: Project, fresh: list[AnnotatedImage], number: int, seed: int) -> TrialRow:
    """One round of labelling: what it brought and took."""
    from anymask.engine.annotator import Annotator, AnnotatorSettings
    from anymask.engine.runs import run_stage
    from anymask.engine.simulated import simulated_work
    from anymask.evaluation.metrics import Mean, cluster_mean
    from anymask.primitives.rle import rle_iou

    stage = cast("Stage", STAGE_OF_ROUND[min(number, len(STAGE_OF_ROUND) - 1)])
    truth = {image.file_name: image for image in fresh}
    annotator = Annotator(AnnotatorSettings(seed=seed))
    work = simulated_work(open_model(project.lead()), stage, truth, annotator)
    for _ in follow(run_stage(project, work), f"round {number + 1}", len(fresh)):
        pass
    done = [image for image in project.store.all_images() if image.name in truth]
    seconds, ious, clusters = 0.0, [], []
    for image in done:
        entries = project.store.records(image.id)
        seconds += sum(entry.seconds for entry in entries)
        good = [entry.rle for entry in entries if entry.status == "accepted"]
        if good:
            ious += rle_iou(good, [m.rle for m in truth[image.name].masks]).max(axis=1).tolist()
            clusters += [image.id] * len(good)
    mean = cluster_mean(np.array(ious), np.array(clusters, np.int64)) if ious else Mean(0, 0, 0)
    return {
        "stage": stage,
        "photos": len(done),
        "masks": len(ious),
        "label_miou": _mean_row(mean),
        "seconds_a_mask": seconds / max(len(ious), 1),
    }


def learn(project: Project, number: int, tuning: Tuning) -> TrialRow:
    """Retrain on everything accepted so far; what a round has learned already is read."""
    from anymask.engine.rounds import retrain

    known = project.rounds()[number : number + 1]
    if known:
        return {"outcome": known[0], "promoted": known[0]["promoted"]}
    outcome = retrain(project, trainer(tuning), judge_on(project.folder), open_model)
    return {"outcome": outcome.to_json(), "promoted": outcome.promoted}


def measure(number: int, place: str, folder: Path, images: list[AnnotatedImage]) -> TrialRow:
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
        "miou_1": _mean_row(cluster_mean(table[:, 0], clusters)),
        "miou_3": _mean_row(cluster_mean(table[:, 2], clusters)),
    }


def _mean_row(mean: Mean) -> TrialMean:
    return {"value": mean.value, "low": mean.low, "high": mean.high}


def print_row(row: TrialRow) -> None:
    """One line as soon as a round is over."""
    print(
        f"round {row['round']}: {row['masks']} masks, {row['seconds_a_mask']:.1f} s each, "
        f"{'promoted' if row['promoted'] else 'not promoted'}",
        flush=True,
    )


def print_table(rows: list[TrialRow]) -> None:
    """Markdown."""
    from anymask.reports.tables import markdown_table

    header = ["round", "stage", "masks", "their mIoU", "s a mask", "gain (held out)", "leads",
              "test mIoU, 1 click", "3 clicks"]  # fmt: skip
    lines = []
    for row in rows:
        outcome = row.get("outcome")
        made = ["-"] * 6
        if outcome:
            gain = f"{outcome['gain']:+.3f} ({outcome['low']:+.3f} to {outcome['high']:+.3f})"
            made = [row["stage"], str(row["masks"]), _interval(row["label_miou"]),
                    f"{row['seconds_a_mask']:.1f}", gain,
                    "new" if row["promoted"] else "old"]  # fmt: skip
        lines.append([str(row["round"]), *made, _interval(row["miou_1"]), _interval(row["miou_3"])])
    print(markdown_table(header, lines))


def _interval(mean: TrialMean) -> str:
    return f"{mean['value']:.3f} ({mean['low']:.3f} to {mean['high']:.3f})"
