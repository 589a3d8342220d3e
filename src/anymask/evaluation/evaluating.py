"""An evaluation: a model and photos with masks in, a report of its scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from anymask.base import InputError, this_machine, write_json, write_whole
from anymask.evaluation.report import EvalReport, report_to_json
from anymask.evaluation.report_page import report_to_html
from anymask.evaluation.report_tables import report_to_markdown
from anymask.evaluation.running import SetChoice, SetScorer, asked_sets, score_here
from anymask.evaluation.scoring import weights_hash
from anymask.evaluation.selection import EvalSettings

if TYPE_CHECKING:
    from anymask.evaluation.protocols import Segmenter
    from anymask.jobs import ModelChoice


class Report(EvalReport):
    """What was measured, which saves itself."""

    def save(self, path: str | Path) -> None:
        """Write the report: a page (.html), its tables (.md) or everything (.json).

        Raises InputError for another ending.
        """
        target = Path(path)
        ending = target.suffix.lower()
        if ending == ".html":
            write_whole(target, report_to_html(self, {}))
        elif ending == ".md":
            write_whole(target, report_to_markdown(self))
        elif ending == ".json":
            write_json(target, report_to_json(self))
        else:
            raise InputError(f"{path}: a report ends in .html, .md or .json; name it so")


class EvaluateSettings(TypedDict, total=False):
    """What `evaluate` takes besides.

    root       the folder that holds a suite's sets
    clicks     on each mask (default: as the suite says, 3)
    limit      masks of a set at most, the same ones every time
    per_image  masks of a photo at most
    form       the format of labels (default: recognised)
    images     the folder of their pictures
    split      of a published data set, such as "val"
    """

    root: str | Path | None
    clicks: int | None
    limit: int | None
    per_image: int | None
    form: str | None
    images: str | Path | None
    split: str | None


def evaluate(
    model: Segmenter | ModelChoice | str | None,
    data: str | Path,
    *,
    protocol: str | Sequence[str] = (),
    sets: Sequence[str] = (),
    **settings: Unpack[EvaluateSettings],
) -> Report:
    """Measure a model on photos with masks.

        report = anymask.evaluate("nano", "labels.json", protocol="clicks")
        report.save("report.html")

    model      a loaded model, or a name of `anymask models list`; None: as `anymask.load`
    data       labels that `anymask.read` understands, a folder of sets, or a suite's name or file
    protocol   what is measured and nothing else, such as "clicks" or ("clicks", "box"); the names
               are those of `anymask.evaluation.MEASURES` (default: as the suite says, clicks and
               boxes)
    sets       only these of the suite

    Raises ConfigError for an unknown suite or measure, DataError for broken labels, InputError for
    options that do not go together, ModelError, WeightsError.
    """
    from anymask.jobs import ModelChoice

    asked = [protocol] if isinstance(protocol, str) else list(protocol)
    root, images = settings.get("root"), settings.get("images")
    choice = SetChoice(
        what=str(data), data=None if root is None else str(root), sets=",".join(sets),
        measure=asked, only=bool(asked), origin=settings.get("form"),
        images=None if images is None else Path(images), split=settings.get("split"),
    )  # fmt: skip
    suite, found = asked_sets(choice)
    clicks = settings.get("clicks")
    how = EvalSettings(
        clicks=suite.clicks if clicks is None else clicks,
        min_area=suite.min_area,
        limit=settings.get("limit"),
        per_image=settings.get("per_image"),
    )
    if model is None or isinstance(model, str):
        model = ModelChoice() if model is None else ModelChoice(model)
    subject: Segmenter = model.load() if isinstance(model, ModelChoice) else model
    scores = dict(score_here(SetScorer([subject], found, how), range(len(found))))
    return Report(
        suite=suite.name,
        subject=subject.spec.name,
        weights_hash=weights_hash(subject),
        settings=how,
        machine=this_machine(),
        sets=tuple(scores[place] for place in range(len(found))),
    )
