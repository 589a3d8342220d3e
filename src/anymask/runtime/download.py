"""Download weights to the store, verified and resumable, in one process at a time.

Bytes are written to FILE.part, with FILE.part.json next to it (source, ETag of the server, length).
An interrupted download resumes there. The file is moved to the store only if length and hash are
correct; a file that differs is deleted. HTTP ranges: RFC 9110, section 14. `ANYMASK_MIRROR` (an
address or a folder with the published files) is tried first.

A download from a server that stalls (`base.transfers`) ends, and the received bytes are kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from anymask.base import OnProgress, WeightsError, transfers, write_json
from anymask.runtime.catalogue import Checkpoint
from anymask.runtime.store import (
    Installed,
    check,
    current,
    downloadable,
    locked,
    mismatch,
    path_of,
    read_json,
    record,
)
from anymask.runtime.weight_files import sniff

MIRROR = "ANYMASK_MIRROR"
MAX_UNSIZED_BYTES = 32 << 30  # maximum size in bytes of a file of unknown length
TRIES_PER_SOURCE = 5  # per source, as long as each brings LEAST bytes


class Refused(WeightsError):
    """This source cannot provide the file."""


class CutShort(Refused):
    """The connection ended early; the received bytes are kept."""


@dataclass(frozen=True)
class Part:
    """An incomplete download: the bytes so far and their source."""

    path: Path

    @classmethod
    def of(cls, target: Path) -> Part:
        """The partial download of a file in the store."""
        return cls(target.with_name(target.name + ".part"))

    @property
    def size(self) -> int:
        """Number of bytes so far; 0 for a symbolic link."""
        there = self.path.is_file() and not self.path.is_symlink()
        return self.path.stat().st_size if there else 0

    @property
    def _notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def validator(self, source: str) -> str | None:
        """Validator (ETag or date) of the source for these bytes, or None."""
        facts = read_json(self._notes)
        value = facts.get("validator") if facts.get("source") == source else None
        return value if isinstance(value, str) else None

    def note(self, source: str, headers: Message, total: int | None) -> None:
        """Record the source of the bytes; weak validators cannot resume (RFC 9110, 8.8.1)."""
        etag = headers.get("ETag") or ""
        validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        write_json(self._notes, {"source": source, "validator": validator, "total": total})

    def open(self, start: int) -> IO[bytes]:
        """Open the file for appending from a byte; a symbolic link is removed, not followed."""
        if self.path.is_symlink():
            self.path.unlink()
        return self.path.open("ab" if start else "wb")

    def discard(self) -> None:
        """Delete the bytes and their record."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)


def fetch(name: str, *, progress: OnProgress | None = None) -> Installed:
    """Download a model's weights to the store, and return their state.

    An interrupted download resumes on the next call.

    Args:
        name: Name of the model.
        progress: Callable (bytes so far, all bytes or None if unknown).

    Raises:
        WeightsError: No source provides the correct file. The message lists the reason for each.
    """
    what = downloadable(name)
    target = path_of(what)
    with locked(what):
        state = current(name)
        if target.is_file() and state.status != "altered":
            if state.sha256:
                return state
            state = check(what, target)  # a file without a record
            if state.status == "altered":
                raise WeightsError(
                    f"{target} is not the published file ({mismatch(what, target, state.sha256)}). "
                    f"Delete it and run: anymask models get {name}"
                )
            return record(what, state, source=str(target))
        failures = []
        for source in addresses(what):
            try:
                check_protected(what, source)
                return download(what, source, target, progress or (lambda done, total: None))
            except Refused as error:
                failures.append(f"  {source}: {error}")
    if not failures:
        failures.append("  it requires a download with a browser")
    kept = Part.of(target).size
    failures += (
        [f"{kept} bytes were downloaded and are kept. The next download resumes after them."]
        if kept
        else []
    )
    raise WeightsError(
        f"Could not download {what.file} for {name}:\n"
        + "\n".join(failures)
        + (
            f"\nTry again later, set {MIRROR} to a copy, or download it with a browser from "
            f"{what.home} and run: anymask models add {name} FILE"
        )
    )


def addresses(what: Checkpoint) -> list[str]:
    """Addresses of a file in order: the user's mirror, then the published addresses."""
    mirror = os.environ.get(MIRROR, "").strip()
    if not mirror:
        return list(what.sources)
    if "://" not in mirror:
        mirror = Path(mirror).expanduser().resolve().as_uri()
    return [f"{mirror.rstrip('/')}/{urllib.parse.quote(what.file)}", *what.sources]


def check_protected(what: Checkpoint, source: str) -> None:
    """Raises Refused if neither a hash nor the connection protects the file."""
    scheme = urllib.parse.urlsplit(source).scheme.lower()
    if scheme not in ("http", "https", "file"):
        raise Refused(f"Expected an http, https or file URL, got {scheme!r}.")
    loopback = urllib.parse.urlsplit(source).hostname in ("127.0.0.1", "::1", "localhost")
    if scheme == "http" and not what.sha256 and not loopback:
        raise Refused(
            f"No sha256 of {what.file} is published, and http does not protect the "
            "download. Use an https URL or a folder as the mirror."
        )


def download(what: Checkpoint, source: str, target: Path, progress: OnProgress) -> Installed:
    """Download one file from one source, and resume after interruptions while bytes arrive."""
    part = Part.of(target)
    for attempt in range(TRIES_PER_SOURCE):
        before = part.size
        try:
            transfer(what, source, part, progress)
            state = check(what, part.path)
            try:
                if state.status == "altered":
                    raise Refused(mismatch(what, part.path, state.sha256))
                sniff(part.path)
            except WeightsError as error:
                part.discard()
                raise Refused(str(error)) from error
            part.path.replace(target)
            part.discard()
            return record(what, state, source=source)
        except CutShort:
            if attempt == TRIES_PER_SOURCE - 1 or part.size - before < transfers.STALL_BYTES:
                raise
        except Refused:
            # The partial file may belong to another edition and was deleted, so retry once.
            if not before or part.size or attempt == TRIES_PER_SOURCE - 1:
                raise
    raise AssertionError("Unreachable: the loop above returns or raises.")


def transfer(what: Checkpoint, source: str, part: Part, progress: OnProgress) -> None:
    """Request the missing bytes and append them. Raises CutShort if the response ends early."""
    # Without a validator of the same source, only a published hash detects a mixture of editions.
    start, known = part.size, what.sha256 or what.md5 or part.validator(source)
    if (start and not known) or (what.bytes is not None and start > what.bytes):
        part.discard()
        start = 0
    headers = {"User-Agent": "anymask", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator := part.validator(source):
            headers["If-Range"] = validator
    deadline = transfers.Deadline(transfers.ANSWER_S)
    try:
        response = transfers.open_address(source, headers, deadline)
    except transfers.HTTPError as error:
        with error:
            if error.code == 416:  # no bytes follow the existing ones
                content_range = error.headers.get("Content-Range") or ""
                if start and content_range.strip() == f"bytes */{start}":
                    return
                part.discard()
            raise Refused(f"The server responded {error.code} {error.reason}") from error
    except transfers.TRANSFER_ERRORS as error:
        raise Refused(_network(error)) from error
    with contextlib.closing(response):
        if getattr(response, "status", None) != 206:
            start = 0
        try:
            total = total_of(response.headers, start)
        except Refused:
            part.discard()
            raise
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise Refused("The server returned a web page instead of the file")
        if what.bytes is not None and total not in (None, what.bytes):
            raise Refused(
                f"The server offers a file of {total} bytes, but {what.bytes} bytes were expected"
            )
        folder = part.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if total is not None and free < total - start:
            raise WeightsError(
                f"The download requires {total - start} more bytes in {folder}, where {free} are "
                "free. Free some space, or set ANYMASK_HOME to a folder on another disk."
            )
        part.note(source, response.headers, total)
        most = what.bytes or total or MAX_UNSIZED_BYTES
        if pour(transfers.read_blocks(response, deadline), part, start, total, most, progress):
            part.discard()
            raise Refused(f"The server sent more than {most} bytes, the size of the file")
    if total is not None and part.size < total:
        raise CutShort(f"The connection ended at {part.size} of {total} bytes")


def total_of(headers: Message, start: int) -> int | None:
    """Length of the whole file from a response's headers, or None if unknown.

    Raises Refused if the server sends another range than requested.
    """
    if not start:
        length = headers.get("Content-Length")
        return int(length) if length and re.fullmatch(r"[0-9]{1,18}", length) else None
    match = re.fullmatch(
        r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", (headers.get("Content-Range") or "").strip()
    )
    if match is None or int(match[1]) != start:
        raise Refused(f"The server did not send the requested part, which starts at byte {start}")
    return None if match[2] == "*" else int(match[2])


def pour(
    blocks: Iterator[bytes],
    part: Part,
    start: int,
    total: int | None,
    most: int,
    progress: OnProgress,
) -> bool:
    """Append a response's bytes, and return whether more than `most` bytes arrived in total.

    If a connection breaks or stalls, the received bytes are kept.
    """
    done = start
    progress(done, total)
    with part.open(start) as file:
        while done <= most:
            try:
                block = next(blocks, b"")
            except TimeoutError as error:
                file.flush()
                raise CutShort(
                    f"The download stalled at byte {done}: fewer than "
                    f"{transfers.STALL_BYTES} bytes arrived in {transfers.STALL_S:.0f} s"
                ) from error
            except transfers.TRANSFER_ERRORS as error:
                file.flush()
                raise CutShort(
                    f"The connection failed at byte {done}: {_network(error)}"
                ) from error
            if not block:
                break
            file.write(block)
            done += len(block)
            progress(done, total)
    return done > most


def _network(error: Exception) -> str:
    """Describe a network error, with a hint if one is known."""
    reason = getattr(error, "reason", None) or error
    text = str(reason) or type(error).__name__
    if isinstance(reason, TimeoutError):
        return f"the server did not respond within {transfers.ANSWER_S:.0f} s"
    if "CERTIFICATE" in text.upper():
        return (
            f"{text}. Behind a company proxy, set SSL_CERT_FILE to the path of its CA certificate"
        )
    return text
