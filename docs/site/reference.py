"""The API reference in Markdown: a page for each room, from its public names and their docstrings.

The names are those of the room's `__init__`; docstrings are read from the living objects, so that
settings, whose docstrings are made from their declarations, are there as well.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import griffe

import anymask
from docs.site.stubs import public_value

ROOMS = (
    "anymask", "anymask.base", "anymask.masks", "anymask.images", "anymask.formats",
    "anymask.models", "anymask.runtime", "anymask.find", "anymask.edit", "anymask.segment",
    "anymask.track", "anymask.volumes", "anymask.maps", "anymask.jobs",
    "anymask.cli", "anymask.training", "anymask.evaluation", "anymask.studio",
)  # fmt: skip
MORE = ("anymask.errors", "anymask.sam")  # modules that `anymask.__all__` names, shown whole
GOOGLE: Any = {
    "warnings": False,
    "returns_multiple_items": False,
    "returns_named_value": False,
}
LONGEST_VALUE = 200
PROPERTIES = (property, cached_property)
WIDTH = 90  # of a signature on one line


def page_of(room: str) -> str:
    """The file of a room's page: "anymask.masks" -> "reference/python/masks.md"."""
    return f"reference/python/{room.removeprefix('anymask.')}.md"


def module_of(room: str) -> types.ModuleType:
    """The room, or the module that `anymask` shows under this name."""
    return importlib.import_module(room) if room in ROOMS else getattr(anymask, room.split(".")[1])


def names_of(room: str) -> list[str]:
    """The public names of a room, or of a module without `__all__`."""
    module = module_of(room)
    if hasattr(module, "__all__"):
        return sorted(set(module.__all__) - {"__version__"}, key=str.lower)
    own = [name for name, value in vars(module).items() if _is_of(value, module.__name__)]
    return sorted((name for name in own if not name.startswith("_")), key=str.lower)


def _is_of(value: object, module: str) -> bool:
    return getattr(value, "__module__", "") == module


def room_page(room: str) -> str:
    """The page of one room: what it is, a table of its names, then each of them."""
    module = module_of(room)
    values = {name: public_value(room, name, module) for name in names_of(room)}
    rows = "".join(
        f"| [`{name}`](#{anchor(name)}) | {summary(value)} |\n" for name, value in values.items()
    )
    intro = "\n\n".join(docstring(module))
    parts = [f"# {room}", intro, f"| name | description |\n|---|---|\n{rows}"]
    for name, value in values.items():
        parts.extend(entry(name, value))
    return "\n\n".join(parts) + "\n"


def anchor(name: str) -> str:
    """The anchor of a name, or of a method, on its page: "Mask.save" -> "mask-save"."""
    return "api-" + re.sub(r"\W+", "-", name).lower()


def entry(name: str, value: object) -> Iterator[str]:
    """A heading, the signature and the docstring of one name; of a class its methods as well."""
    yield f"## `{name}` {{ #{anchor(name)} }}"
    if isinstance(value, types.ModuleType):
        place = value.__name__
        has_page = place in ROOMS or place in MORE or f"anymask.{name}" in MORE
        target = place if place in ROOMS else f"anymask.{name}"
        yield f"A module{f', see [{target}]({_beside(target)})' if has_page else ''}."
        yield summary(value)
        return
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        yield f"```python\n{name} = {_shortened(value)}\n```"
        return
    yield _signature(name, value)
    yield from docstring(value)
    if inspect.isclass(value):
        for member, about in _members(value):
            yield f"### `{name}.{member}` {{ #{anchor(f'{name}.{member}')} }}"
            if not isinstance(about, PROPERTIES):
                yield _signature(member, about)
            yield from docstring(about)


def _beside(room: str) -> str:
    return page_of(room).removeprefix("reference/python/")


def _shortened(value: object) -> str:
    text = re.sub(r" at 0x\w+", "", repr(value)).replace("typing.", "")
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} ..."


def _signature(name: str, value: object) -> str:
    """The call, a line for each parameter where one line is too long."""
    try:
        called = inspect.signature(value)  # type: ignore[arg-type]  # a class or a routine
    except (TypeError, ValueError):
        return f"```python\n{name}\n```"
    text = _plain(f"{name}{called}")
    if len(text) > WIDTH and called.parameters:
        answer = "" if called.return_annotation is called.empty else text.rpartition(" -> ")[2]
        lines = "".join(f"    {_plain(part)},\n" for part in _parameters(called))
        text = f"{name}(\n{lines})" + (answer and f" -> {answer}")
    return f"```python\n{text}\n```"


def _parameters(called: inspect.Signature) -> Iterator[str]:
    """The parameters as they are written, with the star before the first that needs its name."""
    star = False
    for one in called.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not star:
            yield "*"
        star = star or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        yield str(one)


def _plain(signature: str) -> str:
    """Without the quotes of annotations and the addresses of objects."""
    quoted = re.sub(r"(?<=[:>] )'([^']*)'", r"\1", signature)
    return re.sub(r" at 0x\w+|typing\.|anymask(?:\.\w+)+\.(?=[A-Z])", "", quoted)


def _members(owner: type) -> Iterator[tuple[str, object]]:
    """The public methods and properties that a class of ours, or its base of ours, declares."""
    ours = [base for base in owner.__mro__ if base.__module__.startswith("anymask")]
    for name in dict.fromkeys(name for base in ours for name in vars(base)):
        declared = inspect.getattr_static(owner, name)
        if name.startswith("_"):
            continue
        if isinstance(declared, PROPERTIES):
            yield name, declared
        elif isinstance(declared, classmethod | staticmethod) or inspect.isfunction(declared):
            yield name, getattr(owner, name)


def summary(value: object) -> str:
    """The first sentence about a value, fit for a cell of a table."""
    if not (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)):
        return f"`{_shortened(value)}`"
    first = (inspect.getdoc(value) or "").split("\n\n")[0].split("\n  ")[0]
    return escaped(" ".join(first.split()))


def docstring(value: object) -> Iterator[str]:
    """A Google-style docstring as Markdown: paragraphs, code, and a table for each section."""
    parsed = griffe.Docstring(inspect.getdoc(value) or "").parse("google", **GOOGLE)
    for section in parsed:
        if section.kind is griffe.DocstringSectionKind.text:
            yield from _paragraphs(section.value)
        elif section.kind is griffe.DocstringSectionKind.admonition:
            yield f"**{section.title}**"
            yield f"```python\n{section.value.contents}\n```"
        else:
            yield f"**{section.kind.value.capitalize()}**"
            yield _table(section.value)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        if lines[0].startswith("  ") or any(line.startswith("   ") for line in lines[1:]):
            yield f"```text\n{paragraph}\n```"
        else:
            yield "\n".join(escaped(line) for line in lines)


def _table(rows: list[griffe.DocstringElement]) -> str:
    """A row for each parameter, attribute, return value or error."""
    cells = [
        (str(getattr(row, "name", None) or row.annotation or ""), " ".join(row.description.split()))
        for row in rows
    ]
    body = "".join(
        f"| {f'`{name}`' if name else ''} | {escaped(about)} |\n" for name, about in cells
    )
    return f"| | |\n|---|---|\n{body}"


def escaped(text: str) -> str:
    """Plain text as Markdown; what stands between backticks stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\*_\[\]<>#~^{}|])", r"\\\1", part)
        for part in parts
    )
