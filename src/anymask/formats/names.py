"""Image names: from addresses and paths to names, and a distinct output file for each.

Annotation files name images as their tool does: relative to a folder, by an absolute path of
another machine, or by an address on a server. Folders are part of a name: `cam1/0001.jpg` and
`cam2/0001.jpg` are two images. In an output each image has its own file, also on file systems that
ignore case (Windows, macOS): colliding names get as many of their folders as are needed to
distinguish them, and names that differ only in case get a number.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

_NOT_IN_NAMES = re.compile("[\x00\ud800-\udbff\udc00-\udc7f\udd00-\udfff]")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
_UPLOADS = re.compile(r"^data/upload/(?:\d+/)?")  # Label Studio's own folders
_BUCKETS = ("s3", "s3a", "gs", "gcs", "azure-blob", "azure", "abfs", "hdfs", "redis", "oss")


def address_name(address: str) -> str:
    """Return the image name in an address, with its folders.

    s3://bucket/cam1/a.jpg, https://host/cam1/a.jpg and /data/local-files/?d=cam1/a.jpg become
    cam1/a.jpg; relative names and Windows paths are unchanged.
    """
    if re.match(r"[A-Za-z]:[\\/]|\\\\", address):
        return address.replace("\\", "/")
    parts = urlsplit(address)
    query = parse_qs(parts.query)
    if "d" in query:
        return unquote(query["d"][0]).replace("\\", "/").lstrip("/")
    if "fileuri" in query and (inner := _decoded(query["fileuri"][0])):
        return address_name(inner)
    if not parts.scheme and not address.startswith("/"):
        return address
    path = parts.path if parts.scheme in _BUCKETS else unquote(parts.path)
    return _UPLOADS.sub("", path.lstrip("/")) or address


def _decoded(text: str) -> str:
    """Return the address in Label Studio's `fileuri`; "" for any other text."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def uploaded_name(name: str) -> str:
    """Return an image name without the prefix that Label Studio adds on upload (`0a1b2c3d-`)."""
    return _UPLOADED.sub("", name)


def name_suffixes(file_name: str) -> Iterator[str]:
    """Yield the possible names of an image in a folder, beginning with all of its folders.

    For /data/cam1/a.jpg: data/cam1/a.jpg, cam1/a.jpg and a.jpg.
    """
    parts = _parts(file_name)
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def name_key(name: object) -> str:
    """Return a key that is equal for names of one file on file systems that ignore case."""
    return unicodedata.normalize("NFC", str(name)).casefold()


def spellings(name: str) -> list[str]:
    """Return a name as it is, with composed and with decomposed accents, which macOS writes."""
    return [
        *dict.fromkeys(
            [name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]
        )
    ]


def output_stem(file_name: str) -> PurePosixPath:
    """Return an image name as a path inside the output, without drive and `..`.

    An absolute path becomes its file name. `output_stems` distinguishes several images.
    """
    parts = _parts(file_name)
    if PurePosixPath(_NOT_IN_NAMES.sub("", file_name.replace("\\", "/"))).is_absolute():
        parts = parts[-1:]
    return PurePosixPath(*(parts or ["unnamed"]))


def output_stems(file_names: Sequence[str]) -> list[PurePosixPath]:
    """Return `output_stem` for several images, with a distinct path for each.

    Equal names stay equal, and so do names that differ only in `..`.
    """
    stems = {name: output_stem(name) for name in dict.fromkeys(file_names)}
    groups: dict[str, list[str]] = {}
    for name, stem in stems.items():
        groups.setdefault(name_key(stem), []).append(name)
    for few in groups.values():
        if len(few) > 1:
            stems |= {name: _distinct(name, few, stems[name]) for name in few}
    _number(stems)
    return [stems[name] for name in file_names]


def _distinct(name: str, others: Sequence[str], stem: PurePosixPath) -> PurePosixPath:
    """Return the shortest end of a name, from `stem` on, that no other name has."""
    parts = _parts(name)
    rest = [_parts(other) for other in others if other != name]
    for count in range(len(stem.parts), len(parts) + 1):
        end = [name_key(part) for part in parts[-count:]]
        if all([name_key(part) for part in other[-count:]] != end for other in rest):
            return PurePosixPath(*parts[-count:])
    return PurePosixPath(*parts) if parts else stem


def _number(stems: dict[str, PurePosixPath]) -> None:
    """Add a number to paths that differ only in case from an earlier one."""
    taken: dict[str, PurePosixPath] = {}
    every = Counter(map(name_key, stems.values()))
    for name, stem in stems.items():
        first = taken.setdefault(name_key(stem), stem)
        if first == stem:
            continue
        number = 2
        while name_key(place := stem.with_stem(f"{stem.stem}-{number}")) in every:
            number += 1
        every[name_key(place)] += 1
        stems[name] = taken[name_key(place)] = place


def _parts(file_name: str) -> list[str]:
    """Return folders and name, without drive, root and `..`."""
    plain = _NOT_IN_NAMES.sub("", file_name.replace("\\", "/"))
    parts = PurePosixPath(plain).parts
    return [part for part in parts if part not in ("..", ".", "/", "//") and ":" not in part]


def name_uuid(name: str) -> str:
    """Return the UUID of a name, equal in every run; names may contain undecodable bytes."""
    data = uuid.NAMESPACE_URL.bytes + name.encode("utf-8", "surrogatepass")
    return str(uuid.UUID(bytes=hashlib.sha1(data, usedforsecurity=False).digest()[:16], version=5))
