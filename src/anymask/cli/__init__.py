"""The command line: words in, a function of the package called, an exit code out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anymask.base import lazy_names

if TYPE_CHECKING:
    from anymask.cli.folders import ending_well, read_shard, run_folder
    from anymask.cli.main import COMMANDS, commands, disk_sentence, load, was_interrupted
    from anymask.cli.options import (
        add_model_options,
        add_options,
        add_picture_options,
        need_engine,
        need_server,
        need_torch,
        option_of,
        read_count,
        read_model,
        read_options,
        read_pictures,
    )
    from anymask.cli.output_names import new_folder
    from anymask.cli.outputs import check_outputs
    from anymask.cli.parser import COMMON, LONG_HELP, CommandParser, nearest
    from anymask.cli.segment import report_lines
    from anymask.cli.streams import any_text, printable

__all__ = [
    "COMMANDS",
    "COMMON",
    "LONG_HELP",
    "CommandParser",
    "add_model_options",
    "add_options",
    "add_picture_options",
    "any_text",
    "check_outputs",
    "commands",
    "disk_sentence",
    "ending_well",
    "load",
    "nearest",
    "need_engine",
    "need_server",
    "need_torch",
    "new_folder",
    "option_of",
    "printable",
    "read_count",
    "read_model",
    "read_options",
    "read_pictures",
    "read_shard",
    "report_lines",
    "run_folder",
    "was_interrupted",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "folders": (
                "ending_well",
                "read_shard",
                "run_folder",
            ),
            "main": (
                "COMMANDS",
                "commands",
                "disk_sentence",
                "load",
                "was_interrupted",
            ),
            "options": (
                "add_model_options",
                "add_options",
                "add_picture_options",
                "need_engine",
                "need_server",
                "need_torch",
                "option_of",
                "read_count",
                "read_model",
                "read_options",
                "read_pictures",
            ),
            "output_names": ("new_folder",),
            "outputs": ("check_outputs",),
            "parser": (
                "COMMON",
                "CommandParser",
                "LONG_HELP",
                "nearest",
            ),
            "segment": ("report_lines",),
            "streams": (
                "any_text",
                "printable",
            ),
        },
    )
