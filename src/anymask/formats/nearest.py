"""Describe the keys of an unknown JSON file."""

from __future__ import annotations

import json

from anymask.formats.recognition import Sniffed

_SHOWN = 6  # keys


def list_keys(found: Sniffed) -> str:
    """Return a sentence about the keys of a JSON file; "" for any other file.

    Raises DataError for invalid JSON.
    """
    document = found.first if found.first is not None else found.document
    if found.suffix != ".json" or not isinstance(document, dict):
        return ""
    shown = ", ".join(json.dumps(key) for key in [*document][:_SHOWN]) or "no keys"
    return f". {'Its records have' if isinstance(found.document, list) else 'It has'} {shown}."
