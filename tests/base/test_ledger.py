"""Finished work is known again, and a torn or foreign record is not taken for it."""

import hashlib
from pathlib import Path

from anymask.base.ledger import Ledger, Stamp, file_hash


def test_rows_come_back_and_a_torn_line_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "work" / "rows.jsonl"
    ledger = Ledger(path)
    assert (ledger.head, ledger.rows) == (b"", [])
    for number in range(3):
        ledger.add({"row": number}, {"about": "x"})
    whole = path.read_bytes()
    assert whole == b'{"about": "x"}\n{"row": 0}\n{"row": 1}\n{"row": 2}\n'
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        again = Ledger(path)
        kept = whole[:end].count(b"\n")
        assert len(again.rows) == max(0, kept - 1)
        for number in range(len(again.rows), 3):
            again.add({"row": number}, {"about": "x"})
        assert path.read_bytes() == whole


def test_a_restarted_ledger_has_a_new_head(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    Ledger(path).add({"row": 0}, {"about": "x"})
    ledger = Ledger(path)
    ledger.restart()
    ledger.add({"row": 9}, {"about": "y"})
    assert path.read_bytes() == b'{"about": "y"}\n{"row": 9}\n'


def test_a_stamp_knows_its_facts_alone(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / ".out.done")
    assert stamp.notes(["a"]) is None
    stamp.begin()
    assert stamp.notes(["a"]) is None
    stamp.end(["a"], [1, "two"])
    assert stamp.notes(["a"]) == [1, "two"]
    assert stamp.notes(["b"]) is None
    assert "a" not in (tmp_path / ".out.done").read_text("utf-8").splitlines()


def test_the_hash_of_a_file_is_empty_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert file_hash(tmp_path) == file_hash(tmp_path / "b") == ""
