"""The local store of weights: paths, records and hashes of files.

This module downloads nothing. The record (record.json next to a file) contains the hash that the
file had when it was added, so that a later change is detected even without a public hash. Hashes
are cached by path, size and modification time (hashes.json) for speed only:
`anymask models verify` reads the file itself.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from anymask.base import DataError, InputError, WeightsError, exclusive, parse_json, write_json
from anymask.runtime.catalogue import Checkpoint, entry
from anymask.runtime.manifest import ASSETS, GRAPH_WEIGHTS, MANIFEST, WEIGHTS
from anymask.runtime.weight_files import sniff

LOG = logging.getLogger(__name__)
HOME = "ANYMASK_HOME"


def home() -> Path:
    """Folder of all files that anymask stores.

    `ANYMASK_HOME` if set, else the platform's cache folder: `$XDG_CACHE_HOME/anymask` or
    `~/.cache/anymask` on Linux, `~/Library/Caches/anymask` on macOS, `%LOCALAPPDATA%\\anymask` on
    Windows. This function does not create it.
    """
    if chosen := os.environ.get(HOME):
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "anymask"


def download_command(repository: str, files: str, folder: Path) -> str:
    """Return the command line that downloads files of a repository on huggingface.co."""
    first = "" if find_spec("huggingface_hub") else "pip install huggingface_hub; then: "
    return f"{first}hf download {repository} {files} --local-dir {folder}"


_NOT_WRITABLE = {
    errno.EEXIST: "it is a file",
    errno.ENOTDIR: "it or a part of its path is a file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "it is read-only",
    errno.ENOENT: "its parent folder cannot be created",
}


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Write to the store inside the `with`.

    Raises:
        WeightsError: The store's folder is a file, or it cannot be written to.
    """
    try:
        yield
    except OSError as error:
        store, path = home(), Path(os.fsdecode(error.filename or ""))
        inside = path.is_relative_to(store) or (error.filename and store.is_relative_to(path))
        if not inside or error.errno not in _NOT_WRITABLE:
            raise
        raise WeightsError(
            f"The model folder {str(store)!r} is not writable: "
            f"{_NOT_WRITABLE[error.errno]}. Set {HOME} to a writable folder."
        ) from error


@contextlib.contextmanager
def locked(what: Checkpoint) -> Iterator[None]:
    """Lock a model for one writer. Raises WeightsError as `writing` does."""
    with writing(), exclusive(lock_of(what)):
        yield


HASH_CACHE_FILE = "hashes.json"


def file_hash(path: str | Path, *, fresh: bool = False) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits.

    Args:
        path: The file.
        fresh: Ignore the cached hash.

    Raises:
        WeightsError: The file cannot be read.
    """
    path = Path(path)
    try:
        facts = path.stat()
        stamp = [facts.st_size, facts.st_mtime_ns]
        remembered = {} if fresh else read_json(home() / HASH_CACHE_FILE)
        match remembered.get(str(path.resolve())):
            case [size, mtime, str() as digest] if [size, mtime] == stamp:
                return digest
        digest = digests(path, "sha256")["sha256"]
        remember(path, digest)
    except OSError as error:
        raise WeightsError(
            f"Cannot read the weights {path}: {error.strerror or error}. Check the "
            "path and its permissions."
        ) from error
    return digest


def digests(path: Path, *algorithms: str) -> dict[str, str]:
    """Hashes of a file by algorithm ("sha256", "md5"), in one pass."""
    running = {name: hashlib.new(name, usedforsecurity=name != "md5") for name in algorithms}
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for digest in running.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in running.items()}


def remember(path: Path, sha256: str) -> None:
    """Cache a computed hash; errors while writing the cache are ignored."""
    facts, cache = path.stat(), home() / HASH_CACHE_FILE
    known = {name: old for name, old in read_json(cache).items() if os.path.exists(name)}  # noqa: PTH110 - strings, not Paths
    known[str(path.resolve())] = [facts.st_size, facts.st_mtime_ns, sha256]
    with contextlib.suppress(OSError, InputError):
        write_json(cache, known, indent=1)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; {} if it is missing or invalid."""
    try:
        value = parse_json(path.read_bytes(), path)
    except (OSError, DataError):
        return {}
    return value if isinstance(value, dict) else {}


Status = Literal["bundled", "absent", "verified", "verified_md5", "unverified", "altered"]

SAYS: dict[Status, str] = {
    "bundled": "included in the package",
    "absent": "not installed",
    "verified": "matches the published sha256",
    "verified_md5": (
        "matches the published md5 (no sha256 is published), which protects from accidents, "
        "but not from attacks"
    ),
    "unverified": "unchanged since its download, but no hash is published",
    "altered": "not the published or added file",
}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """State of a model's weights on this machine."""

    name: str  # Name of the model
    status: Status  # Result of the verification
    path: Path | None = None  # Weights file; folder of graphs for bundled models; None if missing
    sha256: str = ""  # Hash when the file was added (or now, for `verify`); "" if unknown
    bytes: int = 0  # Size of the file; 0 if missing
    source: str = ""  # Address or path of origin


def find(name: str, path: str | Path | None = None) -> Path:
    """Weights of a model: `path` if given, else the file in the store. Never downloads.

    Bundled models are folders of graphs, all others are files.

    Raises:
        WeightsError: The weights are missing or have changed. The message has the command to run.
        ModelError: The name is not in the catalogue.
    """
    if path is not None:
        file = Path(path).expanduser()
        if not file.exists():
            raise WeightsError(f"Weights file not found: {file}, for {name}. Check the path.")
        return file
    state = current(name)
    if state.path is None or state.status == "absent":
        raise WeightsError(
            f"The weights of {name} are not installed. Run: anymask models get {name}, "
            f"or add a file: anymask models add {name} FILE"
        )
    if state.status == "altered":
        raise WeightsError(
            f"{state.path} has changed since it was added. Run: anymask models verify "
            f"{name}. To download it again: anymask models get {name}"
        )
    return state.path


def add(name: str, file: str | Path, *, link: bool = False) -> Installed:
    """Add a local file to the store, after verifying it against the catalogue.

    Args:
        name: Name of the model.
        file: Weights file.
        link: Create a symbolic link instead of a copy.

    Raises:
        WeightsError: The file is not a checkpoint, or not the published one.
    """
    what, file = downloadable(name), Path(file).expanduser()
    sniff(file)
    state = check(what, file)
    if state.status == "altered":
        raise WeightsError(
            f"{file} is not the published {what.file} ({mismatch(what, file, state.sha256)}). "
            "Download it again. To use your own weights, load them with the model "
            f"name and weights={file.name!r}."
        )
    target = path_of(what)
    with locked(what):
        place(file, target, link=link)
        return record(what, state, source=str(file.resolve()))


def verify(name: str) -> Installed:
    """Read a model's file and compare it with the published hashes, else with the record.

    "verified" and "verified_md5" match a public source; "unverified" matches only the hash recorded
    when the file was added; "altered" matches neither.
    """
    what = entry(name)
    state = installed(name)
    if state.path is None or what.bundled:
        return state
    return replace(check(what, state.path, recorded=state.sha256), source=state.source)


def installed(name: str) -> Installed:
    """State of a model's file by its record and size, without reading it."""
    what = entry(name)
    if what.bundled:
        return bundled(name)
    path = path_of(what)
    if not path.is_file():
        return Installed(name=name, status="absent")
    size, facts = path.stat().st_size, read_json(record_of(what))
    # The record may have been modified: values that are not strings are ignored.
    texts = {key: value for key, value in facts.items() if isinstance(value, str)}
    recorded = texts.get("status", "")
    status: Status = recorded if recorded in SAYS else "unverified"
    if (facts and size != facts.get("bytes")) or what.bytes not in (None, size):
        status = "altered"
    return Installed(
        name=name,
        status=status,
        path=path,
        sha256=texts.get("sha256", ""),
        bytes=size,
        source=texts.get("source", ""),
    )


def current(name: str) -> Installed:
    """State as of `installed`, but "altered" if the file's hash is not the recorded one.

    Hashes are cached by size and modification time, so an unchanged file is not read again.
    """
    state = installed(name)
    if state.path is not None and state.sha256 and file_hash(state.path) != state.sha256:
        return replace(state, status="altered")
    return state


def bundled(name: str) -> Installed:
    """State of a bundled model.

    Raises:
        WeightsError: The package is incomplete.
    """
    folder = ASSETS / name
    if not (folder / MANIFEST).is_file():
        raise WeightsError(
            f"The package is incomplete: {folder} has no manifest.json. Reinstall anymask."
        )
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return Installed(name=name, status="bundled", path=folder, bytes=size, source="anymask")


def trainable_weights(name: str) -> Path:
    """Return the file of installed weights from which training starts. Never downloads.

    Bundled models have them in the package (`nano` in its graphs); other models use the official
    checkpoint.

    Raises:
        WeightsError: The weights are missing.
    """
    path = find(name)
    if not path.is_dir():
        return path
    for file in (WEIGHTS, GRAPH_WEIGHTS):
        if (path / file).is_file():
            return path / file
    raise WeightsError(
        f"The package is incomplete: {path} has no {WEIGHTS} and no {GRAPH_WEIGHTS}. "
        "Reinstall anymask, or pass weights=FILE."
    )


def check(what: Checkpoint, path: Path, *, recorded: str = "") -> Installed:
    """Compare a file with the catalogue, or with a recorded SHA-256 if that has no hash."""
    hashes = digests(path, *(["sha256"] if what.sha256 or not what.md5 else ["sha256", "md5"]))
    size = path.stat().st_size
    status: Status = "unverified"
    if what.sha256:
        status = "verified" if hashes["sha256"] == what.sha256 else "altered"
    elif what.md5:
        status = "verified_md5" if hashes["md5"] == what.md5 else "altered"
    elif recorded and hashes["sha256"] != recorded:
        status = "altered"
    if what.bytes not in (None, size):
        status = "altered"
    return Installed(name=what.name, status=status, path=path, sha256=hashes["sha256"], bytes=size)


def record(what: Checkpoint, state: Installed, *, source: str) -> Installed:
    """Write the record of a file in the store."""
    stored = replace(state, path=path_of(what), source=source)
    facts = asdict(stored)
    del facts["path"]
    write_json(record_of(what), facts, indent=1)
    remember(path_of(what), state.sha256)
    return stored


def mismatch(what: Checkpoint, path: Path, sha256: str) -> str:
    """Describe how a file with a computed hash differs from its catalogue entry."""
    size = path.stat().st_size
    if what.bytes not in (None, size):
        return f"it has {size} bytes, but the published file has {what.bytes}"
    if what.sha256:
        return f"its sha256 is {sha256}, but the published sha256 is {what.sha256}"
    return f"its md5 differs from the published md5 {what.md5}"


def place(file: Path, target: Path, *, link: bool) -> None:
    """Copy or link a file into the store, atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.resolve() == file.resolve():
        return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".add-") as folder:
        new = Path(folder) / target.name
        if link:
            new.symlink_to(file.resolve())
        else:
            shutil.copyfile(file, new)
        new.replace(target)


def downloadable(name: str) -> Checkpoint:
    """Catalogue entry of a model that is not bundled. Raises WeightsError for bundled models."""
    what = entry(name)
    if what.bundled:
        raise WeightsError(
            f"{name} is included in the package. There is nothing to download or add."
        )
    return what


def path_of(what: Checkpoint) -> Path:
    """Path of a model's file in the store."""
    return home() / "models" / what.name / what.file


def record_of(what: Checkpoint) -> Path:
    """Path of the record of a model's file."""
    return home() / "models" / what.name / "record.json"


def lock_of(what: Checkpoint) -> Path:
    """Lock file of a model, for one writer at a time."""
    return home() / "models" / what.name / ".lock"


# One-time advice: the names of past advice are stored in the home folder for all processes, or only
# for this process if that is not writable.

NOTICES = "notices"  # a folder in the home, with an empty file per advice
_given: set[str] = set()  # by this process
_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """Suppress advice inside the `with`, for models that the user did not choose."""
    before = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(before)


def advise_once(name: str, text: str) -> None:
    """Log a piece of advice as a warning, once per machine.

    Args:
        name: Identifier of the advice, used as file name.
        text: The advice.
    """
    if _silent.get() or name in _given:
        return
    _given.add(name)
    with contextlib.suppress(OSError):  # if the home is not writable
        folder = home() / NOTICES
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / name).touch(exist_ok=False)
        except FileExistsError:
            return
    LOG.warning(text)
