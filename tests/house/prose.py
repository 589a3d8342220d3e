"""Checks the texts that users read: docs, help, messages, public docstrings and the page's strings.

    python -m tests.house.prose                 # findings and counts
    python -m tests.house.prose src/anymask/cli # of some files
    python -m tests.house.prose --texts PATH    # all texts of a file or folder, one per line

The rules name constructions that English documentation does not use, terms that the glossary of
the field replaces, and sentences that are too long. They are symptoms: a text without findings may
still be unclear.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SENTENCE_WORDS = 30  # of a sentence in the documentation
FEW_WORDS = 3  # shorter strings are identifiers, units or labels
IGNORED_WORDS = (
    "lama,sav,mose,ois,bui,whats,thi,fro,unser,dependant"  # names of models, data sets and measures
)
SETTINGS = Path(__file__).with_name("prose.toml")

# Rule -> pattern. Matched without case, in texts without code, addresses and paths.
RULES: dict[str, str] = {
    "wanted ..., got ...": r"\bwanted\b[^.]*\bgot\b|\bis wanted\b|\bwas wanted\b",
    "personification": r"\b(?:model|page|server|log|command|file|package|program|network|encoder|"
    r"decoder|format|report|browser|anymask|small|nano)s? (?:sees?|saw|asks?|says?|knows?|tells?|"
    r"wants?|looks?|refuses|thinks?|means)\b",
    "anew": r"\banew\b",
    "unasked": r"\bunasked\b",
    "whoever, nobody, somebody": r"\b(?:whoever|nobody|somebody)\b",
    "of its own": r"\bof (?:its|their|your|our|his) own\b",
    "where none is": r"\bwhere (?:none|nothing|it|they|there) (?:is|are|was)\b",
    "what is told": r"\bwhat (?:is|was|are) (?:told|said|seen|asked|there|shown|taken|meant)\b",
    "is told": r"\b(?:is|are|was|were) told\b|\btold (?:what|which|how|by)\b",
    "tells": r"\btells? (?:how|what|which|where|whether|you|it|them|the)\b",
    "shall, is to be, is meant": r"\bshall\b|\b(?:is|are) to be\b|\bis meant\b|\bthere is not\b",
    "no such": r"\bno such\b|\bis none\b|\bthat is none\b",
    "alone": r"\balone\b",
    "too at the end": r",? too(?=[.,;:)]|$)",
    "picture": r"\bpictures?\b",
    "thing": r"\b(?:thing|things)\b",
    "film, look": r"\bfilms?\b|\blooks at\b|\blooked at\b",
    "asked about": r"\basked (?:about|for|again)\b",
    "go on": r"\bgo(?:es)? on\b|\btaken? up\b|\bbegins? with\b",
    "taught": r"\btaught\b|\bteach(?:es)?\b",
    "numbers (weights)": r"\bits numbers\b|\bwhat was learned\b",
    "as usual": r"\bas usual\b|\bhow sure\b|\bfor it to\b",
    "number without a leading zero": r"(?<![\w.*/)\]-])\.\d+(?![\w.])",
    "leave alone": r"\bleft alone\b|\bleave alone\b|\bleaves alone\b",
    "give, hand": r"\bhand(?:ed|s)? over\b|\bgot none\b",
    "instead of an exception": r"\b(?:ValueError|TypeError|KeyError|IndexError|AttributeError)\b",
}
PATTERNS = {rule: re.compile(pattern, re.IGNORECASE) for rule, pattern in RULES.items()}
CODE = re.compile(
    r"`[^`]*`|\]\([^)]*\)|https?://\S+|<!--.*?-->|<[^>]+>|\{[^{}]*\}|--?[a-z][\w-]*|"
    r"[\w./*{}-]+\.(?:jpg|png|md|json|py|toml|tif|mp4|txt|csv|yaml|nii|gz|npz|onnx)\b|\b\w+/\S*",
    re.DOTALL,
)

PARAMETER = re.compile(r"^ {4}[\w, ]+:(?= )", re.MULTILINE)  # "    picture: Reads the image."


@dataclass(frozen=True)
class Text:
    """One text that users read, and where it is."""

    path: str
    line: int
    words: str
    kind: str  # "docs", "message", "string", "docstring" or "page"


@dataclass(frozen=True)
class Finding:
    """One broken rule."""

    text: Text
    rule: str
    excerpt: str

    def __str__(self) -> str:
        return f"{self.text.path}:{self.text.line}: {self.rule}: {self.excerpt}"


def documents(root: Path) -> list[Path]:
    """The Markdown files that users read."""
    cards = sorted((root / "src" / "anymask" / "assets").rglob("*.md"))
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md")), *cards,
            *sorted((root / "web" / "package").glob("*.md"))]  # fmt: skip


def markdown_texts(path: Path, root: Path) -> Iterator[Text]:
    """Paragraphs, list items and table cells of a document, without fenced code."""
    name = path.relative_to(root).as_posix()
    fenced, start, block = False, 0, []
    for number, line in enumerate([*path.read_text("utf-8").splitlines(), ""], start=1):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            line = ""
        elif fenced:
            continue
        cut = not line.strip() or re.match(r"\s*(?:[-*+|#>]|\d+\.) ?", line)
        if cut and block:
            yield Text(name, start, " ".join(block), "docs")
            block = []
        if line.strip().startswith("|"):
            yield from (Text(name, number, cell.strip(), "docs") for cell in line.split("|"))
        elif line.strip():
            start = start if block else number
            block.append(line.strip().lstrip("-*+#> "))


def python_texts(path: Path, root: Path) -> Iterator[Text]:
    """Strings of a module of the package that have some words, without docstrings."""
    name = path.relative_to(root).as_posix()
    tree = ast.parse(path.read_text("utf-8"))
    silent = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    raised = {
        id(node.exc.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
    }
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        words = plain_string(node)
        if words is None or id(node) in silent | inside:
            continue
        if len(re.findall(r"[A-Za-z]{2,}", words)) >= FEW_WORDS and " " in words.strip():
            kind = "message" if id(node) in raised else "string"
            yield Text(name, getattr(node, "lineno", 1), " ".join(words.split()), kind)


def plain_string(node: ast.AST) -> str | None:
    """The text of a string or of an f-string, in which `{}` stands for a value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        return "".join(map(str, parts))
    return None


STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`|>([^<>{}=;]+)<')


def page_texts(path: Path, root: Path) -> Iterator[Text]:
    """Strings of a TypeScript module that have some words."""
    name = path.relative_to(root).as_posix()
    source = re.sub(
        r"/\*.*?\*/|^\s*//[^\n]*$|^import [^\n]*$",
        lambda found: "\n" * found[0].count("\n"),
        path.read_text("utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    for found in STRING.finditer(source):
        words = re.sub(r"\$\{[^}]*\}", "{}", next(filter(None, found.groups()), ""))
        if len(re.findall(r"[A-Za-z]{2,}", words)) >= FEW_WORDS and " " in words.strip():
            line = source.count("\n", 0, found.start()) + 1
            yield Text(name, line, " ".join(words.split()), "page")


def docstring_texts() -> Iterator[Text]:
    """Docstrings of the public names of anymask and of the methods of `Model`."""
    import inspect

    import anymask

    owners = {f"anymask.{name}": getattr(anymask, name) for name in anymask.__all__}
    for name, value in vars(anymask.Model).items():
        if not name.startswith("_"):
            owners[f"anymask.Model.{name}"] = value
    for name, value in owners.items():
        documented = inspect.isclass(value) or inspect.isroutine(value)
        if documented and (words := inspect.getdoc(value)):
            for number, part in enumerate(re.split(r"\n\s*\n", words)):
                about = PARAMETER.sub("", part)
                yield Text(name, number, " ".join(about.split()), "docstring")


def all_texts(root: Path) -> Iterator[Text]:
    """All texts that users read."""
    for path in documents(root):
        yield from markdown_texts(path, root)
    for path in sorted((root / "src" / "anymask").rglob("*.py")):
        yield from python_texts(path, root)
    for path in sorted((root / "web").rglob("*.ts*")):
        if "node_modules" not in path.parts and "tests" not in path.parts:
            yield from page_texts(path, root)
    yield from docstring_texts()


def findings(text: Text) -> Iterator[Finding]:
    """The rules that a text breaks."""
    words = CODE.sub(" ` ", text.words)
    for rule, pattern in PATTERNS.items():
        if found := pattern.search(words):
            around = words[max(0, found.start() - 30) : found.end() + 30]
            yield Finding(text, rule, " ".join(around.split()))
    if text.kind == "docs":
        for sentence in re.split(r"(?<=[.!?:;])\s+", words):
            count = len(re.findall(r"\w[\w'-]*", sentence))
            if count > SENTENCE_WORDS:
                yield Finding(text, f"{count} words in a sentence", sentence[:60])
    if text.kind == "message" and re.match(r"[a-z](?!\w*=)", text.words):
        yield Finding(text, "a message starts with a capital letter", text.words[:60])


def unexpected(texts: Iterable[Text], pending: list[str], exceptions: list[str]) -> list[str]:
    """Findings outside of the pending paths, without the listed exceptions."""
    return [
        str(finding)
        for text in texts
        if not text.path.startswith(tuple(pending))
        for finding in findings(text)
        if f"{text.path}: {finding.rule}: {finding.excerpt}" not in exceptions
    ]


def misspellings(root: Path) -> list[str]:
    """The misspelled words that codespell finds in the documents and in the sources."""
    folders = [root / name for name in ("src/anymask", "web/src", "web/package", "docs")]
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words-list", IGNORED_WORDS]
    built = "*/package/lib/*,*/assets/swagger/*,*/assets/web/*,*/node_modules/*,*/images/*"
    data = "tables.json,*.onnx,*.safetensors,*.ipynb,*.jpg,*.gz,*.bin,*.npz,*.pyc"
    command += ["--skip", f"{built},{data}"]
    command += [str(path) for path in (*folders, *sorted(root.glob("*.md")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def main() -> None:
    """Print the findings of some files, or of all."""
    parser = argparse.ArgumentParser(description="check the texts that users read")
    parser.add_argument("paths", nargs="*", help="files or folders of the repository; default all")
    parser.add_argument("--texts", action="store_true", help="print the texts, not the findings")
    args = parser.parse_args()
    chosen = [
        text
        for text in all_texts(ROOT)
        if not args.paths or any(text.path.startswith(path.rstrip("/")) for path in args.paths)
    ]
    found = [finding for text in chosen for finding in findings(text)]
    if args.texts:
        for text in chosen:
            print(f"{text.path}:{text.line}: [{text.kind}] {text.words}")
    else:
        print(*found, sep="\n")
    print(f"{len(chosen)} texts, {len(found)} findings", file=sys.stderr)


if __name__ == "__main__":
    main()
