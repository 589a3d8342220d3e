"""Exceptions of anymask: one hierarchy, with one class for each kind of fix.

    AnymaskError            base class; the CLI prints it without a traceback and exits with 2
    ├── InputError          invalid user input: an image, a prompt, an option
    │   ├── ImageError      an image that cannot be read or segmented
    │   │   ├── DamagedImageError   an image file that is truncated or corrupted
    │   │   └── AmbiguousMaskError  a mask image with several possible interpretations
    │   └── LimitError      data that exceeds a configurable memory limit
    ├── PromptError         a prompt that is invalid or not supported by the model
    ├── ModelError          an unknown model name, or an operation the model does not support
    │   └── WeightsError    a weights file that is missing, altered, unsafe or incompatible
    ├── DataError           a dataset or file that violates its format
    ├── ConfigError         an invalid recipe or evaluation
    ├── StoreError          an operation on the project database that failed
    │   ├── NotFoundError   no such image or record
    │   ├── Conflict        the record was changed in the meantime
    │   ├── DiskFull        no disk space left
    │   └── NotAllowedError forbidden by a project rule: the acceptance rule before an export
    └── MissingExtra        an optional package that is not installed
        └── MissingPlugin   a plug-in that is not installed

A message states what is wrong, what was expected and given, and how to fix it.
"""

from __future__ import annotations

import signal


class AnymaskError(Exception):
    """Base class of all errors that anymask raises on purpose."""


class InputError(AnymaskError, ValueError):
    """The user passed an invalid value."""


class ImageError(InputError):
    """An image cannot be read or segmented."""


class DamagedImageError(ImageError):
    """An image file is truncated or corrupted."""


class AmbiguousMaskError(ImageError):
    """A mask image has several possible interpretations; the message names the options."""


class LimitError(InputError):
    """Data exceeds its memory limit; the message states how to raise the limit.

    Args:
        size: Required memory in bytes, 0 if unknown.
    """

    def __init__(self, message: str, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


class PromptError(AnymaskError, ValueError):
    """A prompt is invalid or not supported by the model."""


class ModelError(AnymaskError):
    """A model name is unknown, or the model does not support the operation."""


class WeightsError(ModelError):
    """A weights file is missing, altered, unsafe, or incompatible with the model."""


class DataError(AnymaskError):
    """A dataset or file violates its format."""


class ConfigError(AnymaskError):
    """A recipe or an evaluation is invalid."""


class StoreError(AnymaskError):
    """An operation on the project database failed."""


class NotFoundError(StoreError):
    """The project has no such image or record."""


class Conflict(StoreError):
    """A record was changed since it was read; nothing was written.

    Args:
        current: Current state of the record.
    """

    def __init__(self, message: str, current: object = None) -> None:
        super().__init__(message)
        self.current = current


class DiskFull(StoreError):
    """The disk of the database is full; nothing was written."""


class NotAllowedError(StoreError):
    """A project rule forbids the operation; the message states what is missing."""


class MissingExtra(AnymaskError, ImportError):
    """An optional package is not installed; the message names the extra."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{capitalized(purpose)} requires the {extra!r} extra (package "
            f"{package!r}). Install it with: pip install 'anymask[{extra}]'"
        )
        self.name, self.extra = package, extra


class MissingPlugin(MissingExtra):
    """A plug-in is not installed; the message names the command that installs it."""

    def __init__(self, plugin: str, purpose: str) -> None:
        ImportError.__init__(
            self,
            f"{capitalized(purpose)} requires the plug-in {plugin}. Install it in a clone of "
            f"anymask with: pip install ./contrib/{plugin}",
        )
        self.name = self.extra = plugin


def capitalized(text: str) -> str:
    """Capitalize the first word, except for code such as `anymask.serve` or `box=`."""
    first = text.split(" ", 1)[0]
    return text if "." in first or "=" in first else text[:1].upper() + text[1:]


def exit_text(code: int | None) -> str:
    """Describe how a process ended."""
    if code is None or code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed ({name})"
