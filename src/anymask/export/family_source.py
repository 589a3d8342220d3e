"""A family's rules as one Python file: the family's class in, the text of a bundle's family.py out.

`families/choice.py` and the family's own file import numpy and OpenCV alone at run time, so that
joined they run without anymask. What they import for type checkers stays, under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections import defaultdict
from dataclasses import dataclass, field

from anymask.families import Family, choice

OURS = "anymask"
_HEAD = '''"""The rules of this model, which `example.py` asks: written by anymask, from its own sources.

{about}
"""

from __future__ import annotations
'''


@dataclass
class _Imports:
    """Import statements: the whole modules, and the names of each other one."""

    modules: set[str] = field(default_factory=set)
    names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            self.modules.add(ast.unparse(node))
        elif node.module:
            self.names[node.module] |= {ast.unparse(alias) for alias in node.names}

    def to_text(self, *, standard: bool) -> str:
        """Those of Python itself, or the others, in order."""
        whole = [line for line in self.modules if _is_standard(line.split()[1]) == standard]
        parts = [name for name in self.names if _is_standard(name) == standard]
        lines = [f"from {name} import {', '.join(sorted(self.names[name]))}" for name in parts]
        return "\n".join([*sorted(whole), *sorted(lines)])


def family_to_source(family: Family) -> str:
    """The file that holds the rules of a family, as `FAMILY`; it imports nothing of anymask."""
    kind = type(family)
    sources = [inspect.getsource(module) for module in (choice, sys.modules[kind.__module__])]
    run_time, typing_only = _Imports(), _Imports()
    bodies = [_split(source, run_time, typing_only) for source in sources]
    checked = [typing_only.to_text(standard=standard) for standard in (True, False)]
    parts = [
        _HEAD.format(about=ast.get_docstring(ast.parse(sources[-1]))),
        *(run_time.to_text(standard=standard) + "\n" for standard in (True, False)),
        "if TYPE_CHECKING:\n" + _indented("\n\n".join(text for text in checked if text)) + "\n",
    ]
    return "\n".join(parts) + "\n" + "\n\n".join([*bodies, f"FAMILY = {kind.__name__}\n"])


def _split(source: str, run_time: _Imports, typing_only: _Imports) -> str:
    """Sort a module's imports into two lists and return what comes after them."""
    nodes = ast.parse(source).body[1:]  # the docstring is the first
    for place, node in enumerate(nodes):
        if isinstance(node, ast.Import | ast.ImportFrom):
            name = ast.unparse(node).split()[1]
            if name != "__future__" and name.split(".")[0] != OURS:
                run_time.add(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for part in node.body:
                if isinstance(part, ast.Import | ast.ImportFrom):
                    typing_only.add(part)
        else:
            break
    # What is short for a type stands among the imports, so the body begins behind the last one.
    end = nodes[place - 1].end_lineno or 0
    shorts = [part for part in nodes[:place] if isinstance(part, ast.If)]
    aliases = [ast.unparse(line) for part in shorts for line in part.body if not _is_import(line)]
    body = "\n".join(source.splitlines()[end:]).strip() + "\n"
    return "".join(f"if TYPE_CHECKING:\n    {line}\n\n" for line in aliases) + body


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_standard(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())
