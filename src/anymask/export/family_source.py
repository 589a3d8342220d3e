"""Rules as Python files that need no anymask: modules in, family.py, edges.py, closer.py out.

`families/choice.py`, a family's own file, `primitives/edge_window.py` and `closer_window.py` import
numpy and OpenCV alone at run time. What they import for type checkers stays, under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from types import ModuleType

from anymask.families import Family, choice
from anymask.primitives import closer_window, edge_window

OURS = "anymask"
LEFT_OUT = (OURS, "__future__")  # joined in here, and said once
_HEAD = '''"""{title} (written by anymask).

{about}
"""

from __future__ import annotations

{run_time}

if TYPE_CHECKING:
{checked}

'''


def family_to_source(family: Family) -> str:
    """The file that holds the rules of a family, as `FAMILY`; it imports nothing of anymask."""
    kind = type(family)
    title = "The rules of this model, which `example.py` asks"
    source = _joined(title, (choice, sys.modules[kind.__module__]))
    return f"{source}\n\nFAMILY = {kind.__name__}\n"


def windows_to_source() -> str:
    """The file that holds how the network of edges is asked; it imports nothing of anymask."""
    return _joined("How the network of edges is asked, for `example.py`", (edge_window,))


def closer_to_source() -> str:
    """The file that holds how an object is looked at closer; it imports nothing of anymask."""
    return _joined("How an object is looked at closer, for `example.py`", (closer_window,))


def _joined(title: str, modules: Sequence[ModuleType]) -> str:
    """The modules as one text; the last one says what it is about."""
    sources = [inspect.getsource(module) for module in modules]
    run_time: list[ast.stmt] = []
    checked: list[ast.stmt] = []
    bodies = []
    for source in sources:
        header, blocks, body = _split(source)
        run_time += [node for node in header if _module(node).split(".")[0] not in LEFT_OUT]
        checked += [node for block in blocks for node in block.body]
        bodies.append(body)
    head = _HEAD.format(
        title=title,
        about=ast.get_docstring(ast.parse(sources[-1])),
        run_time=_to_text(run_time),
        checked=textwrap.indent(_to_text(checked), "    "),
    )
    return head + "\n\n".join(bodies)


def _split(source: str) -> tuple[list[ast.stmt], list[ast.If], str]:
    """A module's imports, its blocks for type checkers, and the text behind both."""
    header: list[ast.stmt] = []
    blocks: list[ast.If] = []
    end = 0
    for node in ast.parse(source).body[1:]:  # the docstring is the first
        if isinstance(node, ast.If):
            blocks.append(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            header.append(node)
        else:
            break
        end = node.end_lineno or 0
    return header, blocks, "\n".join(source.splitlines()[end:]).strip() + "\n"


def _to_text(nodes: Sequence[ast.stmt]) -> str:
    """Imports, each once: Python's own, those of others, ours; then what is no import."""
    lines: dict[int, set[str]] = defaultdict(set)
    names: dict[str, set[str]] = defaultdict(set)
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names[_module(node)] |= {ast.unparse(alias) for alias in node.names}
        else:
            lines[_group(node)].add(ast.unparse(node))
    groups = []
    for group in range(4):
        wanted = sorted(name for name in names if _group_of(name) == group)
        parts = [
            f"from {name} import {', '.join(sorted(names[name], key=_kind))}" for name in wanted
        ]
        groups.append("\n".join([*sorted(lines[group]), *parts]))
    return "\n\n".join(group for group in groups if group)


def _module(node: ast.stmt) -> str:
    if isinstance(node, ast.ImportFrom):
        return node.module or ""
    return node.names[0].name if isinstance(node, ast.Import) else ""


def _group(node: ast.stmt) -> int:
    return _group_of(_module(node)) if isinstance(node, ast.Import) else 3


def _group_of(module: str) -> int:
    top = module.split(".")[0]
    return 0 if top in sys.stdlib_module_names else 2 if top == OURS else 1


def _kind(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then functions."""
    return not name.isupper(), name[0].islower(), name
