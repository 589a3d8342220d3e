"""The Python reference: docs/reference/python.md with signatures, parameters and errors.

The page names what is public and has the examples. Docstrings are read from the living objects, so
that settings, whose docstrings are made from their declarations, are there as well.
"""

from __future__ import annotations

import html
import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import griffe

import anymask
from docs.site.stubs import public_value

PAGE = "reference/python.md"
HEADING = re.compile(r"^### `([\w.]+)`\n(?:\n<!-- members: ([\w, ]+) -->\n)?", re.MULTILINE)
TYPES = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \|", re.MULTILINE)  # rows of the section "Types"
GOOGLE: Any = {"warnings": False, "returns_multiple_items": False, "returns_named_value": False}
PROPERTIES = (property, cached_property, types.MemberDescriptorType)
WIDTH = 90  # of a signature on one line


def with_entries(text: str) -> str:
    """The Python page, with the entry of each name below its heading."""
    links = links_of(text)

    def filled(found: re.Match[str]) -> str:
        name, members = found.groups(default="")
        made = not inspect.isclass(value_of(name)) or f"{name.split('.')[-1]}(" in text
        entry = "\n\n".join(entry_of(name, members.split(", ") if members else [], links, made))
        return f"### `{name}`\n\n{entry}\n"

    return HEADING.sub(filled, text)


def links_of(text: str) -> dict[str, str]:
    """The anchor of each name that the page explains: "Mask" -> "#mask"."""
    types_section = text.partition("\n## Types\n")[2]
    aliases = (name for row in TYPES.findall(types_section) for name in re.findall(r"\w+", row))
    links = dict.fromkeys(aliases, "#types") | dict.fromkeys(
        (one.__name__ for one in _errors(anymask.errors)), f"#{anchor('anymask.errors')}"
    )
    return links | {name.split(".")[-1]: f"#{anchor(name)}" for name, _ in HEADING.findall(text)}


def _errors(module: types.ModuleType) -> list[type]:
    """The classes that a module defines, in order."""
    values = [one for one in vars(module).values() if inspect.isclass(one)]
    return [one for one in values if one.__module__ == module.__name__]


def anchor(name: str) -> str:
    """The anchor of a heading, as on GitHub: "Mask.save" -> "masksave"."""
    return re.sub(r"[^\w-]", "", name).lower()


def value_of(name: str) -> Any:
    """The object of a public name, such as "Model.segment" or "anymask.jobs.run"."""
    first, *rest = name.removeprefix("anymask.").split(".")
    if first in anymask.__all__:
        value = public_value("anymask", first, anymask)
    else:
        value = importlib.import_module(f"anymask.{first}")
    for part in rest:
        room = isinstance(value, types.ModuleType)
        value = public_value(value.__name__, part, value) if room else getattr(value, part)
    return value


def entry_of(
    name: str, members: list[str], links: dict[str, str], is_called: bool
) -> Iterator[str]:
    """The description, the members, and for what users call the signatures of one name."""
    value = value_of(name)
    if isinstance(value, types.ModuleType):
        yield table(
            "error", ((code(one.__name__), escaped(summary(one))) for one in _errors(value))
        )
        return
    text, *sections = docstring(value, links)
    yield text
    if is_called:
        signatures = [signature(name, one) for one in typing.get_overloads(value) or [value]]
        yield "```python\n{}\n```".format("\n\n".join(signatures))
    yield from (one for one in sections if is_called or one.startswith("| attribute"))
    if members:
        rows = ((member, inspect.getattr_static(value, member)) for member in members)
        yield table("member", (
            (code(_call(value, member, declared)), escaped(summary(declared)))
            for member, declared in rows
        ))  # fmt: skip


def _call(owner: Any, member: str, declared: object) -> str:
    """A member as it is written: "save(path)", or "mask" for a property."""
    if isinstance(declared, PROPERTIES) or not callable(getattr(owner, member)):
        return member
    called = inspect.signature(getattr(owner, member))
    names = [_with_star(one) for one in called.parameters.values() if one.name != "self"]
    return f"{member}({', '.join(names)})"


def _with_star(one: inspect.Parameter) -> str:
    return {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "") + one.name


def signature(name: str, value: Any) -> str:
    """The call, with a line for each parameter if it is too long for one line."""
    called = inspect.signature(value)
    own = [one for one in called.parameters.values() if one.name != "self"]
    called = called.replace(parameters=own)
    text = _plain(f"{name}{called}")
    if len(text) > WIDTH and called.parameters:
        answer = "" if called.return_annotation is called.empty else text.rpartition(" -> ")[2]
        lines = "".join(f"    {_plain(part)},\n" for part in _parameters(called))
        text = f"{name}(\n{lines})" + (answer and f" -> {answer}")
    return text


def _parameters(called: inspect.Signature) -> Iterator[str]:
    """The parameters as they are written, with the star before the first that needs its name."""
    star = False
    for one in called.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not star:
            yield "*"
        star = star or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        yield str(one)


def _plain(text: str) -> str:
    """Without the quotes of annotations and the addresses of objects."""
    quoted = re.sub(r"(?<=[:>] )(['\"])(.*?)\1(?=[,)= ]|$)", r"\2", text)
    return re.sub(r" at 0x\w+|typing\.|anymask(?:\.\w+)+\.(?=[A-Z])", "", quoted)


def summary(value: object) -> str:
    """The first sentence about a value, fit for a cell of a table."""
    first = (inspect.getdoc(value) or "").split("\n\n")[0].split("\n  ")[0]
    return " ".join(first.split())


def docstring(value: Any, links: dict[str, str]) -> Iterator[str]:
    """A Google-style docstring as Markdown: its text, then a table for each section."""
    parsed = griffe.Docstring(inspect.getdoc(value) or "").parse("google", **GOOGLE)
    yield "\n\n".join(
        paragraph
        for section in parsed
        if section.kind is griffe.DocstringSectionKind.text
        for paragraph in _paragraphs(section.value)
    )
    hints = _hints(value)
    for section in parsed:
        title = section.kind.value.capitalize()
        if title in ("Parameters", "Attributes"):
            yield table(
                title.removesuffix("s").lower(),
                (
                    (code(row.name), type_code(hints.get(row.name, ""), links), _cell(row))
                    for row in section.value
                ),
                "type",
            )
        elif title in ("Returns", "Raises"):
            rows = (
                (type_code(str(row.annotation or ""), links), _cell(row)) for row in section.value
            )
            yield table(title.lower(), rows)


def _hints(value: Any) -> dict[str, str]:
    """The annotation of each parameter, or of each attribute of a class, as it is written."""
    written: dict[str, list[str]] = {}
    if inspect.isclass(value):
        written = {
            name: [str(hint)] for name, hint in vars(value).get("__annotations__", {}).items()
        }
    for call in typing.get_overloads(value) or [value]:
        for one in inspect.signature(call).parameters.values():
            if one.annotation is not one.empty and one.kind is not one.VAR_KEYWORD:
                hint = one.annotation if isinstance(one.annotation, str) else str(one.annotation)
                written.setdefault(one.name, []).append(_plain(f": {hint}").removeprefix(": "))
    return {name: " | ".join(dict.fromkeys(hints)) for name, hints in written.items()}


def _cell(row: Any) -> str:
    return escaped(" ".join(row.description.split()))


def table(title: str, rows: Any, *more: str) -> str:
    """A Markdown table whose last column is the description."""
    titles = [title, *more, "description"]
    body = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}\n{body}"


def code(text: str) -> str:
    """Code in a cell of a table."""
    return f"`{text}`".replace("|", "\\|")


def type_code(text: str, links: dict[str, str]) -> str:
    """A type as code, in which the names that the page explains are links."""
    if not text:
        return ""
    plain = html.escape(text, quote=False).replace("|", "&#124;")
    linked = re.sub(r"\w+", lambda found: _linked(found[0], links.get(found[0])), plain)
    return f"<code>{linked}</code>"


def _linked(name: str, target: str | None) -> str:
    return f'<a href="{target}">{name}</a>' if target else name


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        if lines[0].startswith("  ") or any(line.startswith("   ") for line in lines[1:]):
            yield f"```text\n{paragraph}\n```"
        else:
            yield "\n".join(escaped(line) for line in lines)


def escaped(text: str) -> str:
    """Plain text as Markdown; what stands between backticks stays code."""
    parts = re.split(r"(`[^`]*`)", text.replace("<", "&lt;"))
    return "".join(
        part.replace("&lt;", "<")
        if part.startswith("`")
        else re.sub(r"([\\*_\[\]>#{}|])", r"\\\1", part)
        for part in parts
    )
