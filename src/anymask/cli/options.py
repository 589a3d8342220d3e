"""Options shared by several commands, generated from declared settings; and checks of extras."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from anymask.base import DeclaredSetting, InputError, list_settings, need_packages
from anymask.cli.parser import nearest
from anymask.jobs import ModelChoice, PictureChoice
from anymask.models.rules import DEFAULT_VIDEO_MODEL, default_model


def need_engine() -> None:
    """Raise MissingExtra if the packages of the project database are not installed."""
    need_packages(("sqlalchemy",), "studio", "a project")


def need_server() -> None:
    """Raise MissingExtra if the packages of the server are not installed."""
    need_packages(("fastapi", "uvicorn", "python_multipart", "sqlalchemy"), "studio", "the server")


def need_torch() -> None:
    """Raise MissingExtra if PyTorch is not installed."""
    need_packages(("torch",), "torch", "training")


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for reading images: bands, pages, value ranges."""
    add_options(parser.add_argument_group("the picture"), PictureChoice)


def read_pictures(args: argparse.Namespace) -> PictureChoice:
    """Read and validate the image options. Raises InputError."""
    return PictureChoice(**read_options(args, PictureChoice))


def report_pages(photo: Path, say: Callable[[str], None], model: ModelChoice) -> None:
    """Print which page of a multi-page file is used, unless the model uses all as channels."""
    from anymask.images import read_pages
    from anymask.runtime import stated_channels

    pages = read_pages(photo)
    if pages.count == 1 or stated_channels(model.model, model.weights):
        return
    place = pages.place(0)
    shown = f" ({place})" if place else ""
    say(
        f"{photo.name} has {pages.count} pages{pages.axes_in_words()}; using page 0{shown}. "
        f"--page N{_spoken(place)} selects another page, --page all processes all pages."
    )


def _spoken(place: str) -> str:
    """Format a place for `--page`: "Z 1, C 0" -> " or z1c0"."""
    return f" or {place.lower().replace(' ', '').replace(',', '')}" if place else ""


_TRUTHS = {"on": "yes", "true": "yes", "1": "yes", "off": "no", "false": "no", "0": "no"}


def add_options(
    group: argparse._ActionsContainer,
    declared: type,
    only: Collection[str] = (),
    defaults: dict[str, str] | None = None,
) -> None:
    """Add an option for each setting, such as `--grid` for `grid`.

    Args:
        only: Names of settings. Defaults to all.
        defaults: Descriptions of defaults by setting name.
    """
    for setting in list_settings(declared):
        if only and setting.name not in only:
            continue
        told = (defaults or {}).get(setting.name, setting.default_in_words)
        told = {"True": "yes", "False": "no"}.get(told, told)  # as on the command line
        group.add_argument(
            setting.option,
            dest=setting.name,
            help=f"{setting.about.does} (default: {told})".replace("%", "%%"),
            **_value_of(setting),
        )


def option_of(name: str) -> str:
    """Return the default option name of a setting."""
    return f"--{name.replace('_', '-')}"


def _value_of(setting: DeclaredSetting) -> dict[str, Any]:
    """Return the argparse arguments for a setting's value; its class validates the range."""
    about, members = setting.about, setting.members
    if about.parse is not None:
        kept = argparse.SUPPRESS  # the parsed value can be None, which differs from "not given"
        return {"metavar": about.form or "X", "type": _parse_with(about.parse), "default": kept}
    if bool in members:
        words = ("yes", "no", *setting.words)
        return {"nargs": "?", "const": True, "metavar": "|".join(words), "type": _truth(words)}
    if setting.words and not setting.number:
        return {"choices": setting.words}
    if setting.number and (setting.words or str in members):
        return {"metavar": about.form or "WORD|X", "type": _number_or_word}
    if setting.number:
        letter = "N" if setting.number is int else "X"
        return {"metavar": about.form or about.unit.upper() or letter, "type": setting.number}
    if Path in members:
        return {"metavar": "FILE", "type": Path}
    return {"metavar": about.form or "NAME"}


def _parse_with(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Wrap a function so that its InputError becomes an argparse error."""

    def read(text: str) -> object:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _truth(words: Collection[str]) -> Callable[[str], bool | str]:
    """Return a function that parses `yes`, `no` or another of the words."""

    def read(text: str) -> bool | str:
        if text not in words:
            meant = _TRUTHS.get(text.lower()) or nearest(text, words)
            remedy = (
                f"Did you mean {meant!r}?" if meant else "Without a value, the option means yes."
            )
            raise argparse.ArgumentTypeError(
                f"Invalid value {text!r}. Expected {', '.join(words)} or no value. {remedy}"
            )
        return text == "yes" if text in ("yes", "no") else text

    return read


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def read_options(
    args: argparse.Namespace, declared: type, only: Collection[str] = ()
) -> dict[str, Any]:
    """Return the settings that were given on the command line, by name.

    Args:
        only: Names of settings. Defaults to all.
    """
    asked = [one for one in list_settings(declared) if not only or one.name in only]
    given = {one.name: vars(args)[one.name] for one in asked if one.name in vars(args)}
    parsed = {one.name for one in asked if one.about.parse}  # for these, None is a value
    return {name: value for name, value in given.items() if value is not None or name in parsed}


def read_count(text: str, least: int = 1) -> int:
    """Parse a whole number of at least `least`, as an argparse type."""
    if text.isdigit() and int(text) >= least:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"Invalid value {text!r}. Expected a whole number of at least {least}."
    )


def add_model_options(parser: argparse.ArgumentParser, only: Collection[str] = ()) -> None:
    """Add the options of the model and its device."""
    add_options(parser.add_argument_group("the model"), ModelChoice, only)


def read_model(args: argparse.Namespace, **chosen: object) -> ModelChoice:
    """Read the options of `add_model_options`, overridden by `chosen`; paths become absolute."""
    given = read_options(args, ModelChoice) | chosen
    if given.get("weights") is not None:
        given["weights"] = Path(given["weights"]).expanduser().absolute()
    given.setdefault("model", default_model(given.get("weights")))
    return ModelChoice(**given)


def read_default_model(args: argparse.Namespace) -> ModelChoice:
    """Like `read_model`; videos, scans and audits default to `DEFAULT_VIDEO_MODEL`."""
    return (
        read_model(args)
        if args.model or args.weights
        else read_model(args, model=DEFAULT_VIDEO_MODEL)
    )
