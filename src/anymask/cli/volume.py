"""`anymask volume`: segment objects in a 3-D scan and write label volumes on its grid."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.command import Argument, Command, Group, Settings
from anymask.cli.options import MODEL, SESSION, check_not_address, read_default_model, read_options
from anymask.cli.outputs import tell
from anymask.cli.prompts import TRACKED_PROMPTS, read_tracked_prompts
from anymask.volumes import VolumeFiles, VolumeSettings, track_volume_file

VOLUME_NOTE = (
    "PLACE is SLICE:OBJECT: or empty. SLICE is the slice, counted from 0. OBJECT is the label of "
    "the\nobject, counted from 1. The default is --slice and object 1. Pixels are columns and rows "
    "of the slice:\n(x, y) across z, (x, z) across y, (y, z) across x.\n`--negative 52:2:30,41` is "
    "a background point for object 2 on slice 52.\n\nRun the same command again to resume an "
    "interrupted run. With --session FILE, further prompts\ncorrect the previous result.\n"
)


def run(args: argparse.Namespace) -> None:
    """Track objects through slices, write the outputs and report. Raises AnymaskError."""
    from anymask.base import ProgressBar

    check_not_address(args.scan)
    args.known = args.session if args.session and Path(args.session).exists() else None
    job = VolumeFiles(
        scan=Path(args.scan), outputs=args.outputs,
        prompts=read_tracked_prompts(
            args, "slice", "the FILE that a previous run wrote with --session"
        ),
        axis="zyx".index(args.axis), names=dict(enumerate(args.names, 1)), frame=args.frame,
        series=args.series, settings=read_options(args, VolumeSettings),
    )  # fmt: skip
    model = read_default_model(args)
    with ProgressBar("slices", None) as bar:
        notes = track_volume_file(model.load, job, str(model), bar.update)
    tell(notes)


# fmt: off
COMMAND = Command(run, (
    Argument("scan", metavar="SCAN", reads=True,
        help="NIfTI, NRRD, a TIFF stack, OME-Zarr, or a folder or zip of a DICOM series"),
    Group("prompts (PLACE is an optional prefix SLICE:OBJECT: ; pixels of the slice)", (
        Argument("--slice", metavar="N", type=int, default=0, dest="start",
            help="index of the slice for all prompts that have no PLACE (default: 0)"),
        Argument("--axis", choices=("z", "y", "x"), default="z",
            help="axis, as stored in the file, along which the slices are counted (default: z)"),
        *TRACKED_PROMPTS,
    )),
    Argument("-o --output", metavar="OUT", action="append", dest="outputs", required=True,
             type=Path,
        help=".nii.gz, .nii, .seg.nrrd (with names and colors); for a DICOM series also .dcm "
             "(DICOM SEG) or .rtstruct.dcm; repeatable"),
    Argument("--label", metavar="NAME", action="append", default=[], dest="names",
        help="name of object 1, then of object 2, ..."),
    Argument("--frame", type=int, metavar="N",
        help="time point or channel of a file that has several"),
    Argument("--series", metavar="N|UID|NAME", help="DICOM series of a folder that has several"),
    Settings(VolumeSettings, "tracking options", common=("window", "tracker", "session"),
             defaults=SESSION),
    MODEL,
), epilog=VOLUME_NOTE)
# fmt: on
