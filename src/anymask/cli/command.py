"""Commands as data: the function that a command runs, and its arguments in the order of `--help`.

    COMMAND = Command(run, (
        Argument("photo", metavar="PHOTO", help="image"),
        Settings(SegmentSettings, "output options"),
        MODEL,
    ))

A command module ends with such a record. Options of the package are fields of a frozen dataclass
(`anymask.base.Setting`); `Argument` is for inputs, outputs and other arguments of one command.
"""

from __future__ import annotations

import argparse
import glob
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from anymask.base import DeclaredSetting, InputError, list_settings
from anymask.cli.outputs import new_folder
from anymask.cli.parser import CommandParser, nearest


class Item(Protocol):
    """Part of a command's arguments."""

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add the arguments to a parser, or to a group of one."""


@dataclass(frozen=True)
class Command:
    """A command or subcommand."""

    # Function that runs it. Raises AnymaskError for user errors.
    run: Callable[[argparse.Namespace], Any] | None = None
    arguments: tuple[Item, ...] = ()  # Positional arguments and options, in the order of `--help`
    _: KW_ONLY
    actions: Mapping[str, Command] = field(default_factory=dict)  # Subcommands by name
    # Subcommand that runs if the first argument names none. "": one is required.
    default_action: str = ""
    summary: str = ""  # One line for the help text of a subcommand
    # Function that raises MissingExtra if packages are missing, called before `run`
    needs: Callable[[], None] | None = None
    # Function that prints or saves the result of `run`, with the arguments
    report: Callable[[Any, argparse.Namespace], None] | None = None
    usage: str | None = None  # Usage line, if it is not the generated one
    # Text after the options, or a function that returns it for the help text
    epilog: str | Callable[[], str] | None = None
    stdout: bool = False  # Whether it writes results to standard output, as `-o -`

    def parser(self, name: str, summary: str | None = None) -> CommandParser:
        """Return a parser of the arguments; `name` is the program and the command."""
        parser = CommandParser(
            prog=name, description=summary, usage=self.usage, epilog=self.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        self.add_to(parser)
        return parser

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments and the subcommands to a parser."""
        for one in self.arguments:
            one.add_to(parser)
        if self.stdout:
            parser.set_defaults(stdout=True)
        if self.actions:
            must = not self.default_action
            actions = parser.add_subparsers(dest="action", metavar="ACTION", required=must)
            parser.set_defaults(action=self.default_action or None)
            for name, action in self.actions.items():
                action.add_to(
                    actions.add_parser(name, help=action.summary, description=action.summary)
                )

    def execute(self, args: argparse.Namespace) -> None:
        """Run the command or the chosen subcommand, and report its result.

        If a package is missing, a missing input is reported instead: without its file, the user
        would install the package in vain.
        """
        try:
            self._execute(args)
        except ImportError:
            self.check_inputs(args)
            raise

    def _execute(self, args: argparse.Namespace) -> None:
        if self.needs is not None:
            self.needs()
        if self.actions:
            self.actions[args.action].execute(args)
        elif self.run is not None:
            result = self.run(args)
            if self.report is not None:
                self.report(result, args)
            from anymask.cli.outputs import report_files

            report_files(args)

    def check_inputs(self, args: argparse.Namespace) -> None:
        """Raise InputError for the first input file or folder that does not exist."""
        for one in _inputs(self.arguments):
            given = getattr(args, one.place, None)
            for value in given if isinstance(given, list) else [given]:
                if value is not None and _is_path(str(value)) and not Path(value).exists():
                    raise InputError(f"File or folder not found: {str(value)!r}. Check the path.")
        if self.actions:
            self.actions[args.action].check_inputs(args)


@dataclass(frozen=True, kw_only=True)
class _Keywords:
    """Keyword arguments of `argparse.ArgumentParser.add_argument`, with the same meaning.

    A `default` that is a function is called when a parser is built.
    """

    help: str | None = None
    metavar: str | None = None
    dest: str | None = None
    type: Callable[[str], Any] | None = None
    default: Any = None
    action: Any = None
    nargs: str | None = None
    choices: Collection[str] | None = None
    const: Any = None
    required: bool | None = None


@dataclass(frozen=True)
class Argument(_Keywords):
    """A positional argument, or an option that is no setting of the package."""

    names: str  # Name of a positional argument, or option strings: "-o --output"
    _: KW_ONLY
    reads: bool = False  # Whether its values are files or folders that the command reads
    rare: bool = False  # Whether only `--help-all` of a command with many options shows it

    @property
    def place(self) -> str:
        """Name of its value in the parsed arguments."""
        return self.dest or self.names.split()[-1].lstrip("-").replace("-", "_")

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add the argument."""
        given = {one.name: getattr(self, one.name) for one in fields(_Keywords)}
        if callable(self.default):
            given["default"] = self.default()
        how = {name: value for name, value in given.items() if value is not None}
        action = parser.add_argument(*self.names.split(), **how)
        action.rare = self.rare  # type: ignore[attr-defined]  # read by `CommandParser`


@dataclass(frozen=True)
class Group:
    """Arguments under a heading of the help text."""

    title: str
    items: tuple[Item, ...]

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add the group."""
        group = parser.add_argument_group(self.title)
        for one in self.items:
            one.add_to(group)


@dataclass(frozen=True)
class Exclusive:
    """Options of which at most one can be given."""

    items: tuple[Argument, ...]
    required: bool = False

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add the options."""
        group = parser.add_mutually_exclusive_group(required=self.required)
        for one in self.items:
            one.add_to(group)


def _inputs(items: tuple[Item, ...]) -> Iterator[Argument]:
    """Arguments that name files or folders to read, also those in groups."""
    for one in items:
        if isinstance(one, Group | Exclusive):
            yield from _inputs(one.items)
        elif isinstance(one, Argument) and one.reads:
            yield one


def _is_path(word: str) -> bool:
    """Whether a value is a path, and not a glob, a URL, `-`, `sample:NAME` or a camera number."""
    other = word == "-" or word.startswith("sample:") or "://" in word or word.isdecimal()
    return not other and not glob.has_magic(word)


@dataclass(frozen=True)
class Settings:
    """Options that are generated from a settings class, such as `--grid` for `grid`."""

    declared: type  # Dataclass with fields that are annotated with a `Setting`
    title: str = ""  # Heading of the help text. "" for none.
    only: Collection[str] = ()  # Names of settings. Defaults to all.
    omit: Collection[str] = ()  # Names of settings that only Python has
    common: Collection[str] = ()  # Names of settings that the short help shows, too
    # Descriptions of defaults by setting name
    defaults: Mapping[str, str] = field(default_factory=dict)

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add the options."""
        group = parser.add_argument_group(self.title) if self.title else parser
        for setting in list_settings(self.declared):
            if setting.name in self.omit or (self.only and setting.name not in self.only):
                continue
            default = self.defaults.get(setting.name, setting.default_in_words)
            default = {"True": "yes", "False": "no"}.get(default, default)  # as on the command line
            text = setting.about.does
            text += "" if setting.about.default is None else f" (default: {default})"
            action = group.add_argument(
                *setting.option.split(),
                dest=setting.name,
                help=text.replace("%", "%%"),
                **_value_of(setting),
            )
            action.rare = setting.name not in self.common  # type: ignore[attr-defined]


def _value_of(setting: DeclaredSetting) -> dict[str, Any]:
    """Return the argparse arguments for a setting's value; its class validates the range."""
    about, members = setting.about, setting.members
    if (parse := about.parse) is not None:
        kept = argparse.SUPPRESS  # the parsed value can be None, which differs from "not given"

        def read(text: str) -> object:
            try:
                return parse(text)
            except InputError as error:
                raise argparse.ArgumentTypeError(str(error)) from error

        return {"metavar": about.form or "X", "type": read, "default": kept}
    if bool in members:
        words = ("yes", "no", *setting.words)
        return {
            "nargs": "?",
            "const": True,
            "metavar": "|".join(words),
            "type": _bool_or_word(words),
        }
    if setting.words and not setting.number:
        return {"choices": setting.words}
    if setting.number and (setting.words or str in members):
        return {"metavar": about.form or "WORD|X", "type": _number_or_word}
    if setting.number:
        letter = "N" if setting.number is int else "X"
        return {"metavar": about.form or about.unit.upper() or letter, "type": setting.number}
    kind = {"type": new_folder if about.form == "NEW_DIR" else Path} if Path in members else {}
    more = {"action": "append"} if about.repeat else {}
    return {"metavar": about.form or ("FILE" if kind else "NAME"), **kind, **more}


_TRUTHS = {"on": "yes", "true": "yes", "1": "yes", "off": "no", "false": "no", "0": "no"}


def _bool_or_word(words: Collection[str]) -> Callable[[str], bool | str]:
    """Return a parser of the allowed words; `yes` and `no`, if among them, become bool."""

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
