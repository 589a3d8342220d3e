"""The documents' tables of settings are the declarations, in words."""

import pytest

from docs.site import generated
from tests.docs.settings_tables import BLOCK, DECLARED, DOCS, settings_table

TABLES = [
    (path, found["name"], found["table"])
    for path in sorted(DOCS.rglob("*.md"))
    for found in BLOCK.finditer(path.read_text("utf-8"))
]


def test_every_group_of_settings_is_in_the_reference() -> None:
    page = generated.settings_page()
    assert [name for name in DECLARED if f"## {name}\n" not in page] == []


@pytest.mark.parametrize(
    ("path", "name", "table"), TABLES, ids=[f"{path.stem}-{name}" for path, name, _ in TABLES]
)
def test_a_table_is_what_is_declared(path, name, table) -> None:
    remedy = f"{path.name}: run python -m tests.docs.settings_tables"
    assert table == settings_table(DECLARED[name]), remedy
