"""Benchmark of automatic masks: a model and photos in, times and recall of every mode out.

The plain way (`predictors/plain.py`) decodes everything, draws every mask in the photo's size and
filters then. Thresholds are chosen so that some hundred masks survive: the 70th percentiles of
quality and stability over the candidates of a grid of half the side. A folder of photos instead
compares adaptive with exact.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anymask.primitives.errors import ModelError, WeightsError
from anymask.primitives.records import MaskRecord
from anymask.primitives.rle import rle_iou
from anymask.primitives.timing import Measurement

if TYPE_CHECKING:
    from anymask.predictors.grid import Grid, Mode
    from anymask.primitives.types import Embedding, UintImage
    from anymask.runtimes.protocol import ImageRuntime

KEPT = 70  # percentile of quality and of stability that a mask must reach
SAME = 0.99  # IoU from which two masks of one click are the same
FOUND = 0.8  # IoU from which another click's mask stands for this one


@dataclass(frozen=True)
class Bench:
    """What is measured.

    points_per_side  of the grid
    plain            whether the plain way runs as well, which takes minutes
    threads          of the model
    """

    points_per_side: int = 32
    plain: bool = True
    threads: int = 2


@dataclass(frozen=True)
class BenchRun:
    """One way through one photo: seconds by the clock and of all cores, records, decodes."""

    wall: float
    cores: float
    records: list[MaskRecord]
    clicks: int


def everything_figures(
    name: str, weights: str | None, photo: Path, bench: Bench
) -> tuple[list[Measurement], list[str]]:
    """Figures and notes, of one photo or of a folder of them.

    Raises ModelError for an unknown name, ImageError for a photo that cannot be read.
    """
    from anymask.data.images import find_images, load_image

    with _threads(bench.threads):
        runtime, origin = open_model(name, weights)
        notes = [f"{name}, {origin}, {bench.threads} threads, {bench.points_per_side}^2 clicks"]
        if photo.is_dir():
            photos = list(find_images(photo))
            return adaptive_figures(runtime, photos, bench), [*notes, f"{len(photos)} photos"]
        image = load_image(photo)
        notes.append(f"photo: {image.shape[1]} x {image.shape[0]} pixels, in memory")
        figures, more = photo_figures(runtime, image, bench, origin == RANDOM)
    return figures, notes + more


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Torch's threads, where torch is there; ONNX Runtime reads ANYMASK_THREADS."""
    try:
        import torch
    except ImportError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


RANDOM = "random weights"


def open_model(name: str, weights: str | None) -> tuple[ImageRuntime, str]:
    """A model by name; a checkpoint that is not there gets random weights."""
    from anymask.runtimes.open import open_runtime

    try:
        runtime = open_runtime(name, weights, device="cpu")
        return runtime, f"weights {runtime.weights_hash[:12]}"
    except (ModelError, WeightsError):
        from anymask.runtimes.devices import import_torch

        torch = import_torch()
        from anymask import models
        from anymask.runtimes.torch import TorchRuntime

        if weights is not None or name not in models.names():
            raise
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            module: Any = models.build(name)
            for key, value in module.mask_decoder.iou_prediction_head.named_parameters():
                value += 1.0 if key.endswith("2.bias") else 0  # a threshold of 0 keeps all
        return TorchRuntime(module, device="cpu"), RANDOM


# --- one photo


def photo_figures(
    runtime: ImageRuntime, image: UintImage, bench: Bench, random: bool
) -> tuple[list[Measurement], list[str]]:
    """Every way once, the plain one last, so that the memory before it is ours."""
    from anymask.predictors.pipeline import embed_image
    from anymask.predictors.plain import find_plainly

    start = time.perf_counter()
    embedding = embed_image(runtime, image)
    figures = [Measurement("encode", "exact", time.perf_counter() - start, "s")]
    grid, note = _filtering(runtime, embedding, bench, random)
    runs = {way: _run(runtime, embedding, replace(grid, **changes)) for way, changes in WAYS}
    peak = _peak()
    if bench.plain:
        plain = _timed(lambda: find_plainly(runtime, embedding, grid), bench.points_per_side**2)
        runs = {"plain": plain, **runs}
    for way, run in runs.items():
        figures += _of_run(way, run)
    if bench.plain:
        figures += _beside_plain(runs)
    figures.append(_recall(runs["exact"], runs["adaptive"]))
    if peak is not None:
        figures.append(Measurement("peak memory of the process", "exact", peak, "bytes"))
    return figures, [note, "seconds of all cores do not count the time that others use them"]


WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("exact", {"mode": "exact", "decoder_precision": "model"}),
    ("mixed", {"mode": "exact", "decoder_precision": "mixed"}),
    ("adaptive", {"mode": "adaptive"}),
)


def _filtering(
    runtime: ImageRuntime, embedding: Embedding, bench: Bench, random: bool
) -> tuple[Grid, str]:
    """Thresholds that the best candidates pass, and a note of them.

    A grid of half the side stands for the whole: it costs a quarter, and keeps fewer masks in
    memory, whose peak is measured afterwards. Random weights make masks that fill the photo and are
    never sure: their boxes do not tell them apart, and the offset of the stability follows their
    logits.
    """
    from anymask.predictors.everything import find_everything
    from anymask.predictors.grid import grid_of

    loose = replace(
        grid_of(runtime.family, {}), points_per_side=bench.points_per_side, pred_iou_thresh=0.0,
        stability_score_thresh=0.0, box_nms_thresh=1.0, mode="exact",
    )  # fmt: skip
    if random:
        loose = replace(loose, stability_score_offset=0.02)
    some = replace(loose, points_per_side=-(-bench.points_per_side // 2))
    every = find_everything(runtime, embedding, some)
    quality, stability = (
        float(np.percentile([getattr(record, number) for record in every], KEPT))
        for number in ("quality", "stability")
    )
    nms = loose.box_nms_thresh if random else grid_of(runtime.family, {}).box_nms_thresh
    chosen = replace(
        loose, pred_iou_thresh=quality, stability_score_thresh=stability, box_nms_thresh=nms
    )
    note = (
        f"thresholds: quality {quality:.3f}, stability {stability:.3f} (offset "
        f"{loose.stability_score_offset:g}), the {KEPT}th percentiles on {some.points_per_side}^2 "
        f"clicks; box_nms_thresh {nms:g}"
    )
    return chosen, note


def _run(runtime: ImageRuntime, embedding: Embedding, grid: Grid) -> BenchRun:
    from anymask.predictors.everything import find_everything
    from anymask.runtimes.wrapped import WrappedRuntime

    asked: list[int] = []

    def count(name: str, given: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        if name in ("ask", "decode"):
            asked.append(len(given[-1].coords))
        return call()

    counted = WrappedRuntime(runtime, count)
    run = _timed(lambda: find_everything(counted, embedding, grid), 0)
    return replace(run, clicks=sum(asked))


def _timed(find: Callable[[], list[MaskRecord]], clicks: int) -> BenchRun:
    wall, cores = time.perf_counter(), time.process_time()
    records = find()
    return BenchRun(time.perf_counter() - wall, time.process_time() - cores, records, clicks)


def _peak() -> float | None:
    """The largest resident memory of this process so far, in bytes; None on Windows."""
    try:
        import resource
        import sys
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _of_run(way: str, run: BenchRun) -> Iterator[Measurement]:
    yield Measurement("everything", way, run.wall, "s")
    yield Measurement("seconds of all cores", way, run.cores, "s")
    yield Measurement("clicks decoded", way, run.clicks, "")
    yield Measurement("records", way, len(run.records), "")


def _beside_plain(runs: dict[str, BenchRun]) -> Iterator[Measurement]:
    plain = runs["plain"]
    for way, run in runs.items():
        if way != "plain":
            yield Measurement("times as fast as plain", way, plain.wall / run.wall, "x")
            yield Measurement("the same, of all cores", way, plain.cores / run.cores, "x")
    for way in ("exact", "mixed"):
        shared = agreement(plain.records, runs[way].records)
        yield Measurement(f"plain's records found (IoU >= {SAME})", way, 100 * shared, "%")


def agreement(truth: Sequence[MaskRecord], found: Sequence[MaskRecord]) -> float:
    """The part of the records of `truth` that `found` has from the same click, IoU >= SAME."""
    by_click: dict[Any, list[MaskRecord]] = {}
    for record in found:
        by_click.setdefault(record.points, []).append(record)
    same = 0
    for record in truth:
        others = [other.rle for other in by_click.get(record.points, ())]
        same += bool(others) and float(rle_iou([record.rle], others).max()) >= SAME
    return same / max(len(truth), 1)


def recall_of(truth: Sequence[MaskRecord], found: Sequence[MaskRecord]) -> float:
    """The part of the records of `truth` that have one in `found`, IoU >= FOUND."""
    if not truth:
        return 1.0
    if not found:
        return 0.0
    return float(np.mean(rle_iou([r.rle for r in truth], [r.rle for r in found]).max(1) >= FOUND))


def _recall(exact: BenchRun, adaptive: BenchRun) -> Measurement:
    share = 100 * recall_of(exact.records, adaptive.records)
    return Measurement(f"exact's records found (IoU >= {FOUND})", "adaptive", share, "%")


# --- a folder of photos


def adaptive_figures(
    runtime: ImageRuntime, photos: Sequence[Path], bench: Bench
) -> list[Measurement]:
    """Adaptive beside exact with the model's own thresholds: means over photos."""
    from anymask.data.images import load_image
    from anymask.predictors.grid import grid_of
    from anymask.predictors.pipeline import embed_image

    grid = replace(grid_of(runtime.family, {}), points_per_side=bench.points_per_side)
    runs: dict[Mode, list[BenchRun]] = {"exact": [], "adaptive": []}
    for path in photos:
        embedding = embed_image(runtime, load_image(path))
        for mode, done in runs.items():
            done.append(_run(runtime, embedding, replace(grid, mode=mode)))
    pairs = list(zip(runs["exact"], runs["adaptive"], strict=True))
    figures = [_mean([_recall(*pair) for pair in pairs]), _of_all_masks(pairs)]
    figures += [figure for way, done in runs.items() for figure in _means(way, done)]
    peak = _peak()
    if peak is not None:
        figures.append(Measurement("peak memory of the process", "exact", peak, "bytes"))
    return figures


def _of_all_masks(pairs: Sequence[tuple[BenchRun, BenchRun]]) -> Measurement:
    """The recall of all photos' masks together: photos with many count more."""
    sizes = [len(exact.records) for exact, _ in pairs]
    shares = [recall_of(exact.records, adaptive.records) for exact, adaptive in pairs]
    share = 100 * float(np.dot(shares, sizes)) / max(sum(sizes), 1)
    return Measurement("the same, of all photos' masks", "adaptive", share, "%")


def _means(way: str, runs: Sequence[BenchRun]) -> Iterator[Measurement]:
    for same in zip(*(_of_run(way, run) for run in runs), strict=True):
        yield _mean(same)


def _mean(figures: Sequence[Measurement]) -> Measurement:
    """One figure of several photos, each photo a turn."""
    turns = tuple(figure.value or 0.0 for figure in figures)
    return replace(figures[0], value=sum(turns) / len(turns), turns=turns)
