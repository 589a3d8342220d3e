"""Outputs as they are typed: what each `-o` means, what it must not be, and masks written to it.

What a file holds, and where each object gets one of its own, is `formats.outputs`.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import InputError, file_suffix, is_folder, near_suffix, write_whole
from anymask.cli.streams import write_stdout
from anymask.formats import (
    DOCUMENTS,
    LAYERS,
    OUTPUT_SUFFIXES,
    Kind,
    PictureKind,
    each_output,
    output_kind,
    shows_photo,
    suffix_instead,
    write_masks,
)
from anymask.masks import picture_format

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.masks import Masks, Prompt

STDOUT = "-"
_DEVICES = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")  # what the system calls it
ENDINGS = {"cutout": ".cut.png", "overlay": ".overlay.png", "mask": ".mask.png"}
CONVERTED = (".jsonl",)  # suffixes of annotations that `anymask convert` writes
NAME = "{name}"  # the name of the photo
# Options of every command that write one file of one kind.
_OF_OPTION = {
    "json": (".json",),
    "html": (".html", ".htm"),
    "markdown": (".md", ".markdown"),
    "fit": (".json",),
}
_WRITTEN = ("outputs", "target")  # arguments that name other files to write
# Of files that are no pictures or outlines, but no folder is called so by intention.
_OF_FILES = (
    *(".bin", ".csv", ".gz", ".h5", ".htm", ".html", ".jsonl", ".md", ".mp4", ".npz", ".onnx"),
    *(".pdf", ".pt", ".pth", ".safetensors", ".sqlite", ".tar", ".tgz", ".tsv", ".xml", ".zip"),
)


@dataclass(frozen=True)
class Target:
    """One output of one photo.

    Attributes:
        path: Of the file; None: standard output.
        kind: What it holds.
        many: Whether it is of the things of a photo, not of one that was asked for.
    """

    path: Path | None
    kind: Kind
    suffix: str
    many: bool = False

    @property
    def shows_photo(self) -> bool:
        """Whether it needs the photo's pixels."""
        return shows_photo(self.kind)


def is_stdout(output: str) -> bool:
    """Whether an `-o` is standard output: `-`, or `-.json` for another format."""
    return output == STDOUT or output.startswith(f"{STDOUT}.")


def stdout_suffix(output: str) -> str:
    """The suffix of what goes to standard output: PNG for `-`."""
    return output[1:].lower() or ".png"


def or_stdout(outputs: Sequence[str], sources: Sequence[str]) -> list[str]:
    """The outputs; where none is named and the photo comes from a pipe, the next pipe.

    On a terminal the default output is a file, as for any other photo.
    """
    piped = not outputs and [*sources] == ["-"] and not sys.stdout.isatty()
    return [STDOUT] if piped else [*outputs]


def is_file_name(output: str) -> bool:
    """Whether an `-o` names a file that we write, or standard output; else it is a folder.

    Raises InputError for a suffix that no file of ours has.
    """
    if is_stdout(output):
        return True
    suffix = file_suffix(output)
    if suffix and (suffix in DOCUMENTS or picture_format(suffix) is not None):
        return True
    converted = (
        f"To write {suffix}, convert the .json with anymask convert. "
        if suffix in CONVERTED
        else ""
    )
    check_suffix(output, OUTPUT_SUFFIXES, converted)
    return False


def plan_targets(
    outputs: Sequence[str],
    photo: str,
    plain: PictureKind,
    *,
    several: bool,
    default: PictureKind | None = None,
    many: bool = False,
) -> list[Target]:
    """Where the masks of one photo go.

    Raises InputError for an output that cannot be written, or that others would overwrite.

    Args:
        outputs: As they were typed; none: the default beside, in the working folder.
        photo: Its name without suffix.
        plain: What a picture without a further word in its name holds.
        several: Whether there are other photos, which need other outputs.
        default: What is written where no output was named; `plain` when left out.
        many: Whether the masks are the things of the photo, not of one thing (`output_kind`).
    """
    if not outputs:
        kind = default or plain
        return [Target(Path(photo + ENDINGS[kind]), kind, ".png")]
    return [_target(output, photo, plain, several, many) for output in outputs]


def _target(output: str, photo: str, plain: PictureKind, several: bool, many: bool) -> Target:
    if is_stdout(output):
        if several:
            raise InputError(
                "Only the masks of one image can be written to standard output. Pass a "
                "folder: -o out/"
            )
        return _of_name(None, Path("stdout" + stdout_suffix(output)), plain, many)
    if is_folder(output):
        return Target(Path(output, photo + ENDINGS[plain]), plain, ".png")
    if several and NAME not in output:
        raise InputError(
            f"-o {output} is one file, but there are several images. Pass a folder, "
            f"such as out/, or include {NAME} in the file name: -o '{NAME}{Path(output).suffix}'"
        )
    path = Path(output.replace(NAME, photo))
    return _of_name(path, path, plain, many)


def _of_name(path: Path | None, name: Path, plain: PictureKind, many: bool) -> Target:
    return Target(path, output_kind(name, plain, many=many), name.suffix.lower(), many)


def check_outputs(paths: Sequence[Path], photo: Path) -> None:
    """Refuse what cannot or must not be written, before any work. Raises InputError."""
    for path in paths:
        if path.is_dir():
            raise InputError(
                f"{str(path)!r} is a folder, but an output file is required. Add a file name."
            )
        if path.exists() and photo.exists() and path.samefile(photo):
            raise InputError(f"The output {str(path)!r} is the input image. Choose another name.")


def write_objects(
    target: Target, found: Masks, image: UintImage | None, prompts: Sequence[Prompt]
) -> list[str]:
    """Write one output of a photo's objects; what was written.

    Cut-outs of the things of a photo have soft alpha, that of one object is its mask's pixels.
    Raises InputError.

    Args:
        image: The photo, where an output shows it.
        prompts: What was asked, one for each object, or none.
    """
    paths = []
    for path, few in each_output(target.path or Path("stdout"), found):
        file, masks = io.BytesIO(), found[few]
        one = len(masks) == 1 and not (target.many and path == target.path)
        if target.kind == "cutout" and target.many and image is not None:
            from anymask.edit import write_cutout

            write_cutout(file, target.suffix, image, masks.union().mask, empty=True)
        else:
            write_masks(file, target.suffix, target.kind, masks, image, prompts[few], one=one)
        if target.path is None:
            write_stdout(file.getvalue())
        else:
            write_whole(path, file.getvalue())
            paths.append(str(path))
    return paths


# Names that are refused before any work.


def new_folder(output: str) -> Path:
    """A folder to write, as argparse reads it: refuses what is called as files are."""
    suffix = file_suffix(output)
    if _is_of_files(suffix):
        raise argparse.ArgumentTypeError(
            f"{output!r} is a file name, but an output folder is required. Remove "
            f"{suffix}, or pass {output}/"
        )
    return Path(output)


def check_suffix(output: str, written: tuple[str, ...], remedy: str = "") -> None:
    """Refuse a suffix that is neither written nor part of a folder's name. Raises InputError.

    Args:
        written: The suffixes of the files that there are.
        remedy: What else can be done for such a file.
    """
    suffix = file_suffix(output)
    if not suffix or suffix in written:
        return
    of_masks = written == OUTPUT_SUFFIXES
    near = suffix_instead(suffix) if of_masks else near_suffix(suffix, written)
    maps = f" (for a map also {' or '.join(LAYERS)})" if of_masks else ""
    guess = f"Did you mean {Path(output).with_suffix(near)}? " if near else ""
    raise InputError(
        f"Expected a folder, or a file ending in {_one_of(written)}{maps}, got "
        f"{output!r}. {remedy}{guess}To write a folder, pass {output}/"
    )


def check_stdout(args: argparse.Namespace, command: str) -> None:
    """Call standard output `-`, whatever the system calls it.

    Raises InputError, before any work, for a command that does not write to standard output
    (without `parser.set_defaults(stdout=True)`), and for two results there.

    Args:
        command: With the program's name, for an error.
    """
    for name in ("output", *_WRITTEN):
        given = getattr(args, name, None)
        texts = list(map(str, given if isinstance(given, list) else [given]))
        named = [STDOUT if text in _DEVICES else text for text in texts]
        here = [text for text in named if is_stdout(text)]
        if here and not getattr(args, "stdout", False):
            raise InputError(f"{command} does not write to standard output. Pass a file or folder.")
        if len(here) > 1:
            raise InputError(
                f"Only one result can be written to standard output, but {len(here)} "
                f"were requested ({', '.join(here)}). Pass file names for the others."
            )
        if named != texts:
            one = named[0] if isinstance(given, str) else Path(named[0])
            setattr(args, name, named if isinstance(given, list) else one)


def check_file_options(args: argparse.Namespace) -> None:
    """Refuse files of one kind that are called as another kind, or as a folder. Raises InputError,
    before any work."""
    for name in ("output", "outputs", "sources"):
        given = getattr(args, name, None)
        if given == "" or (isinstance(given, list) and "" in given):
            what = "a photo" if name == "sources" else "-o"
            raise InputError(f"The value of {what} is empty. Pass a name, or remove the option.")
    for name, suffixes in _OF_OPTION.items():
        given = getattr(args, name, None)
        if not isinstance(given, str | Path):
            continue
        if str(given) == "-":
            raise InputError(
                f"--{name} cannot write to standard output. Pass a file name such as "
                f"report{suffixes[0]}"
            )
        if is_folder(str(given)):
            raise InputError(
                f"--{name} writes a file, but {str(given)!r} is a folder. Add a file "
                f"name, such as {Path(given, 'report' + suffixes[0])}"
            )
        suffix = file_suffix(str(given))
        if suffix not in suffixes and _is_of_files(suffix):
            raise InputError(
                f"--{name} writes a file ending in {suffixes[0]}, got {str(given)!r}. "
                f"Did you mean {Path(given).with_suffix(suffixes[0])}?"
            )


def check_inputs_stay(args: argparse.Namespace) -> None:
    """Refuse a report over what the same command reads or writes. Raises InputError, before any
    work."""
    files = [
        (name, value, os.path.realpath(value))
        for name, given in vars(args).items()
        for value in (given if isinstance(given, list | tuple) else [given])
        if isinstance(value, str | Path) and "\0" not in str(value)
    ]
    for option, value, place in files:
        if option not in (*_OF_OPTION, "output"):
            continue
        for name, _, other in files:
            if name == option or place != other:
                continue
            if name in _WRITTEN or Path(other).is_file():
                what = f"--{option}" if option in _OF_OPTION else "The output"
                raise InputError(
                    f"{what} {str(value)!r} is already an input or another output of "
                    "this command. Choose another name."
                )


def _is_of_files(suffix: str) -> bool:
    """Whether files of a known kind end so."""
    known = suffix in _OF_FILES or suffix in DOCUMENTS
    return known or bool(suffix and picture_format(suffix))


def _one_of(suffixes: tuple[str, ...]) -> str:
    *first, last = suffixes
    return f"{', '.join(first)} or {last}" if first else last
