"""Licences of weights: a network's name and a file in, the licence in words out."""

from __future__ import annotations

from pathlib import Path

from anymask.base import ModelError
from anymask.runtime.adapters import adapter_folder
from anymask.runtime.catalogue import entry
from anymask.runtime.store import file_hash
from anymask.runtime.weight_files import about_weights


def licence_of_weights(name: str, weights: Path | None = None, sha256: str = "") -> str:
    """The licence of the published weights, or what a file of a training states of itself.

    sha256  of the file, where it is known already

    Any other file has one that we do not know, and the answer says so. Raises WeightsError.
    """
    try:
        published = entry(name)
    except ModelError:  # a network that nobody has published weights of
        known, digest = "", None
    else:
        known, digest = published.licence.name, published.sha256
    if weights is None:
        return known or f"unknown (there are no published weights of {name})"
    beside = f"the published {name} is {known}" if known else f"{name} is not published"
    if adapter_folder(weights) is not None:
        return f"unknown (of the adapters in {weights.name}; {beside})"
    if not weights.is_file():
        return f"unknown (from {weights.name}, which is gone; {beside})"
    if digest is not None and (sha256 or file_hash(weights)) == digest:
        return known
    stated = (about_weights(weights) or {}).get("licence")
    if not isinstance(stated, str) or not stated:
        return f"unknown (from {weights.name}; {beside})"
    return stated
