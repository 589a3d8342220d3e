"""`anymask project`: stages, review, report, export and training without the page."""

from __future__ import annotations

import argparse
import getpass
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anymask.base import InputError, ProgressBar, say, write_json
from anymask.cli.command import Argument, Command, Group, Settings
from anymask.cli.options import SPLIT, read_example, read_options
from anymask.formats import ReadSettings
from anymask.jobs import parse_page
from anymask.models.rules import default_model
from anymask.studio.options import STAGES, ExportSettings, State, Tuning, need_engine
from anymask.training.options import need_torch

T = TypeVar("T")

if TYPE_CHECKING:
    from anymask.studio.project import Project
    from anymask.studio.searching import SearchedImage


def opened(args: argparse.Namespace) -> Project:
    """Open the project of a folder. Raises InputError."""
    from anymask.studio.project import Project

    return Project(args.folder)


# init


def login() -> str:
    """Login name of the user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "annotator"


def read_settings(words: list[str]) -> dict[str, Any]:
    """Parse NAME=VALUE settings. Raises InputError."""
    settings: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        try:
            settings[name] = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            sign = ""
        if not sign:
            raise InputError(f"--set requires NAME=NUMBER, such as batch=50. Given: {word!r}.")
    return settings


def make_project(args: argparse.Namespace) -> Project:
    """Create or open the project of a folder, and report images that cannot be read.

    Raises InputError, also for a folder without images; StoreError.
    """
    from anymask.studio.project import create_project

    settings = read_settings(args.settings)
    check_images(args.folder)
    project = create_project(
        args.folder, name=args.name, labels=args.labels, database=args.database, settings=settings,
        failed=skipped,
    )  # fmt: skip
    if args.groups:
        from anymask.formats import read_groups

        project.store.group_images(read_groups(args.groups))
    return project


def skipped(name: str, why: str) -> None:
    """Report an image that cannot be read."""
    say(f"skipped {name}: {why}")


def check_images(folder: Path) -> None:
    """Raise InputError if a new project would contain no images or videos."""
    from anymask.images import SUFFIXES, VIDEO_SUFFIXES, find_images, suggest_command
    from anymask.studio.places import PROJECT_FOLDER

    if not folder.is_dir() or (folder / PROJECT_FOLDER).is_dir():
        return
    if next(find_images(folder, suffixes=SUFFIXES | VIDEO_SUFFIXES), None) is None:
        raise InputError(
            suggest_command(folder, "image")
            or f"{folder} contains no images or videos. Add some, or choose another folder."
        )


def init(args: argparse.Namespace) -> None:
    """Create a project."""
    from anymask.masks import counted

    project = make_project(args)
    say(
        f"{args.folder} is the project {project.name!r} with "
        f"{counted(len(project.images), 'image')}"
    )


# import


def import_annotations(args: argparse.Namespace) -> None:
    """Import masks. A folder that is not a project yet becomes one."""
    from anymask.masks import counted
    from anymask.studio.project import create_project

    ACTIONS["import"].check_inputs(args)
    check_images(args.folder)
    project = create_project(args.folder, failed=skipped)
    if args.page == "all":
        raise InputError("--page all is not supported here. Choose one page, such as 2 or z1c0.")
    taken = project.import_masks(
        args.source, args.origin, who=args.user, proposals=args.proposals, page=args.page,
        split=args.split, **read_options(args, ReadSettings),
    )  # fmt: skip
    say(counted(taken.new, "new mask"))
    if taken.same:
        say(f"skipped, already in the project: {counted(taken.same, 'mask')}")
    if taken.doubled:
        say(f"rejected, replaced by an imported mask: {counted(taken.doubled, 'proposal')}")
    if taken.stacks:
        say(
            f"{counted(taken.stacks, 'stack')}: masks were imported to page 0. To choose another "
            "page, add --page, such as --page 2 or --page z1c0."
        )
    if taken.strange:
        say(f"skipped, not in the project: {counted(taken.strange, 'image')} of {args.source}")
    for line in taken.unread:
        say(line)


# run


def run_on_images(
    stage: str,
    limit: int | None,
    begin: Callable[[Callable[..., None]], Iterable[T]],
    masks_of: Callable[[T], int],
) -> tuple[int, int]:
    """Run a stage with progress, and report failures. Returns the numbers of images and masks.

    Args:
        begin: Function that starts the stage; its argument is called with each failure.
        masks_of: Number of masks of one result.
    """
    failures: list[str] = []
    images = masks = 0
    with ProgressBar(stage, limit) as progress:
        results = begin(lambda *why: failures.append(": ".join(why)))
        for result in results if limit is None else islice(results, max(0, limit)):
            images, masks = images + 1, masks + masks_of(result)
            progress.update(images)
    for failure in failures:
        say(f"skipped {failure}")
    return images, masks


def run_images(args: argparse.Namespace) -> None:
    """Run a stage on new images. An interrupted run is resumed by the same command."""
    from anymask import load
    from anymask.masks import counted

    project = opened(args)
    model = load(args.model or project.current_model())

    def count_waiting() -> int:
        return sum(image.status == "new" for image in project.images)

    waiting = count_waiting()
    most = waiting if args.limit is None else min(args.limit, waiting)
    images, masks = run_on_images(
        args.stage, most, lambda failed: project.run(model, args.stage, failed=failed),
        lambda image: image.records,
    )  # fmt: skip
    say(
        f"{counted(images, 'image')}, {counted(masks, 'mask')}; "
        f"{counted(count_waiting(), 'image')} left"
    )


# find


def find_objects(args: argparse.Namespace) -> None:
    """Propose labeled masks from prompts. An interrupted run is resumed by the same command."""
    from anymask import load
    from anymask.masks import counted

    project = opened(args)
    like, unlike = (
        [project.store.record(int(word)) if word.isdigit() else word for word in some] or None
        for some in (args.like, args.unlike)
    )
    words = args.words
    if words is not None and Path(words).suffix and Path(words).is_file():
        words = Path(words)
    model = load(args.model or project.current_model())
    labels = Counter[str]()

    def count(kept: SearchedImage) -> int:
        labels.update(mask.label or "no class" for mask in kept.records)
        return len(kept.records)

    images, masks = run_on_images(
        "find", args.limit, lambda failed: project.find(
            model, words, like=like, unlike=unlike, label=args.label, detector=args.detector,
            score=args.score, failed=failed,
        ), count,
    )  # fmt: skip
    each = ", ".join(f"{label} {number}" for label, number in labels.items())
    say(
        f"{counted(images, 'image')}, {counted(masks, 'proposal')}{each and f' ({each})'}; images "
        "that are done or were searched before are skipped"
    )


# review


def review(args: argparse.Namespace) -> None:
    """Print the state of the batches under the acceptance rule."""
    project = opened(args)
    for state in project.batches():
        review = f"not met. Review: anymask annotate {args.folder} --stage review"
        verdict = f"acceptance rule {'met' if state.met else review}"
        good = "none" if state.good is None else f"{100 * state.good:.0f} %"
        doubtful = f" ({state.doubtful} uncertain masks were reviewed and do not count)"
        print(
            f"batch {state.batch}: {state.masks} masks, {state.sampled} of {state.needed} required "
            f"masks reviewed, {good} good{doubtful if state.doubtful else ''}: {verdict}"
        )
    if args.accept_rest:
        print(f"accepted {project.accept_rest('acceptance rule')} more masks")


# concepts


def review_concepts(args: argparse.Namespace) -> None:
    """Propose hard negatives, store answers, and list the phrases of every image."""
    from anymask import load
    from anymask.masks import counted
    from anymask.studio.concepts import concepts, import_answers, propose_concepts

    project = opened(args)
    if args.answers is not None:
        import_answers(project.store, args.answers, args.user)
    else:
        naming = load(args.model or default_model()).runtime.naming
        table = None if naming is None else naming.name_table()
        classes = [label.name for label in project.labels.all()]
        number = propose_concepts(project.store, classes, table, args.negatives)
        say(counted(number, "hard negative"))
    rows = list(concepts(project.store))
    for row in rows:
        print(f"{row.image}: {row.phrase}, {counted(row.masks, 'mask')}, {row.answer or 'open'}")
    if args.json:
        write_json(args.json, [asdict(row) for row in rows])


# report


def report(args: argparse.Namespace) -> None:
    """Print the report as Markdown."""
    from anymask.studio.report import to_report

    project = opened(args)
    figures = to_report(project.figures(), project.rounds())
    for format in ("json", "html"):
        if target := getattr(args, format):
            figures.save(target, format)
    print(f"# {figures.title}\n\n{figures.about}\n\n{figures}", end="")


# export


def export(args: argparse.Namespace) -> None:
    """Export masks and print what the format does not support."""
    lines = opened(args).export(args.output, args.to, **read_options(args, ExportSettings))
    say("\n".join([f"wrote {args.output}", *lines]))


# clips


def clips(args: argparse.Namespace) -> None:
    """Add, list or export clips. Raises InputError, DataError, Conflict."""
    from anymask.studio.exchange import import_clip, propose_tracks
    from anymask.studio.exports import export_tracks

    project = opened(args)
    if args.take is not None:
        import_clip(project, args.take, args.session, label=args.label, who=args.user)
    elif args.session is not None or args.label is not None:
        raise InputError("--session and --label require --take. Add --take VIDEO.")
    if args.propose:
        from anymask import load

        with ProgressBar("frames", None) as progress:
            model = load(args.model or project.current_model())
            notes = list(propose_tracks(project, model, progress.update))
        say("\n".join(notes or ["every video already has tracks"]))
    if args.output is not None:
        statuses: tuple[State, ...] = ("accepted", *(("proposed",) if args.proposals else ()))
        say("\n".join(export_tracks(project, args.output, args.to, statuses)))
        return
    for clip in project.tracks.clips():
        print(f"{clip.name}: {clip.frames} frames, {clip.tracks} tracks")
        for track in project.tracks.tracks(clip.id):
            print(
                f"  track {track.id}, object {track.object} ({track.label or 'no class'}): "
                f"{track.state}, frames {track.first} to {track.last}, {track.doubtful} uncertain"
            )


# retrain


def retrain_project(args: argparse.Namespace) -> None:
    """Fine-tune on accepted masks, evaluate on held-out images, and promote a better model."""
    from anymask.runtime import WEIGHTS
    from anymask.studio.retraining import round_folder
    from anymask.training import print_row

    project = opened(args)
    outcome = project.retrain(Tuning(**read_options(args, Tuning)), print_row)
    weights = str(round_folder(project, outcome.round) / WEIGHTS)
    if args.json:
        write_json(args.json, asdict(outcome) | {"weights": weights})
    print(
        f"round {outcome.round}: trained on {outcome.train_masks} masks from "
        f"{outcome.train_images} images. mIoU on {outcome.test_images} held-out images: "
        f"{outcome.before:.3f} -> {outcome.after:.3f}, gain {outcome.gain:+.3f} (95 % interval: "
        f"{outcome.low:+.3f} to {outcome.high:+.3f})"
    )
    print(
        "promoted: this is now the best model of the project"
        if outcome.promoted
        else "not promoted: no significant improvement"
    )
    print(weights)


# fmt: off
PROJECT_OPTIONS = Group("project options", (
    Argument("--name", help="name of the project (default: the name of the folder)"),
    Argument("--label", dest="labels", metavar="NAME", action="append", default=[],
        help="class to annotate; repeatable"),
    Argument("--database", metavar="URL",
        help="database address, such as postgresql://USER@HOST/NAME (default: an SQLite file in "
             "the folder)"),
    Argument("--set", dest="settings", metavar="NAME=VALUE", action="append", default=[],
        help="project setting, such as good_iou=0.9, good_share=0.9, sample=20, batch=50, "
             "confident=0.7"),
    Argument("--groups", metavar="FILE.csv", type=Path,
        help="CSV file with image groups for the report, with the columns image and group"),
))
FOLDER = Argument("folder", metavar="DIR", type=Path, reads=True,
    help="folder with the images of the project")
LIMIT_ARGUMENT = Argument("--limit", metavar="N", type=int, help="maximum number of images")
BEST = Argument("--model", metavar="NAME", help="model (default: the best model of the project)")
ACTIONS = {
    "init": Command(init, (
        FOLDER,
        PROJECT_OPTIONS,
    ), summary="create a project from a folder of images"),
    "import": Command(import_annotations, (
        FOLDER,
        Argument("source", metavar="SOURCE", type=Path, reads=True,
            help="masks in any format that `anymask convert` reads"),
        Argument("--from", dest="origin", metavar="FORMAT", help="format (default: detected)"),
        SPLIT,
        Settings(ReadSettings),
        Argument("--user", default=login, help="author of the masks (default: your login)"),
        Argument("--proposals", action="store_true",
            help="import as proposals, which a person must review"),
        Argument("--page", metavar="N|z1c0", type=parse_page,
            help="page of an image stack for masks whose file names contain no page, counted from "
                 "0 (default: 0)"),
    ), summary="import masks of any format; a folder of images becomes a project"),
    "run": Command(run_images, (
        FOLDER,
        Argument("--stage", choices=[stage for stage in STAGES if stage != "assisted"],
            default="auto", help="stage to run (default: auto)"),
        LIMIT_ARGUMENT,
        BEST,
    ), summary="run a stage on new images; resumes after an interruption"),
    "find": Command(find_objects, (
        FOLDER,
        Argument("words", metavar="WORDS", nargs="?",
            help="text prompts as in `anymask find`, such as 'helmet, red cup' or 'lorry = "
                 "truck'; omit with --like"),
        Argument("--like", metavar="MASK|EXAMPLE", action="append", type=read_example, default=[],
            help="exemplar instead of a text prompt: the number of a mask in the project, or "
                 "IMAGE@click:X,Y, IMAGE@box:X0,Y0,X1,Y1 or IMAGE@mask:FILE; repeatable"),
        Argument("--unlike", metavar="MASK|EXAMPLE", action="append", type=read_example, default=[],
            help="negative exemplar: similar objects are not proposed; repeatable"),
        Argument("--label", metavar="NAME",
            help="class of the proposed objects with --like (default: the class of the exemplar)"),
        Argument("--detector", metavar="NAME|FOLDER",
            help="detector for text prompts (default: none; only the known names of the model)"),
        Argument("--score", metavar="X", type=float, help="minimum confidence score, 0 to 1"),
        LIMIT_ARGUMENT,
        BEST,
    ), summary="propose objects from text prompts or examples; resumes after an interruption"),
    "review": Command(review, (
        FOLDER,
        Argument("--accept-rest", action="store_true",
            help="accept the remaining proposals of batches that meet the acceptance rule"),
    ), summary="check each batch of proposals against the acceptance rule"),
    "concepts": Command(review_concepts, (
        FOLDER,
        Argument("--negatives", metavar="N", type=int, default=3,
            help="number of similar, absent phrases to propose per image (default: 3)"),
        Argument("--answers", metavar="FILE.csv", type=Path,
            help="store answers: a CSV file with the columns image, phrase and answer (complete, "
                 "incomplete or absent)"),
        Argument("--user", default=login, help="author of the answers (default: your login)"),
        Argument("--json", metavar="FILE", type=Path, help="write all phrases to this JSON file"),
        Argument("--model", metavar="NAME",
            help=f"model whose known names are candidates (default: {default_model()})"),
    ), summary="propose phrases with hard negatives, and review whether all objects have masks"),
    "report": Command(report, (
        FOLDER,
        Argument("--json", metavar="FILE", type=Path, help="write all figures to this JSON file"),
        Argument("--html", metavar="FILE", type=Path, help="write an HTML page with plots"),
    ), summary="report masks per hour, seconds per mask, quality and coverage"),
    "export": Command(export, (
        FOLDER,
        Argument("-o --output", type=Path, required=True, help="output file or folder"),
        Argument("--to", metavar="FORMAT", default="coco",
            help="format of the masks (default: coco)"),
        Settings(ExportSettings),
    ), summary="export the accepted masks in any format"),
    "clips": Command(clips, (
        FOLDER,
        Argument("--take", metavar="VIDEO", help="name of a video in DIR to add to the project"),
        Argument("--session", metavar="FILE", type=Path,
            help="with --take: add the objects of this session as proposals (anymask track VIDEO "
                 "--session FILE)"),
        Argument("--label", metavar="NAME", help="class of these objects"),
        Argument("--propose", action="store_true",
            help="propose tracks of all objects for the videos in DIR without tracks, as "
                 "`anymask track --everything` does; resumes after an interruption"),
        BEST,
        Argument("--user", default=login, help="author of the tracks (default: your login)"),
        Argument("-o --output", metavar="OUT", type=Path, help="write the accepted tracks"),
        Argument("--to", metavar="FORMAT", default="sav",
            help="format of the tracks (default: sav)"),
        Argument("--proposals", action="store_true", help="include tracks that are not reviewed"),
    ), summary="list, import and export videos and tracks"),
    "retrain": Command(retrain_project, (
        FOLDER,
        Settings(Tuning),
        Argument("--json", metavar="FILE", type=Path, help="write the result to this JSON file"),
    ), summary="fine-tune on accepted masks and promote better models", needs=need_torch),
}
COMMAND = Command(actions=ACTIONS, needs=need_engine)
# fmt: on
