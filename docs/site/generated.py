"""Generated reference pages: command line, settings and HTTP API.

Each page is Markdown built from the code itself: from the argument parsers, the declared settings
and the OpenAPI schema, so that it cannot disagree with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anymask.cli import SUMMARIES
from anymask.cli import main as command_line
from docs.site.reference import escaped
from tests.docs.settings_tables import DECLARED, settings_table
from tests.scripts import loaded_script

ROOT = Path(__file__).resolve().parents[2]

COMMAND_LINE = "reference/command-line.md"
SETTINGS = "reference/settings.md"
HTTP = "reference/http.md"


def pages() -> dict[str, str]:
    """All generated pages: file below docs/ -> Markdown."""
    return {COMMAND_LINE: command_page(), SETTINGS: settings_page(), HTTP: http_page()}


def command_page() -> str:
    """The command-line reference: each command with all its options."""
    parts = [
        "# Command line",
        "Generated from the argument parsers. `anymask COMMAND --help` prints the common options "
        "of a command, `anymask COMMAND --help-all` prints all of them.",
    ]
    for name, module in command_line.COMMANDS.items():
        command = command_line.load(module)
        parser = command.parser(f"anymask {name}", SUMMARIES.get(name))
        parts.extend(_parser_sections(parser, "##"))
    return "\n\n".join(parts) + "\n"


def _parser_sections(parser: argparse.ArgumentParser, heading: str) -> Iterator[str]:
    """A heading, the summary and the options of a parser; then those of its sub-commands."""
    yield f"{heading} {parser.prog}"
    if parser.description:
        yield escaped(f"{parser.description[0].upper()}{parser.description[1:].rstrip('.')}.")
    subparsers: dict[str, argparse.ArgumentParser] = {}
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            subparsers = dict(action.choices)
        elif argparse.SUPPRESS not in (action.dest, action.help) and action.dest != "help":
            rows.append(_option_row(parser, action))
    if rows:
        yield "| option | description |\n|---|---|\n" + "".join(rows)
    for subparser in subparsers.values():
        yield from _parser_sections(subparser, f"{heading}#")


def _option_row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """A table row for one option or positional argument."""
    value = "" if action.nargs == 0 else (action.metavar or action.dest.upper())
    value = " ".join(value) if isinstance(value, tuple) else value
    names = ", ".join(action.option_strings)
    shown = f"{names} {value}".strip().replace("|", "\\|")
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return f"| `{shown}` | {escaped(' '.join(text.split()))} |\n"


def settings_page() -> str:
    """The settings reference: one table for each group of settings."""
    parts = [
        "# Settings",
        "Generated from the declarations. In Python, pass a setting as a keyword argument. On the "
        "command line, write it as an option (`max_hole_area` becomes `--max-hole-area`). The HTTP "
        "API uses the same names in JSON.",
    ]
    for name, declared in DECLARED.items():
        parts += [f"## {name}", settings_table(declared)]
    return "\n\n".join(parts) + "\n"


def http_page() -> str:
    """The HTTP reference: each route with its parameters, body and answers."""
    schema = _openapi()
    parts = [
        "# HTTP routes",
        "Generated from the OpenAPI schema. A running server shows it at `/docs`, where you can "
        "try each request, and returns it as JSON from `/openapi.json`.",
    ]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            parts.extend(_operation_sections(method.upper(), path, operation, schema))
    return "\n\n".join(parts) + "\n"


def _openapi() -> dict[str, Any]:
    """The OpenAPI schema of a server with a project."""
    with loaded_script(ROOT / "web/scripts/schema.py") as script:
        schema: dict[str, Any] = script.openapi()
    return schema


def _operation_sections(
    method: str, path: str, operation: dict[str, Any], schema: dict[str, Any]
) -> Iterator[str]:
    """A heading, the description, parameters and body fields of one operation."""
    yield f"## `{method} {path}`"
    yield escaped(" ".join(operation.get("description", operation["summary"]).split()))
    rows = [
        (one["name"], f"{one['in']} parameter. {one.get('description', '')}")
        for one in operation.get("parameters", ())
    ]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        for name, about in _fields(content.get("schema", {}), schema):
            rows.append((name, f"`{kind}`. {about}"))
    if rows:
        body = "".join(f"| `{name}` | {_cell(about)} |\n" for name, about in rows)
        yield f"| name | description |\n|---|---|\n{body}"
    statuses = ", ".join(f"`{status}`" for status in operation.get("responses", {}))
    yield f"Status codes: {statuses}."


def _fields(part: dict[str, Any], schema: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and description of each field of a request body."""
    if "$ref" in part:
        part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return [
        (name, about.get("description", about.get("title", "")))
        for name, about in part.get("properties", {}).items()
    ]


def _cell(text: str) -> str:
    return escaped(" ".join(text.split()))
