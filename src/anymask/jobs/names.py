"""The choice of names of a job: a word of the command line in, labelled masks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from anymask.base import InputError, Setting, check_settings, describe_settings

if TYPE_CHECKING:
    from anymask.models.rules import ChosenNames
    from anymask.segment import Model

ALL = "all"
OWN = ".json"  # of files of one's own names

Names = tuple[str, ...] | Path


def parse_names(text: str) -> Names:
    """ "all", words between commas, or the file of `anymask names`. Raises InputError."""
    if text.lower().endswith(OWN):
        return Path(text).expanduser().absolute()
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise InputError(f"wanted all, names such as cat,dog,lamp, or a {OWN} file, got {text!r}")
    return words


def check_names(names: object) -> None:
    """Raises InputError for what is no choice of names."""
    listed = isinstance(names, tuple | list) and all(isinstance(one, str) for one in names)
    if names is not None and not isinstance(names, Path) and not (listed and names):
        raise InputError(
            f'names must be a list of words, ["all"], a path or None, got {str(names)[:60]!r}'
        )


@describe_settings
@dataclass(frozen=True)
class NamesChoice:
    """What masks are called. Raises InputError for what is no choice of names."""

    names: Annotated[
        Names | None,
        Setting(
            "suggest a name for each mask: all (those that were learned), a list such as "
            "cat,dog,lamp, or the file of `anymask names` with your own",
            check=check_names,
            form="all|NAME,...|FILE",
            parse=parse_names,
            default="none",
        ),
    ] = None

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def chosen(self) -> Sequence[str] | Path | None:
        """As `Model.suggest_labels` takes them."""
        return None if self.names in ((ALL,), [ALL]) else self.names

    def open(self, model: Model) -> ChosenNames | None:
        """The names, read once. Raises ModelError, InputError, DataError."""
        if self.names is None:
            return None
        from anymask.segment import choose_names

        return choose_names(model.runtime, self.chosen)

    def about(self, model: Model) -> dict[str, Any]:
        """What the records depend on, ready for JSON; nothing where no names are asked for."""
        if self.names is None:
            return {}
        from anymask.segment import naming_network

        network = naming_network(model.runtime)
        own = isinstance(self.names, Path)
        names = self.names.read_text("utf-8") if isinstance(self.names, Path) else [*self.names]
        return {"names": {"network": network, "own" if own else "words": names}}
