"""Names are chosen, ordered and refused; what is no choice may still be meant."""

import numpy as np
import pytest

from anymask.base import InputError
from anymask.models.rules import NameTable, edit_distance, plain_word

WORDS = ("cat", "dog", "traffic light", "hog")
ALSO = {word: n for n, word in enumerate(WORDS)} | {"pig": 3}


def some_table() -> NameTable:
    """Four names along four axes, the last of which no picture showed."""
    learned = np.array([True, True, True, False])
    return NameTable(WORDS, np.eye(4, dtype=np.float32), learned, ALSO, 4.0)


def test_the_nearest_name_comes_first_and_the_chances_are_a_softmax() -> None:
    vector = np.array([[0.6, 0.8, 0.0, 0.0]], np.float32)
    (told,) = some_table().chosen(None).suggest(vector, 5)
    assert [one.label for one in told] == ["dog", "cat", "traffic light"]
    powers = np.exp(4 * np.array([0.8, 0.6, 0.0]))
    assert np.allclose([one.probability for one in told], powers / powers.sum(), atol=1e-4)


def test_a_list_leaves_room_for_the_names_that_were_learned() -> None:
    """Of a dog, a cat or a pig is asked: neither is likely."""
    vector = np.array([[0.0, 1.0, 0.0, 0.0]], np.float32)
    (told,) = some_table().chosen(["pig", "Cat"]).suggest(vector, 2)
    assert [one.label for one in told] == ["pig", "Cat"]  # as they were written
    assert sum(one.probability for one in told) < 0.05
    (best,) = some_table().chosen(["pig", "dog"]).suggest(vector, 1)
    assert best[0].label == "dog"
    assert best[0].probability > 0.9


def test_a_name_that_was_only_read_can_be_asked_for() -> None:
    vector = np.array([[0.0, 0.1, 0.0, 0.9]], np.float32)
    (told,) = some_table().chosen(["pig", "dog"]).suggest(vector, 1)
    assert told[0].label == "pig"
    assert "hog" not in some_table().chosen(None).labels


def test_a_name_of_ones_own_is_chosen_by_its_vector_and_other_learned_ones_are_rivals() -> None:
    own = {"mitosis": np.array([0.0, 0.8, 0.6, 0.0], np.float32)}
    vector = np.array([[0.6, 0.8, 0.0, 0.0]], np.float32)
    (told,) = some_table().chosen(["pig", "mitosis"], own).suggest(vector, 2)
    assert [one.label for one in told] == ["mitosis", "pig"]
    powers = np.exp(4 * np.array([0.64, 0.0, 0.6, 0.0]))  # mitosis, pig; cat, light; dog is near it
    assert told[0].probability == pytest.approx(powers[0] / powers.sum(), abs=1e-4)
    every = some_table().chosen([*WORDS[:3], "mitosis"], own)  # no learned name is left as a rival
    assert every.suggest(vector, 1)[0][0].label == "dog"
    with pytest.raises(InputError, match="Unknown name 'mitosis'"):
        some_table().chosen(["mitosis"], {"debris": own["mitosis"]})


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["cat", "dgo"], "Unknown name 'dgo'. Closest names: dog. Use one of the 4 known names"),
        (["xyzzyx"], "No similar name is known"),
        ([], "names is empty"),
    ],
)
def test_a_name_that_is_not_known_is_one_error(names: list[str], says: str) -> None:
    with pytest.raises(InputError) as caught:
        some_table().chosen(names)
    assert says in str(caught.value)


def test_words_are_compared_without_case_and_underscores() -> None:
    assert plain_word(" Traffic_Light ") == "traffic light"
    assert some_table().chosen(["Traffic_light"]).labels == ("Traffic_light",)


def test_near_names_come_by_slips_then_by_how_likely_they_are() -> None:
    words = ("rat", "cat", "mat", "cart")
    also = {word: n for n, word in enumerate(words)} | {"kitty": 1}
    learned = np.array([False, True, True, True])
    table = NameTable(words, np.eye(4, dtype=np.float32), learned, also, 4.0)
    assert table.near("kat") == ["cat", "mat", "rat"]
    assert table.near("crat") == ["cat", "cart", "rat"]
    assert table.near("xyzzyx") == []


@pytest.mark.parametrize(
    ("first", "second", "slips"),
    [("", "", 0), ("", "ab", 2), ("kat", "cat", 1), ("dgo", "dog", 1), ("kitten", "sitting", 3)],
)
def test_slips_are_counted(first: str, second: str, slips: int) -> None:
    assert edit_distance(first, second) == edit_distance(second, first) == slips


def test_the_bundled_names_offer_the_likely_ones_first() -> None:
    """A cat, not a vat."""
    from anymask.runtime import ASSETS
    from anymask.runtime.onnx import read_table

    table = read_table(ASSETS / "nano" / "names.npz")
    assert table.near("kat")[0] == "cat"
    assert table.near("hoerse")[0] == "horse"
    assert table.near("Tuck")[0] == "truck"
