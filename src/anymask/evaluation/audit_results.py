"""The results of an audit on disk: examined photos in, a line a photo out, so that it can resume.

    photos.jsonl   first line: model, weights, settings; then a photo a line, as it is finished

A run that was killed leaves at most one torn line, which is read as if it were not there. Letters:
F features.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError, parse_json
from anymask.evaluation.audit import ExaminedMask, ExaminedPhoto
from anymask.evaluation.audit_features import FEATURES
from anymask.masks import Mask, rle_to_string, string_to_rle

RESULTS_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class AuditHeader:
    """What the features depend on: another header is another audit."""

    model: str
    weights: str
    points_per_side: int
    grader: str


class AuditFile:
    """Photos that are examined already, and a place for more.

    path    of the file; it is made with its folder when the first photo is added
    header  of this run

    Raises DataError when the file is another audit's.
    """

    def __init__(self, path: Path, header: AuditHeader) -> None:
        self.path, self.header = path, header
        self._whole = 0  # bytes that are read as whole lines
        self.known: dict[str, str] = {}  # file name -> key, of the photos in the file
        for row in self._rows():
            self.known[row["image"]] = row["key"]

    def add(self, photo: ExaminedPhoto) -> None:
        """Append one photo; the line is on disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        start = b""
        if not self._whole:
            start = _line({"format": RESULTS_FORMAT, "names": FEATURES, **asdict(self.header)})
        data = start + _line(photo_to_json(photo))
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.truncate(self._whole)  # a torn line of a killed run
            file.seek(self._whole)
            file.write(data)
        self._whole += len(data)
        self.known[photo.file_name] = photo.key

    def photos(self) -> list[ExaminedPhoto]:
        """Every photo, in the order in which they were finished; of one twice the last."""
        found = {row["image"]: row for row in self._rows()}
        return [self._read(row) for row in found.values()]

    def _read(self, row: dict[str, Any]) -> ExaminedPhoto:
        try:
            return photo_from_json(row)
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise DataError(
                f"{self.path}: a damaged line ({type(error).__name__}: {error}); remove the file "
                "and audit again"
            ) from error

    def _rows(self) -> Iterator[dict[str, Any]]:
        """The lines of photos; the header is checked, a torn last line is left out."""
        self._whole = 0
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    return
                try:
                    row = parse_json(line, f"{self.path}, line {number + 1}")
                    named = {"image", "key"} <= set(row) if number else True
                except TypeError as error:
                    raise DataError(f"{self.path}, line {number + 1}: {error}") from error
                if not number:
                    self._check(row)
                elif not named:
                    raise DataError(f"{self.path}, line {number + 1}: no photo of an audit")
                self._whole += len(line)
                if number:
                    yield row

    def _check(self, row: Any) -> None:
        wanted = {"format": RESULTS_FORMAT, "names": list(FEATURES), **asdict(self.header)}
        for key, value in wanted.items():
            got = row.get(key) if isinstance(row, dict) else None
            if got != value:
                shown = "another list" if key == "names" else f"{got!r}, now it is {value!r}"
                raise DataError(
                    f"{self.path}: an audit with another {key}: {shown}; write to another folder, "
                    "or remove the file to start anew"
                )


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def photo_to_json(photo: ExaminedPhoto) -> dict[str, Any]:
    """One photo, ready for JSON."""
    return {
        "image": photo.file_name,
        "hw": list(photo.hw),
        "key": photo.key,
        "masks": [_mask_to_json(found) for found in photo.masks],
        "missing": [record.to_sa1b() for record in photo.missing],
    }


def _mask_to_json(found: ExaminedMask) -> dict[str, Any]:
    row: dict[str, Any] = {
        "mask": found.mask,
        "label": found.label,
        "rle": rle_to_string(found.rle),
        "values": [round(value, 4) for value in found.values.tolist()],
        "twin": found.twin,
    }
    if found.answer is not None:
        row["answer"] = found.answer.to_sa1b()
        row |= {"asked": found.asked, "guess": round(found.guess, 4)}
    return row


def photo_from_json(row: dict[str, Any]) -> ExaminedPhoto:
    """What `photo_to_json` wrote."""
    height, width = row["hw"]
    masks = tuple(
        ExaminedMask(
            mask=int(mask["mask"]),
            label=mask["label"],
            rle=string_to_rle(mask["rle"], (height, width)),
            values=np.array(mask["values"], np.float64),
            twin=mask["twin"],
            answer=Mask.from_sa1b(mask["answer"]) if "answer" in mask else None,
            asked=mask.get("asked", ""),
            guess=float(mask.get("guess", 0.0)),
        )
        for mask in row["masks"]
    )
    missing = tuple(Mask.from_sa1b(record) for record in row["missing"])
    return ExaminedPhoto(
        file_name=row["image"], hw=(height, width), key=row["key"], masks=masks, missing=missing
    )
