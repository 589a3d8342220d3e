"""The documentation site lists every page, and its reference every public name."""

import re

import pytest

import anymask
from anymask.cli import main as command_line
from anymask.segment import SegmentSettings
from docs.site import build, charts, generated, reference
from tests.extras import run_with

PYTHON = (build.ROOT / "docs" / reference.PAGE).read_text("utf-8")
PAGES = [page for pages in build.NAVIGATION.values() for page in pages]


def test_the_navigation_lists_every_page_once() -> None:
    docs = build.ROOT / "docs"
    own = [path.relative_to(docs).as_posix() for path in build.documents()]
    made = [generated.COMMAND_LINE, generated.SETTINGS, generated.HTTP]
    assert sorted(PAGES) == sorted([*own, *build.OUTSIDE.values(), *made])


def test_the_python_page_explains_every_public_name_of_anymask() -> None:
    explained = re.findall(r"^### `(?:anymask\.)?(\w+)", PYTHON, re.MULTILINE)
    assert set(anymask.__all__) - set(explained) == {"__version__", "models", "runtime"}


def test_segment_has_its_calls_types_and_every_keyword() -> None:
    entry = reference.with_entries(PYTHON).split("\n### ")
    (entry,) = [one for one in entry if one.startswith("`Model.segment`")]
    assert entry.count("Model.segment(") == 4  # overloads
    assert '| `box` | <code><a href="#types">ArrayLike</a> &#124; None</code> | Box (4,)' in entry
    assert '<code><a href="#prediction">Prediction</a></code> | Candidate masks' in entry
    rows = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| .*? \|", entry, re.MULTILINE))))
    assert {*SegmentSettings.__dataclass_fields__, "boxes", "text", "bgr"} - rows == set()


def test_the_python_page_is_the_same_where_packages_are_missing() -> None:
    """`make docs` installs no PyTorch: names that need it are read from their source."""
    program = (
        "from docs.site import build, reference; "
        "print(reference.with_entries((build.ROOT / 'docs' / reference.PAGE).read_text('utf-8')))"
    )
    done = run_with(("docs",), program, cwd=build.ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip() == reference.with_entries(PYTHON).rstrip()


def test_docstrings_become_paragraphs_tables_and_code() -> None:
    def described() -> None:
        """One *line* of text.

            anymask.load()

        Args:
            points: (P, 2) clicks
                in pixels.
            box: x0|y0.

        Returns:
            The masks,
            best first.

        Raises:
            PromptError: It is empty.

        Example:
            if answer:
                print(answer)
        """

    assert list(reference.docstring(described, {"PromptError": "#errors"})) == [
        "One \\*line\\* of text.\n\n```text\n    anymask.load()\n```",
        "| parameter | type | description |\n|---|---|---|\n"
        "| `points` |  | (P, 2) clicks in pixels. |\n| `box` |  | x0\\|y0. |\n",
        "| returns | description |\n|---|---|\n|  | The masks, best first. |\n",
        "| raises | description |\n|---|---|\n"
        '| <code><a href="#errors">PromptError</a></code> | It is empty. |\n',
    ]


def test_links_out_of_the_documents_lead_to_pages_of_the_site() -> None:
    guides = build.ROOT / "docs" / "guides"
    text = (
        "[a](../../README.md#models) [b](serve.md#x) ![c](../images/house.svg) "
        "[d](../get-started/first-hour.ipynb) [e](#here) [f](https://example.org/x.md)"
    )
    assert build.with_links(text, guides, "guides/count-cells.md") == (
        "[a](../index.md#models) [b](serve.md#x) ![c](../images/house.svg) "
        "d (`docs/get-started/first-hour.ipynb`) [e](#here) [f](https://example.org/x.md)"
    )
    page = build.with_links("[p](docs/guides/serve.md) [l](LICENSE)", build.ROOT, "index.md", "R")
    assert page == "[p](guides/serve.md) [l](R/blob/main/LICENSE)"


def test_the_generated_pages_list_every_command_setting_and_route() -> None:
    pages = generated.pages()
    for name in command_line.commands():
        assert f"## anymask {name}\n" in pages[generated.COMMAND_LINE]
    assert "### anymask project export" in pages[generated.COMMAND_LINE]
    assert "| `--point X,Y` |" in pages[generated.COMMAND_LINE]
    assert "## SegmentSettings" in pages[generated.SETTINGS]
    assert "## `POST /api/segment`" in pages[generated.HTTP]


@pytest.mark.parametrize("name", charts.charts())
def test_a_chart_shows_the_figures_of_its_csv_file(name: str) -> None:
    drawn = (build.ROOT / "docs/images" / name).read_text("utf-8")
    assert drawn == charts.charts()[name], "run python -m docs.site.charts"
