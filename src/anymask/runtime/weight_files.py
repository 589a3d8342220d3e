"""Detect the format of weights files by first bytes and archive contents.

Common accidents have their own messages: a web page saved as checkpoint, a Git LFS pointer, a
truncated archive.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Literal

from anymask.base import DataError, WeightsError, check_members, parse_json
from anymask.masks import ChannelMix

Format = Literal["torch", "torchscript", "pickle", "safetensors", "wrapped"]

ZIP = b"PK\x03\x04"
METADATA_KEY = "anymask"  # metadata key of our training in a safetensors file


def sniff(path: str | Path) -> Format:
    """Detect the format of a weights file.

    Returns:
        "torch": a checkpoint archive; "torchscript": a program, not weights; "pickle": a checkpoint
        of torch before 1.6; "safetensors"; "wrapped": a zip around one .pt or .pth file.

    Raises:
        WeightsError: The file has another format, or cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise WeightsError(
            f"{path} is a folder. Expected a weights file (.pt, .pth, .safetensors)."
        )
    try:
        if not path.is_file() and path.exists():
            raise OSError("Not a regular file")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise WeightsError(
            f"Cannot read the weights {path}: {getattr(error, 'strerror', None) or error}. Check "
            "the path and its permissions."
        ) from error
    if not head:
        raise WeightsError(f"{path} is empty. Download it again, or copy it again from its source.")
    if head.startswith(ZIP):
        return _inspect(path)
    length = int.from_bytes(head[:8], "little")
    if len(head) >= 10 and head[8:9] == b"{" and length <= 100 << 20:
        if size < 8 + length:
            raise WeightsError(
                f"{path} is incomplete: its header declares {8 + length} bytes, but the "
                f"file has {size}. Download it again, or copy it again from its source."
            )
        return "safetensors"
    if head.startswith(b"\x80"):
        return "pickle"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise WeightsError(
            f"{path} is a web page, not a checkpoint: the download address returned a page (a "
            "login, a virus-scan notice or an error). Open it in a browser and save the file "
            "itself."
        )
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a Git LFS pointer, not the file itself. Run: git lfs pull")
    raise WeightsError(
        f"{path} is not a supported checkpoint. Expected .pt or .pth files of PyTorch, or "
        ".safetensors."
    )


def only_checkpoint(archive: zipfile.ZipFile) -> str | None:
    """Name of the single .pt or .pth file in an archive, or None."""
    inside = [
        item.filename
        for item in archive.infolist()
        if item.filename.endswith((".pt", ".pth")) and "__MACOSX" not in item.filename
    ]
    return inside[0] if len(inside) == 1 else None


def _inspect(path: Path) -> Format:
    """Distinguish zip archives by the names of their members."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive)
            inside = archive.namelist()
            if any(name.endswith("constants.pkl") or "/code/" in name for name in inside):
                return "torchscript"
            if any(name.endswith("data.pkl") for name in inside):
                return "torch"
            if only_checkpoint(archive):
                return "wrapped"
    except DataError as error:
        raise WeightsError(f"{path} was not loaded. {error}") from error
    except Exception as error:  # zipfile raises many types on corrupted files
        raise WeightsError(
            f"{path} is incomplete: the end of the archive is missing or corrupted. "
            "Download it again, or copy it again from its source."
        ) from error
    raise WeightsError(
        f"{path} is a zip archive without a checkpoint. Unpack it and pass the .pt, "
        ".pth or .safetensors file."
    )


def about_weights(path: Path) -> dict[str, Any] | None:
    """Metadata that `anymask train` wrote to the header of a weights file, or None.

    Raises:
        WeightsError: The header is corrupted.
    """
    if path.suffix != ".safetensors" or sniff(path) != "safetensors":
        return None
    with path.open("rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    try:
        text = parse_json(header, path).get("__metadata__", {}).get(METADATA_KEY)
        about = None if text is None else parse_json(text.encode(), path)
    except (AttributeError, DataError) as error:
        raise WeightsError(f"{path}: The header is corrupted. Copy the file again.") from error
    if about is not None and not isinstance(about.get("variant"), str):
        raise WeightsError(f"{path}: The header contains no model name. Train the model again.")
    return about


def classes_of_weights(path: Path) -> tuple[str, ...]:
    """Return the classes in the header of trained weights, or (). Raises WeightsError."""
    classes = (about_weights(path) or {}).get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise WeightsError(
            f"{path}: The classes in the header are corrupted. Train the model again."
        )
    return tuple(classes)


def channels_of_weights(path: Path) -> ChannelMix | None:
    """Channels stated in the header of a trained weights file, or None for RGB.

    Raises:
        WeightsError: The header is corrupted.
    """
    channels = (about_weights(path) or {}).get("channels")
    try:
        return None if channels is None else ChannelMix.of(channels)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: The channels in the header are corrupted. Train the model again."
        ) from error
