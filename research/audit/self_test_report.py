"""Report of a self-test: graded cases in, AUC, recall and gain of every corruption out.

    AUC        area under the ROC curve of the grade, wrong masks of one kind against careful ones
               of the same set, as a mean over sets: 0.5 is chance, 1 tells every one
    caught     the share of masks under the threshold for suspects
    proposals  for suspects with a proposal: the IoU with the truth of the mask and of the proposal
    deleted    masks taken away: how many of them the search for missing objects finds

Letters: N cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, Floats
from anymask.evaluation.audit_grading import Grader
from anymask.evaluation.label_errors import MIN_GAIN, SUSPECT_BELOW, UNREPLACED_ERRORS
from anymask.evaluation.report import markdown_table
from research.audit.corruptions import CORRUPTIONS
from research.audit.self_test import CLEAN, DeletedMask, SelfTestCase, fit_scales_by_set

ALL_WRONG = "all wrong"


@dataclass(frozen=True, kw_only=True)
class CorruptionResult:
    """One kind of masks.

    Attributes:
        masks: Number of masks.
        auc: AUC of the grade against correct masks of the same dataset; NaN for correct ones.
        caught: Share with a grade below the threshold.
        proposals: Number of proposed better masks.
        before: Mean IoU of the masks with proposals with the ground truth; NaN without any.
        after: Mean IoU of the proposals with the ground truth.
    """

    kind: str
    masks: int
    auc: float
    caught: float
    proposals: int
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class SelfTestResult:
    """Everything that a trial says.

    Attributes:
        kinds: Correct masks, each kind of wrong masks, all wrong masks.
        deletions: Number of deleted masks.
    """

    kinds: tuple[CorruptionResult, ...]
    deletions: tuple[DeletedMask, ...]


@dataclass(frozen=True, eq=False)
class _GradedCases:
    """What an audit would say of each case, (N,): grades, whether it proposes, IoUs."""

    names: NDArray[np.str_]
    kinds: NDArray[np.str_]
    grades: Floats
    proposed: BoolArray
    before: Floats
    after: Floats


def evaluate_self_test(
    grader: Grader,
    cases: Sequence[SelfTestCase],
    deletions: Sequence[DeletedMask],
    below: float = SUSPECT_BELOW,
) -> SelfTestResult:
    """Grade what was tried, each set by what is usual in it."""
    usual = fit_scales_by_set(cases)
    pairs = [(case.values[None], usual[case.name]) for case in cases]
    grades = np.array([grader.grade(*pair)[0] for pair in pairs])
    errors = np.array([grader.errors[int(grader.log_odds(*pair)[0].argmax())] for pair in pairs])
    given = np.array([grader.guess_given(*pair)[0] for pair in pairs])
    guesses = [grader.answer(case.answers) for case in cases]
    best = [int(guess.argmax()) for guess in guesses]
    gains = np.clip([guess.max() for guess in guesses], 0, 1) - given
    judged = _GradedCases(
        names=np.array([case.name for case in cases]),
        kinds=np.array([case.kind for case in cases]),
        grades=grades,
        proposed=(grades < below) & (gains >= MIN_GAIN) & ~np.isin(errors, UNREPLACED_ERRORS),
        before=np.array([case.given for case in cases]),
        after=np.array([case.truths[n] for case, n in zip(cases, best, strict=True)]),
    )
    clean = judged.kinds == CLEAN
    rows = [(kind, judged.kinds == kind) for kind in (CLEAN, *CORRUPTIONS)] + [(ALL_WRONG, ~clean)]
    found = []
    for kind, chosen in rows:
        if not chosen.any():
            continue
        proposed = chosen & judged.proposed
        found.append(
            CorruptionResult(
                kind=kind,
                masks=int(chosen.sum()),
                auc=float("nan") if kind == CLEAN else _auc_by_set(judged, clean, chosen),
                caught=_mean(judged.grades[chosen] < below),
                proposals=int(proposed.sum()),
                before=_mean(judged.before[proposed]),
                after=_mean(judged.after[proposed]),
            )
        )
    return SelfTestResult(kinds=tuple(found), deletions=tuple(deletions))


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _auc_by_set(judged: _GradedCases, clean: BoolArray, wrong: BoolArray) -> float:
    """The mean over sets that have both."""
    inside = [judged.names == name for name in dict.fromkeys(judged.names.tolist())]
    found = [
        roc_auc(judged.grades[own & wrong], judged.grades[own & clean])
        for own in inside
        if (own & wrong).any() and (own & clean).any()
    ]
    return float(np.mean(found)) if found else float("nan")


def roc_auc(low: Floats, high: Floats) -> float:  # (N,), (M,), none of them empty
    """The chance that one of `high` is larger than one of `low`; ties count half."""
    larger = (high[:, None] > low).mean()
    return float(larger + 0.5 * (high[:, None] == low).mean())


def self_test_to_markdown(result: SelfTestResult) -> str:
    """A table, and the deletions in a line."""
    header = ("masks", "number", "AUC", "caught", "proposals", "IoU before", "after")
    rows = []
    for row in result.kinds:
        numbers = (row.auc, row.caught, row.before, row.after)
        auc, caught, before, after = ("" if np.isnan(n) else f"{n:.3f}" for n in numbers)
        rows.append((row.kind, f"{row.masks}", auc, caught, f"{row.proposals}", before, after))
    lines = [markdown_table(header, rows, "lrrrrrr")]
    if result.deletions:
        found = sum(one.found for one in result.deletions)
        others = sum(one.others for one in result.deletions)
        lines += [
            "",
            f"deleted: {found} of {len(result.deletions)} found again, beside {others} other "
            "objects that have no mask",
        ]
    return "\n".join(lines) + "\n"


def self_test_to_json(result: SelfTestResult) -> dict[str, Any]:
    """The same for a program; NaN becomes null."""
    rows = [
        {key: None if value != value else value for key, value in asdict(row).items()}
        for row in result.kinds
    ]
    return {"kinds": rows, "deletions": [asdict(one) for one in result.deletions]}
