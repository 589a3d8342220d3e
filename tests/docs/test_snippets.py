"""What the README and the documents show is what happens."""

import inspect
import re
import shlex
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymask.cli import main as door
from anymask.images import sample
from anymask.runtime import open as opening
from anymask.segment import Grid
from anymask.studio.proposals import ProjectSettings
from tests.docs import snippets
from tests.track.clips import moving_discs, write_video

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SNIPPETS = [snippet for document in DOCUMENTS for snippet in snippets.read(document)]
WITH_PYTHON = [
    document
    for document in DOCUMENTS
    if any(found.language == "python" for found in SNIPPETS if found.path == document)
]
NEED_NO_FILE = ("README.md",)  # what they show, a reader may paste in any folder
# Pages whose Python blocks make the files of the command lines below them.
MAKE_THEIR_FILES = ("digitize-buildings.md", "first-fine-tune.md")
SHELL = [
    pytest.param(snippet, marks=pytest.mark.slow if snippet.slow else ())
    for snippet in SNIPPETS
    if snippet.language == "bash"
]
open_once = cache(opening.open_runtime)


@pytest.fixture(autouse=True)
def less_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model is opened once, and "everything" is 8 x 8 clicks where no number is given."""
    monkeypatch.setattr(opening, "open_runtime", open_once)
    for settings in (Grid, ProjectSettings):
        monkeypatch.setitem(inspect.unwrap(settings.__init__).__kwdefaults__, "grid", 8)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the documents talk about: a photo, a folder of them, a mask."""
    shutil.copy(sample("dog"), tmp_path / "photo.jpg")
    for folder in ("photos", "samples"):
        (tmp_path / folder).mkdir()
        for name in ("coffee", "cat"):
            shutil.copy(sample(name), tmp_path / folder / f"{name}.jpg")
    rows, columns = np.ogrid[:534, :800]
    dog = (rows - 400) ** 2 + (columns - 200) ** 2 < 130**2
    Image.fromarray(dog).save(tmp_path / "dog.mask.png")
    write_video(tmp_path / "clip.mkv", moving_discs(8)[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "weights"))
    return tmp_path


@pytest.mark.parametrize("document", WITH_PYTHON, ids=lambda path: path.name)
def test_the_python_of_a_document_runs_from_top_to_bottom(
    document: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if document.name in NEED_NO_FILE:
        (desk / "empty").mkdir()
        monkeypatch.chdir(desk / "empty")
    names: dict[str, Any] = {"__name__": "snippet"}
    for snippet in snippets.read(document):
        if snippet.language == "python":
            lines = "\n" * snippet.line + snippet.text  # a traceback then names the right line
            code = compile(lines, str(document), "exec")
            if not snippet.reason:
                exec(code, names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_says_how_its_files_are_made_before_it_uses_them(document: Path) -> None:
    """In the lines that are run: `photo.jpg`, `photos`, `mask.png`."""
    there: set[str] = set()
    for snippet in snippets.read(document):
        for line in [] if snippet.reason else snippet.text.splitlines():
            used = set(
                re.findall(r"(?<![\w.])(?:photo\.jpg|photos\b|mask\.png)", line.partition("#")[0])
            )
            made = re.match(r"anymask (?:sample|segment) .*-o (photos|photo\.jpg|mask\.png)", line)
            there |= {made[1]} if made else set()
            assert used <= there, f"{snippet}: {line}"


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("snippet", SHELL, ids=str)
def test_the_command_lines_of_a_document_work(snippet: snippets.Snippet) -> None:
    if snippet.path.name in MAKE_THEIR_FILES:
        for other in snippets.read(snippet.path):
            if other.language == "python" and other.line < snippet.line:
                exec(other.text, {"np": np})
    for line in snippet.command_lines:
        program, *words = shlex.split(line)
        if program == "anymask":
            if snippet.reason:
                parse(words)
            else:
                assert door.main(words) == 0, line
        elif program == "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
            assert {word for word in words if "=" not in word} <= set(targets), line
        elif program == "python" and snippet.reason:
            assert script(words).is_file(), line
        elif program == "torchrun" and snippet.reason:
            parse(words[words.index("anymask") + 1 :])
        else:
            known = ("pip", "git", "cd", "tail")
            assert program in known, f"{snippet}: no check for {line!r}"


def script(words: list[str]) -> Path:
    """The file that `python FILE ...` or `python -m PACKAGE ...` runs in a checkout."""
    if words[0] == "-m":
        module = ROOT.joinpath(*words[1].split("."))
        return module / "__main__.py" if module.is_dir() else module.with_suffix(".py")
    return ROOT / words[0]


def parse(words: list[str]) -> None:
    """Check that the command and its options exist."""
    door.load(door.commands()[words[0]]).parser(words[0]).parse_args(words[1:])


def linked(document: Path) -> set[Path]:
    """The files of the repository that a document links to."""
    links = re.findall(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)", document.read_text("utf-8"))
    return {(document.parent / link).resolve() for link in links}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_link_inside_the_repository_is_dead(document: Path) -> None:
    assert [path for path in linked(document) if not path.exists()] == []


def test_every_page_is_two_clicks_from_the_readme() -> None:
    first = linked(ROOT / "README.md")
    near = first.union(*(linked(page) for page in first if page.suffix == ".md"))
    assert set(DOCUMENTS) - near <= {ROOT / "README.md"}


def anchors(document: Path) -> set[str]:
    """What GitHub calls the headings of a document: `## Boxes, masks` is `boxes-masks`."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_a_heading_find_it(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", document.read_text("utf-8"))
    places = [(document.parent / name if name else document, anchor) for name, anchor in links]
    lost = [anchor for place, anchor in places if anchor not in anchors(place)]
    assert lost == []
