"""docs/reference/environment.md lists the variables that the source reads or sets, and no other."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[A-Z][A-Z0-9_]{3,}")
PAGE = "docs/reference/environment.md"


def constants(trees: list[ast.Module]) -> dict[str, str]:
    """Constants of modules that hold a name: HOME = "ANYMASK_HOME"."""
    return {
        target.id: node.value.value
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def keys(tree: ast.AST) -> Iterator[ast.expr]:
    """What the environment is asked for: os.environ[KEY], .get(KEY), os.getenv(KEY), KEY in ..."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Attribute(attr="environ"), slice=key):
                yield key
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="environ")), args=[key, *_]):
                yield key
            case ast.Call(func=ast.Attribute(attr="getenv"), args=[key, *_]):
                yield key
            case ast.Compare(left=key, comparators=[ast.Attribute(attr="environ")]):
                yield key


def variables(package: Path) -> set[str]:
    """Every variable that is asked for; of one whose name goes through a loop, the loop's texts."""
    trees = [ast.parse(path.read_text("utf-8")) for path in package.rglob("*.py")]
    known = constants(trees)
    found = set()
    for tree in trees:
        for key in keys(tree):
            text = known.get(key.id) if isinstance(key, ast.Name) else ast.literal_eval(key)
            found |= {text} if text else looped(tree)
    return found


def looped(tree: ast.Module) -> set[str]:
    """The texts of the tuples in functions of a module that ask by a variable of a loop."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    asking = [one for one in functions if any(isinstance(key, ast.Name) for key in keys(one))]
    tuples = [one for node in asking for one in ast.walk(node) if isinstance(one, ast.Tuple)]
    texts = {one.value for node in tuples for one in node.elts if isinstance(one, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and NAME.fullmatch(text)}


def listed() -> list[str]:
    return re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / PAGE).read_text("utf-8"), re.MULTILINE)


def test_the_page_lists_each_variable_of_the_source_once() -> None:
    read = variables(ROOT / "src/anymask")
    assert sorted(listed()) == sorted(read), f"in {PAGE}: one is missing, twice there, or invented"


def test_every_dependency_of_users_has_a_lower_bound() -> None:
    """Those of `test` and `dev` are pinned in constraints.txt; extras of our own have none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {k: v for k, v in project["optional-dependencies"].items() if k not in ("test", "dev")}
    every = [one for few in (project["dependencies"], *extras.values()) for one in few]
    assert [one for one in every if ">=" not in one and not one.startswith("anymask[")] == []
