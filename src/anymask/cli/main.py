"""Entry point of the command line.

A command is a module with a record `COMMAND` (`anymask.cli.command`), and a row in the table of
`anymask.cli.command_table` or an entry point of a plug-in. Only the selected one is imported.

Exit codes: 0 success; 2 user error (invalid option, missing file, invalid prompt); 130 interrupted;
141 broken pipe. All other errors are bugs and print a traceback.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from anymask import __version__
from anymask.base import AnymaskError, disk_message, missing_extra
from anymask.base.synonyms import COMMAND_WORDS
from anymask.cli.command import nearest
from anymask.cli.command_table import COMMANDS, SUMMARIES, commands, plugin_summaries
from anymask.cli.outputs import quieten_decoders, utf8_stdio

if TYPE_CHECKING:
    from anymask.cli.command import Command

USAGE = 2
INTERRUPTED = 130
READER_GONE = 141

FILE = re.compile(r".*[./\\].*|-", re.DOTALL)  # matches file names and URLs

EXAMPLES = """\
examples:
  anymask segment photo.jpg --point 500,375 -o cut.png
  anymask segment photo.jpg --box 10,10,90,80 -o object.json
  anymask everything photo.jpg -o out/
  anymask find photos/ "cat, dog" -o out/
  anymask models list
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, print an error as one sentence, and return the exit code.

    Args:
        argv: Arguments after `anymask`. Defaults to those of this process.
    """
    # NumPy and OpenCV perform only small products here; threads of OpenBLAS would compete with
    # those of the model. OpenBLAS reads this when it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = list(sys.argv[1:] if argv is None else argv)
    # No other command downloads from Hugging Face, but a user's Python process may, so importing
    # anymask does not set this. huggingface_hub reads it when it is imported.
    if words[:2] != ["models", "get"]:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with utf8_stdio(), warnings.catch_warnings():
        quieten_decoders()
        try:
            code = run(words)
            sys.stdout.flush()
        except SystemExit as stop:  # argparse: 0 after --help
            return stop.code if isinstance(stop.code, int) else USAGE
        except AnymaskError as error:
            return print_error(str(error))
        except (KeyboardInterrupt, ImportError) as error:
            if isinstance(error, KeyboardInterrupt) or was_interrupted(error):
                print(
                    "\nanymask: interrupted. Finished results are kept. Run the same command again "
                    "to resume.",
                    file=sys.stderr,
                )
                return INTERRUPTED
            missing = missing_extra(error, f"'anymask {words[0]}'")
            if missing is None:
                raise
            return print_error(str(missing))
        except BrokenPipeError:
            with contextlib.suppress(OSError, ValueError):  # a captured stdout has no descriptor
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return READER_GONE
        except OSError as error:  # for example a full disk or missing permissions
            return print_error(disk_message(error))
    return code


def was_interrupted(error: BaseException | None) -> bool:
    """Whether an error was caused by an interruption: compiled packages convert an interruption
    during their import to an ImportError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def run(words: list[str]) -> int:
    """Parse the command's name and run the command with the remaining arguments."""
    words = ["--help" if word == "help" else word for word in words[:1]] + words[1:]
    if words[:1] == ["--help"] and len(words) > 1:  # `help segment` is `segment --help`
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(help_text(), end="")
        return 0
    if words[0] in ("-V", "--version", "version"):
        print(f"anymask {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name in COMMANDS:
        command, summary = load(COMMANDS[name]), SUMMARIES.get(name)
    else:
        from anymask.base import load_plugin

        command = load_plugin("commands", name)
        if command is None:
            return print_error(unknown(name, rest))
        summary = plugin_summaries()[name]
    parser = command.parser(f"anymask {name}", summary)
    try:
        command.execute(parser.parse_args(rest))
    except AnymaskError as error:
        return print_error(parser.in_options(str(error)))
    return 0


def load(module: str) -> Command:
    """Import the module of a command and return its record."""
    return importlib.import_module(module).COMMAND


def help_text() -> str:
    """Return the text of `anymask --help`, without importing commands."""
    listed = SUMMARIES | plugin_summaries()
    width = max(map(len, listed))
    return "\n".join(
        [
            "usage: anymask COMMAND [OPTION ...]",
            "",
            "Segment anything in images, videos, scans and maps, offline and on a CPU.",
            "",
            "commands:",
            *[f"  {name:<{width}}  {summary}" for name, summary in listed.items()],
            "",
            "options:",
            "  -h, --help     show this text; 'anymask COMMAND --help' and 'anymask help COMMAND'",
            "                 show the options of a command",
            "  -V, --version  show the version, same as 'anymask version'",
            "",
            EXAMPLES,
        ]
    )


def unknown(name: str, rest: Sequence[str] = ()) -> str:
    """Return the error for an unknown command, with a suggestion."""
    if name.startswith("-") and name != "-":
        return f"The command must come before its options, but {name!r} is first."
    known = commands()
    if name.lower() not in known and FILE.fullmatch(name):
        prompted = any(word.startswith(("--point", "--box", "--mask")) for word in rest)
        prompt = " ".join(rest) if prompted else "--point X,Y"
        return (
            f"Unknown command {name!r}. The command must be the first argument. To "
            f"segment one object: anymask segment {name} {prompt}. To segment all "
            f"objects: anymask everything {name}"
        )
    near = COMMAND_WORDS.get(name.lower()) or nearest(name, known)
    guess = f"Did you mean {near!r}? " if near else ""
    return f"Unknown command {name!r}. {guess}'anymask --help' lists the commands."


def print_error(message: str) -> int:
    """Print an error message and return the exit code of user errors."""
    print(f"anymask: error: {message}", file=sys.stderr)
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
