"""Command line options of declared settings: a dataclass of settings in, options and values out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from anymask.cli.parser import nearest
from anymask.jobs.choices import ModelChoice
from anymask.primitives.errors import InputError
from anymask.primitives.setting import DeclaredSetting, list_settings

_TRUTHS = {"on": "yes", "true": "yes", "1": "yes", "off": "no", "false": "no", "0": "no"}


def add_options(
    group: argparse._ActionsContainer,
    declared: type,
    only: Collection[str] = (),
    defaults: dict[str, str] | None = None,
) -> None:
    """An option for each setting, `--points-per-side` for `points_per_side`.

    only      these settings; all when left out
    defaults  other words for a setting's default
    """
    for setting in list_settings(declared):
        if only and setting.name not in only:
            continue
        told = (defaults or {}).get(setting.name, setting.default_in_words)
        group.add_argument(
            setting.option,
            dest=setting.name,
            help=f"{setting.about.does} (default: {told})".replace("%", "%%"),
            **_value_of(setting),
        )


def option_of(name: str) -> str:
    """A setting's option, where it has no name of its own."""
    return f"--{name.replace('_', '-')}"


def _value_of(setting: DeclaredSetting) -> dict[str, Any]:
    """What argparse is told of the option's value; the range is checked by the settings' class."""
    about, members = setting.about, setting.members
    if about.parse is not None:
        kept = argparse.SUPPRESS  # a word may mean None, which is not the same as no word
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
    """The same function with its error as argparse shows it."""

    def read(text: str) -> object:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _truth(words: Collection[str]) -> Callable[[str], bool | str]:
    """Reads `yes`, `no` or another of the words."""

    def read(text: str) -> bool | str:
        if text not in words:
            meant = _TRUTHS.get(text.lower()) or nearest(text, words)
            remedy = f"did you mean {meant!r}?" if meant else "the option alone means yes"
            raise argparse.ArgumentTypeError(
                f"wanted {', '.join(words)} or nothing behind it, got {text!r}; {remedy}"
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
    """The settings that were given on the command line, by name.

    only  these settings; all when left out
    """
    asked = [one for one in list_settings(declared) if not only or one.name in only]
    given = {one.name: vars(args)[one.name] for one in asked if one.name in vars(args)}
    parsed = {one.name for one in asked if one.about.parse}  # for these, None is a value
    return {name: value for name, value in given.items() if value is not None or name in parsed}


def read_count(text: str, least: int = 1) -> int:
    """A whole number of at least `least`, as argparse reads an option's value."""
    if text.isdigit() and int(text) >= least:
        return int(text)
    raise argparse.ArgumentTypeError(f"wanted a whole number from {least}, got {text!r}")


def add_model_options(parser: argparse.ArgumentParser, only: Collection[str] = ()) -> None:
    """Which model answers, and where it runs; shared by the commands that load one."""
    add_options(parser.add_argument_group("the model"), ModelChoice, only)


def read_model(args: argparse.Namespace, **chosen: object) -> ModelChoice:
    """The options of `add_model_options`, or what was chosen otherwise; paths become absolute."""
    given = read_options(args, ModelChoice) | chosen
    if given.get("weights") is not None:
        given["weights"] = Path(given["weights"]).expanduser().absolute()
    return ModelChoice(**given)
