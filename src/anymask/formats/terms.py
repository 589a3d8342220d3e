"""Terms of a dataset: licences, source, consent and restrictions, in a side file.

COCO documents, YOLO datasets and sets of anymask store them. All other formats have a side file,
one JSON line each, which can also be written by hand beside any dataset:

    {"licence": {"id": 1, "name": "CC BY 4.0", "url": "https://..."}}
    {"info": {"source": "Harbour archive", "consent": "given in writing", "restrictions": [...]}}

`restrictions` are the words of `RESTRICTIONS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from anymask.base import DataError, InputError, Setting, parse_json
from anymask.formats.documents import OutFile, read_text
from anymask.formats.facts import SetFacts
from anymask.formats.fields import as_record
from anymask.formats.origins import side_path

TERMS_FILE = "terms.jsonl"
WITH_TERMS = (
    "coco",
    "panoptic",
    "saco",
    "sets",
    "yolo",
)  # modules whose files have a place for them
TERMS = ("source", "url", "contributor", "attribution", "consent", "restrictions")  # keys of info
RESTRICTIONS = {
    "no-training": "must not be used to train models",
    "no-mixing": "must not be combined with other datasets",
}
ACCEPT_TERMS = Setting(
    "train although the restrictions of the data forbid it, if you have permission"
)


def encode_terms(facts: SetFacts, target: Path) -> Iterator[OutFile]:
    """Yield the side file of a dataset that states terms; nothing for others."""
    lines: list[dict[str, Any]] = [{"licence": one} for one in facts.licences]
    if info := {key: facts.info[key] for key in TERMS if key in facts.info}:
        lines.append({"info": info})
    if lines:
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        yield side_path(target, TERMS_FILE), text.encode()


def take_terms(source: Path, facts: SetFacts) -> None:
    """Add the terms of the side file that the dataset itself does not state.

    Raises DataError for an invalid side file.
    """
    path = side_path(source, TERMS_FILE)
    if not path.is_file():
        return
    licences: list[dict[str, Any]] = []
    try:
        for line in read_text(path).splitlines():
            record = as_record(parse_json(line, path), "terms")
            if "licence" in record:
                licences.append(
                    {"id": len(licences) + 1, **as_record(record["licence"], "licence")}
                )
            else:
                for key, value in as_record(record["info"], "info").items():
                    facts.info.setdefault(key, value)
    except (KeyError, DataError) as error:
        raise DataError(
            f"{path}: Expected one JSON object per line, with the keys licence or info."
        ) from error
    if not facts.licences:
        facts.licences.extend(licences)


def restrictions_of(info: Mapping[str, Any]) -> list[str]:
    """Return the known restrictions of a dataset, which are a list or a text with commas."""
    given = info.get("restrictions") or []
    words = given.split(",") if isinstance(given, str) else given
    found = [str(word).strip().lower() for word in words] if isinstance(words, list) else []
    return [word for word in RESTRICTIONS if word in found]


def check_training(name: str, restrictions: Iterable[str], mixed: bool = False) -> None:
    """Raise InputError if the restrictions of a dataset forbid training on it.

    Args:
        name: Name of the dataset for the message.
        mixed: Whether it is combined with other datasets.
    """
    broken = {"no-training", "no-mixing"} if mixed else {"no-training"}
    if forbidden := [word for word in restrictions if word in broken]:
        reasons = " and ".join(RESTRICTIONS[word] for word in forbidden)
        raise InputError(
            f"The terms of {name} state that it {reasons} ({', '.join(forbidden)}). If you have "
            "permission, pass --accept-terms (in Python accept_terms=True)."
        )
