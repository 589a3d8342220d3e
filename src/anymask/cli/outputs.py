"""Outputs on the command line: standard streams, meaning of each `-o`, and writing of masks.

The contents of files, and outputs with one file per object, are defined in `formats.outputs`.

The streams accept any text. Labels and file names are untrusted: control characters, which could
move the cursor or rename the window of a terminal, are printed as escapes (\\x1b), and so are bytes
of a file name that are not valid text. Output to a stream that was closed before the start is
discarded; so is output to standard error after writing to it has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from anymask.base import (
    InputError,
    file_suffix,
    is_folder,
    near_suffix,
    refuse_inputs,
    say,
    write_whole,
)
from anymask.formats import (
    DOCUMENTS,
    LAYERS,
    OUTPUT_SUFFIXES,
    ImageKind,
    Kind,
    each_output,
    output_kind,
    shows_image,
    suffix_instead,
    write_masks,
)
from anymask.masks import image_format

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.masks import Masks, Prompt


_ESCAPES = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"
}
_CLEAR_LINE = "\r\x1b[K"  # written by the progress bar: return to the start and clear the line
_SENTINEL = "\ue000\ue001"  # temporary placeholder of private-use characters


@contextlib.contextmanager
def utf8_stdio() -> Iterator[None]:
    """Wrap standard output and error inside the block."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - no path of a user's
        sys.stdout = _Stream(before[0] or nowhere)
        sys.stderr = _Stream(before[1] or nowhere, otherwise=nowhere)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def quieten_decoders() -> None:
    """Suppress messages of Pillow and OpenCV about corrupted images, which raise an error
    anyway."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # read when OpenCV first logs a message


def printable(text: str) -> str:
    """Escape control characters except tabs and line ends."""
    return text.replace(_CLEAR_LINE, _SENTINEL).translate(_ESCAPES).replace(_SENTINEL, _CLEAR_LINE)


def tell(notes: Iterable[str], report: TextIO | None = None) -> None:
    """Print notes of a run: status messages to standard error, the rest to `report`.

    Args:
        report: Output stream. Defaults to standard output.
    """
    for note in notes:
        print(
            note, file=sys.stderr if note.startswith(("wrote ", "exists: ")) else report, flush=True
        )


def write_stdout(data: bytes) -> None:
    """Write a file to standard output. Raises InputError for binary data on a terminal."""
    if sys.stdout.isatty() and b"\0" in data:
        raise InputError(
            "An image cannot be shown on a terminal. Redirect it: anymask ... -o - > FILE"
        )
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


class _Stream:
    """Text stream that wraps another one.

    Args:
        otherwise: Stream to use after writing has failed. None raises the error.
    """

    def __init__(self, inside: TextIO, otherwise: TextIO | None = None) -> None:
        self._inside, self._otherwise = inside, otherwise

    def write(self, text: str) -> int:
        encoding = self._inside.encoding or "utf-8"
        shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        self._attempt(lambda: self._inside.write(shown))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._inside.flush)

    def _attempt(self, work: Any) -> None:
        try:
            work()
        except (OSError, ValueError):
            if self._otherwise is None:
                raise
            self._inside = self._otherwise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)


STDOUT = "-"
_DEVICES = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")  # device files of stdout
OUTPUT_ENDINGS = {"cutout": ".cut.png", "overlay": ".overlay.png", "mask": ".mask.png"}
NAME_FIELD = "{name}"  # placeholder for the image name
# Suffixes of options of any command that write one file.
_OF_OPTION = {
    "json": (".json",),
    "report": (".json", ".csv", ".md", ".html"),  # --json of commands that print a report
    "html": (".html", ".htm"),
    "fit": (".json",),
}
_WRITTEN = ("output", "outputs", "target", "list_to", "session")  # arguments of other outputs
_PATH_MARKS = re.compile(r"[=@:]|^-\w")  # around paths in a word
# Suffixes of other files, which are never intended as folder names.
_OF_FILES = (
    *(".bin", ".csv", ".gz", ".h5", ".htm", ".html", ".jsonl", ".md", ".mp4", ".npz", ".onnx"),
    *(".pdf", ".pt", ".pth", ".safetensors", ".sqlite", ".tar", ".tgz", ".tsv", ".xml", ".zip"),
)


@dataclass(frozen=True)
class Target:
    """Output of one image."""

    path: Path | None  # Output file. None for standard output.
    kind: Kind  # Content of the file
    suffix: str
    # Whether it covers all objects of an image, instead of a single prompted one
    many: bool = False

    @property
    def shows_image(self) -> bool:
        """Whether it requires the pixels of the image."""
        return shows_image(self.kind)


def is_stdout(output: str) -> bool:
    """Return whether an `-o` is standard output: `-`, or `-.json` for another format."""
    return output == STDOUT or output.startswith(f"{STDOUT}.")


def stdout_suffix(output: str) -> str:
    """Return the suffix of standard output: PNG for `-`."""
    return output[1:].lower() or ".png"


def or_stdout(outputs: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Return the outputs, or standard output if none is given and the image comes from a pipe.

    On a terminal the default output is a file, as for other images.
    """
    piped = not outputs and [*sources] == ["-"] and not sys.stdout.isatty()
    return [STDOUT] if piped else [*outputs]


def is_file_name(output: str) -> bool:
    """Return whether an `-o` names a file or standard output, not a folder.

    Raises InputError for an unsupported suffix.
    """
    if is_stdout(output):
        return True
    suffix = file_suffix(output)
    if suffix and (suffix in DOCUMENTS or image_format(suffix) is not None):
        return True
    converted = "To write .jsonl, convert the .json with anymask convert. "
    check_suffix(output, OUTPUT_SUFFIXES, converted if suffix == ".jsonl" else "")
    return False


def plan_targets(
    outputs: Sequence[str],
    image: str,
    plain: ImageKind,
    *,
    several: bool,
    default: ImageKind | None = None,
    many: bool = False,
) -> list[Target]:
    """Parse the outputs of one image.

    Raises InputError if an output cannot be written, or would be overwritten by another image.

    Args:
        outputs: `-o` options. Defaults to a file in the current folder.
        image: Name of the image without suffix.
        plain: Content of an image output without a further word in its name.
        several: Whether there are other images, which require other outputs.
        default: Content of the default output. Defaults to `plain`.
        many: Whether the masks are all objects of the image (`output_kind`).
    """
    if not outputs:
        kind = default or plain
        return [Target(Path(image + OUTPUT_ENDINGS[kind]), kind, ".png")]
    return [_target(output, image, plain, several, many) for output in outputs]


def _target(output: str, image: str, plain: ImageKind, several: bool, many: bool) -> Target:
    if is_stdout(output):
        if several:
            raise InputError(
                "Only masks of one image can be written to standard output. Use -o out/"
            )
        return _of_name(None, Path("stdout" + stdout_suffix(output)), plain, many)
    if is_folder(output):
        return Target(Path(output, image + OUTPUT_ENDINGS[plain]), plain, ".png")
    if several and NAME_FIELD not in output:
        raise InputError(
            f"-o {output} is one file, but there are several images. Pass a folder, such as out/, "
            f"or include {NAME_FIELD} in the file name: -o '{NAME_FIELD}{Path(output).suffix}'"
        )
    path = Path(output.replace(NAME_FIELD, image))
    return _of_name(path, path, plain, many)


def _of_name(path: Path | None, name: Path, plain: ImageKind, many: bool) -> Target:
    return Target(path, output_kind(name, plain, many=many), name.suffix.lower(), many)


def check_outputs(paths: Sequence[Path], *inputs: Path) -> None:
    """Raise InputError for outputs that cannot or must not be written, before any work."""
    for path in paths:
        if path.is_dir():
            raise InputError(
                f"{str(path)!r} is a folder, but an output file is required. Add a file name."
            )
        refuse_inputs(path, *inputs)


def write_objects(
    target: Target,
    found: Masks,
    image: UintImage | None,
    prompts: Sequence[Prompt],
    inputs: Set[Path] = frozenset(),
) -> list[str]:
    """Write one output of an image's objects; return the written files.

    Cut-outs of all objects have soft alpha; that of one object has the pixels of its mask. Raises
    InputError.

    Args:
        image: Image (H, W, 3), or (H, W, 4) with its alpha channel, if the output shows it.
        prompts: Prompts, one for each object, or none.
        inputs: Resolved paths of files that the command reads.
    """
    paths, outputs = [], each_output(target.path or Path("stdout"), found)
    for path, _ in outputs:
        same = inputs & {Path(os.path.realpath(path))}
        refuse_inputs(path, getattr(found.source_image, "path", None), *same)
    for path, few in outputs:
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


# Names that are rejected before any work.


def new_folder(output: str) -> Path:
    """Parse an output folder, as an argparse type; names with a file suffix are rejected."""
    if _is_of_files(file_suffix(output)):
        raise argparse.ArgumentTypeError(f"{output!r} is a file name. Pass a folder: {output}/")
    return Path(output)


def check_suffix(output: str, written: tuple[str, ...], remedy: str = "") -> None:
    """Raise InputError for a suffix that is neither supported nor part of a folder name.

    Args:
        written: Supported suffixes.
        remedy: Alternative for such files.
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
    """Normalize the device files of standard output to `-`, and validate its use.

    Raises InputError, before any work, for a command that does not write to standard output
    (without `parser.set_defaults(stdout=True)`), and for two results there.

    Args:
        command: Program and command name, for the error.
    """
    for name in _WRITTEN:
        given = getattr(args, name, None)
        texts = list(map(str, _several(given)))
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
            value = named[0] if isinstance(given, str) else Path(named[0])
            setattr(args, name, named if isinstance(given, list) else value)


def check_file_options(args: argparse.Namespace) -> None:
    """Raise InputError, before any work, for output options with the suffix of another kind, or
    that name a folder."""
    for name in ("output", "outputs", "sources"):
        given = getattr(args, name, None)
        if given == "" or (isinstance(given, list) and "" in given):
            what = "a photo" if name == "sources" else "-o"
            raise InputError(f"The value of {what} is empty. Pass a name, or remove the option.")
    for name, suffixes in _OF_OPTION.items():
        given, option = getattr(args, name, None), _option(name)
        if not isinstance(given, str | Path):
            continue
        if str(given) == "-":
            raise InputError(f"{option} cannot write to standard output. Pass report{suffixes[0]}")
        if is_folder(str(given)):
            raise InputError(
                f"{option} writes a file, but {str(given)!r} is a folder. Add a file "
                f"name, such as {Path(given, 'report' + suffixes[0])}"
            )
        suffix = file_suffix(str(given))
        if suffix not in suffixes and _is_of_files(suffix):
            raise InputError(
                f"{option} writes a file ending in {_one_of(suffixes)}, got {str(given)!r}. "
                f"Did you mean {Path(given).with_suffix(suffixes[0])}?"
            )


def report_files(args: argparse.Namespace) -> None:
    """Report the files that options of any command named, such as --json."""
    for path in (getattr(args, name, None) for name in _OF_OPTION):
        if isinstance(path, Path) and path.is_file():
            say(f"wrote {path}")


def check_inputs_stay(args: argparse.Namespace, words: Sequence[str]) -> None:
    """Raise InputError, before any work, for an output that is also an input or another output.

    Adds `read` to the arguments: the files that were given and are no outputs.

    Args:
        words: Arguments as given. Those that contain the path of an output are counted, because the
            parsed value of an input, such as `0:1:FILE` or `IMAGE@mask:FILE`, may be no path.
    """
    named: Counter[str] = Counter()
    for word in (word for word in words if "\0" not in word):
        named.update({os.path.realpath(part) for part in {word, *_PATH_MARKS.split(word)} if part})
    written = [
        (name, str(value), os.path.realpath(value))
        for name in (*_OF_OPTION, *_WRITTEN)
        for value in _several(getattr(args, name, None))
        if isinstance(value, str | Path) and not is_stdout(str(value))
    ]
    for name, text, path in written:
        again = [other for *_, other in written].count(path) > 1
        if again or (named[path] > 1 and Path(path).is_file()):
            what = _option(name) if name in _OF_OPTION else "The output"
            raise InputError(
                f"{what} {text!r} is also an input or another output. Choose another name."
            )
    args.read = [
        Path(path)
        for path in {*named} - {path for *_, path in written}
        if os.path.isfile(path)  # noqa: PTH113 - any text
    ]


def _several(given: Any) -> Sequence[Any]:
    return given if isinstance(given, list | tuple) else [given]


def _option(name: str) -> str:
    return "--json" if name == "report" else f"--{name}"


def _is_of_files(suffix: str) -> bool:
    """Return whether a suffix belongs to a known kind of file."""
    return suffix in _OF_FILES or suffix in DOCUMENTS or bool(suffix and image_format(suffix))


def _one_of(suffixes: tuple[str, ...]) -> str:
    *first, last = suffixes
    return f"{', '.join(first)} or {last}" if first else last
