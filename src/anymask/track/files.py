"""Track objects through a video file and write their masks to files.

An unfinished run is saved next to its first output. The same call resumes it.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from anymask.base import (
    DataError,
    InputError,
    OnProgress,
    PromptError,
    brief,
    claimed_file,
    ledger,
    parse_json,
    refuse_inputs,
)
from anymask.masks import Prompt
from anymask.runtime import home
from anymask.segment import Model
from anymask.track.masklets import MaskletSettings, propose_masklets
from anymask.track.outputs import CutoutStyle, MaskWriter, VideoFacts
from anymask.track.records import Direction, TrackedFrame, review_text
from anymask.track.session import VideoSession, open_session, read_image
from anymask.track.settings import GROUPS
from anymask.track.sources import SampledFrames, first_readable
from anymask.track.store import SessionStore
from anymask.track.stored_tracks import read_tracks
from anymask.track.tables import FRAME_PLACEHOLDER, sequence_files
from anymask.track.writers import check_paths, closed_writers, open_writers

LOG = logging.getLogger(__name__)


@brief
@dataclass(frozen=True, kw_only=True)
class TrackFiles:
    """Inputs, outputs and settings of a tracking run.

    Raises InputError if an output is also an input or is repeated, or a setting is invalid.
    """

    video: str  # Video file, folder of images, or camera number
    prompts: Sequence[Prompt]  # Prompts with the number of the source frame and the object
    # Paths as for `writers.open_writers`; those that end in a slash are folders
    outputs: Sequence[str]
    cutout: CutoutStyle | None = None  # Cut-out settings of video outputs
    subject: bool = False  # Track the main subject of the first frame if there is no prompt
    direction: Direction = "forward"  # Tracking direction from the prompts
    known: Path | None = None  # File of existing tracks (`read_tracks`), which prompts correct
    # Track every object that automatic mask generation finds, without prompts
    masklets: MaskletSettings | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # Keyword arguments of `Model.track`

    def __post_init__(self) -> None:
        if self.masklets is not None and (self.prompts or self.known or self.subject):
            raise InputError(
                "--everything tracks all objects without prompts and cannot be combined with "
                "prompts or --from. Omit one of them."
            )
        for group in GROUPS:
            known = group.__dataclass_fields__
            group(**{name: value for name, value in self.settings.items() if name in known})
        if len(set(map(os.path.realpath, self.outputs))) < len(self.outputs):
            raise InputError("Duplicate outputs. Use a different name for each output.")
        session = self.settings.get("session")
        read = (*self.mask_files, self.known, None if session is None else Path(session))
        for text in self.outputs:
            named = FRAME_PLACEHOLDER in Path(text).name  # one file for each frame
            frames = sequence_files(Path(text)) if named else Path(text).glob("*.png")
            for written in (Path(text), *frames):
                refuse_inputs(written, *read)
            refuse_inputs(Path(text).parent if named else Path(text), Path(self.video))
            if text.endswith(("/", os.sep)):
                Path(text).mkdir(parents=True, exist_ok=True)
        check_paths(self.paths, self.cutout)

    @property
    def paths(self) -> list[Path]:
        """Output paths."""
        return [Path(text) for text in self.outputs]

    @property
    def mask_files(self) -> list[Path]:
        """Mask files of the prompts."""
        return [Path(prompt.source) for prompt in self.prompts if prompt.source is not None]

    def stamp(self, model: str) -> str:
        """Hash of all inputs that determine the outputs, to detect finished runs."""
        whole = replace(self, settings={**self.settings, "session": None})
        text = whole.words(model) + json.dumps([repr(self.cutout), self.direction])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def words(self, model: str) -> str:
        """Key of a run: prompts, and without a session file also settings, model and inputs."""
        parts: list[Any] = [prompt.to_json() for prompt in self.prompts]
        if self.masklets is not None:
            parts.append(str(self.masklets))
        if self.settings.get("session") is not None:
            return json.dumps([parts, self.known and str(self.known)])
        stamps = []
        for path in filter(None, (Path(self.video), *self.mask_files, self.known)):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            stats = [(file.name, file.stat()) for file in files if file.exists()]
            stamps.append([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])
        return json.dumps([parts, str(dict(self.settings)), model, self.video]) + json.dumps(stamps)


def track_files(
    load: Callable[[], Model], job: TrackFiles, model: str = "", progress: OnProgress | None = None
) -> list[str]:
    """Track objects through a video and write their masks. Returns messages about the run.

    Args:
        load: Function that loads the model, called after the inputs were validated.
        model: Identifier of the model. A run is resumed only with the same one.
        progress: Called with the number of finished frames, and the total or None.

    Raises:
        InputError: The session was created with other prompts. Otherwise as `Model.track`.
        DataError: A frame cannot be read again.
    """
    with claimed_file(job.paths[0]):
        # The record that a run with these outputs is complete.
        places = json.dumps([os.path.realpath(path) for path in job.paths]).encode()
        journal = ledger.Stamp(home() / "tracks" / hashlib.sha256(places).hexdigest()[:32])
        stamp = job.stamp(model)
        if journal.notes([stamp, _state_of(job.paths)]) is not None:
            return [f"exists: {path}" for path in job.paths]
        video = Path(job.video)
        source: Any = int(job.video) if job.video.isdecimal() and not video.exists() else video
        first, kept, words = job.paths[0], job.settings.get("session"), job.words(model)
        path = first.parent / f".{first.name}.session" if kept is None else Path(kept)
        _forget_other(path, words, kept=kept is not None)
        leave = path.exists()  # a new file is deleted if the run fails before its first result
        try:
            model_now = load()
            settings: Any = dict(job.settings) | {"session": path}
            with open_session(model_now, source, **settings) as session:
                _begin(model_now, session, job, words)
                leave = True
                tell, notes = progress or _ignore, []
                if job.masklets is not None:
                    notes.append(str(propose_masklets(session, model_now, job.masklets, tell)))
                    tell = _ignore  # the frames were counted; writing them takes little time
                notes += _write(session, job, tell)
                complete = not session.frames.damage
            leave = kept is not None
        finally:
            if not leave:
                path.unlink(missing_ok=True)
        if complete:
            with contextlib.suppress(OSError):  # the home folder may be read-only
                journal.end([stamp, _state_of(job.paths)])
        return notes


def _ignore(done: int, total: int | None) -> None:
    """Report no progress."""


def _state_of(paths: Sequence[Path]) -> str:
    """Hash of sizes and times of files, including files in folders."""
    files = [
        file
        for path in paths
        for file in (sorted(path.glob("*")) if path.is_dir() else [path, *sequence_files(path)])
    ]
    stats = [(str(file), file.stat()) for file in files if file.is_file()]
    text = json.dumps([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])
    return hashlib.sha256(text.encode()).hexdigest()


def _forget_other(path: Path, words: str, *, kept: bool) -> None:
    """Delete a session file of another run. Raises DataError if it is not a session.

    Args:
        kept: The user chose the file: raise InputError instead of deleting it.
    """
    if not path.exists():
        return
    store = SessionStore(path)
    stored = store.about("note command")
    store.close()
    same = stored == words or (kept and stored is None)
    if kept and not same and stored is not None:
        before, now = _prompts_of(stored), _prompts_of(words)
        same = before[1:] == now[1:] and _parts(before[0]) <= _parts(now[0])
    if not same and kept:
        raise InputError(
            f"{path} was created with different prompts. Repeat all of them and add others; to "
            "remove or change one, choose another session file or delete this file."
        )
    if not same:
        path.unlink()


def _parts(prompts: list[Any]) -> set[str]:
    """Each click and other field of prompts as JSON, with its frame and object."""
    return {
        json.dumps([row.get("frame"), row.get("object_id"), part])
        for row in prompts
        for part in (*zip(row.pop("points", ()), row.pop("labels", ()), strict=False), *row.items())
    }


def _prompts_of(words: str) -> list[Any]:
    """Parse `TrackFiles.words` of a run with a session file: prompts, and the tracks file."""
    with contextlib.suppress(DataError):
        document = parse_json(words, "session")
        if isinstance(document, list) and len(document) == 2 and isinstance(document[0], list):
            return [[_prompt_record(record) for record in document[0]], document[1]]
    return [[None]]  # written by another command


def _prompt_record(one: Any) -> dict[str, Any]:
    """JSON of a prompt, also of [frame, object, "FilePrompt(points=[...])"] of version 0.1."""
    if not isinstance(one, list):
        return one if isinstance(one, dict) else {}
    frame, number, text = one
    call = ast.parse(text, mode="eval").body
    with contextlib.suppress(PromptError):  # a mask file, which version 0.1 stored by its path
        kept = {"points", "labels", "box", "lasso"}
        values = {
            str(part.arg): ast.literal_eval(part.value)
            for part in getattr(call, "keywords", ())
            if part.arg in kept
        }
        return Prompt.from_json({**values, "frame": frame, "object_id": number}).to_json()
    return {"text": text}


def _begin(model: Model, session: VideoSession, job: TrackFiles, words: str) -> None:
    """Add the prompts that no earlier run has added.

    A prompt on a later frame corrects the mask that is tracked up to that frame.
    """
    if (stored := session.metadata("command")) == words:
        return
    if stored is None and job.subject and not job.prompts:
        first = first_readable(session.frames) or 0
        from anymask.edit import main_subject

        subject = main_subject(model, read_image(session, first))
        if subject is None:
            raise PromptError(
                "No main subject found in the first frame. Add a point, a box or a text prompt, or "
                "start at a later frame."
            )
        session.add(first, 1, mask=subject.mask)
    if stored is None and job.known is not None:
        _import_tracks(session, job.known)
    before = [] if stored is None else _prompts_of(stored)[0]
    for prompt in job.prompts:
        if prompt.to_json() in before:
            continue
        frame, number = prompt.frame or 0, prompt.object_id or 1
        index = find_place(session.frames, frame)
        taken = session.frames.source_frame(index)
        if taken != frame:
            LOG.warning("Frame %d is not sampled. Its prompts are used on frame %d.", frame, taken)
        if any(other < index for other in session.prompts(number)):
            for _ in session.propagate(stop=index):
                pass
        session.add(
            index, number, points=prompt.points, labels=prompt.labels, box=prompt.box,
            mask=prompt.mask, lasso=prompt.lasso, replace=True,
        )  # fmt: skip
    session.metadata("command", words)
    session.checkpoint()


def _import_tracks(session: VideoSession, path: Path) -> None:
    """Import a file of tracks. Raises InputError if the masks belong to another video."""
    tracks, frames = read_tracks(path), session.frames
    first = first_readable(frames)
    image = None if first is None else session.image(first)
    for number, masks in tracks.masks.items():
        placed = {
            find_place(frames, frame) if tracks.sourced else frame: mask
            for frame, mask in masks.items()
        }
        sizes = {mask.rle.size for mask in masks.values()}
        if image is not None and sizes != {image.shape[:2]}:
            raise InputError(
                f"{path} has masks of the size {sorted(sizes)} for object {number}, but the video "
                f"has (H, W) = {image.shape[:2]}. Use the video that was tracked."
            )
        if any(mask.area for mask in placed.values()):
            session.import_masks(number, placed)


def find_place(frames: SampledFrames, frame: int) -> int:
    """Index of the sampled frame nearest to a source frame. Raises InputError if out of range."""
    length = frames.length
    if length == 0:
        raise InputError(
            f"No frames left: start {frames.sampling.start} is after the end of the video. Use a "
            "smaller start."
        )
    first = frames.source_frame(0)
    last = None if length is None else frames.source_frame(length - 1)
    if frame < first or (last is not None and frame > last):
        raise InputError(
            f"Frame {frame} is out of range: frames {first} to {'...' if last is None else last} "
            "are sampled."
        )
    return frames.nearest(frame)


def _write(session: VideoSession, job: TrackFiles, progress: OnProgress) -> list[str]:
    """Track and write every frame. Returns messages about the run."""
    notes: list[str] = []
    written: set[str] = set()
    with closed_writers() as writers:
        for frame in _frames_in_order(session, job, progress):
            if is_damaged(session, frame, writers):
                continue
            if not writers:
                facts = video_facts(session, Path(job.video), frame)
                writers += open_writers(job.paths, facts, job.cutout)
            for writer in writers:
                writer.write(frame, partial(read_image, session, frame.index))
            written.add(frame.stem)
            progress(frame.index + 1, session.frames.length)
    for folder in job.paths:
        others = [file for file in folder.glob("*.png") if file.stem not in written]
        if others:
            notes.append(
                f"{folder} also contains {len(others)} images from another run, such as "
                f"{min(others).name}. They were not changed."
            )
    notes += [f"wrote {path}" for path in job.paths]
    doubtful = [
        (session.frames.source_frame(frame), number, doubts)
        for frame, number, doubts in session.frames_to_review()
    ]
    notes.append(
        f"Low confidence, check frames {review_text(doubtful)}"
        if doubtful
        else "No frame has low confidence. Check the masks anyway: not every error is found."
    )
    if (damage := session.frames.damage) is not None:
        end = "; later frames have no mask" if session.frames.error else ""
        notes.append(damage + end)
    return notes


def _frames_in_order(
    session: VideoSession, job: TrackFiles, progress: OnProgress
) -> Iterator[TrackedFrame]:
    """Yield every frame in order: during tracking, or after it if later passes change results."""
    if job.masklets is None:
        length = session.frames.length
        if job.direction == "forward" or length is None:
            yield from session.propagate("forward", start=0)
            return
        for done, _ in enumerate(session.propagate(job.direction)):
            progress(min(done, length - 1), length)
    yield from map(session.result, range(session.frames.length or 0))


def is_damaged(
    session: VideoSession, frame: TrackedFrame, writers: Sequence[MaskWriter] = ()
) -> bool:
    """Whether a frame is skipped because it cannot be decoded.

    Args:
        writers: Writers of the frame. If one requires its pixels, or the list is empty, the frame
            is decoded to find out.
    """
    if not session.is_missing(frame.index) and (
        not writers or any(writer.shows_frames for writer in writers)
    ):
        session.image(frame.index)
    return session.is_missing(frame.index)


def video_facts(session: VideoSession, video: Path, first: TrackedFrame) -> VideoFacts:
    """Properties of the video for the writers, after the first frame was tracked."""
    image = read_image(session, first.index)
    return VideoFacts(
        name=video.stem or "video",
        hw=(image.shape[0], image.shape[1]),
        rate=session.frames.rate,
        objects=tuple(session.objects),
        sound=video if video.is_file() else None,
        begin=first.seconds,
        end=session.frames.seconds_of_end(),
    )
