"""The rules of the house as functions: each takes a folder and returns what breaks the rule there.

A complaint is one line, `path:line: what is wrong`, so that an editor can jump to it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from docs.site.stubs import NAME

MODULE_LINES = 1000
FUNCTION_LINES = 100
PARAMETERS = 8
LONG_SIGNATURES = frozenset({"annotate", "convert", "write_graph"})  # this list only shrinks

CORE = frozenset(
    {"base", "masks", "images", "formats", "models", "runtime", "find", "edit", "segment", "track"}
    | {"volumes", "maps"}
)
APPLICATIONS = frozenset({"training", "evaluation", "studio"})

# room -> the rooms that it may import (docs/explanation/design.md)
ROOMS: dict[str, frozenset[str]] = {
    "base": frozenset(),
    "masks": frozenset({"base"}),
    "images": frozenset({"base", "masks"}),
    "formats": frozenset({"base", "masks", "images"}),
    "models": frozenset({"base", "masks"}),
    "runtime": frozenset({"base", "masks", "models"}),
    "edit": CORE - {"find", "edit", "segment", "track", "volumes", "maps"},
    "find": CORE - {"find", "edit", "segment", "track", "volumes", "maps"},
    "segment": CORE - {"segment", "track", "volumes", "maps"},
    "track": CORE - {"track", "volumes", "maps"},
    "volumes": CORE - {"volumes", "maps"},
    "maps": CORE - {"volumes", "maps"},
    "jobs": CORE | {"anymask"},
    "training": CORE | {"jobs", "anymask", "evaluation"},
    "evaluation": CORE | {"jobs", "anymask"},
    "studio": CORE | {"jobs", "anymask", "training", "evaluation"},
    "cli": CORE | APPLICATIONS | {"jobs", "anymask"},
    # __init__.py, __main__.py and sam.py: the public surface names every room
    "anymask": CORE | APPLICATIONS | {"cli", "jobs"},
}

# `Masks.save` and its kin hand over to the writers of files, a room above, when they are called.
CALLS_UP = frozenset({("masks/mask.py", "anymask.formats")})

# What the core may import when a module is loaded; everything else is an extra, imported in the
# function that needs it.
CORE_PACKAGES = frozenset({"numpy", "PIL", "cv2", "onnxruntime", "yaml"})
BASE_PACKAGES = frozenset({"numpy", "PIL", "cv2"})
TORCH_PACKAGES = frozenset({"torch", "safetensors", "onnx", "onnxscript"})
TORCH_ROOMS = frozenset({"models", "training"})
ROOM_PACKAGES = {  # of the extras without which a whole room makes no sense
    "studio": frozenset({"sqlalchemy", "fastapi", "starlette", "uvicorn", "pydantic"}),
    "maps": frozenset({"rasterio", "pyogrio", "shapely"}),
}
TORCH_FILES = frozenset({"runtime/torch.py", "runtime/checkpoints.py"})
# The rules of the families are read where torch is absent.
TORCH_FREE = ("models/rules/", "models/__init__.py", "models/networks.py")
NEVER = frozenset({"timm", "torchvision"})


# Circles through imports inside functions: a project's verbs, an export's parts. Only shrinks.
KNOWN_CIRCLES = frozenset({"anymask.studio.exchange", "anymask.training.export_folder"})

# The example of an exported bundle, which runs without this package.
STANDALONE = ("assets/",)
JSON_READER = "base/parsing.py"
CSV_MODULE = "base/tables.py"
REPORTING = frozenset({"onnxruntime", "transformers", "huggingface_hub", "ray"})
CARGO = "assets"  # files that ship inside the package; the examples among them are not its code

NOT_OURS = frozenset({"runs", "out", "dist", "build", "__pycache__", "node_modules"})
TEXT = frozenset(
    {
        "",
        ".py",
        ".ts",
        ".md",
        ".toml",
        ".txt",
        ".json",
        ".yml",
        ".yaml",
        ".cfg",
        ".sh",
        ".svg",
        ".html",
    }
)


def python_files(root: Path) -> Iterator[Path]:
    """Every Python file under a folder, in order."""
    return (path for path in sorted(root.rglob("*.py")) if not_generated(path, root))


def not_generated(path: Path, root: Path) -> bool:
    """Whether a file is written by people: no cache, no hidden folder, no output."""
    parents = path.relative_to(root).parts[:-1]
    ours = not any(part in NOT_OURS or part.startswith(".") for part in parents)
    return ours and path.name != ".git"  # a file in a second worktree


def room_of(path: Path, package: Path) -> str:
    """The room of the package that a file stands in; "anymask" for the files beside the rooms."""
    parts = path.relative_to(package).parts
    return parts[0] if len(parts) > 1 else "anymask"


# Imports only go down.


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, full name) of every import in a tree, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "anymask":
                yield from ((node.lineno, f"anymask.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def imported_on_load(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, full name) of the imports that run when the module is loaded."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (found for other in node.orelse for found in imported(other))
        else:
            yield from imported(node)


def imported_for_annotations(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, full name) of the imports under `if TYPE_CHECKING`, which never run."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (found for inside in node.body for found in imported(inside))


def climbing_imports(package: Path) -> list[str]:
    """Imports that go up or sideways in the house; those for annotations alone load nothing."""
    complaints = []
    for path in python_files(package):
        room = room_of(path, package)
        where = path.relative_to(package.parent).as_posix()
        if room == CARGO:
            continue
        if room not in ROOMS:
            complaints.append(f"{where}:1: {room}/ is no room of the house (see design.md)")
            continue
        tree = ast.parse(path.read_text("utf-8"))
        annotations = set(imported_for_annotations(tree))
        for line, name in imported(tree):
            first, _, rest = name.partition(".")
            if first != "anymask" or (line, name) in annotations:
                continue
            target = rest.partition(".")[0]
            target = target if target in ROOMS else "anymask"
            asked = (path.relative_to(package).as_posix(), name)
            if asked in CALLS_UP and (line, name) not in set(imported_on_load(tree)):
                continue
            if target != room and target not in ROOMS[room]:
                allowed = ", ".join(sorted(ROOMS[room])) or "nothing"
                complaints.append(
                    f"{where}:{line}: {room}/ imports {name}; it may import {allowed}"
                )
    return complaints


def public_names(package: Path) -> set[tuple[str, str]]:
    """(room, name) of each line of a room's `__init__.pyi`."""
    return {
        (path.parent.name, name)
        for path in package.glob("*/__init__.pyi")
        for _, name in NAME.findall(path.read_text("utf-8"))
    }


def inner_imports(plugin: Path, public: Collection[tuple[str, str]]) -> list[str]:
    """Imports of a plug-in that are no public names: (room, name) of `public_names`."""
    complaints = []
    for path in python_files(plugin):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("anymask.")]
            elif isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("anymask."):
                _, _, room = str(node.module).partition(".")
                given = [(room, alias.name) for alias in node.names]
                names = [f"{node.module}.{name}" for _, name in set(given) - {*public} if room]
            else:
                continue
            where = f"{path.relative_to(plugin).as_posix()}:{node.lineno}"
            complaints += [f"{where}: imports {name}, which is no public name" for name in names]
    return complaints


def circular_imports(package: Path) -> list[str]:
    """Modules of one room that import each other, also inside functions: one line for a circle.

    The imports of a room's `__init__.py`, which is its surface, do not count.
    """
    modules = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts): path
        for path in python_files(package)
        if path.name != "__init__.py"
    }
    rooms = {name: room_of(path, package) for name, path in modules.items()}
    inside = {
        name: {one for one in imported_modules(path) if rooms.get(one) == rooms[name]}
        for name, path in modules.items()
    }
    ahead = {name: reached(inside, name) for name in modules}
    complaints, named = [], set[str]()
    for name in sorted(modules):
        circle = {one for one in ahead[name] if name in ahead[one]}
        if circle and not named & circle:
            named |= circle
            if name in KNOWN_CIRCLES:
                continue
            others = ", ".join(modules[one].name for one in sorted(circle - {name}))
            where = modules[name].relative_to(package.parent).as_posix()
            complaints.append(f"{where}:1: is in a circle of imports with {others}")
    return complaints


def imported_modules(path: Path) -> set[str]:
    """The full names that a file imports, of modules or of what is in them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """What can be reached from a node by one step or more."""
    found, ahead = set[str](), [start]
    while ahead:
        for node in graph[ahead.pop()] - found:
            found.add(node)
            ahead.append(node)
    return found


def heavy_imports(package: Path, standard: frozenset[str]) -> list[str]:
    """Packages that a module loads at once although only an extra brings them."""
    complaints = []
    for path in python_files(package):
        room = room_of(path, package)
        inside = path.relative_to(package).as_posix()
        if inside.startswith(STANDALONE):
            continue
        allowed = BASE_PACKAGES if room in ("base", "masks") else CORE_PACKAGES
        allowed = allowed | ROOM_PACKAGES.get(room, frozenset())
        torch_free = inside.startswith(TORCH_FREE)
        if (room in TORCH_ROOMS and not torch_free) or inside in TORCH_FILES:
            allowed = allowed | TORCH_PACKAGES
        for line, name in imported_on_load(ast.parse(path.read_text("utf-8"))):
            first = name.partition(".")[0]
            if first not in standard | allowed | {"anymask"}:
                complaints.append(
                    f"{package.name}/{inside}:{line}: imports {first} when loaded; "
                    "import it in the function that needs it, or name it in the core"
                )
    return complaints


def json_readers(package: Path) -> list[str]:
    """Uses of Python's own JSON reader; a copy of what was just written is none."""
    complaints = []
    for path in python_files(package):
        inside = path.relative_to(package).as_posix()
        if inside == JSON_READER or inside.startswith(STANDALONE):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        copies = {
            id(node.func)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node).startswith("json.loads(json.dumps(")
        }
        complaints += [
            f"{package.name}/{inside}:{node.lineno}: reads JSON by itself; use parse_json of "
            "base/parsing.py, which bounds its depth"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and ast.unparse(node) in ("json.load", "json.loads", "json.JSONDecoder")
            and id(node) not in copies
        ]
    return complaints


def csv_users(package: Path) -> list[str]:
    """Modules that write or read CSV themselves, where no formula would be escaped."""
    return [
        f"{package.name}/{path.relative_to(package).as_posix()}:{line}: uses csv; use csv_text and "
        "read_csv of base/tables.py, which escape formulas"
        for path in python_files(package)
        if path.relative_to(package).as_posix() != CSV_MODULE
        for line, name in imported(ast.parse(path.read_text("utf-8")))
        if name == "csv"
    ]


def image_openers(package: Path) -> list[str]:
    """Calls of Pillow's `Image.open` that take a file for any of forty formats."""
    return [
        f"{package.name}/{path.relative_to(package).as_posix()}:{node.lineno}: calls Image.open "
        "without formats; use open_image of images/decoding.py, which has a list of decoders"
        for path in python_files(package)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "Image.open"
        and "formats" not in [one.arg for one in node.keywords]
    ]


def reporting_imports(package: Path) -> list[str]:
    """Imports that run, of packages that send telemetry; `import_offline` imports them."""
    complaints = []
    for path in python_files(package):
        inside = path.relative_to(package).as_posix()
        if inside.startswith(STANDALONE):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        unused = set(imported_for_annotations(tree))
        complaints += [
            f"{package.name}/{inside}:{line}: imports {name}; use import_offline of "
            "base/process.py, which turns its telemetry off"
            for line, name in imported(tree)
            if name.partition(".")[0] in REPORTING and (line, name) not in unused
        ]
    return complaints


def forbidden_imports(root: Path) -> list[str]:
    """Uses of the packages that no part of the project may need."""
    return [
        f"{path.relative_to(root).as_posix()}:{line}: imports {name}, which is forbidden"
        for path in python_files(root)
        for line, name in imported(ast.parse(path.read_text("utf-8")))
        if name.partition(".")[0] in NEVER
    ]


# Budgets.


def over_budget(root: Path) -> list[str]:
    """Modules, functions and parameter lists that grew too long."""
    complaints = []
    for path in python_files(root):
        where = path.relative_to(root).as_posix()
        if where.startswith(f"{CARGO}/"):
            continue
        text = path.read_text("utf-8")
        if (lines := len(text.splitlines())) > MODULE_LINES:
            complaints.append(f"{where}:1: {lines} lines, the budget is {MODULE_LINES}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                complaints += [f"{where}:{node.lineno}: {fault}" for fault in function_errors(node)]
    return complaints


def function_errors(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """What is too much about one function."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > FUNCTION_LINES:
        yield f"{node.name} has {lines} lines, the budget is {FUNCTION_LINES}"
    named = [*node.args.posonlyargs, *node.args.args]
    count = len(named) + len(node.args.kwonlyargs)
    count += (node.args.vararg is not None) + (node.args.kwarg is not None)
    count -= bool(named) and named[0].arg in ("self", "cls")
    if count > PARAMETERS and node.name not in LONG_SIGNATURES:
        yield f"{node.name} takes {count} parameters, the budget is {PARAMETERS}"


# Names and paths.


def machine_paths(root: Path) -> list[str]:
    """Places that exist on one machine only: absolute paths and package mirrors."""
    homes = "work|root|home/[a-z]|Users/[A-Za-z]|opt|mnt"
    pattern = re.compile(
        rf"(?<![\w/.:*<>~-])/(?:{homes})/|[A-Z]:\\Users|--(?:extra-)?index" + "-url"
    )
    return [
        f"{path.relative_to(root).as_posix()}:{number}: a path of one machine: {line.strip()[:80]}"
        for path in text_files(root)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def dead_paths(root: Path) -> list[str]:
    """Modules that a text names by their room, as `segment/model.py`, and that do not exist."""
    tops = "|".join(sorted([*ROOMS, "research"]))
    pattern = re.compile(rf"`(?:src/anymask/)?((?:{tops})/[\w/]+\.py)`")
    return [
        f"{path.relative_to(root).as_posix()}:{number}: {named} does not exist"
        for path in text_files(root)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        for named in pattern.findall(line)
        if not any((root / top / named).is_file() for top in ("src/anymask", ""))
    ]


def text_files(root: Path) -> Iterator[Path]:
    """Every text file that belongs to the project."""
    for path in sorted(root.rglob("*")):
        if path.suffix in TEXT and path.is_file() and not_generated(path, root):
            yield path
