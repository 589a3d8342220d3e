"""Outputs of masks: `-o` options and found masks in, files or standard output out.

What a file holds is `formats.outputs`; several objects share a file, or each gets its own
where the name holds `{n}`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import InputError, file_suffix, is_folder, write_whole
from anymask.cli.output_names import check_suffix
from anymask.formats import (
    DOCUMENTS,
    OUTPUT_SUFFIXES,
    Kind,
    PictureKind,
    output_kind,
    shows_photo,
    write_masks,
)
from anymask.masks import picture_format

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.masks import Masks, Prompt

ENDINGS = {"cutout": ".cut.png", "overlay": ".overlay.png", "mask": ".mask.png"}
CONVERTED = (".jsonl",)  # suffixes of annotations that `anymask convert` writes
OBJECT = "{n}"  # in an output's name: the number of the object
NAME = "{name}"  # the name of the photo


@dataclass(frozen=True)
class Target:
    """One output of one photo.

    path  of the file; None: standard output
    kind  what it holds
    """

    path: Path | None
    kind: Kind
    suffix: str

    @property
    def shows_photo(self) -> bool:
        """Whether it needs the photo's pixels."""
        return shows_photo(self.kind)


def is_file_name(output: str) -> bool:
    """Whether an `-o` names a file that we write, or standard output; else it is a folder.

    Raises InputError for a suffix that no file of ours has.
    """
    if output == "-" or output.startswith("-."):
        return True
    suffix = file_suffix(output)
    if suffix and (suffix in DOCUMENTS or picture_format(suffix) is not None):
        return True
    converted = f"anymask convert makes {suffix} of .json; " if suffix in CONVERTED else ""
    check_suffix(output, OUTPUT_SUFFIXES, converted)
    return False


def plan_targets(
    outputs: Sequence[str],
    photo: str,
    plain: PictureKind,
    *,
    several: bool,
    default: PictureKind | None = None,
) -> list[Target]:
    """Where the masks of one photo go.

    outputs  as they were typed; none: the default beside, in the working folder
    photo    its name without suffix
    plain    what a picture without a further word in its name holds
    several  whether there are other photos, which need other outputs
    default  what is written where no output was named; `plain` when left out

    Raises InputError for an output that cannot be written, or that others would overwrite.
    """
    if not outputs:
        kind = default or plain
        return [Target(Path(photo + ENDINGS[kind]), kind, ".png")]
    return [_target(output, photo, plain, several) for output in outputs]


def _target(output: str, photo: str, plain: PictureKind, several: bool) -> Target:
    if output == "-" or output.startswith("-."):
        if several:
            raise InputError("standard output holds one photo's masks, got several photos; name -o")
        name = "-.png" if output == "-" else output
        return _of_name(None, Path(f"stdout{name[1:]}"), plain)
    if is_folder(output):
        return Target(Path(output, photo + ENDINGS[plain]), plain, ".png")
    if several and NAME not in output:
        raise InputError(
            f"-o {output} is one file, and there are several photos; name a folder, such as out/, "
            f"or put {NAME} into the name: -o '{NAME}{Path(output).suffix}'"
        )
    path = Path(output.replace(NAME, photo))
    return _of_name(path, path, plain)


def _of_name(path: Path | None, name: Path, plain: PictureKind) -> Target:
    return Target(path, output_kind(name, plain), name.suffix.lower())


def check_outputs(paths: Sequence[Path], photo: Path) -> None:
    """Refuse what cannot or must not be written, before any work. Raises InputError."""
    for path in paths:
        if path.is_dir():
            raise InputError(f"wanted a file to write, {str(path)!r} is a folder; add a file name")
        if path.exists() and photo.exists() and path.samefile(photo):
            raise InputError(f"the output {str(path)!r} is the photo itself; choose another name")


def write_objects(
    target: Target, found: Masks, image: UintImage | None, prompts: Sequence[Prompt]
) -> list[str]:
    """Write one output of a photo's objects; what was written. Raises InputError.

    image    the photo, where an output shows it
    prompts  what was asked for each object
    """

    def encode(masks: Masks, asked: Sequence[Prompt]) -> bytes:
        file = io.BytesIO()
        one = len(masks) == 1
        write_masks(file, target.suffix, target.kind, masks, image, asked, one=one)
        return file.getvalue()

    if target.path is None:
        _to_stdout(encode(found, prompts))
        return []
    if OBJECT not in target.path.name:
        write_whole(target.path, encode(found, prompts))
        return [str(target.path)]
    paths = []
    for number, asked in enumerate(prompts):
        path = target.path.with_name(target.path.name.replace(OBJECT, str(number + 1)))
        write_whole(path, encode(found[number : number + 1], [asked]))
        paths.append(str(path))
    return paths


def _to_stdout(data: bytes) -> None:
    if sys.stdout.isatty() and b"\0" in data:
        raise InputError("a picture is nothing to print on a terminal; send it on: ... -o - > file")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
