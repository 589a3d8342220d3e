"""`anymask volume`: follow things through a scan and write them as labels that lie on it."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.options import add_model_options, add_options, read_default_model, read_options
from anymask.cli.prompts import TRACKED, add_mask_values, read_tracked_prompts
from anymask.cli.sources import check_not_address
from anymask.cli.streams import tell

NOTE = """\
PLACE is SLICE:OBJECT: or nothing: which slice, from 0 on, and which object, by its label, a number
from 1 on; --slice and object 1 where nothing is said. Pixels are columns and rows of the slice:
across z (x, y), across y (x, z), across x (y, z).
`--negative 52:2:30,41` is a click beside object 2 on slice 52.

An interrupted run goes on when the same command is given again. With --session FILE what is said
later corrects what is known.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from anymask.volumes import VolumeSettings

    parser.epilog, add = NOTE, parser.add_argument
    # fmt: off
    add("scan", metavar="SCAN", help="NIfTI, NRRD, a TIFF stack, OME-Zarr, or a folder or zip of a "
        "DICOM series")
    said = parser.add_argument_group("the objects (pixels of the slice)")
    said.add_argument("--slice", metavar="N", type=int, default=0, dest="start",
                      help="the slice where no PLACE says another one (default: 0)")
    said.add_argument("--axis", choices=("z", "y", "x"), default="z",
                      help="that the slices lie across, as the file has it (default: z)")
    for name, (shape, about) in TRACKED.items():
        said.add_argument(f"--{name}", metavar=f"[PLACE]{shape}", action="append", default=[],
                          help=f"{about}; may be given several times")
    add_mask_values(said)
    add("-o", "--output", metavar="OUT", action="append", dest="outputs", required=True, type=Path,
        help=".nii.gz, .nii, .seg.nrrd (names and colours), .dcm (DICOM SEG) or .rtstruct.dcm, of "
        "a DICOM series; several times")
    add("--label", metavar="NAME", action="append", default=[], dest="names",
        help="the name of object 1, then that of 2, ...")
    add("--frame", type=int, metavar="N", help="which of a file's several times or channels")
    add("--series", metavar="N|UID|NAME", help="which of a folder's several DICOM series")
    # fmt: on
    add_options(
        parser.add_argument_group("how they are followed"),
        VolumeSettings,
        defaults={"session": "beside the first output, until the run is complete"},
    )  # fmt: skip
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Follow, write, tell. Raises AnymaskError for what the user can mend."""
    from anymask.base import ProgressBar
    from anymask.volumes import VolumeFiles, VolumeSettings, follow_volume

    check_not_address(args.scan)
    args.known = args.session if args.session and Path(args.session).exists() else None
    prompts = read_tracked_prompts(args, "slice", "the --session FILE of an earlier run")
    asked = VolumeFiles(
        scan=Path(args.scan), prompts=prompts, outputs=args.outputs,
        axis="zyx".index(args.axis), names=dict(enumerate(args.names, 1)), frame=args.frame,
        series=args.series, settings=read_options(args, VolumeSettings),
    )  # fmt: skip
    model = read_default_model(args)
    with ProgressBar("slices", None) as bar:
        notes = follow_volume(model.load, asked, str(model), bar.update)
    tell(notes)
