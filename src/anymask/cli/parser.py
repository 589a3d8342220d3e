"""Argument parser with suggestions and flexible values.

- A mistyped option, option value or subcommand gets a suggestion.
- An option with a value such as `X,Y` also accepts spaces: `--box 180 20 400 230`.
- `--help` shows the most common options, `--help-all` all of them.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from anymask.base import InputError
from anymask.base.synonyms import OPTION_WORDS
from anymask.cli.outputs import check_file_options, check_inputs_stay, check_stdout

_HELP = ("-h", "--help", "--help-all")
LONG_HELP = 50  # lines above which a help text is shortened
_KINDS = {"int": "a whole number", "float": "a number"}
# Parts of an error: quoted names, hints for Python, arguments of calls with their values, and the
# name of a setting that the error is about.
_CALLS = re.compile(
    r"""(?<![\w=])'[^']*'|\ \(in\ Python\ (?:[^()]|\([^()]*\))*\)|(?<![\w.?&=/-])([a-z][a-z_]+)=
    ("[\w.-]+"|'[\w.-]+'|\([\w,\ .-]+\)|True|None|[A-Z]+\b|\d+(?:\.\d+)?(?!\.?\w)|(?=[\ ,.)]|$))
    |(?:\A|(?<=Option\ ))([a-z][a-z_]*)(?=\ must\ be\ |\ requires\ |\ is\ not\ supported\ )""",
    re.VERBOSE,
)
_NUMBERS = re.compile(r"[-+]?[\d.][\d.,;eE+-]*")
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
        usage, self.usage = self.usage, self.usage or self._short_usage()
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
        return choices + [[one] for one in self._actions if one.option_strings and one.required]

    def _short_usage(self) -> str:
        shown = [str(one.metavar or one.dest) for one in self._actions if not one.option_strings]
        shown += ["|".join(map(_usage_of, choices)) for choices in self._required_options()]
        return " ".join([self.prog, *shown, "[OPTION ...]"])

    def parse_args(self, words: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; without a subcommand, the default `action` is used if there is one.
        Raises InputError."""
        words, default = list(words), self.get_default("action")
        if default and words[:1] not in [[one] for one in (*_sub_parsers(self), *_HELP)]:
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
            self._check_truths(message.split(": ", 1)[1].split(" "))
        rewritten = message
        for pattern, text in _MESSAGES:
            if found := re.fullmatch(pattern, message, re.DOTALL):
                rewritten = text.format(*(_KINDS.get(part, part) for part in found.groups()))
                break
        if message.startswith("the following") and (actions := _sub_parsers(self)):
            rewritten += f". Choose from: {', '.join(actions)}"
        if message.startswith("unrecognized") and _NUMBERS.fullmatch(message.split()[-1]):
            rewritten += ". Repeat the option for each value."
        if ". " not in rewritten:
            rewritten = f"{rewritten.rstrip('.')}. '{self.prog} --help' lists the options."
        raise InputError(rewritten)

    def in_options(self, message: str) -> str:
        """Write the arguments of Python calls in an error as options of this command, as in
        `--detector llmdet_tiny`, and remove hints "(in Python ...)"."""
        chosen: argparse.ArgumentParser = self
        for word in self._typed:
            chosen = _sub_parsers(chosen).get(word, chosen)
        known = chosen._option_string_actions
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

    def _check_truths(self, left: Sequence[str]) -> None:
        """Raise InputError if a remaining argument was meant as the value of a yes-or-no option."""
        for option, word in zip(self._typed, self._typed[1:], strict=False):
            action = _all_options(self).get(option)
            if word not in left or action is None or action.const is not True:
                continue
            try:
                if callable(action.type):
                    action.type(word)
            except argparse.ArgumentTypeError as error:
                raise InputError(f"{option}: {error}") from error

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        guess = did_you_mean(str(value), known)
        remedy = guess or f"Choose from: {', '.join(known)}"
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
    for place, word in enumerate(words):
        if word == "--":
            return
        if (chosen := _sub_parsers(parser).get(word)) is not None:
            check_options(chosen, words[place + 1 :])
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
        if name in ("-o", "--output") and any(one.metavar == "OUT" for one in parser._actions):
            raise InputError(f"Unknown option {name}. Pass the output without it, after the input.")
        guess = did_you_mean(name, [one for one in options if one.startswith("--")])
        remedy = guess or f"'{parser.prog} --help' lists the options."
        raise InputError(f"Unknown option {name}. {remedy}")


def _all_options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the options of a parser and its subcommands."""
    found: dict[str, argparse.Action] = {}
    for chosen in _sub_parsers(parser).values():
        found |= _all_options(chosen)
    return found | parser._option_string_actions


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
    counts, lone = _number_counts(parser), _lone_options(parser)
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
        while rest and _NUMBERS.fullmatch(rest[0]) and _count(values) < counts[name]:
            values.append(rest.pop(0))
        yield f"{name}={','.join(part.strip(',') for part in values)}" if values else name


def _number_counts(parser: argparse.ArgumentParser) -> dict[str, int]:
    """Return the maximum number of values of options with a metavar such as `X,Y`."""
    return {
        name: action.metavar.count(",") + 1
        for name, action in parser._option_string_actions.items()
        if isinstance(action.metavar, str) and "," in action.metavar
    }


def _lone_options(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Return the optional values of options; the first one is the default without a value."""
    return {
        name: str(action.metavar).split("|")
        for name, action in parser._option_string_actions.items()
        if action.nargs == "?" and action.const is True
    }


def _count(values: Sequence[str]) -> int:
    return sum(len([part for part in re.split(r"[,\s]+", value) if part]) for value in values)
