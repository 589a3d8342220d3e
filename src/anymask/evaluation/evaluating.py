"""An evaluation: a model and photos with masks in, a report of its scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import this_machine
from anymask.evaluation.report import EvalReport
from anymask.evaluation.running import SetChoice, SetScorer, asked_sets, score_here
from anymask.evaluation.scoring import weights_hash
from anymask.evaluation.selection import EvalSettings

if TYPE_CHECKING:
    from anymask.evaluation.protocols import Segmenter
    from anymask.jobs import ModelChoice


def evaluate(
    model: Segmenter | ModelChoice | str | None,
    data: str | Path,
    *,
    protocol: str | Sequence[str] = (),
    root: str | Path | None = None,
    sets: Sequence[str] = (),
    clicks: int | None = None,
    limit: int | None = None,
    per_image: int | None = None,
    form: str | None = None,
    images: str | Path | None = None,
    split: str | None = None,
) -> EvalReport:
    """Measure a model on photos with masks.

        report = anymask.evaluate("nano", "labels.json", protocol="clicks")
        report.save("report.html")

    model      a loaded model, or a name of `anymask models list`; None: as `anymask.load`
    data       labels that `anymask.read` understands, a folder of sets, or a suite's name or file
    protocol   what is measured and nothing else, such as "clicks" or ("clicks", "box"); the names
               are those of `anymask.evaluation.MEASURES` (default: as the suite says, clicks and
               boxes)
    root       the folder that holds a suite's sets
    sets       only these of the suite
    clicks     on each mask (default: as the suite says, 3)
    limit      masks of a set at most, the same ones every time
    per_image  masks of a photo at most
    form       the format of labels (default: recognised)
    images     the folder of their pictures
    split      of a published data set, such as "val"

    Raises ConfigError for an unknown suite or measure, DataError for broken labels, InputError for
    options that do not go together, ModelError, WeightsError.
    """
    from anymask.jobs import ModelChoice

    asked = [protocol] if isinstance(protocol, str) else list(protocol)
    choice = SetChoice(
        what=str(data), data=None if root is None else str(root), sets=",".join(sets),
        measure=asked, only=bool(asked), origin=form,
        images=None if images is None else Path(images), split=split,
    )  # fmt: skip
    suite, found = asked_sets(choice)
    settings = EvalSettings(
        clicks=suite.clicks if clicks is None else clicks,
        min_area=suite.min_area,
        limit=limit,
        per_image=per_image,
    )
    if model is None or isinstance(model, str):
        model = ModelChoice() if model is None else ModelChoice(model)
    subject: Segmenter = model.load() if isinstance(model, ModelChoice) else model
    scores = dict(score_here(SetScorer([subject], found, settings), range(len(found))))
    return EvalReport(
        suite=suite.name,
        subject=subject.spec.name,
        weights_hash=weights_hash(subject),
        settings=settings,
        machine=this_machine(),
        sets=tuple(scores[place] for place in range(len(found))),
    )
