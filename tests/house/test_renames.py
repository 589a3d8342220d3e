"""A name that was replaced (`renames.toml`) is not defined again, nor a name of speech."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.gates import STANDALONE, python_files

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "anymask"
# Software does not speak: a name is a noun for its value, such as message, prompts or requested.
SPEECH = frozenset({"ask", "asked", "said", "saying", "spoken", "told"})
RENAMES: dict[str, str] = tomllib.loads(Path(__file__).with_name("renames.toml").read_text("utf-8"))


def definitions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of the functions, methods, classes and module constants of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (name for target in targets for name in ast.walk(target))
            yield from ((node.lineno, name.id) for name in names if isinstance(name, ast.Name))


def test_no_old_name_is_defined() -> None:
    complaints, defined = [], set()
    for path in python_files(PACKAGE):
        inside = path.relative_to(PACKAGE).as_posix()
        if inside.startswith(STANDALONE):
            continue
        for line, name in definitions(ast.parse(path.read_text("utf-8"))):
            defined.add(name)
            if name in RENAMES:
                complaints.append(f"anymask/{inside}:{line}: {name} was renamed; {RENAMES[name]}")
    if complaints:
        pytest.fail("\n" + "\n".join(complaints), pytrace=False)
    assert not set(RENAMES.values()) - defined, "names that were renamed again; mend the map"


def test_definitions_are_found() -> None:
    source = "A, B = 1, 2\nC: int = 3\nclass D:\n    def e(self):\n        f = 1\n"
    assert {name for _, name in definitions(ast.parse(source))} == {"A", "B", "C", "D", "e"}


def speech_names(source: str) -> Iterator[tuple[int, str]]:
    """(line, name) of variables, parameters, fields and functions with a name of speech."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            listed = node.args
            every = (*listed.posonlyargs, *listed.args, *listed.kwonlyargs)
            every = (*every, *filter(None, (listed.vararg, listed.kwarg)))
            yield from ((one.lineno, one.arg) for one in every if one.arg in SPEECH)
        is_bound = isinstance(getattr(node, "ctx", None), ast.Store)
        # The name of a function or an exception, and a variable or attribute that is assigned.
        for name in ("name", *(("id", "attr") if is_bound else ())):
            if getattr(node, name, None) in SPEECH:
                yield getattr(node, "lineno", 1), getattr(node, name)


def test_no_name_is_one_of_speech() -> None:
    complaints = [
        f"anymask/{inside}:{line}: {name}; name it after its value, such as message or requested"
        for path in python_files(PACKAGE)
        if not (inside := path.relative_to(PACKAGE).as_posix()).startswith(STANDALONE)
        for line, name in speech_names(path.read_text("utf-8"))
    ]
    if complaints:
        pytest.fail("\n" + "\n".join(complaints), pytrace=False)


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def f():\n    told = 1\n    said, x = told, 2", [2, 3]),
        ("def f(asked, *ask, **said): ...\ng = lambda told: told", [1, 1, 1, 2]),
        ("class A:\n    asked: int = 0\n    def told(self): self.said = 1", [2, 3, 3]),
        ("try: ...\nexcept ValueError as told: ...\n[ask for ask in ()]", [2, 3]),
        ("if spoken := f(): ...\nfor asked in (): ...\nwith f() as saying: ...", [1, 2, 3]),
        ("f(told=1, x=one.said)['asked'] = asked_again", []),
    ],
)
def test_names_of_speech_are_found(source: str, lines: list[int]) -> None:
    assert sorted(line for line, _ in speech_names(source)) == lines
