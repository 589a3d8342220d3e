"""The recipe that writes the model card: a report's tables in, a document's marked blocks out."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts import loaded_script

ROOT = Path(__file__).parents[2]
TABLE = """| set | masks | 1 click | oracle | 3 clicks | box |
|---|---|---|---|---|---|
| coco_val | 836 | 0.437 | 0.516 | 0.631 | 0.673 |
| **dev mean** | 12 sets | **0.519** | **0.585** | **0.682** | **0.735** |
| 95 % interval |  | 0.502-0.536 | 0.570-0.602 | 0.669-0.695 | 0.727-0.744 |"""
EMPTY = "| set | masks |\n|---|---|\n| coco_val | 836 |"
EDGES = "| set | method | ODS |\n|---|---|---|\n| coco_val | nano | 0.5 |"


@pytest.fixture(scope="module")
def recipe() -> Iterator[ModuleType]:
    with loaded_script(ROOT / "research" / "write_card.py") as module:
        yield module


def written(folder: Path, name: str, *parts: str) -> Path:
    """A run of `anymask evaluate`, as its files tell."""
    (folder / f"{name}.md").write_text(
        "\n\n".join([*parts, "- model: nano\n- skipped: a"]), "utf-8"
    )
    (folder / f"{name}.json").write_text(json.dumps({"weights_hash": "0123456789abcdef"}), "utf-8")
    return folder


def test_a_block_has_its_command_its_weights_and_the_tables_with_figures(
    recipe: ModuleType, tmp_path: Path
) -> None:
    folder = written(tmp_path, "all-masks", TABLE, EMPTY, "edges: as people draw them", EDGES)
    told = recipe.block_of("all-masks", folder, ["--limit", "2"])
    header, rule, _, *means = TABLE.splitlines()
    assert told == (
        "`python -m research.paper zero-shot --clicks 3 --only --measure clicks --measure box "
        "--model nano --limit 2`, weights 0123456789ab:\n\n" + "\n".join([header, rule, *means])
    )
    recipe.write_rows(recipe.text_of("all-masks", folder), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == (
        "set,masks,1 click,oracle,3 clicks,box\ncoco_val,836,0.437,0.516,0.631,0.673\n"
    )
    assert (tmp_path / "a-2.csv").read_text() == "set,method,ODS\ncoco_val,nano,0.5\n"


def means(group: str, first: str, figures: dict[str, str]) -> str:
    """A table of a report with a row of means alone."""
    header = ["set", first, *figures]
    cells = [f"**{group} mean**", "6 sets", *(f"**{value}**" for value in figures.values())]
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|",
                      f"| {' | '.join(cells)} |"])  # fmt: skip


NOC = """\
| clicks to reach an IoU | masks | nano NoC@85 | nano NoC@90 | {} NoC@85 | {} NoC@90 |
|---|---|---|---|---|---|
| berkeley | 100 | 4.67 | 7.76 | 3.57 | 6.16 |
| grabcut | 50 | 3.76 | 4.62 | 3.38 | 4.04 |""".format(*["nano, edges"] * 2)
ACCURACIES = "0.589 (0.534–0.641) | 0.853 (0.822–0.881) | 0.568 (0.521–0.617) | 0.834 (0.803–0.864)"
NAMES = f"""\
| set | top 1, drawn | top 5, drawn | top 1, box | top 5, box |
|---|---|---|---|---|
| coco_val | {ACCURACIES} |"""
CLICK_MEANS = {"1 click": "0.509", "oracle": "0.6", "3 clicks": "0.679", "box": "0.736"}
RUNS = {  # the figures that the page shows, as a run reports them
    "baselines": [means("dev", "masks", {
        "grabcut: box": "0.383", "filled box: box": "0.621", **CLICK_MEANS,
        "flood: 1 click": "0.307", "flood: 3 clicks": "0.326", "superpixel: 1 click": "0.340",
    })],
    "calibration": ["calibration: any text", means("natural", "method", {
        "picks the best": "0.480 (0.4–0.5)", "argmax": "0.550", "random": "0.4", "oracle": "0.616",
        "own argmax": "0.526", "own oracle": "0.597", "own gap closed": "0.350 (0.170–0.480)",
        "whole gap closed": "0.270 (0.140–0.380)", "ECE": "0.040", "ECE first": "0.1",
    })],
    "noc": [EMPTY, NOC],
    "names": [EMPTY, "names: any text", NAMES],
}  # fmt: skip


@pytest.mark.parametrize("name", ["baselines", "calibration", "noc", "names"])
def test_the_text_of_the_page_is_what_a_run_writes(
    recipe: ModuleType, tmp_path: Path, name: str
) -> None:
    for run, parts in RUNS.items():
        written(tmp_path, run, *parts)
    page = recipe.page_of(name).read_text("utf-8")
    shown = page.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0].strip()
    told = recipe.block_of(name, tmp_path, [])
    assert re.sub("weights [0-9a-f]+", "weights", told) == re.sub(
        "weights [0-9a-f]+", "weights", shown
    )


def test_a_text_replaces_what_stands_between_the_marks(recipe: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text("a\n\n<!-- one -->\n\nold\n\n<!-- /one -->\n\nb <!-- two -->c<!-- /two --> d\n")
    recipe.write(path, "one", "| \\1 |")
    recipe.write(path, "two", ".5")
    text = "a\n\n<!-- one -->\n\n| \\1 |\n\n<!-- /one -->\n\nb <!-- two -->.5<!-- /two --> d\n"
    assert path.read_text() == text
    with pytest.raises(SystemExit, match="wanted the marks <!-- three --> and <!-- /three -->"):
        recipe.write(path, "three", "")


def test_the_documents_have_the_marks_of_every_block(recipe: ModuleType) -> None:
    for name in recipe.RUNS:
        card = recipe.page_of(name).read_text("utf-8")
        assert card.count(f"<!-- {name} -->") == card.count(f"<!-- /{name} -->") == 1
