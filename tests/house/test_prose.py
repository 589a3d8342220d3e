"""Texts that users read follow the writing guide."""

import tomllib
from pathlib import Path

import pytest

from tests.house import prose

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads(prose.SETTINGS.read_text("utf-8"))


def test_texts_follow_the_rules() -> None:
    found = prose.unexpected(prose.all_texts(ROOT), SETTINGS["pending"], SETTINGS["exceptions"])
    if found:
        pytest.fail("\n" + "\n".join(found), pytrace=False)


def test_exceptions_are_few() -> None:
    assert len(SETTINGS["exceptions"]) <= 20


def test_words_are_spelled_correctly() -> None:
    assert prose.misspellings(ROOT) == []


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("wanted a slice from 0 to 39, got 52", "wanted ..., got ..."),
        ("the model sees the image", "personification"),
        ("the report is written anew", "anew"),
        ("an IoU of .5 or more", "number without a leading zero"),
        ("The boxes are kept, too.", "too at the end"),
        ("a picture of three channels", "picture"),
    ],
)
def test_a_broken_rule_is_found(words: str, rule: str) -> None:
    found = [one.rule for one in prose.findings(prose.Text("a.py", 1, words, "string"))]
    assert found == [rule]


@pytest.mark.parametrize(
    "words",
    [
        "Slice 52 is out of range: this volume has slices 0 to 39.",
        "An IoU of 0.5, or `.5`, too much memory; see photo.mp4 and docs/things.md.",
        "Version 1.2.3 of the format",
    ],
)
def test_plain_english_passes(words: str) -> None:
    assert list(prose.findings(prose.Text("a.py", 1, words, "message"))) == []


def test_long_sentences_and_lower_case_messages_are_found() -> None:
    long = "word " * (prose.SENTENCE_WORDS + 1)
    (finding,) = prose.findings(prose.Text("a.md", 1, long, "docs"))
    assert finding.rule.endswith("words in a sentence")
    (finding,) = prose.findings(prose.Text("a.py", 1, "no mask was given", "message"))
    assert finding.rule == "a message starts with a capital letter"


def test_texts_are_read_from_documents_code_and_the_page(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# One two\n\nThree four\nfive.\n\n```bash\nsix\n```\n| a | b c |\n"
    )
    (tmp_path / "a.py").write_text(
        'def f(x):\n    """Not this."""\n    raise E(f"Slice {x} is missing here.")\n'
    )
    (tmp_path / "a.ts").write_text('// not this one\nconst a = "Open the next image";\n')
    texts = [text.words for text in prose.markdown_texts(tmp_path / "a.md", tmp_path)]
    assert [words for words in texts if words] == ["One two", "Three four five.", "a", "b c"]
    (text,) = prose.python_texts(tmp_path / "a.py", tmp_path)
    assert (text.words, text.kind, text.line) == ("Slice {} is missing here.", "message", 3)
    (text,) = prose.page_texts(tmp_path / "a.ts", tmp_path)
    assert (text.words, text.line) == ("Open the next image", 2)
