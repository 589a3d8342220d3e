"""The scoring of sets, here or in workers: places of sets in, their scores out."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.report import SetScores
from anymask.evaluation.scoring import score_set
from anymask.evaluation.selection import EvalSet, EvalSettings
from anymask.jobs.pool import ItemDone, ItemLost, ItemStep, PoolTask, ReportStep, run_in_pool
from anymask.primitives.errors import AnymaskError
from anymask.primitives.progress import ProgressBar


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
