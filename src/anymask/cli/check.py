"""`anymask check`: verify the signed manifest of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import DataError, write_json
from anymask.cli.command import Argument, Command
from anymask.formats import licence_text
from anymask.masks import counted


def run(args: argparse.Namespace) -> None:
    """Verify a manifest and its files. Raises DataError if a file differs."""
    from dataclasses import asdict

    from anymask.formats import signing

    found = signing.check_manifest(args.manifest, args.key)
    for what, names in (
        ("changed", found.changed), ("missing", found.missing), ("extra", found.extra),
    ):  # fmt: skip
        for name in names:
            print(f"{what}: {name}")
    if args.json is not None:
        write_json(args.json, asdict(found) | {"intact": found.is_intact})
    if not found.is_intact:
        raise DataError(
            f"{args.manifest}: The files differ from the manifest: {len(found.changed)} changed, "
            f"{len(found.missing)} missing, {len(found.extra)} extra. Get the original files from "
            "the publisher of the dataset."
        )
    print(f"{counted(found.files, 'file')} unchanged, signed with the key {found.key}")
    for name, value in found.terms.items():
        print(f"{name}: {licence_text(value) if name == 'licences' else value}")


# fmt: off
COMMAND = Command(run, (
    Argument("manifest", metavar="MANIFEST", type=Path,
        help="signed manifest written with --sign, or the folder that contains it"),
    Argument("--key", metavar="PUBLIC.pem", type=Path,
        help="Ed25519 public key that the signature must have (default: the key in the manifest, "
             "which proves no author)"),
    Argument("--json", metavar="FILE", type=Path, help="write the result to this JSON file"),
))
# fmt: on
