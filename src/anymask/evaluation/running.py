"""What `anymask evaluate` measures on: a suite, sets, or labels of any format in, sets read out.

The scoring of sets, here or in workers.

`anymask evaluate videos --data DIR`: J & F of trackers on annotated videos, by a protocol.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import (
    AnymaskError,
    ConfigError,
    DataError,
    InputError,
    ProgressBar,
    this_machine,
    write_json,
    write_whole,
)
from anymask.cli import add_options, option_of, read_model, read_options
from anymask.evaluation.measures import check_measures
from anymask.evaluation.pages import markdown_table
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.report import SetScores
from anymask.evaluation.scoring import score_set
from anymask.evaluation.selection import EvalSet, EvalSettings
from anymask.evaluation.suite import (
    SHIPPED,
    Suite,
    find_suite,
    folder_suite,
    labelled_suite,
    open_sets,
    read_suite,
)
from anymask.formats import fitting_layout, is_set, read
from anymask.jobs import ItemDone, ItemLost, ItemStep, PoolTask, ReportStep, run_in_pool
from anymask.models.rules import DEFAULT_MODEL
from anymask.track import MemorySettings

if TYPE_CHECKING:
    from anymask.evaluation.video_protocols import Follow
    from anymask.evaluation.video_scores import ObjectScores
    from anymask.formats import Clip
    from anymask.segment import Model


LABELS = {"origin": "--from", "images": "--images", "split": "--split"}  # about labels alone


def configure_labels(parser: argparse.ArgumentParser) -> None:
    """The options of labels that are no set of ours."""
    add = parser.add_argument_group("labels (`anymask evaluate LABELS`)").add_argument
    add("--from", dest="origin", metavar="FORMAT", help="the format; recognised when left out")
    add("--images", metavar="DIR", type=Path, help="where the pictures lie")
    add("--split", metavar="NAME", help="of a published data set or of videos, such as val")


@dataclass(frozen=True, kw_only=True)
class SetChoice:
    """What is measured on.

    what     a file or folder of labels, a folder of sets, or a suite
    data     the folder that holds the suite's sets
    sets     only these of the suite, with commas between; "": all
    measure  names of `MEASURES`, beside those of the suite
    only     nothing but these
    origin, images, split  format, pictures and part of labels
    """

    what: str
    data: str | None = None
    sets: str = ""
    measure: Sequence[str] = ()
    only: bool = False
    origin: str | None = None
    images: Path | None = None
    split: str | None = None


def read_sets(args: argparse.Namespace) -> SetChoice:
    """The options of `anymask evaluate` that say what is measured on."""
    return SetChoice(**{one.name: getattr(args, one.name) for one in dataclasses.fields(SetChoice)})


def asked_sets(choice: SetChoice) -> tuple[Suite, list[EvalSet]]:
    """The suite and those of its sets that the options leave, with what is measured on them.

    Raises ConfigError or DataError when something is absent or broken, InputError for options that
    do not go together.
    """
    suite, sets = _find_sets(choice, [name for name in choice.sets.split(",") if name])
    return suite, with_measures(sets, choice.measure, choice.only)


def with_measures(sets: Sequence[EvalSet], names: Sequence[str], only: bool) -> list[EvalSet]:
    """The sets, with more measures or with no others. Raises ConfigError for an unknown name."""
    if only and not names:
        raise InputError("--only leaves what --measure names; give at least one --measure NAME")
    plans = [
        replace(
            one.plan,
            measures=check_measures([*names, *(() if only else one.plan.measures)], "--measure"),
        )
        for one in sets
    ]
    return [replace(one, plan=plan) for one, plan in zip(sets, plans, strict=True)]


def _find_sets(choice: SetChoice, names: Sequence[str]) -> tuple[Suite, list[EvalSet]]:
    path = Path(choice.what).expanduser()
    if path.exists() and path.suffix != ".toml" and (_says_labels(choice) or not _has_sets(path)):
        return _read_labels(choice, path, names)
    for name, option in LABELS.items():
        if getattr(choice, name) is not None:
            raise InputError(
                f"{option} is for one file or folder of labels, got {choice.what!r}; leave it out"
            )
    if path.is_dir():
        suite, parent = folder_suite(path)
        return suite, open_sets(suite, parent, names)
    file = find_suite(choice.what)
    suite = read_suite(file)
    folder = suite.data if choice.data is None else Path(choice.data).expanduser()
    if folder is None or not folder.is_dir():
        unsaid = folder is None or (choice.data is None and file.parent == SHIPPED)
        lost = "" if unsaid else f" ({folder} is no folder)"
        raise ConfigError(f"suite {suite.name!r} names sets; say where they lie: --data DIR{lost}")
    return suite, open_sets(suite, folder, names)


def _says_labels(choice: SetChoice) -> bool:
    return any(getattr(choice, name) is not None for name in LABELS)


def _has_sets(path: Path) -> bool:
    """Whether a path is a set of ours, a folder of such, or a published data set."""
    if not path.is_dir():
        return False
    return is_set(path) or any(map(is_set, path.iterdir())) or fitting_layout(path) is not None


def _read_labels(
    choice: SetChoice, path: Path, names: Sequence[str]
) -> tuple[Suite, list[EvalSet]]:
    stream = read(path, choice.origin, choice.images, choice.split)
    suite, sets = labelled_suite(stream)
    for line in stream.unread_lines():
        print(line, file=sys.stderr)
    if names and names != [suite.name]:
        raise ConfigError(f"--sets names sets of a suite, {path} is one set; leave it out")
    return suite, sets


@dataclass
class SetScorer:
    """Methods and sets, opened; called with the place of a set, it measures that one."""

    methods: Sequence[Segmenter]
    sets: Sequence[EvalSet]
    settings: EvalSettings
    about: dict[str, Any] = field(default_factory=dict)

    def __call__(self, item: int, report: ReportStep) -> SetScores:
        """Measure one set."""
        return score_set(self.methods, self.sets[item], self.settings, progress=report)


def score_here(scorer: SetScorer, places: Sequence[int]) -> Iterator[tuple[int, SetScores]]:
    """Measure set by set in this process, each with its progress on stderr."""
    for place in places:
        with ProgressBar(scorer.sets[place].plan.name) as progress:

            def report(what: str, done: int, total: int, progress: ProgressBar = progress) -> None:
                if what != progress.what:
                    progress.what, progress.began = what, progress.clock()
                progress.update(done, total)

            scores = scorer(place, report)
        yield place, scores


def score_in_workers(
    task: PoolTask[int, SetScores], names: Sequence[str], places: Sequence[int], workers: int
) -> Generator[tuple[int, SetScores]]:
    """The scores of the sets of these places, in the order in which they are ready.

    names  of all sets, for the progress on stderr

    Raises AnymaskError where the task cannot be opened or a worker dies. Whatever ends this
    generator ends the workers.
    """
    steps: dict[int, ItemStep[int]] = {}
    done = 0
    with (
        ProgressBar("sets", len(places)) as progress,
        closing(run_in_pool(task, places, workers, tries=1)) as events,
    ):
        for event in events:
            if isinstance(event, ItemLost):
                raise AnymaskError(
                    f"the worker that measured {names[event.item]!r} {event.how}; if memory was "
                    "short, take --workers 1; with --json FILE --resume the sets that are finished "
                    "are kept"
                )
            if isinstance(event, ItemStep):
                steps[event.item] = event
            elif isinstance(event, ItemDone):
                steps.pop(event.item, None)
                done += 1
                yield event.item, event.result
            progress.note = " | ".join(map(str, steps.values()))
            progress.update(done)


VIDEOS = "videos"
OPTIONS: dict[str, Any] = {"protocol": "semi", "rounds": 3, "tracker": "auto"}
IGNORED = ("sets", "clicks", "per_image", "measure", "only", "groups", "peer", "baselines",
           "workers", "cache", "html", "resume")  # fmt: skip
HEADER = ("", "J&F", "J", "F")


def configure_videos(parser: argparse.ArgumentParser) -> None:
    """The options of videos alone."""
    group = parser.add_argument_group(f"videos (`anymask evaluate {VIDEOS} --data DIR`)")
    add = group.add_argument
    add(
        "--protocol",
        choices=("semi", "offline", "online"),
        help="semi: the first masks are given (default); clicks instead, offline: on the first "
        "frame, then on the worst of all; online: in one pass, where a mask is bad",
    )
    add("--rounds", type=int, metavar="R", help="frames with clicks at most (default: 3)")
    add("--tracker", help="auto (default), memory or match")
    add_options(group, MemorySettings)


def refuse_video_options(args: argparse.Namespace) -> None:
    """Raises InputError for options of videos where photos are measured."""
    for name in (*OPTIONS, *read_options(args, MemorySettings)):
        if getattr(args, name) is not None:
            raise InputError(
                f"{option_of(name)} is for videos; write `anymask evaluate {VIDEOS} --data DIR`, "
                "or leave it out"
            )


def run_videos(args: argparse.Namespace) -> None:
    """Follow, score and print. Raises DataError that names the video, InputError."""
    _take_options(args)
    clips = _clips(args)
    model = read_model(args, model=(args.model or [DEFAULT_MODEL])[0]).load()
    rounds = list(_scores(args, clips, model))
    text = _to_markdown(args, rounds)
    if args.json:
        write_json(Path(args.json), _document(args, model, rounds))
    if args.markdown:
        write_whole(Path(args.markdown), text)
    print(text, end="")


def _take_options(args: argparse.Namespace) -> None:
    for name, default in OPTIONS.items():
        setattr(args, name, default if (given := getattr(args, name)) is None else given)
    photos = dict(LABELS, **{name: option_of(name) for name in IGNORED})
    for name, option in photos.items():
        if name != "split" and getattr(args, name, None):
            raise InputError(f"{option} is for photos; leave it out for videos")
    MemorySettings(**read_options(args, MemorySettings))
    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, got {args.rounds}")
    if args.model and len(args.model) > 1:
        raise InputError("videos are followed by one model at a time; give --model once")
    if not args.data:
        raise InputError(
            f"name the folder of videos: anymask evaluate {VIDEOS} --data DIR (DAVIS, YouTube-VOS, "
            "MOSE, LVOS, SA-V, or VIDEO/images with VIDEO/masks)"
        )


def _clips(args: argparse.Namespace) -> list[Clip]:
    from anymask.evaluation.video_protocols import masked_clips
    from anymask.formats import load_clips

    folder = Path(args.data)
    own = args.split is None and any(folder.glob("*/masks"))
    clips = masked_clips(folder) if own else load_clips(folder, split=args.split)
    return clips[: args.limit] if args.limit else clips


def _scores(
    args: argparse.Namespace, clips: list[Clip], model: Model
) -> Iterator[list[ObjectScores]]:
    """The scores of all objects, once or after each round."""
    from anymask.evaluation.video_protocols import follow_given, follow_offline, follow_online
    from anymask.formats import located
    from anymask.track import open_session

    settings = read_options(args, MemorySettings)
    if args.refine_edges:
        settings["refine_edges"] = True

    def follow(clip: Clip) -> Any:
        return open_session(model, list(clip.frames), tracker=args.tracker, **settings)

    found = []
    session: Follow = follow
    with ProgressBar("videos", len(clips)) as progress:
        for done, clip in enumerate(clips, start=1):
            with located(f"video {clip.name}"):
                if args.protocol == "semi":
                    found.append([follow_given(clip, session)])
                else:
                    way = follow_offline if args.protocol == "offline" else follow_online
                    found.append(list(way(clip, session, args.rounds)))
            progress.update(done)
    for one in zip(*found, strict=True):
        yield [scores for of_clip in one for scores in of_clip]


def _to_markdown(args: argparse.Namespace, rounds: list[list[ObjectScores]]) -> str:
    from anymask.evaluation.video_scores import mean_by_video, mean_over_objects

    if not rounds or not rounds[-1]:
        raise DataError(f"{args.data}: no object in any of its videos")
    rows = []
    for number, scores in enumerate(rounds, start=1):
        frames = "first masks given" if args.protocol == "semi" else f"{number} frames with clicks"
        rows.append([frames, *_cells(mean_over_objects(scores))])
    videos = [[name, *_cells(scores)] for name, scores in mean_by_video(rounds[-1]).items()]
    title = f"{args.protocol}, {len(rounds[-1])} objects, tracker {args.tracker}"
    tables = (markdown_table((title, *HEADER[1:]), rows), markdown_table(HEADER, videos))
    return "\n\n".join(tables) + f"\n\n{this_machine().line()}\n"


def _cells(scores: Any) -> list[str]:
    return [f"{value:.3f}" for value in (scores.j_and_f, scores.j.mean, scores.f.mean)]


def _document(
    args: argparse.Namespace, model: Model, rounds: list[list[ObjectScores]]
) -> dict[str, Any]:
    from anymask.evaluation.video_scores import mean_over_objects

    return {
        "protocol": args.protocol,
        "tracker": args.tracker,
        "memory": read_options(args, MemorySettings),
        "refine_edges": bool(args.refine_edges),
        "model": model.name,
        "weights_hash": model.runtime.weights_hash,
        "machine": dataclasses.asdict(this_machine()),
        "rounds": [
            {
                "j_and_f": mean_over_objects(scores).j_and_f,
                "objects": [
                    {
                        "video": one.video, "object": one.number, "J": one.j.tolist(),
                        "F": one.f.tolist(), "j_and_f": one.scores.j_and_f,
                    }
                    for one in scores
                ],
            }
            for scores in rounds
        ],
    }  # fmt: skip
