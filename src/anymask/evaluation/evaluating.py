"""Implementation of `anymask.evaluate`: models on images or videos, and files of predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, cast

from anymask.base import (
    AnymaskError,
    ConfigError,
    DataError,
    InputError,
    OnNamedProgress,
    ProgressBar,
    follow,
    list_settings,
    parse_json,
    pick_threads,
    refuse_text,
    this_machine,
    write_json,
)
from anymask.evaluation.adapters import FromFunction, Method, open_methods, weights_hash
from anymask.evaluation.datasets import SetQuery
from anymask.evaluation.image_report import draw_worst_cases, report_images
from anymask.evaluation.measures import MEASURES, check_requirements, score_set
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.report import Report
from anymask.evaluation.results import Evaluation, SetScores, evaluation_to_json, sets_from_json
from anymask.evaluation.score_files import FILE_PROTOCOLS, score_files
from anymask.evaluation.selection import EvalSet, EvalSettings, choose_masks
from anymask.evaluation.video_protocols import VIDEO_PROTOCOLS, VideoSettings, evaluate_videos
from anymask.formats import ReadKeywords, ReadSettings
from anymask.jobs import ItemCrashed, ItemDone, ItemStep, Work, run_in_pool
from anymask.masks import counted

MIN_PARALLEL_MASKS = 1000  # masks from which a second process saves time


class ImageEvaluationSettings(ReadKeywords, total=False):
    """Keyword arguments of `evaluate` on images, besides `anymask.formats.ReadSettings`."""

    also: Sequence[str]  # Measures in addition to the default ones
    format: str | None  # Format of the annotations. Detected by default.
    images: str | Path | None  # Folder of the images
    split: str | None  # Split of the dataset, such as "val"
    clicks: int | None  # Clicks on each mask (default: 3)
    limit: int | None  # Maximum number of masks in a dataset; always the same ones
    per_image: int | None  # Maximum number of masks in an image
    grid: int | None  # Clicks along each side for "everything" (default: 16)
    crop_n_layers: int | None  # Crop layers for "everything"
    slow: int | None  # Maximum number of masks in a dataset for slow methods
    refine_edges: bool  # Also evaluate each model with the image, which refines crops and edges
    mirror: bool  # With `refine_edges`, also use the mirrored image
    cases: bool  # Add images of the worst cases, which are predicted again
    workers: int | None  # Processes, one dataset each (default: two on a CPU with enough masks)
    out: str | Path | None  # JSON file that is updated after every dataset
    resume: bool  # Keep the datasets that this file contains
    command: str  # Command line, for the report
    skipped: Sequence[tuple[str, str]]  # (method, reason) of methods that could not run


class EvaluateSettings(ImageEvaluationSettings, VideoSettings, total=False):
    """Keyword arguments of all protocols: those of images, those of videos, and others."""

    rules: str  # "tracks": "davis" (default), "all-frames" or "unsupervised"
    tolerance: float | None  # "volume": tolerance of surface distances in mm (default: 1)


def evaluate(
    model: Method | Sequence[Method],
    data: str | Path,
    *,
    protocol: str | Sequence[str] = (),
    **settings: Unpack[EvaluateSettings],
) -> Report:
    """Evaluate a model on annotated images or videos, or evaluate files of predictions.

    Args:
        model: A loaded model, a name from `anymask models list`, or a method such as
            `anymask.evaluation.FromFunction`. None: the default of `anymask.load`. A list compares
            models on images. For the protocols "tracks", "volume" and "concepts", the path of the
            predictions.
        data: Annotations that `anymask.read` reads, a folder of datasets, or videos. For "tracks",
            "volume" and "concepts", the path of the annotations.
        protocol: For images, names from `anymask.evaluation.MEASURES` (default: "clicks" and
            "box"). For videos, "videos" (first masks given),
            "videos-offline" or "videos-online" (clicks). For files, "tracks" (J and F of DAVIS),
            "volume" (Dice, NSD and HD95 of label volumes) or "concepts" (cgF1 and pHOTA of phrases,
            as in SA-Co).

    Returns:
        Report: Print it, or call `save("report.html")` or `to_dataframe()`.

    Raises:
        ConfigError: The measure is unknown.
        DataError: The annotations are invalid.
        InputError: The settings cannot be combined.
        ModelError, WeightsError: The model cannot be loaded.

    Example:
        report = anymask.evaluate("nano", "labels.json", protocol="clicks")
    """
    names = [protocol] if isinstance(protocol, str) else list(protocol)
    given: dict[str, Any] = dict(settings)
    refuse_text(
        "True or False",
        **{name: given.get(name) for name in ("refine_edges", "mirror", "cases", "resume")},
    )
    refuse_text("a list", also=given.get("also"))
    videos = bool(names) and names[0] in VIDEO_PROTOCOLS
    taken = (VideoSettings if videos else ImageEvaluationSettings).__annotations__
    if names and names[0] in FILE_PROTOCOLS:
        return score_files(cast(str, model), data, names[0], **given)
    if unknown := sorted(set(given) - set(taken)):
        raise TypeError(
            f"Unknown argument {unknown[0]!r} for {', '.join(names) or 'images'}. Supported "
            f"arguments: {', '.join(taken)}."
        )
    if videos:
        return evaluate_videos(cast(Method, model), cast(str, data), names[0], **given)
    return evaluate_images(model, data, protocol=names, **given)


def evaluate_images(
    model: Method | Sequence[Method],
    data: str | Path | Sequence[EvalSet],
    *,
    protocol: Sequence[str] = (),
    name: str = "",
    **settings: Unpack[ImageEvaluationSettings],
) -> Report:
    """Run `evaluate` with the protocols of images, also on loaded datasets, `name` in the title."""
    given: dict[str, Any] = dict(settings)
    out, resume = given.pop("out", None), given.pop("resume", False)
    if resume and not out:
        raise InputError("Resuming requires an output file. Set --json FILE.json (in Python out=).")
    query: SetQuery | None = None
    if isinstance(data, str | Path):
        reading = {key: given[key] for key in ReadKeywords.__annotations__ if key in given}
        query = SetQuery(
            data=str(data), protocol=tuple(protocol), also=tuple(given.get("also", ())),
            images=Path(given["images"]) if given.get("images") else None,
            format=given.get("format"), split=given.get("split"), reading=ReadSettings(**reading),
        )  # fmt: skip
        data = query.open()
        name = data[0].plan.name if len(data) == 1 else Path(query.data).name
    sets = data
    check_requirements(sets, {*protocol, *given.get("also", ())})
    known = {
        setting.name: given[setting.name]
        for setting in list_settings(EvalSettings)
        if setting.name in given
    }
    how = EvalSettings(
        **{name: value for name, value in known.items() if value is not None or name == "slow"}
    )
    chosen: list[Method] = (
        list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    )
    edges = bool(given.get("refine_edges")), bool(given.get("mirror"))
    methods = open_methods(chosen, *edges)
    subject, *others = methods
    run = Evaluation(
        data=name,
        subject=subject.spec.name,
        weights_hash=weights_hash(subject),
        settings=how,
        machine=this_machine(),
        sets=(),
        peers=tuple(
            (peer.spec.name, weights_hash(peer))
            for peer in others
            if not isinstance(peer, FromFunction)
        ),
        command=given.get("command", ""),
        skipped=tuple(given.get("skipped", ())),
    )
    scorer = SetScorer(methods, sets, how)
    task = None
    if query and not any(hasattr(method, "segment") for method in chosen):
        task = ScoreTask(tuple(chosen), edges, query, how)
    run = _measure(run, scorer, task, given.get("workers"), out and Path(out), resume)
    cases = {}
    if given.get("cases"):
        for dataset, scores in follow(list(zip(sets, run.sets, strict=True)), "worst cases"):
            cases[scores.name] = draw_worst_cases(subject, dataset, scores, how.min_area)
    return report_images(run, cases)


@dataclass
class SetScorer:
    """Opened methods and datasets; a call evaluates the dataset at an index."""

    methods: Sequence[Segmenter]
    sets: Sequence[EvalSet]
    settings: EvalSettings
    about: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, item: int, report: OnNamedProgress) -> SetScores:
        return score_set(self.methods, self.sets[item], self.settings, progress=report)


@dataclass(frozen=True)
class ScoreTask:
    """Picklable description of an evaluation, to open in another process."""

    methods: tuple[Method, ...]
    edges: tuple[bool, bool]
    query: SetQuery
    settings: EvalSettings

    def open(self) -> SetScorer:
        """Load methods and datasets."""
        return SetScorer(open_methods(self.methods, *self.edges), self.query.open(),
                         self.settings)  # fmt: skip


def _measure(
    run: Evaluation,
    scorer: SetScorer,
    task: ScoreTask | None,
    workers: int | None,
    out: Path | None,
    resume: bool,
) -> Evaluation:
    """Evaluate every dataset that `out` does not contain yet, with progress on stderr.

    Args:
        task: Task for worker processes. None evaluates in this process.
    """
    known = finished_sets(out, run, scorer) if resume and out else {}
    names = [dataset.plan.name for dataset in scorer.sets]
    counts, limits = [], (scorer.settings.limit, scorer.settings.per_image)
    for dataset in scorer.sets:
        counts.append(len(choose_masks(dataset.plan, dataset.samples, *limits).mask))
        if not counts[-1]:
            raise DataError(
                f"{dataset.info.folder} has {counted(len(dataset.samples), 'image')} without masks."
            )
    places = [index for index, name in enumerate(names) if name not in known]
    if workers is None:
        much = sum(counts[index] for index in places) >= MIN_PARALLEL_MASKS
        devices = {getattr(method, "device", "cpu") for method in task.methods} if task else set()
        workers = min(2, pick_threads()) if much and devices <= {"auto", "cpu"} else 1
    workers = min(workers, len(places))
    for index, scores in (
        score_in_workers(task.open, names, places, workers)
        if task and workers > 1
        else _score_here(scorer, places)
    ):
        known[names[index]] = scores
        run = replace(run, sets=tuple(known[name] for name in names if name in known))
        if out:
            write_json(out, evaluation_to_json(run))
    run = replace(run, sets=tuple(known[name] for name in names))
    if out:
        write_json(out, evaluation_to_json(run))
    return run


def _score_here(scorer: SetScorer, places: Sequence[int]) -> Iterator[tuple[int, SetScores]]:
    """Evaluate the datasets in this process, each with its progress on stderr."""
    for index in places:
        with ProgressBar(scorer.sets[index].plan.name) as progress:

            def report(what: str, done: int, total: int, progress: ProgressBar = progress) -> None:
                if what != progress.what:
                    progress.what, progress.began = what, progress.clock()
                progress.update(done, total)

            scores = scorer(index, report)
        yield index, scores


def score_in_workers(
    task: Callable[[], Work[int, SetScores]],
    names: Sequence[str],
    places: Sequence[int],
    workers: int,
) -> Generator[tuple[int, SetScores]]:
    """Yield the scores of datasets from worker processes, in the order of completion.

    Raises AnymaskError if the task cannot be opened or a worker dies. Closing this generator stops
    the workers.

    Args:
        names: Names of all datasets, for the progress on stderr.
    """
    steps: dict[int, ItemStep[int]] = {}
    done = 0
    with (
        ProgressBar("sets", len(places)) as progress,
        closing(run_in_pool(task, places, workers)) as events,
    ):
        for event in events:
            if isinstance(event, ItemCrashed):
                raise AnymaskError(
                    f"The worker that evaluated {names[event.item]!r} {event.how}. If the "
                    "system is out of memory, use workers=1. If you write an output file, you "
                    "can resume: finished sets are kept."
                )
            if isinstance(event, ItemStep):
                steps[event.item] = event
            elif isinstance(event, ItemDone):
                steps.pop(event.item, None)
                done += 1
                yield event.item, event.result
            progress.note = " | ".join(map(str, steps.values()))
            progress.update(done)


def finished_sets(path: Path, run: Evaluation, scorer: SetScorer) -> dict[str, SetScores]:
    """Return the datasets that an earlier run with the same settings has finished.

    Raises ConfigError if the file has another model, other settings or other methods, DataError if
    it is invalid.
    """
    if not path.is_file():
        return {}
    try:
        raw: dict[str, Any] = parse_json(path.read_bytes(), path)
        sets = {scores.name: scores for scores in sets_from_json(raw)}
    except (ValueError, AttributeError, TypeError, DataError) as error:
        raise DataError(
            f"{path} is not an evaluation report and cannot be resumed. Omit resume."
        ) from error
    now = evaluation_to_json(run)
    for key in ("subject", "weights_hash", "peers", "settings"):
        if raw.get(key) != now[key]:
            raise ConfigError(
                f"Cannot resume {path}: its {key} is {raw.get(key)!r}, but this run has "
                f"{now[key]!r}. Use the options of that run, or choose another output file."
            )
    kept = {}
    for dataset in scorer.sets:
        scores = sets.get(dataset.plan.name)
        if scores is None or scores.measures != dataset.plan.measures:
            continue
        whole = any(MEASURES[name].function for name in scores.measures)
        # methods without prompts have results of dataset measures only
        methods = {method.spec.name for method in scorer.methods if whole or method.spec.accepts}
        if methods == {of for of, _ in scores.columns} | {result.method for result in scores.found}:
            kept[scores.name] = scores
    return kept
