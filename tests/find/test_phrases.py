from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from anymask.base import AnymaskError, InputError, WeightsError
from anymask.find import Phrase, read_phrases
from anymask.find.wordpiece import WordPiece


@pytest.mark.parametrize(
    "words",
    [
        "helmet, red cup",
        "helmet.red cup.",
        "helmet ; red   cup",
        "helmet|red cup",
        "helmet\nred cup\n",
        "helmet, red cup, HELMET",
        ["helmet", "red cup"],
        ("helmet", "red cup", "helmet"),
        {"helmet": "helmet", "red cup": "red cup"},
    ],
)
def test_any_separator_gives_the_same_phrases(words: object) -> None:
    assert [one.prompt for one in read_phrases(words)] == ["helmet", "red cup"]  # type: ignore[arg-type]


def test_a_phrase_and_its_label_are_two_things() -> None:
    expected = (Phrase("shipping container", "container"), Phrase("lorry", "truck"))
    assert read_phrases({"shipping container": "container", "lorry": "truck"}) == expected
    assert read_phrases("shipping container=container, lorry = truck") == expected


def test_thresholds_are_given_with_the_phrase_or_by_name() -> None:
    assert read_phrases("helmet @ 0.4, red cup=cup") == (
        Phrase("helmet", "helmet", 0.4),
        Phrase("red cup", "cup"),
    )
    phrases = read_phrases({"red cup": "cup", "dog": "dog"}, {"cup": 0.2, "dog": 0.6})
    assert [one.threshold for one in phrases] == [0.2, 0.6]
    assert [one.threshold for one in read_phrases("a@.3, b", 0.5)] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("words.txt", "# tools\nhelmet, red cup\n"),
        ("words.csv", "helmet;red cup"),
        ("words.json", '["helmet", "red cup"]'),
        ("words.json", '{"helmet": "hat", "red cup": "cup"}'),
    ],
)
def test_words_are_read_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert [one.prompt for one in read_phrases(path)] == ["helmet", "red cup"]


@pytest.mark.parametrize(
    ("words", "score", "error", "word"),
    [
        ("", None, InputError, "empty"),
        (" , ;", None, InputError, "empty"),
        ([], None, InputError, "empty"),
        (["cup", ""], None, InputError, "word"),
        ([3], None, InputError, "label 3"),
        (7, None, InputError, "type int"),
        ("x" * 300, None, InputError, "characters"),
        ([f"thing {n}" for n in range(3000)], None, InputError, "most"),
        ("cup", 1.5, InputError, "0 to 1"),
        ("cup @ high", None, InputError, "number"),
        ("cup", {"mug": 0.2}, InputError, "mug"),
        (Path("no/such.txt"), None, InputError, "such.txt"),
    ],
)
def test_words_that_make_no_sense_are_refused(
    words: object, score: object, error: type[AnymaskError], word: str
) -> None:
    with pytest.raises(error, match=word):
        read_phrases(words, score)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def vocabulary(shared: Path) -> dict[str, int]:
    words = (shared / "golden" / "bert_uncased_vocab.txt.gz").read_bytes()
    lines = gzip.decompress(words).decode().splitlines()
    return {token: number for number, token in enumerate(lines)}


def test_pieces_of_words_are_berts(vocabulary: dict[str, int]) -> None:
    transformers = pytest.importorskip("transformers")
    ours, theirs = WordPiece(vocabulary), transformers.BertTokenizer(vocab=vocabulary)
    for text in (
        "a red truck",
        "traffic light on a pole",
        "Naïve CAFÉ, 3.5 mm!? don't",
        "  tabs\tand\nlines  ",
        "unaffable hyperparameterisation",
        "日本 tokyo",
        "Straße ß ﬁ ½ €5 #1 a_b",
        "zero​width é",
        "x" * 150,
        "한국어 텍스트",
        "emoji 🙂 here",
    ):
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text


@pytest.mark.parametrize("vocabulary_", [{}, {"[CLS]": 0, "[SEP]": 1, ".": 2}])
def test_another_vocabulary_is_refused(vocabulary_: dict[str, int]) -> None:
    with pytest.raises(WeightsError, match="UNK"):
        WordPiece(vocabulary_)


def test_a_folder_without_a_vocabulary_says_what_to_copy(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"vocab\.txt"):
        WordPiece.read(tmp_path)
