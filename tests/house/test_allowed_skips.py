"""The continuous check fails on a skip that nobody wrote down."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def allowed(line: str) -> bool:
    text = (ROOT / "tests" / "allowed_skips.txt").read_text("utf-8")
    patterns = [row for row in text.splitlines() if row.strip() and not row.startswith("#")]
    return any(re.search(pattern, line) for pattern in patterns)


def test_the_list_knows_the_skips_of_a_clone() -> None:
    from tests import conftest

    reason = "needs ../shared (references and data), which a clone does not have"
    assert reason in Path(conftest.__file__).read_text("utf-8")
    assert allowed(f"SKIPPED [3] tests/conftest.py:20: {reason}")


def test_the_list_refuses_any_other() -> None:
    assert not allowed("SKIPPED [1] tests/models/test_vit.py:8: does not work yet")


def test_the_list_has_every_reason_in_the_tests() -> None:
    files = [path for root in ("tests", "research/tests") for path in (ROOT / root).rglob("*.py")]
    reasons = {reason: path for path in files for reason in reasons_in(path.read_text("utf-8"))}
    assert len(reasons) > 10
    assert {reason: path for reason, path in reasons.items() if not allowed(reason)} == {}


def test_reasons_are_found_in_calls_and_marks() -> None:
    text = """\
pytest.skip("needs a")
pytest.skip(reason)
pytest.mark.skipif(True, reason="needs b")
pytest.mark.xfail(reason="wrong")
"""
    assert list(reasons_in(text)) == ["needs a", "needs b"]


def reasons_in(text: str) -> Iterator[str]:
    """The reasons of skips that are written out in a module, in its order."""
    for node in ast.walk(ast.parse(text)) if "skip" in text else ():
        if isinstance(node, ast.Call):
            words = {word.arg: word.value for word in node.keywords}
            reason = {
                "pytest.skip": node.args[0] if node.args else None,
                "pytest.mark.skipif": words.get("reason"),
            }.get(ast.unparse(node.func))
            if isinstance(reason, ast.Constant):
                yield str(reason.value)
