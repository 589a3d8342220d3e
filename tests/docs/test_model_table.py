"""The table of all models is the catalogue, in words."""

import re
from pathlib import Path

from anymask.runtime import catalogue

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([\w.+-]+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    return ROW.findall((ROOT / "docs/explanation/models.md").read_text("utf-8"))


def test_every_model_of_the_catalogue_has_its_row_in_order() -> None:
    assert [name for name, _, _ in rows()] == list(catalogue.names())


def test_the_licences_of_the_weights_are_those_of_the_catalogue() -> None:
    for name, _, stated in rows():
        licence = catalogue.entry(name).licence
        assert ("non-commercial" in stated) is not licence.commercial, name
        assert ("Apache-2.0" in stated) is ("Apache-2.0" in licence.name), name


def test_what_a_family_cannot_take_is_not_promised() -> None:
    prompts = {name: text for name, text, _ in rows()}
    assert {name for name, text in prompts.items() if "mask" not in text} == {
        "efficient_sam_ti",
        "efficient_sam_s",
        "semantic_sam_swint",
    }
