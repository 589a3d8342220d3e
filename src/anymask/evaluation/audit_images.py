"""Examine the masks of each image of an audit, and find objects without a mask.

Missing objects are found by a grid of clicks outside of all annotated masks. A predicted mask
counts if its quality is high, it lies mostly outside all annotated masks, and no better prediction
overlaps it.

Results are stored, one line per image, so that an audit can be resumed:

    photos.jsonl   first line: model, weights, settings; then one line for each finished image

An interrupted run leaves at most one incomplete line, which is ignored. `label_errors` then grades
all masks of a dataset at once. Letters: N masks, F features.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError, Floats, UintImage, brief, ledger, parse_json
from anymask.evaluation.audit_features import FEATURES, measure_features, prepare_image
from anymask.evaluation.audit_grading import Grader
from anymask.evaluation.statistics import Histogram, find_duplicates
from anymask.formats import AnnotatedImage, located
from anymask.masks import (
    STABILITY_OFFSET,
    Features,
    Mask,
    Prompt,
    Rle,
    logits_to_rles,
    mask_nms,
    point_grid,
    rle_area,
    rle_intersection,
    rle_merge,
    rle_to_mask,
    rle_to_string,
    stability_score,
    string_to_rle,
)
from anymask.segment import Model, Prediction

OBJECT_GRID_SIDE = 12
MIN_QUALITY = 0.6
MIN_STABILITY = 0.65
MIN_OBJECT_AREA = 64  # pixels
MAX_OF_IMAGE = 0.5  # share of the image; larger masks are background
MAX_COVERED = 0.3  # share of the mask that annotated masks cover
SAME_ANSWER_IOU = 0.5  # minimum IoU of two predictions of one object
DUPLICATE_LABEL_IOU = 0.8  # minimum IoU of two annotated masks that are duplicates
MIN_USUAL_MASKS = 20  # minimum masks of a dataset or label for its own scale
MASKS_A_CALL = 16  # masks per model call, to limit memory
MAX_NEIGHBORS = 60  # masks that one is compared with, the nearest in the list
AUDIT_FORMAT = 1


def find_missing(
    model: Model, embedding: Features, given: Sequence[Rle], grid: int = OBJECT_GRID_SIDE
) -> list[Mask]:
    """Find objects without an annotated mask, most certain first.

    Their scores are the model's own, so results of several images are comparable. Returns nothing
    for models without point prompts.

    Args:
        grid: Clicks along each side of the grid; 0 finds nothing.
    """
    if grid < 1 or "point" not in model.spec.accepts:
        return []
    height, width = embedding.image_hw
    clicks = np.floor(point_grid(grid).astype(np.float64) * (width, height))
    covered = rle_merge(list(given)) if given else None
    if covered is not None:
        x, y = clicks.astype(np.int64).T
        clicks = clicks[~rle_to_mask(covered)[y, x]]
    if not len(clicks):
        return []
    prompts = [Prompt.of(points=[click]) for click in clicks.tolist()]
    masks: list[Mask] = []
    for click, reply in zip(
        clicks.tolist(), model.segment(embedding, prompts=prompts), strict=True
    ):
        masks += _keep_certain(reply, (click[0], click[1]), covered)
    kept = mask_nms(
        [mask.rle for mask in masks], [object_certainty(mask) for mask in masks], SAME_ANSWER_IOU
    )
    return [masks[index] for index in kept]


def object_certainty(record: Mask) -> float:
    """Confidence of a predicted mask: quality times stability."""
    return record.score * (record.stability or 0.0)


def _keep_certain(reply: Prediction, click: tuple[float, float], covered: Rle | None) -> list[Mask]:
    """Return the candidates of one click that may be objects."""
    height, width = reply.geometry.image_hw
    stability = stability_score(reply.shown_logits, reply.threshold, 1.0)
    good = (reply.scores >= MIN_QUALITY) & (stability >= MIN_STABILITY)
    records = []
    for number in np.flatnonzero(good):
        rle = reply.items[number].rle()
        area = rle_area(rle)
        if not MIN_OBJECT_AREA <= area <= MAX_OF_IMAGE * height * width:
            continue
        if covered is not None and rle_intersection([rle], [covered])[0, 0] > MAX_COVERED * area:
            continue
        score, steady = float(reply.scores[number]), float(stability[number])
        records.append(Mask(rle, score=score, stability=steady, points=(click,)))
    return records


@dataclass(frozen=True, eq=False, kw_only=True)
class ExaminedMask:
    """Examination result of one mask."""

    mask: int  # Index in the image
    label: str | None  # Class, or None
    rle: Rle  # Annotated mask
    values: Floats  # (F,) features; empty for an empty mask
    twin: int | None = None  # Index of an earlier duplicate, or None
    answer: Mask | None = None  # Best predicted mask, with its quality
    prompt_kind: str = ""  # Prompt of that prediction
    guess: float = 0.0  # Expected IoU of that prediction with the ground truth


@brief
@dataclass(frozen=True, eq=False, kw_only=True)
class ExaminedImage:
    """Examination result of one image."""

    file_name: str  # File name in the dataset
    hw: tuple[int, int]  # (H, W)
    key: str  # Hash of the annotated masks; results for other masks are outdated
    masks: tuple[ExaminedMask, ...]  # Masks that are not crowds, in order
    missing: tuple[Mask, ...] = ()  # Objects without a mask, most certain first


@dataclass
class SizeTable:
    """Histograms of relative mask sizes (logarithms) by label, and counts."""

    sizes: dict[str, Histogram] = field(default_factory=dict)
    images: int = 0
    masks: int = 0

    def oddness(self, mask: Mask) -> float:
        """Deviation of a mask's size from its label's median in spreads, signed; 0 if unknown."""
        tally = self.sizes.get(mask.label or "")
        if tally is None or tally.n < MIN_USUAL_MASKS:
            return 0.0
        spread = (tally.quantile(0.75) - tally.quantile(0.25)) / 1.35
        return float((_relative_size(mask.rle) - tally.quantile(0.5)) / max(spread, 0.1))


def count_sizes(images: Iterable[AnnotatedImage]) -> SizeTable:
    """Count the mask sizes of a whole dataset."""
    table = SizeTable()
    for image in images:
        table.images += 1
        for mask in image.masks:
            table.masks += not mask.crowd
            if not mask.crowd and rle_area(mask.rle):
                empty = Histogram(np.linspace(-10, 0, 401))
                table.sizes.setdefault(mask.label or "", empty).add(_relative_size(mask.rle))
    return table


def _relative_size(rle: Rle) -> float:
    return 0.5 * float(np.log(max(rle_area(rle), 1) / (rle.size[0] * rle.size[1])))


def hash_masks(image: AnnotatedImage) -> str:
    """Hash the masks of an image, for resuming."""
    value = zlib.crc32(repr(image.hw).encode())
    for mask in image.masks:
        value = zlib.crc32(mask.rle.counts.tobytes() + bytes([mask.crowd]), value)
        value = zlib.crc32((mask.label or "").encode(), value)
    return f"{value:08x}"


def examine_image(
    model: Model,
    grader: Grader,
    image: AnnotatedImage,
    pixels: UintImage,
    sizes: SizeTable,
    grid: int = OBJECT_GRID_SIDE,
) -> ExaminedImage:
    """Examine every mask of one image.

    Args:
        pixels: (H, W, 3), of the size of the masks.
        grid: Clicks along each side of the grid for missing objects; 0 to skip them.
    """
    counted = [(n, mask) for n, mask in enumerate(image.masks) if not mask.crowd]
    filled = [(n, mask) for n, mask in counted if rle_area(mask.rle)]
    view = prepare_image(model, pixels)
    rles = [mask.rle for _, mask in filled]
    odd = [sizes.oddness(mask) for _, mask in filled]
    pairs = find_duplicates(rles, DUPLICATE_LABEL_IOU).tolist()
    twins = {later: filled[earlier][0] for earlier, later in reversed(pairs)}
    examined = []
    for start in range(0, len(rles), MASKS_A_CALL):
        part = range(start, min(start + MASKS_A_CALL, len(rles)))
        others = [_list_neighbors(rles, n, pairs) for n in part]
        features = measure_features(
            model, view, [rles[n] for n in part], others, [odd[n] for n in part]
        )
        for n, profile in zip(part, features, strict=True):
            number, mask = filled[n]
            best, guess = grader.best_answer(profile)
            answer = profile.answers[best]
            rle = logits_to_rles(answer.logits[None], view.embedding.geometry, profile.threshold)[0]
            stability = float(stability_score(answer.logits, profile.threshold, STABILITY_OFFSET))
            record = Mask(rle, score=answer.quality, stability=stability, label=mask.label)
            examined.append(
                ExaminedMask(
                    mask=number, label=mask.label, rle=mask.rle, values=profile.values,
                    twin=twins.get(n), prompt_kind=answer.prompt_kind, guess=guess,
                    answer=record if rle_area(rle) and rle != mask.rle else None,
                )
            )  # fmt: skip
    examined += [
        ExaminedMask(mask=n, label=mask.label, rle=mask.rle, values=np.zeros(0))
        for n, mask in counted
        if not rle_area(mask.rle)
    ]
    known = [mask.rle for mask in image.masks if rle_area(mask.rle)]
    return ExaminedImage(
        file_name=image.file_name,
        hw=image.hw,
        key=hash_masks(image),
        masks=tuple(sorted(examined, key=lambda one: one.mask)),
        missing=tuple(find_missing(model, view.embedding, known, grid)),
    )


def _list_neighbors(rles: Sequence[Rle], place: int, pairs: Sequence[Sequence[int]]) -> list[Rle]:
    """Return other masks without duplicates, at most the nearest ones in the list."""
    twins = {place, *(n for pair in pairs if place in pair for n in pair)}
    others = (n for n in range(len(rles)) if n not in twins)
    nearest = sorted(others, key=lambda n: abs(n - place))[:MAX_NEIGHBORS]
    return [rles[n] for n in sorted(nearest)]


@dataclass(frozen=True, kw_only=True)
class AuditHeader:
    """Settings that the results depend on; results with other settings cannot be reused."""

    model: str
    weights: str
    grid: int
    grader: str


class AuditFile:
    """File of examined images, to which more can be added.

    Args:
        path: JSON Lines file. Created with its folder when the first image is added.
        header: Settings of this run.

    Raises:
        DataError: The file has other settings or is corrupted.
    """

    def __init__(self, path: Path, header: AuditHeader) -> None:
        self._ledger = ledger.Ledger(path)
        self.images: dict[str, ExaminedImage] = {}  # by file name
        self._header = {"format": AUDIT_FORMAT, "names": list(FEATURES), **asdict(header)}
        row = (
            parse_json(self._ledger.head, f"{path}, line 1") if self._ledger.head else self._header
        )
        for key, value in self._header.items():
            got = row.get(key) if isinstance(row, dict) else None
            if got != value:
                shown = "a different list" if key == "names" else f"{got!r} instead of {value!r}"
                raise DataError(
                    f"{path} was created with other settings ({key}: {shown}). Choose another "
                    "output folder, or remove this file to restart."
                )
        for number, line in enumerate(self._ledger.rows, start=2):
            where = f"{path}, line {number}"
            with located(f"{where} is not an entry of an audit. Remove the file and run again"):
                image = image_from_json(parse_json(line, where))
            self.images[image.file_name] = image

    def add(self, image: ExaminedImage) -> None:
        """Append one image; it is on disk when this returns."""
        row = image_to_json(image)
        self._ledger.add(row, self._header)
        self.images[image.file_name] = image_from_json(row)  # rounded as in a resumed run


def image_to_json(image: ExaminedImage) -> dict[str, Any]:
    """Convert an examined image to JSON values."""
    masks = []
    for mask in image.masks:
        row: dict[str, Any] = {
            "mask": mask.mask, "label": mask.label, "rle": rle_to_string(mask.rle),
            "values": [round(value, 4) for value in mask.values.tolist()], "twin": mask.twin,
        }  # fmt: skip
        if mask.answer is not None:
            row["answer"] = mask.answer.to_sa1b()
            row |= {"asked": mask.prompt_kind, "guess": round(mask.guess, 4)}
        masks.append(row)
    return {
        "image": image.file_name,
        "hw": list(image.hw),
        "key": image.key,
        "masks": masks,
        "missing": [record.to_sa1b() for record in image.missing],
    }


def image_from_json(row: dict[str, Any]) -> ExaminedImage:
    """Convert the JSON values of `image_to_json` back."""
    height, width = row["hw"]
    masks = tuple(
        ExaminedMask(
            mask=int(mask["mask"]),
            label=mask["label"],
            rle=string_to_rle(mask["rle"], (height, width)),
            values=np.array(mask["values"], np.float64).reshape(
                len(mask["values"]) and len(FEATURES)
            ),
            twin=mask["twin"],
            answer=Mask.from_sa1b(mask["answer"]) if "answer" in mask else None,
            prompt_kind=mask.get("asked", ""),
            guess=float(mask.get("guess", 0.0)),
        )
        for mask in row["masks"]
    )
    missing = tuple(Mask.from_sa1b(record) for record in row["missing"])
    return ExaminedImage(
        file_name=row["image"], hw=(height, width), key=row["key"], masks=masks, missing=missing
    )
