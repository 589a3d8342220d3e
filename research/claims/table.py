"""Paired differences of two arms, verdicts and the table of the documents.

Letters: S seeds, N masks, I images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anymask.base import Floats
from research.claims.arms import ARMS, FINDINGS, METRICS, Finding, Metric
from research.claims.runs import CLICKS, Finished
from research.write_card import small_table

RESAMPLES = 2000
LOWER_IS_BETTER: frozenset[Metric] = frozenset({"clicks"})


@dataclass(frozen=True)
class Difference:
    """Mean difference with its 95 % interval, and the number of seeds; NaN without seeds."""

    value: float
    low: float
    high: float
    seeds: int


def by_image(run: Finished, metric: Metric) -> Floats:  # -> (I,)
    """Mean of each image over its masks."""
    images = np.asarray(run.images)
    sums = np.bincount(images, run.values[metric])
    counts = np.bincount(images)
    means: Floats = sums[counts > 0] / counts[counts > 0]
    return means


def paired(runs: Sequence[Finished], better: str, worse: str, metric: Metric) -> Difference:
    """Difference of two arms over the seeds that both have.

    The interval is a bootstrap over seeds and test images (percentiles). Both arms of a seed are
    compared on the same images.
    """
    found = {(run.arm, run.seed): run for run in runs}
    seeds = sorted({run.seed for run in runs if (better, run.seed) in found
                    and (worse, run.seed) in found})  # fmt: skip
    if not seeds:
        return Difference(np.nan, np.nan, np.nan, 0)
    gains = np.stack(
        [by_image(found[better, n], metric) - by_image(found[worse, n], metric) for n in seeds]
    )  # (S, I)
    rng = np.random.default_rng(0)
    draws = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        rows = rng.integers(0, gains.shape[0], gains.shape[0])
        columns = rng.integers(0, gains.shape[1], gains.shape[1])
        draws[number] = gains[np.ix_(rows, columns)].mean()
    low, high = np.quantile(draws, (0.025, 0.975))
    return Difference(float(gains.mean()), float(low), float(high), len(seeds))


def verdict(finding: Finding, found: Difference) -> str:
    """Return "confirmed", "reversed", "undecided", or "not measured" without two seeds.

    "Better" is confirmed if the whole interval is on its side of 0, and reversed if it is on the
    other: runs of this size cannot deny a finding. "Comparable" is confirmed if the loss is below
    the margin in the whole interval, and reversed if it is above in the whole interval.
    """
    if found.seeds < 2:
        return "not measured"
    low, high = found.low, found.high
    if finding.metric in LOWER_IS_BETTER:
        low, high = -high, -low
    if finding.margin:
        low, high = finding.margin - high, finding.margin - low
    if low > 0:
        return "confirmed"
    return "reversed" if high < 0 else "undecided"


def write_table(runs: Sequence[Finished]) -> str:
    """Return the tables of findings and of arms in Markdown."""
    rows = []
    for finding in FINDINGS.values():
        found = paired(runs, *finding.arms, finding.metric)
        shown = f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
        rows.append([
            finding.text, " - ".join(f"`{one}`" for one in finding.arms),
            METRICS[finding.metric], shown if found.seeds else "", verdict(finding, found),
        ])  # fmt: skip
    head = ("finding", "difference of", "metric", "difference, 95 % interval", "at this scale")
    arms = []
    for name in ARMS:
        own = [run for run in runs if run.arm == name]
        if own:
            means = [np.mean([run.values[one].mean() for run in own]) for one in METRICS]
            cells = [f"{mean:.3f}" for mean in means[:-1]] + [f"{means[-1]:.2f}"]
            arms.append([f"`{name}`", str(len(own)), str(own[0].steps), *cells])
    parts = [small_table(head, rows)]
    if arms:
        parts += [
            small_table(("arm", "seeds", "steps", *METRICS.values()), arms),
            f"A mask that does not reach an IoU of 0.9 counts as {CLICKS} clicks.",
        ]
    return "\n\n".join(parts)
