"""The exceptions of anymask: one tree, a class for each kind of remedy.

    AnymaskError            the root; the CLI prints it without a traceback and exits with 2
    ├── InputError          a value that the user gave: an image, a prompt, an option
    │   ├── ImageError      a picture that cannot be read or segmented
    │   │   ├── DamagedImageError   an image file that is truncated or corrupted
    │   │   └── AmbiguousMaskError  a mask image that several readings fit
    │   └── LimitError      data that takes more memory than its limit, which can be raised
    ├── PromptError         a prompt that makes no sense or that this model cannot take
    ├── ModelError          an unknown name, or a model that cannot do what was asked
    │   └── WeightsError    a weights file that is absent, altered, unsafe or does not fit
    ├── DataError           a data set or record on disk that breaks its format
    ├── ConfigError         a recipe or suite that cannot be followed
    ├── StoreError          the project's database cannot do what was asked
    │   ├── NotFoundError   there is no such image or record
    │   ├── Conflict        somebody else has changed the record in the meantime
    │   ├── DiskFull        there is no room to write it down
    │   └── NotAllowedError a rule of the project forbids it: the acceptance rule before an export
    └── MissingExtra        an optional package that is not installed

A message says what was wanted, what came, and the remedy.
"""

from __future__ import annotations

import signal


class AnymaskError(Exception):
    """The root of all errors that anymask raises on purpose."""


class InputError(AnymaskError, ValueError):
    """A value that the user gave cannot be used."""


class ImageError(InputError):
    """A picture cannot be read or segmented."""


class DamagedImageError(ImageError):
    """An image file is truncated or corrupted."""


class AmbiguousMaskError(ImageError):
    """A mask image fits several readings; the message names the choice."""


class LimitError(InputError):
    """Data would take more memory than its limit; the message says how to raise it.

    Args:
        size: Bytes that it would take, 0 where this is not known.
    """

    def __init__(self, message: str, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


class PromptError(AnymaskError, ValueError):
    """A prompt makes no sense, or this model cannot take it."""


class ModelError(AnymaskError):
    """A model name is unknown, or the model cannot do what was asked."""


class WeightsError(ModelError):
    """A weights file is absent, altered, unsafe, or does not fit its model."""


class DataError(AnymaskError):
    """A data set or a record on disk breaks its format."""


class ConfigError(AnymaskError):
    """A recipe or a suite cannot be followed."""


class StoreError(AnymaskError):
    """The data engine's database cannot do what was asked."""


class NotFoundError(StoreError):
    """There is no such image or record in the project."""


class Conflict(StoreError):
    """A record has changed since it was read; nothing was written.

    Args:
        current: The record as it is now, whatever kind the raiser keeps.
    """

    def __init__(self, message: str, current: object = None) -> None:
        super().__init__(message)
        self.current = current


class DiskFull(StoreError):
    """The database's disk has no room left; nothing was written."""


class NotAllowedError(StoreError):
    """A rule of the project forbids it for now; the message says what is missing."""


class MissingExtra(AnymaskError, ImportError):
    """An optional package is not installed; the message names the extra."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{capitalized(purpose)} requires the {extra!r} extra (package "
            f"{package!r}). Install it with: pip install 'anymask[{extra}]'"
        )
        self.name, self.extra = package, extra


def capitalized(text: str) -> str:
    """A text that starts a sentence; names of Python such as `anymask.serve` stay as they are."""
    first = text.split(" ", 1)[0]
    return text if "." in first or "=" in first else text[:1].upper() + text[1:]


def exit_text(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed ({name})"
