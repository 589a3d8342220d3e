"""`anymask project clips`: videos and tracks of a project: list, take up from a session, write."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import InputError
from anymask.studio.entries import Provenance, Status
from anymask.studio.project_options import login

if TYPE_CHECKING:
    from anymask.studio.project import Project


def clip_options(parser: argparse.ArgumentParser) -> None:
    """Of `clips`."""
    parser.add_argument("--take", metavar="VIDEO", help="a video, by its name in DIR")
    parser.add_argument(
        "--session", metavar="FILE", type=Path,
        help="with --take: keep its objects as proposals (anymask track VIDEO --session FILE)",
    )  # fmt: skip
    parser.add_argument("--label", metavar="NAME", help="of those objects")
    parser.add_argument("--user", default=login(), help="in whose name (default: your login)")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, help="write accepted tracks")
    parser.add_argument("--to", metavar="FORMAT", default="sav", help="(default: sav)")
    parser.add_argument(
        "--proposals", action="store_true", help="write tracks that nobody has looked at, too"
    )


def clips(args: argparse.Namespace) -> None:
    """Take up, list or write. Raises InputError, DataError, Conflict."""
    from anymask.studio.exports import export_tracks
    from anymask.studio.project import Project

    project = Project(args.folder)
    if args.take is not None:
        _take(project, args)
    elif args.session is not None or args.label is not None:
        raise InputError("--session and --label say what --take VIDEO takes up; name the video")
    if args.output is not None:
        statuses: tuple[Status, ...] = ("accepted", *(("proposal",) if args.proposals else ()))
        print("\n".join(export_tracks(project.tracks, args.output, args.to, statuses)))
        return
    for clip in project.tracks.clips():
        print(f"{clip.name}: {clip.frames} frames, {clip.tracks} tracks")
        for track in project.tracks.tracks(clip.id):
            print(
                f"  track {track.id}, object {track.object} ({track.label or 'no name'}): "
                f"{track.status}, frames {track.first} to {track.last}, {track.doubtful} doubtful"
            )


def _take(project: Project, args: argparse.Namespace) -> None:
    from anymask.studio.track_entries import TrackDraft, TrackMask
    from anymask.track import FrameSampling, SessionStore, frame_numbering, read_facts

    facts = read_facts(project.file(args.take))
    clip = project.tracks.add_clip(args.take, facts.hw, facts.frames, facts.rate)
    if args.session is None:
        return
    if not args.session.is_file():
        raise InputError(f"{str(args.session)!r} is no file; run anymask track VIDEO --session")
    store = SessionStore(args.session)
    looked_at = store.about("frames")
    if looked_at not in (None, frame_numbering(FrameSampling())):
        store.close()
        raise InputError(
            f"{str(args.session)!r} looked at some frames only ({looked_at}), and a clip has all "
            "of them; track it without --every, --fps and --start"
        )
    found: dict[int, list[TrackMask]] = {number: [] for number in store.objects()}
    for frame in store.frames():
        for number, one in store.masks(frame).items():
            found[number].append(
                TrackMask(
                    frame=frame, rle=one.rle, score=one.score, state=one.state,
                    doubts=one.doubts, prompted=one.prompted,
                )
            )  # fmt: skip
    origin = Provenance(kind="model", model=store.about("tracker"), tool="track")
    store.close()
    for number, masks in found.items():
        draft = TrackDraft(object=number, masks=masks, label=args.label, provenance=origin)
        project.tracks.add_track(clip.id, draft, args.user)
