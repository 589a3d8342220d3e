"""Commands as data: the function that a command runs, and its arguments in the order of `--help`.

    COMMAND = Command(run, (
        Argument("photo", metavar="IMAGE", help="image"),
        Settings(SegmentSettings, "output options"),
        MODEL,
    ))

A command module ends with such a record. Options of the package are fields of a frozen dataclass
(`anymask.base.Setting`); `Argument` is for inputs, outputs and other arguments of one command.

Their parser suggests names for a mistyped option, value or subcommand. An option with a value such
as `X,Y` also accepts spaces: `--box 180 20 400 230`. `--help` shows the most common options,
`--help-all` all of them.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

from anymask.base import DeclaredSetting, InputError, list_settings
from anymask.base.synonyms import OPTION_WORDS
from anymask.cli.outputs import (
    check_file_options,
    check_inputs_stay,
    check_stdout,
    new_folder,
    report_files,
)

_HELP = ("-h", "--help", "--help-all")
LONG_HELP = 50  # lines above which a help text is shortened
_TYPE_NAMES = {"int": "a whole number", "float": "a number"}
# Parts of an error: quoted names, hints for Python, arguments of calls with their values, and the
# name of a setting that the error is about.
_CALLS = re.compile(
    r"""(?<![\w=])'[^']*'|\ \(in\ Python\ (?:[^()]|\([^()]*\))*\)|(?<![\w.?&=/-])([a-z][a-z_]+)=
    ("[\w.-]+"|'[\w.-]+'|\([\w,\ .-]+\)|True|None|[A-Z]+\b|\d+(?:\.\d+)?(?!\.?\w)|(?=[\ ,.)]|$))
    |(?:\A|(?<=Option\ ))([a-z][a-z_]*)(?=\ must\ be\ |\ requires\ |\ is\ not\ supported\ )""",
    re.VERBOSE,
)
_NUMBER_LIST = re.compile(r"[-+]?[\d.][\d.,;eE+-]*")
_MESSAGES = (
    (r"argument (.+): invalid (int|float) value: (.+)", "Expected {1} for {0}, got {2}"),
    (r"argument (.+): expected (?:one|\d+) arguments?", "{0} requires a value"),
    (r"argument (.+): expected at least one argument", "{0} requires a value"),
    (
        r"argument (.+): ignored explicit argument (.+)",
        "{0} does not take a value, but {1} was passed",
    ),
    (r"argument (.+): not allowed with argument (.+)", "{0} and {1} cannot be used together"),
    (r"argument (.+?): (.+)", "{0}: {1}"),
    (r"the following arguments are required: (.+, .+)", "Missing: {0}"),
    (r"the following arguments are required: (.+)", "Missing: {0}"),
    (r"unrecognized arguments: (.+)", "Unexpected argument {0!r}"),
)


class CommandParser(argparse.ArgumentParser):
    """Parser that raises InputError, and does not accept abbreviated options.

    The epilog may be a function, which is called for the help text.
    """

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False} | how)
        self._typed: list[str] = []
        self.add_argument(
            "--help-all", action=_HelpAll, help="show the full description of every option and exit"
        )

    def format_help(self) -> str:
        """Return the text of `--help`: everything, or without the rare options if it is long."""
        whole = self.format_whole_help()
        if whole.count("\n") <= LONG_HELP or _sub_parsers(self):
            return whole
        kept = {id(action): action.help for action in self._actions}
        epilog, self.epilog = self.epilog, None
        shown = [str(arg.metavar or arg.dest) for arg in self._actions if not arg.option_strings]
        shown += ["|".join(map(_usage_of, choices)) for choices in self._required_options()]
        usage, self.usage = self.usage, self.usage or " ".join([self.prog, *shown, "[OPTION ...]"])
        required = {id(action) for choices in self._required_options() for action in choices}
        try:
            for action in self._actions:
                rare = getattr(action, "rare", False) and id(action) not in required
                action.help = argparse.SUPPRESS if rare else _first_clause(action.help)
            short = super().format_help()
        finally:
            self.usage, self.epilog = usage, epilog
            for action in self._actions:
                action.help = kept[id(action)]
        return f"{short}\n{self.prog} --help-all shows every option with its full description\n"

    def format_whole_help(self) -> str:
        """Return the text of `--help-all`."""
        epilog: Any = self.epilog
        self.epilog = epilog() if callable(epilog) else epilog
        return super().format_help()

    def _required_options(self) -> list[list[argparse.Action]]:
        """Return the required options; of a list with several, one is required."""
        choices = [
            group._group_actions for group in self._mutually_exclusive_groups if group.required
        ]
        return choices + [[arg] for arg in self._actions if arg.option_strings and arg.required]

    def parse_args(self, words: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; without a subcommand, the default `action` is used if there is one.
        Raises InputError."""
        words, default = list(words), self.get_default("action")
        if default and words[:1] not in [[word] for word in (*_sub_parsers(self), *_HELP)]:
            words = [default, *words]
        self._typed = words
        ready = list(joined_values(self, words))
        check_options(self, ready)
        args = super().parse_args(ready, namespace)
        check_stdout(args, self.prog)
        check_file_options(args)
        check_inputs_stay(args, ready)
        return args

    def error(self, message: str) -> NoReturn:
        """Raise InputError with a rewritten message of argparse and a hint to the help."""
        if message.startswith("unrecognized"):
            # Raise InputError if a remaining argument was meant as the value of a yes-or-no
            # option.
            for option, word in zip(self._typed, self._typed[1:], strict=False):
                action = _all_options(self).get(option)
                if (
                    word not in message.split(": ", 1)[1].split(" ")
                    or action is None
                    or action.const is not True
                ):
                    continue
                try:
                    if callable(action.type):
                        action.type(word)
                except argparse.ArgumentTypeError as error:
                    raise InputError(f"{option}: {error}") from error
        rewritten = message
        for pattern, text in _MESSAGES:
            if match := re.fullmatch(pattern, message, re.DOTALL):
                rewritten = text.format(*(_TYPE_NAMES.get(part, part) for part in match.groups()))
                break
        if message.startswith("the following") and (actions := _sub_parsers(self)):
            rewritten += f". Choose from: {', '.join(actions)}"
        if message.startswith("unrecognized") and _NUMBER_LIST.fullmatch(message.split()[-1]):
            rewritten += ". Repeat the option for each value."
        if ". " not in rewritten:
            rewritten = f"{rewritten.rstrip('.')}. '{self.prog} --help' lists the options."
        raise InputError(rewritten)

    def in_options(self, message: str) -> str:
        """Write the arguments of Python calls in an error as options of this command, as in
        `--detector llmdet_tiny`, and remove hints "(in Python ...)"."""
        parser: argparse.ArgumentParser = self
        for word in self._typed:
            parser = _sub_parsers(parser).get(word, parser)
        known = parser._option_string_actions
        options = {name.lstrip("-").replace("-", "_"): name for name in known}

        def written(part: re.Match[str]) -> str:
            option = options.get(part[1] or part[3])
            if option is None:
                return "" if part[0].startswith(" (in") else part[0]
            if part[2] == "None":
                return f"no {option}"
            value = (part[2] or "").strip("\"'()").replace(" ", "")
            return option if value in ("", "True") else f"{option} {value}"

        return _CALLS.sub(written, message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        remedy = did_you_mean(str(value), known) or f"Choose from: {', '.join(known)}"
        raise argparse.ArgumentError(action, f"Invalid choice {str(value)!r}. {remedy}")


class _HelpAll(argparse.Action):
    """Print the complete help text and exit."""

    def __init__(self, option_strings: Sequence[str], dest: str, **how: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, 0, default=argparse.SUPPRESS, **how)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Raise SystemExit."""
        assert isinstance(parser, CommandParser)
        print(parser.format_whole_help(), end="")
        parser.exit()


def _usage_of(option: argparse.Action) -> str:
    """Return an option with its value: `-o DIR`."""
    value = "" if option.nargs == 0 else f" {option.metavar or option.dest.upper()}"
    return option.option_strings[0] + value


def _first_clause(text: str | None) -> str | None:
    """Shorten a help text to its first clause without parentheses, and its default.

    A text that explains each choice is reduced to its default, because the choices are listed.
    """
    if text is None or text == argparse.SUPPRESS:
        return text
    default = re.search(r" ?\(default: [^()]*\)$", text)
    plain = text if default is None else text[: default.start()]
    clauses = re.split(r"[;:] |\. (?=[A-Z\"])", re.sub(r" \([^()]*\)", "", plain))
    short = "" if plain.startswith('"') else clauses[0]
    return (short + ("" if default is None else default[0])).strip()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'segment'?", or "" if no name is similar."""
    near = nearest(word, known)
    return "" if near is None else f"Did you mean {near!r}?"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the most likely intended name: another case, an alias, a prefix, or a typo."""
    names = list(known)
    plain = word.lower().replace("_", "-")
    by_plain = {name.lower().replace("_", "-"): name for name in names}
    if (other := OPTION_WORDS.get(plain)) in names:
        return other
    if plain in by_plain:
        return by_plain[plain]
    begun = [name for key, name in by_plain.items() if key.startswith(plain)]
    if len(begun) == 1 and len(plain.strip("-")) > 1:
        return begun[0]
    import difflib

    near = difflib.get_close_matches(plain, by_plain, 1)
    return by_plain[near[0]] if near else None


def check_options(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Raise InputError for an unknown option, with a suggestion, or a second output if one is lost.

    It runs before argparse, which would report the remaining value of the option instead.
    """
    options, outputs = parser._option_string_actions, 0
    for index, word in enumerate(words):
        if word == "--":
            return
        if (chosen := _sub_parsers(parser).get(word)) is not None:
            check_options(chosen, words[index + 1 :])
            return
        name = word.partition("=")[0]
        if name in options:
            outputs += "-o" in options[name].option_strings and options[name].dest == "output"
            if outputs > 1:
                raise InputError("This command writes a single output. Pass -o once.")
            continue
        if word.startswith("-") and word != "-" and os.path.isfile(word):  # noqa: PTH113 - any name
            raise InputError(f"{word!r} looks like an option. If it is a file, write ./{word}")
        if not re.fullmatch(r"--[\w-]+|-[A-Za-z]", name):
            continue
        if name == "--json" and "--output" in options:
            raise InputError("Unknown option --json. To write JSON, pass -o FILE.json.")
        if name in ("-o", "--output") and any(arg.metavar == "OUT" for arg in parser._actions):
            raise InputError(f"Unknown option {name}. Pass the output without it, after the input.")
        remedy = (
            did_you_mean(name, [option for option in options if option.startswith("--")])
            or f"'{parser.prog} --help' lists the options."
        )
        raise InputError(f"Unknown option {name}. {remedy}")


def _all_options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the options of a parser and its subcommands."""
    options: dict[str, argparse.Action] = {}
    for chosen in _sub_parsers(parser).values():
        options |= _all_options(chosen)
    return options | parser._option_string_actions


def _sub_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def joined_values(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[str]:
    """Join options with their values: `--point 290 120` becomes `--point=290,120`.

    An option with an optional value takes the next argument only if it is a valid value, so that
    `photo.jpg` in `--zoom photo.jpg` is an image. After a subcommand, its own options apply.
    """
    actions = parser._option_string_actions
    # The maximum number of values of options with a metavar such as `X,Y`.
    counts = {
        name: action.metavar.count(",") + 1
        for name, action in actions.items()
        if isinstance(action.metavar, str) and "," in action.metavar
    }
    # Options with an optional value: the first one is the default without a value.
    lone = {
        name: str(action.metavar).split("|")
        for name, action in actions.items()
        if action.nargs == "?" and action.const is True
    }
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if (chosen := _sub_parsers(parser).get(word)) is not None:
            yield from (word, *joined_values(chosen, rest))
            return
        name, sign, value = word.partition("=")
        if name in lone and not sign:
            yield f"{name}={rest.pop(0) if rest and rest[0] in lone[name] else lone[name][0]}"
            continue
        if name not in counts:
            behind = word.startswith("-") and rest and re.match(r"-\.\w", rest[0])  # `-o -.svg`
            yield f"{word}{'=' * word.startswith('--')}{rest.pop(0)}" if behind else word
            continue
        values = [value] if sign else []
        while rest and _NUMBER_LIST.fullmatch(rest[0]) and _count(values) < counts[name]:
            values.append(rest.pop(0))
        yield f"{name}={','.join(part.strip(',') for part in values)}" if values else name


def _count(values: Sequence[str]) -> int:
    return sum(len([part for part in re.split(r"[,\s]+", value) if part]) for value in values)


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
        for argument in self.arguments:
            argument.add_to(parser)
        if self.stdout:
            parser.set_defaults(stdout=True)
        if self.actions:
            actions = parser.add_subparsers(
                dest="action", metavar="ACTION", required=not self.default_action
            )
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
            report_files(args)

    def check_inputs(self, args: argparse.Namespace) -> None:
        """Raise InputError for the first input file or folder that does not exist."""
        for argument in _inputs(self.arguments):
            given = getattr(args, argument.place, None)
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
        keywords = {field.name: getattr(self, field.name) for field in fields(_Keywords)}
        if callable(self.default):
            keywords["default"] = self.default()
        how = {name: value for name, value in keywords.items() if value is not None}
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
        for item in self.items:
            item.add_to(group)


@dataclass(frozen=True)
class Exclusive:
    """Options of which at most one can be given."""

    items: tuple[Argument, ...]
    required: bool = False

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add the options."""
        group = parser.add_mutually_exclusive_group(required=self.required)
        for item in self.items:
            item.add_to(group)


def _inputs(items: tuple[Item, ...]) -> Iterator[Argument]:
    """Arguments that name files or folders to read, also those in groups."""
    for item in items:
        if isinstance(item, Group | Exclusive):
            yield from _inputs(item.items)
        elif isinstance(item, Argument) and item.reads:
            yield item


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
            text = setting.about.description
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

        return {"metavar": about.metavar or "X", "type": read, "default": kept}
    if bool in members:
        words = ("yes", "no", *setting.words)
        return {
            "nargs": "?",
            "const": True,
            "metavar": "|".join(words),
            "type": partial(_bool_or_word, words),
        }
    if setting.words and not setting.number:
        return {"choices": setting.words}
    if setting.number and (setting.words or str in members):
        return {"metavar": about.metavar or "WORD|X", "type": _number_or_word}
    if setting.number:
        letter = "N" if setting.number is int else "X"
        return {"metavar": about.metavar or about.unit.upper() or letter, "type": setting.number}
    kind = {"type": new_folder if about.metavar == "NEW_DIR" else Path} if Path in members else {}
    more = {"action": "append"} if about.repeat else {}
    return {"metavar": about.metavar or ("FILE" if kind else "NAME"), **kind, **more}


_TRUTHS = {"on": "yes", "true": "yes", "1": "yes", "off": "no", "false": "no", "0": "no"}


def _bool_or_word(words: Collection[str], text: str) -> bool | str:
    """Parse one of the allowed words; `yes` and `no`, if among them, become bool."""
    if text not in words:
        meant = _TRUTHS.get(text.lower()) or nearest(text, words)
        remedy = f"Did you mean {meant!r}?" if meant else "Without a value, the option means yes."
        raise argparse.ArgumentTypeError(
            f"Invalid value {text!r}. Expected {', '.join(words)} or no value. {remedy}"
        )
    return text == "yes" if text in ("yes", "no") else text


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
