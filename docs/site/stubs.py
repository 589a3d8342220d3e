"""Stand-ins for public names whose packages are not installed, made of their source.

The reference reads living objects. Where a module needs a package that building the documentation
does without (PyTorch, GDAL), its functions and classes are made anew without their bodies: names,
parameters, annotations and docstrings are those of the source.
"""

from __future__ import annotations
import __future__

import ast
import importlib.util
import re
import sys
import types
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import anymask
from anymask.base import MissingExtra

KEPT = {"classmethod", "dataclass", "property", "staticmethod"}  # decorators that change a call
NAME = re.compile(r"^from (\S+) import (\w+) as \w+$", re.MULTILINE)

SHOWN = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


class Source:
    """A value that is shown as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def public_value(room: str, name: str, module: Any) -> Any:
    """A public name of a room, or its stand-in where a package is missing."""
    try:
        value = getattr(module, name)
    except MissingExtra:
        return stub(room, name)
    missing = module is anymask and type(value).__name__ == "_Placeholder"
    return stub(room, name) if missing else value


def stub(room: str, name: str) -> Any:
    """The stand-in of a room's name."""
    surface = Path(str(importlib.import_module(room).__file__)).with_suffix(".pyi")
    home = {name: home for home, name in NAME.findall(surface.read_text("utf-8"))}[name]
    names = _stubs(home)
    if name not in names:  # a module
        raise MissingExtra(home, "docs", f"{room}.{name}")
    return names[name]


@cache
def _stubs(home: str) -> dict[str, Any]:
    """Everything at the top of a module, without bodies."""
    spec = importlib.util.find_spec(home)
    assert spec is not None
    path = Path(str(spec.origin))
    tree = ast.parse(path.read_text("utf-8"))
    homes = {
        alias.name: str(node.module)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("anymask.")
        for alias in node.names
    }
    module = types.ModuleType(home)

    def base(name: str) -> tuple[type, ...]:
        """A class of ours, of this module or another; none of a missing package."""
        found = vars(module).get(name) or (name in homes and _stubs(homes[name]).get(name))
        return (found,) if isinstance(found, type) else ()

    vars(module).update(Source=Source, base=base, dataclass=dataclass)
    bare = ast.fix_missing_locations(_Bare().visit(tree))
    sys.modules[home] = module  # where dataclasses look
    try:
        exec(compile(bare, path, "exec", __future__.annotations.compiler_flag), vars(module))
    finally:
        del sys.modules[home]
    return vars(module)


class _Bare(ast.NodeTransformer):
    """Keeps docstrings, signatures and assignments; every value becomes a `Source`."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        node.body = [one for one in node.body if isinstance(one, SHOWN)]
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        about = ast.get_docstring(node, clean=False)
        node.body = [one for one in node.body if isinstance(one, SHOWN)]
        bases = [ast.Constant(one.id) for one in node.bases if isinstance(one, ast.Name)]
        calls = [ast.Call(ast.Name("base", ast.Load()), [one], []) for one in bases]
        node.bases = [ast.Starred(one, ast.Load()) for one in calls]
        node.keywords = []
        node.decorator_list = _kept(node.decorator_list)
        self.generic_visit(node)
        node.body = [ast.Expr(ast.Constant(about or "")), *node.body]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        about = ast.get_docstring(node, clean=False)
        node.body = [ast.Expr(ast.Constant(about))] if about else [ast.Pass()]
        node.args.defaults = [_as_source(one) for one in node.args.defaults]
        node.args.kw_defaults = [one and _as_source(one) for one in node.args.kw_defaults]
        node.decorator_list = _kept(node.decorator_list)
        return node

    def visit_Assign(self, node: ast.Assign) -> list[ast.Assign]:
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=True))
        else:
            pairs = [(target, value)]
        return [
            ast.Assign([name], _as_source(one)) for name, one in pairs if isinstance(name, ast.Name)
        ]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        node.value = node.value and _as_source(node.value)
        return node


def _kept(decorators: list[ast.expr]) -> list[ast.expr]:
    return [one for one in decorators if ast.unparse(one).partition("(")[0] in KEPT]


def _as_source(value: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("Source", ast.Load()), [ast.Constant(ast.unparse(value))], [])
