"""A concept stands in one place, and the gate finds a second one."""

from pathlib import Path

import pytest

from tests.house.concepts import CONCEPTS, Concept, copies, settings_faults

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


def test_settings_are_checked_by_their_declarations() -> None:
    if complaints := settings_faults(PACKAGE):
        pytest.fail("\n" + "\n".join(complaints), pytrace=False)


def test_settings_checked_by_hand_are_named(tmp_path: Path) -> None:
    field = 'class A:\n    side: Annotated[int, Setting("side")] = 3\n'
    checked = "    def __post_init__(self):\n        check_settings(self)\n"
    by_hand = f"{field}{checked}        if type(self.side) is not int:\n            raise E\n"
    texts = {"a.py": field, "b.py": field + checked, "c.py": by_hand, "d.py": "parse_toml(data)\n"}
    package = tmp_path / "anymask"
    package.mkdir()
    for name, text in texts.items():
        (package / name).write_text(text, "utf-8")
    found = [one.partition(" ")[0] for one in settings_faults(package)]
    assert found == ["anymask/a.py:1:", "anymask/c.py:1:", "anymask/d.py:1:"]
