"""A concept stands in one place, and the gate finds a second one."""

from pathlib import Path

import pytest

from tests.house.concepts import CONCEPTS, Concept, copies

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "anymask"


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.name)
def test_a_concept_stands_in_one_place(concept: Concept) -> None:
    if complaints := copies(PACKAGE, concept):
        pytest.fail("\n" + "\n".join(complaints), pytrace=False)


def test_a_second_place_and_a_home_without_it_are_named(tmp_path: Path) -> None:
    package = tmp_path / "anymask"
    for name, text in (("base/a.py", "import csv\n"), ("jobs/b.py", "def f():\n    import csv\n")):
        (package / name).parent.mkdir(parents=True)
        (package / name).write_text(text, "utf-8")
    row = Concept("CSV", r"^\s*import csv\b", ("base/a.py",), "base/a.py")
    assert copies(package, row) == ["anymask/jobs/b.py:2: CSV in a second place; use base/a.py"]
    gone = Concept("CSV", r"^\s*import csv\b", ("base/c.py", "jobs/"), "base/c.py")
    assert [line.partition(": ")[0] for line in copies(package, gone)] == ["anymask/base/a.py:1"]
    (package / "base/a.py").write_text("", "utf-8")
    assert len(copies(package, row)) == 2
