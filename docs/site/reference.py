"""The API reference in Markdown: a page for each room, from its public names and their docstrings.

The names are those of the room's `__init__`; docstrings are read from the living objects, so that
settings, whose docstrings are made from their declarations, are there as well.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
import types
from collections.abc import Iterator
from functools import cached_property

import anymask
from docs.site.stubs import public_value

ROOMS = (
    "anymask", "anymask.base", "anymask.masks", "anymask.images", "anymask.formats",
    "anymask.models", "anymask.runtime", "anymask.find", "anymask.edit", "anymask.segment",
    "anymask.track", "anymask.volumes", "anymask.maps", "anymask.jobs", "anymask.cli",
    "anymask.training", "anymask.evaluation", "anymask.studio",
)  # fmt: skip
MORE = ("anymask.errors", "anymask.sam")  # modules that `anymask.__all__` names, shown whole
ROW = re.compile(r"^(\w[\w, ]*?)  +(\S.*)$")  # "points  (P, 2) clicks": a name, what it is
SECTIONS = ("Args:", "Attributes:", "Returns:", "Yields:", "Raises:", "Example:")
NAMED = re.compile(r"^(\w[\w, .]*): +")  # "points: (P, 2) x, y": a row of a section
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
    """The public names of a room, or of a module that has no list of its own."""
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
    """Our docstrings as Markdown: paragraphs, code that is indented, and rows of names.

    Sections are those of Google style (`Args:`). A row of the older style is a name, two blanks or
    more, and what it is; an indented line continues it.
    """
    for paragraph in re.split(r"\n\s*\n", inspect.getdoc(value) or ""):
        lines = paragraph.splitlines()
        if not lines:
            continue
        if lines[0] in SECTIONS:
            yield from _section(lines[0], lines[1:])
        elif ROW.match(lines[0]) and not lines[0].startswith(" "):
            yield _rows(lines)
        elif lines[0].startswith("  ") or any(line.startswith("   ") for line in lines[1:]):
            yield "```text\n" + paragraph + "\n```"
        else:
            yield "\n".join(escaped(line) for line in lines)


def _section(title: str, lines: list[str]) -> Iterator[str]:
    """A section of a Google-style docstring: a title and a table, a paragraph or code."""
    yield f"**{title}**"
    text = textwrap.dedent("\n".join(lines))
    if title == "Example:":
        yield f"```python\n{text}\n```"
    elif title in ("Args:", "Attributes:", "Raises:"):
        yield _rows([NAMED.sub(r"\1  ", line) for line in text.splitlines()])
    else:
        yield escaped(" ".join(NAMED.sub(r"`\1`: ", text).split()))


def _rows(lines: list[str]) -> str:
    """A table of the rows; lines that go on with a row are joined to it."""
    rows: list[list[str]] = []
    for line in lines:
        if found := ROW.match(line):
            rows.append([found[1], found[2]])
        elif rows and line.startswith(" "):
            rows[-1][1] += f" {line.strip()}"
        else:
            rows.append(["", line.strip()])
    cells = [(f"`{name}`" if name else "", escaped(about)) for name, about in rows]
    body = "".join(f"| {name} | {about} |\n" for name, about in cells)
    return f"| | |\n|---|---|\n{body}"


def escaped(text: str) -> str:
    """Plain text as Markdown; what stands between backticks stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\*_\[\]<>#~^{}|])", r"\\\1", part)
        for part in parts
    )
