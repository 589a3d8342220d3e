"""Decode prompts on exported graphs that share the work per image.

`OnnxPrompts` decodes a few prompts, `OnnxSweep` decodes many, of which few masks are read.

The graphs are those of `models.fast.sweep_graphs`. Their operations are small, so each thread
computes separate clicks with single-threaded sessions.

Letters: N prompts, n of one call, P points, K candidates, k masks, h w features, m = 4 h, p places.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray
from anymask.masks import EncoderOutput, Geometry, ModelPrompts, logits_used
from anymask.runtime.manifest import GraphNames, Manifest
from anymask.runtime.protocol import (
    DecodingSweep,
    DrawnCandidates,
    ImageRuntime,
    Sweep,
    SweepAnswer,
    SweepPrecision,
)

Arrays = dict[str, NDArray[Any]]
PLACES = 512  # upscaled in one call: their channels fit into the cache of a core
VIEW = ("scale_1", "scale_2", "shares_1", "shares_2")  # (.., h * w) of each prompt
PER_PLACE = ("upscaled", "finer", "finest")  # (h * w, ..) of the image
IMAGES_KEPT = 2  # images with cached work for further prompts: 32 MB each for SAM
FEW = 4  # up to here, threads within one prompt are faster than threads with separate prompts


class GraphRuntime(ImageRuntime, Protocol):
    """Methods of `OnnxRuntime` that a sweep requires."""

    manifest: Manifest

    def maps_for(self, graph: str, seen: EncoderOutput) -> Arrays:
        """Feature maps of an image as graph inputs."""
        ...

    def run_named(self, name: str, given: Mapping[str, NDArray[Any]]) -> list[FloatArray]:
        """Run a graph on named inputs."""
        ...

    def for_calls_at_once(self) -> tuple[GraphRuntime, int]:
        """A runtime for concurrent calls, and the number of threads."""
        ...


class OnnxPrompts:
    """Decodes prompts without mask prompts in half of the decoder's time."""

    def __init__(self, runtime: GraphRuntime) -> None:
        self._runtime = runtime
        graph = runtime.manifest.graph(GraphNames.SWEEP_PROMPT)
        self._inputs = [one.name for one in graph.inputs]
        self._works: list[tuple[weakref.ref[EncoderOutput], Arrays]] = []  # most recent last
        self._lock = threading.Lock()

    def decode(self, seen: EncoderOutput, prompts: ModelPrompts) -> tuple[FloatArray, FloatArray]:
        """Decode N prompts on one image: logits (N, T, m, m) and quality (N, T)."""
        work, count = self.work_on(seen), len(prompts.coords)

        def answer(runtime: GraphRuntime, row: int) -> list[FloatArray]:
            part = slice(row, row + 1)
            given = {**work, "coords": prompts.coords[part], "labels": prompts.labels[part]}
            return runtime.run_named(
                GraphNames.SWEEP_PROMPT, {name: given[name] for name in self._inputs}
            )

        if count < FEW:
            found = [answer(self._runtime, row) for row in range(count)]
        else:
            lone, threads = self._runtime.for_calls_at_once()
            with ThreadPoolExecutor(threads, "anymask-prompts") as pool:
                found = list(pool.map(lambda row: answer(lone, row), range(count)))
        if count == 1:
            return found[0][0], found[0][1]
        logits, quality = zip(*found, strict=True)
        return np.concatenate(logits), np.concatenate(quality)

    def work_on(self, seen: EncoderOutput) -> Arrays:
        """Outputs of `SWEEP_IMAGE`, cached for recent images."""
        with self._lock:
            for one, work in self._works:
                if one() is seen:
                    return work
        work = run_graph(
            self._runtime,
            GraphNames.SWEEP_IMAGE,
            self._runtime.maps_for(GraphNames.SWEEP_IMAGE, seen),
        )
        with self._lock:
            alive = [one for one in self._works if one[0]() is not None]
            self._works = [*alive, (weakref.ref(seen), work)][-IMAGES_KEPT:]
        return work


def run_graph(runtime: GraphRuntime, graph: str, given: Arrays) -> Arrays:
    """Run a graph and return its outputs by name."""
    outputs, found = runtime.manifest.graph(graph).outputs, runtime.run_named(graph, given)
    return {one.name: array for one, array in zip(outputs, found, strict=True)}


class OnnxSweeps:
    """Sweeps of a bundle that has the sweep graphs."""

    def __init__(self, runtime: GraphRuntime) -> None:
        self._runtime = runtime

    def sweep(
        self, seen: EncoderOutput, geometry: Geometry, precision: SweepPrecision = "model"
    ) -> Sweep:
        """Start a sweep; the precision of the graphs is fixed."""
        return OnnxSweep(self._runtime, seen, geometry)


class OnnxSweep:
    """Decodes many single clicks on one image with the sweep graphs of a bundle."""

    def __init__(self, runtime: GraphRuntime, seen: EncoderOutput, geometry: Geometry) -> None:
        self._lone, threads = runtime.for_calls_at_once()
        self._pool, self._ahead = ThreadPoolExecutor(threads, "anymask-sweep"), 2 * threads
        maps = runtime.maps_for(GraphNames.SWEEP_IMAGE, seen)
        self._work: Arrays = run_graph(runtime, GraphNames.SWEEP_IMAGE, maps)
        clicks = runtime.manifest.graph(GraphNames.SWEEP_CLICKS)
        self._inputs = [one.name for one in clicks.inputs]
        self._drawing = [one.name for one in runtime.manifest.graph(GraphNames.SWEEP_MASKS).inputs]
        coords = clicks.inputs[self._inputs.index("coords")]
        self._together, self._points = int(coords.shape[0]), int(coords.shape[1])
        self._others = DecodingSweep(runtime, seen)
        side = runtime.spec.mask_side
        self._side, used = side // 4, logits_used(side, geometry)
        self._shown = -(-used[0] // 4), -(-used[1] // 4)
        sizes = [np.prod([int(size) for size in one.shape]) for one in clicks.outputs]
        self.bytes_per_prompt = 4 * int(sum(sizes)) // self._together

    def decode(self, prompts: ModelPrompts) -> SweepAnswer:
        """Decode N prompts; other numbers of points use the decoder."""
        if prompts.coords.shape[1] != self._points:
            return self._others.decode(prompts)
        starts = range(0, len(prompts.coords), self._together)
        answers = list(self._pool.map(lambda start: self._decode(prompts, start), starts))
        rows = [(one, row) for one in answers for row in range(len(one["quality"]))]
        rows = rows[: len(prompts.coords)]
        quality = np.stack([one["quality"][row, 1:] for one, row in rows])
        return DrawnCandidates(quality, self.draw, rows)

    def _decode(self, prompts: ModelPrompts, start: int) -> Arrays:
        """Outputs for n prompts; the last prompt is repeated to fill the batch."""
        part = np.minimum(np.arange(start, start + self._together), len(prompts.coords) - 1)
        given = {**self._work, "coords": prompts.coords[part], "labels": prompts.labels[part]}
        return self._run(GraphNames.SWEEP_CLICKS, {name: given[name] for name in self._inputs})

    def _run(self, graph: str, given: Arrays) -> Arrays:
        return run_graph(self._lone, graph, given)

    def draw(self, prompts: list[tuple[Arrays, int, list[int]]]) -> Iterator[FloatArray]:
        """Yield mask tokens of prompts as logits (m, m), computed a few ahead."""
        for start in range(0, len(prompts), self._ahead):
            part = prompts[start : start + self._ahead]
            for planes in self._pool.map(lambda one: self._draw(*one), part):
                yield from planes

    def _draw(self, answered: Arrays, row: int, masks: list[int]) -> FloatArray:
        """Logits (k, m, m), the minimum in the padding."""
        (rows, columns), side = self._shown, self._side
        given = {"rows": answered["rows"][row], "weights": answered["weights"][row, masks]}
        places = {name: answered[f"{name}_{row}"].reshape(-1, side, side) for name in VIEW}
        image = {
            name: self._work[name].reshape(side, side, -1)
            for name in PER_PLACE
            if name in self._work
        }
        drawn = np.empty((len(masks), 4 * side, 4 * side), np.float32)
        step = max(1, PLACES // columns)
        for top in range(0, rows, step):
            part = slice(top, min(top + step, rows)), slice(columns)
            few = {name: one[:, *part].reshape(len(one), -1) for name, one in places.items()}
            few |= {name: one[part].reshape(-1, one.shape[-1]) for name, one in image.items()}
            few |= given
            logits = self._run(GraphNames.SWEEP_MASKS, {name: few[name] for name in self._drawing})[
                "logits"
            ]
            # Two upscalings per place: y and x, and y and x of each.
            cells = logits.reshape(-1, columns, 2, 2, 2, 2, len(masks))
            planes = cells.transpose(6, 0, 2, 4, 1, 3, 5).reshape(len(masks), -1, 4 * columns)
            drawn[:, 4 * top : 4 * part[0].stop, : 4 * columns] = planes
        lowest = drawn[:, : 4 * rows, : 4 * columns].min()
        drawn[:, 4 * rows :], drawn[:, :, 4 * columns :] = lowest, lowest
        return drawn
