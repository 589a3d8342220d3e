"""Read and write annotation files: documents, tables, names and paths.

Writers of formats yield `(path, bytes)` pairs, which `write_files` writes, so that a conversion can
be checked before anything is written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

from anymask.base import AnymaskError, DataError, parse_json, parse_text, read_csv, staged
from anymask.formats.annotations import AnnotatedImage
from anymask.formats.fields import MAX_FILE_PIXELS
from anymask.formats.fields import checked_hw as checked_hw
from anymask.formats.loss_report import LossReport
from anymask.formats.loss_report import located as located
from anymask.images import SUFFIXES, image_hw

# Image names: from addresses and paths to names, and a distinct output file for each.
#
# Annotation files name images as their tool does: relative to a folder, by an absolute path of
# another machine, or by an address on a server. Folders are part of a name: `cam1/0001.jpg` and
# `cam2/0001.jpg` are two images. In an output each image has its own file, also on file systems
# that ignore case (Windows, macOS): colliding names get as many of their folders as are needed to
# distinguish them, and names that differ only in case get a number.

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
    if "fileuri" in query:  # an address in base64
        with suppress(binascii.Error, UnicodeDecodeError):
            text = query["fileuri"][0]
            if inner := base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode():
                return address_name(inner)
    if not parts.scheme and not address.startswith("/"):
        return address
    path = parts.path if parts.scheme in _BUCKETS else unquote(parts.path)
    return _UPLOADS.sub("", path.lstrip("/")) or address


def uploaded_name(name: str) -> str:
    """Return an image name without the prefix that Label Studio adds on upload (`0a1b2c3d-`)."""
    return _UPLOADED.sub("", name)


def name_suffixes(file_name: str) -> Iterator[str]:
    """Yield the possible names of an image in a folder, beginning with all of its folders.

    For /data/cam1/a.jpg: data/cam1/a.jpg, cam1/a.jpg and a.jpg.
    """
    parts = _parts(file_name)
    yield from ("/".join(parts[start:]) for start in range(len(parts)))


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
    # Add a number to paths that differ only in case from an earlier one.
    taken: dict[str, PurePosixPath] = {}
    every = Counter(map(name_key, stems.values()))
    for name, stem in stems.items():
        if taken.setdefault(name_key(stem), stem) != stem:
            number = 2
            while name_key(path := stem.with_stem(f"{stem.stem}-{number}")) in every:
                number += 1
            every[name_key(path)] += 1
            stems[name] = taken[name_key(path)] = path
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


def _parts(file_name: str) -> list[str]:
    """Return folders and name, without drive, root and `..`."""
    parts = PurePosixPath(_NOT_IN_NAMES.sub("", file_name.replace("\\", "/"))).parts
    return [part for part in parts if part not in ("..", ".", "/", "//") and ":" not in part]


def name_uuid(name: str) -> str:
    """Return the UUID of a name, equal in every run; names may contain undecodable bytes."""
    data = uuid.NAMESPACE_URL.bytes + name.encode("utf-8", "surrogatepass")
    return str(uuid.UUID(bytes=hashlib.sha1(data, usedforsecurity=False).digest()[:16], version=5))


OutFile = tuple[Path, bytes]
SPLITS = ("train", "val", "test")
_ROLES = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def find_files(source: Path, suffix: str, *others: str) -> list[Path]:
    """Return the file itself, or all files with one of the suffixes in a folder, sorted.

    Suffixes are case-insensitive. Raises DataError if there are none.
    """
    if source.is_file():
        return [source]
    if not source.exists():
        raise DataError(f"File or folder not found: {str(source)!r}. Check the path.")
    files = [
        path
        for path in sorted(source.rglob("*.*"))
        if path.name.lower().endswith((suffix, *others))
        and path.is_file()
        and not any(p.startswith(".") for p in path.relative_to(source).parts)
    ]
    if not files:
        raise DataError(
            f"{source}: The folder contains no {suffix} files. Pass a folder with *{suffix} files."
        )
    return files


def read_each(
    source: Path, suffix: str, report: LossReport, read: Callable[[Path], AnnotatedImage]
) -> list[AnnotatedImage]:
    """Return the image of each file of a source; invalid files are reported."""
    images = []
    for path in find_files(source, suffix):
        with report.record(path):
            images.append(read(path))
    return images


def read_json(path: Path) -> Any:
    """Read a JSON document. Raises DataError if the file is not readable JSON."""
    return parse_json(read_bytes(path), path)


def read_text(path: Path) -> str:
    """Read a UTF-8 text file. Raises DataError that names the file."""
    return parse_text(read_bytes(path), path)


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a header.

    Raises DataError that names the file, and the line if it has too few values.

    Args:
        columns: Required columns.
    """
    return parse_table(read_text(path), path, columns)


def parse_table(text: str, path: Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Parse the text of a table like `read_table`."""
    names, *rows = read_csv(text, path) or [[]]
    if absent := [column for column in columns if column not in names]:
        raise DataError(f"{path}: The column {absent[0]!r} is missing.")
    for line, row in enumerate(rows, start=2):
        if len(row) < len(names):
            raise DataError(f"{path}, line {line}: The line has too few columns. Check the file.")
    return [dict(zip(names, row, strict=False)) for row in rows]


def read_groups(path: Path) -> dict[str, str]:
    """Read a CSV file with the columns image and group; return groups by image name.

    Raises:
        DataError: The table is invalid or empty.
    """
    groups = {row["image"]: row["group"] for row in read_table(path, ("image", "group"))}
    if not groups:
        raise DataError(
            f"{path}: The table has no row. Expected a table with the columns image and group."
        )
    return groups


def read_rows(path: Path) -> list[list[str]]:
    """Read the rows of a CSV file without a header. Raises DataError that names the file."""
    return read_csv(read_text(path), path)


def read_bytes(path: Path) -> bytes:
    """Read a file. Raises DataError that names it."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with NUL
        reason = getattr(error, "strerror", None) or "its name is invalid"
        raise DataError(f"{path}: Cannot be read ({reason}).") from error


def to_json(document: Any) -> bytes:
    """Serialize a document as one line of JSON."""
    return json.dumps(document).encode() + b"\n"


def read_xml(path: Path) -> ET.Element:
    """Parse an XML file. Raises DataError; entities are rejected because they can be bombs."""
    data = read_bytes(path)
    if b"<!ENTITY" in data:
        raise DataError(f"{path}: The file declares XML entities, which are not supported.")
    try:
        return ET.fromstring(data)
    except ET.ParseError as error:
        line, column = error.position
        raise DataError(
            f"{path}: Not valid XML (line {line}, column {column}). Check that it is complete."
        ) from error
    except (ValueError, LookupError) as error:
        raise DataError(
            f"{path}: The file declares an unsupported text encoding. Save it as UTF-8."
        ) from error


def xml_text(value: object) -> str:
    """Convert a value to text without characters that XML does not support."""
    return _NOT_IN_XML.sub("", str(value))


def xml_element(
    tag: str, inside: object = None, about: Mapping[str, object] | None = None
) -> ET.Element:
    """Create an element.

    Args:
        inside: List of its elements, or its text.
        about: Attributes.
    """
    element = ET.Element(tag, {key: xml_text(value) for key, value in (about or {}).items()})
    if isinstance(inside, list):
        element.extend(inside)
    elif inside is not None:
        element.text = xml_text(inside)
    return element


# Paths in a dataset.


def find_place(root: Path, patterns: Sequence[str], what: str) -> Path:
    """Return the first path in `root` that matches one of the patterns, tried in order.

    Args:
        root: Folder to search.
        patterns: Globs with forward slashes; "." is the folder itself.
        what: Description of the file, for the error.

    Raises:
        DataError: Nothing matches.
    """
    for pattern in patterns:
        if paths := [root] if pattern == "." else sorted(root.glob(pattern)):
            return paths[0]
    if not root.exists():
        raise DataError(f"File or folder not found: {str(root)!r}. Check the path.")
    raise DataError(f"{root}: No {what} found. Expected files named {', '.join(patterns)}.")


def find_in_folders(name: str, folders: Sequence[Path]) -> Path:
    """Find a file in one of the folders.

    Raises DataError that lists the searched folders, or if the name leads out of them.
    """
    inside = PurePosixPath(name.replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts or not inside.name:
        raise DataError(f"The path {name!r} points outside the dataset.")
    for path in (folder / spelling for folder in folders for spelling in spellings(str(inside))):
        if path.is_file():
            return path
    raise DataError(
        f"{name!r} is not in {', '.join(dict.fromkeys(map(str, folders)))}. Check that the dataset "
        "is complete."
    )


# Images beside the annotations.


def find_image(
    image_root: Path | None, stem: str, suffixes: Container[str] = SUFFIXES
) -> Path | None:
    """Find an image in a folder by its relative name without suffix; None if there is none."""
    starts = [image_root / spelling for spelling in spellings(stem)] if image_root else []
    paths = (
        path
        for start in starts
        if start.parent.is_dir()
        for path in start.parent.iterdir()
        if path.suffix.lower() in suffixes and path.stem == start.name
    )
    return min(paths, default=None)


def read_hw(path: Path, most: int | None = MAX_FILE_PIXELS) -> tuple[int, int]:
    """Read (H, W) of the upright image of at most `most` pixels, or MAX_PIXELS, from its header.

    Raises:
        DataError: The file is not a readable image.
    """
    try:
        return image_hw(path, most)
    except AnymaskError as error:
        raise DataError(f"{path}: Not a readable image. {error}") from error


def hw_of_image(name: str, image_root: Path | None, absent: str) -> tuple[int, int]:
    """Read (H, W) of the image of a document without a size.

    Raises DataError that starts with `absent` if the image is not found.
    """
    if (path := find_named(image_root, name)) is None:
        raise DataError(f"{absent}. Pass the folder of the images.")
    return read_hw(path)


def names_in_dataset(
    source: Path, found: Sequence[tuple[Path, AnnotatedImage]]
) -> list[AnnotatedImage]:
    """Return the images of files in a dataset's folders with their names in the dataset.

    A name is prefixed by the folder of its file, such as train/ for train/_annotations.coco.json,
    if the image lies beside the file or in its images/, or if several folders have that name.
    """
    if not source.is_dir() or all(path.parent == source for path, _ in found):
        return [image for _, image in found]
    folders: dict[str, set[Path]] = {}
    for path, image in found:
        folders.setdefault(image.file_name, set()).add(path.parent)
    images = []
    for path, image in found:
        below = path.parent.relative_to(source)
        places = (path.parent / image.file_name, path.parent / "images" / image.file_name)
        if below.parts and (len(folders[image.file_name]) > 1 or any(map(Path.is_file, places))):
            image = replace(image, file_name=f"{below.as_posix()}/{image.file_name}")
        images.append(image)
    return images


def image_beside(path: Path, name: str, image_root: Path | None) -> Path | None:
    """Find an image in a folder, or beside an annotation file or in its images/."""
    folders = [path.parent, path.parent / "images"] if image_root is None else [image_root]
    return next(filter(None, (find_named(folder, name) for folder in folders)), None)


def find_named(image_root: Path | None, name: str) -> Path | None:
    """Find an image in a folder by the longest matching end of its name."""
    ends = list(name_suffixes(name))
    ends += map(uploaded_name, ends[-1:])
    stems = (str(PurePosixPath(end).with_suffix("")) for end in ends)
    return next(filter(None, (find_image(image_root, stem) for stem in stems)), None)


# Names of outputs.


def output_paths(images: Sequence[AnnotatedImage], target: Path, suffix: str) -> list[Path]:
    """Return a file for each image: `target` itself for a single image if it ends in `suffix`.

    Images that differ only in their suffix keep it. Raises DataError for equal names.
    """
    if target.name.lower().endswith(suffix):
        if len(images) != 1:
            raise DataError(
                f"{target}: The format holds one image, not {len(images)}. Pass a folder."
            )
        return [target]
    names = output_stems([image.file_name for image in images])
    stems = Counter(name_key(name.with_suffix("")) for name in names)
    kept = [
        name if stems[name_key(name.with_suffix(""))] > 1 else name.with_suffix("")
        for name in names
    ]
    places = Counter(map(name_key, kept))
    if twice := [name for name in kept if places[name_key(name)] > 1]:
        raise DataError(
            f"Two images have the name {str(twice[0])!r}, so their files would be the same."
        )
    return [target.joinpath(name.parent, name.name + suffix) for name in kept]


def file_target(target: Path, suffix: str = ".json") -> Path:
    """Return the target of a format with one file. Raises DataError for another suffix."""
    if target.suffix.lower() != suffix:
        raise DataError(f"{target}: This format is a single file. Use a name ending in {suffix}.")
    return target


def report_renamed(report: LossReport, images: Iterable[AnnotatedImage]) -> None:
    """Report images whose output files have another name."""
    names = [image.file_name for image in images]
    for name, stem in zip(names, output_stems(names), strict=True):
        if stem.name != output_stem(name).name:
            report.note(
                f"{name} differs from the name of another image only in upper and "
                f"lower case. Its output files are named {stem}."
            )


def refuse_boxes(
    source: Path, images: Iterable[AnnotatedImage], report: LossReport, requested: str
) -> None:
    """Raise DataError if all objects of a dataset are boxes, which are reported as shapes."""
    if "shapes" in report.counts() and not any(image.masks for image in images):
        raise DataError(
            f"{source}: The dataset contains only boxes and no {requested}. To convert the boxes "
            f"to masks: `anymask boxes {source}`."
        )


def role_of(split: str) -> str:
    """Return train, val or test for the usual names of these splits, such as valid or val2017."""
    plain = re.sub(r"20\d\d$", "", split.lower())
    return _ROLES.get(plain, plain)


def parts_of(images: Sequence[AnnotatedImage]) -> dict[str, list[AnnotatedImage]]:
    """Group images by split if all names start with train/, val/ (or valid/) or test/.

    Returns an empty dictionary if one does not.
    """
    groups: dict[str, list[AnnotatedImage]] = {}
    for image in images:
        folder, slash, _ = image.file_name.partition("/")
        split = "val" if folder == "valid" else folder
        groups.setdefault(split if slash else "", []).append(image)
    if not set(groups) <= set(SPLITS):
        return {}
    return {split: groups[split] for split in SPLITS if split in groups}


def write_files(files: Iterable[OutFile], target: Path) -> int:
    """Write files that appear together once all are complete; return their number.

    Args:
        files: Path and content of each file. Parent folders are created.
        target: Output file or folder; all files lie inside or beside it.

    Raises:
        InputError: A folder exists at the path of a file or vice versa.
    """
    with staged(target) as together:
        for path, data in files:
            with together.open(path) as file:
                file.write(data)
        return len(together.places)
