"""Concepts that have one implementation: each row names its file, and what other files lack.

A row is a pattern of code that only its home may hold. The home must hold it, so that a row whose
code has moved fails instead of passing for ever.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from tests.house.gates import STANDALONE, python_files


@dataclass(frozen=True)
class Concept:
    """One row.

    Attributes:
        name: Description of the concept.
        pattern: Regular expression that is searched in each line of code.
        home: Files, or folders ending in "/", that may contain it.
        remedy: Replacement to suggest.
    """

    name: str
    pattern: str
    home: tuple[str, ...]
    remedy: str


CONCEPTS = (
    Concept(
        "HTTP",
        r"^\s*(import|from) (urllib\.(request|error)|http\.client|requests|httpx|urllib3)\b",
        ("base/transfers.py",),
        "open_address or read_address of base/transfers.py, whose downloads end",
    ),
    Concept(
        "the type of a progress callback",
        r"Callable\[\[(str, )?int, int( \| None)?\], None\]",
        ("base/progress.py",),
        "OnProgress or OnNamedProgress of base/progress.py",
    ),
    Concept(
        "records of finished work",
        r"sha256\(json\.dumps\(facts|\.rfind\(b\"\\n\"\)|\"begun\"",
        ("base/ledger.py",),
        "Ledger or Stamp of base/ledger.py",
    ),
    Concept(
        "routes of sessions",
        r"videos\.follow\(|export-\{secrets",
        ("studio/session_routes.py",),
        "add_shared, lines_of and export_folder of studio/session_routes.py",
    ),
    Concept(
        "hiding pixels",
        r"\bcheck_hiding\(|(?<!def )\bredact\(|\.redacted\"",
        ("edit/redaction.py",),
        "Redactor and RedactedCopy of edit/redaction.py",
    ),
    Concept(
        "which pixels of an image file",
        r"\.placed_view\(|\bload_image\(.*\b(bands|stretch)=",
        ("images/",),
        "ImageFile of images/load.py",
    ),
    Concept(
        "a prompt as JSON",
        r"^\s*points: .*\bPlaces\b|\bdef (_?prompt_text|_?text_prompt)\b"
        r"|^class \w*(File|Map|Slice|Stored|Spoken)Prompt\b|rle_to_coco\(mask_to_rle\(value",
        ("masks/prompts.py", "studio/records.py"),
        "Prompt of masks/prompts.py, with to_json and from_json",
    ),
    Concept(
        "joining tiles",
        r"^(AGREE|CONFIRMED|WINDOW_STEPS) = |argmax\(axis=1\), iou\.argmax",
        ("masks/joining.py",),
        "best_matches, Groups, is_confirmed, whole_of and window_with of masks/joining.py",
    ),
    Concept(
        "recognising a format",
        r"\bdef (sniff|_?is_format)|\bFit\.(SURE|MAYBE|NO|sure)\b",
        ("formats/recognition.py", "formats/registry.py", "runtime/weight_files.py"),
        "a row of MARKS in formats/recognition.py",
    ),
    Concept(
        "a shape of a file made a mask",
        r"The mask has no area|np\.array\(\[\[x0, y0\], \[x1, y0\]|\bcrop_to_rle\(stamp",
        ("formats/shapes.py",),
        "ring_to_rle, box_ring, stamp_to_rle and with_area of formats/shapes.py",
    ),
    Concept(
        "options of a command",
        r"\.add_(argument|argument_group|subparsers)\(|\bdef (configure\w*|add_\w*options)\(",
        ("cli/command.py", "cli/parser.py"),
        "Command, Argument, Group and Settings of cli/command.py",
    ),
    Concept(
        "cleaning of logits and masks",
        r"\bdef _?(clean_(logits|mask|rle)|small_regions|remove_small_regions)\b",
        ("masks/",),
        "clean_logits of masks/answer.py, clean_mask of masks/binary.py",
    ),
    Concept(
        "suppression of duplicates",
        r"\bdef _?(\w+_)?nms\b",
        ("masks/",),
        "box_nms of masks/boxes.py, mask_nms of masks/binary.py",
    ),
    Concept(
        "automatic mask generation",
        r"\bdef _?(find_everything|crop_boxes|find_in_tiles|stitch|without_contained|keep_level)\b",
        ("segment/everything/",),
        "find_masks of segment/everything, with its grid, filter and tiles",
    ),
    Concept(
        "checks of settings",
        r"\bdef settings_from_table\b|^_?RANGES\b|\b_check_kinds\(",
        ("base/settings.py",),
        "a Setting of each field, check_settings and settings_from_table of base/settings.py",
    ),
    Concept(
        "SA-V, COCO or DAVIS written",
        r"\"(video_frame_count|masklet_num)\": |putpalette\(voc_palette",
        ("formats/",),
        "the encoders of formats/, of frames one by one those of formats/streams.py",
    ),
)


def copies(package: Path, concept: Concept) -> list[str]:
    """Lines outside of a concept's home that hold its pattern; or that its home has none."""
    complaints, held = [], False
    for path in python_files(package):
        inside = path.relative_to(package).as_posix()
        if inside.startswith(STANDALONE):
            continue
        lines = path.read_text("utf-8").splitlines()
        found = [n for n, line in enumerate(lines, start=1) if re.search(concept.pattern, line)]
        if inside.startswith(concept.home):
            held = held or bool(found)
            continue
        complaints += [
            f"{package.name}/{inside}:{line}: {concept.name} in a second place; use "
            f"{concept.remedy}"
            for line in found
        ]
    if not held:
        where = " and ".join(concept.home)
        complaints.append(f"{package.name}/{where}:1: no longer holds {concept.name}; mend the row")
    return complaints


def settings_faults(package: Path) -> list[str]:
    """Settings classes and TOML files that are checked without their `Setting` fields.

    A class with a `Setting` field calls `check_settings` in `__post_init__`, itself or by its base
    class, and has no separate type checks there. A module that parses TOML converts it by
    `settings_from_table`.
    """
    complaints = []
    for path in python_files(package):
        inside, text = (
            f"{package.name}/{path.relative_to(package).as_posix()}",
            path.read_text("utf-8"),
        )
        if (
            "parse_toml(" in text
            and "settings_from_table(" not in text
            and "def parse_toml(" not in text
        ):
            complaints.append(f"{inside}:1: parses TOML; convert it by settings_from_table")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and _has_settings(node):
                complaints += [
                    f"{inside}:{node.lineno}: {node.name} {fault}" for fault in _faults(node)
                ]
    return complaints


def _has_settings(node: ast.ClassDef) -> bool:
    notes = [ast.unparse(one.annotation) for one in node.body if isinstance(one, ast.AnnAssign)]
    return any(re.match(r"Annotated\[.*\bSetting\(", note, re.S) for note in notes)


def _faults(node: ast.ClassDef) -> list[str]:
    inits = [ast.unparse(one) for one in node.body if getattr(one, "name", "") == "__post_init__"]
    body = inits[0] if inits else "super().__post_init__()" if node.bases else ""
    faults = []
    if not re.search(r"check_settings\(self\)|super\(\).__post_init__\(\)", body):
        faults.append("has no check_settings(self) in __post_init__")
    if re.search(r"\b(isinstance|type)\(self\.|get_args\(", body):
        faults.append("checks a field by hand; declare its type and range in a Setting")
    return faults
