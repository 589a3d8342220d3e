"""The names of a project: their order, colours, and what becomes of their masks."""

import colorsys

import pytest

from anymask.base import InputError, NotFoundError
from anymask.studio import Draft
from anymask.studio.labels import LabelSet, nth_color
from anymask.studio.store import Store
from tests.studio.small import small_mask


@pytest.fixture
def labels(store: Store) -> LabelSet:
    """cat, cup and dog; two masks are cats, one is a dog."""
    labels = LabelSet(store.database)
    for name in ("cat", "cup"):
        labels.add(name)
    names = ["cat", "cat", "dog", None]
    drafts = [Draft(rle=small_mask(n + 1), label=name) for n, name in enumerate(names)]
    store.add_records(1, drafts, "ann")
    return labels


def names(labels: LabelSet) -> list[tuple[str, int]]:
    return [(label.name, label.masks) for label in labels.all()]


def test_colours_differ_by_order_and_are_free(labels: LabelSet) -> None:
    colors = [label.color for label in labels.all()]
    assert colors == [nth_color(number) for number in range(3)]
    hues = [
        colorsys.rgb_to_hls(*(int(nth_color(n)[i : i + 2], 16) / 255 for i in (1, 3, 5)))[0]
        for n in range(9)
    ]
    gaps = [abs(a - b) for i, a in enumerate(hues) for b in hues[:i]]
    assert min(min(gap, 1 - gap) for gap in gaps) > 0.04
    labels.delete("cup", "unname", "ann")
    labels.add("bowl")  # gets the colour that became free
    assert {label.name: label.color for label in labels.all()}["bowl"] == nth_color(1)
    labels.recolor("bowl", "#3d8bff")
    assert labels.all()[-1].color == "#3d8bff"


def test_renaming_renames_the_masks_and_can_merge(labels: LabelSet, store: Store) -> None:
    assert labels.rename("cat", "lion", "bob") == 2
    assert names(labels) == [("lion", 2), ("cup", 0), ("dog", 1)]
    assert labels.rename("dog", "lion", "bob") == 1
    assert names(labels) == [("lion", 3), ("cup", 0)]
    first = store.records()[0]
    assert (first.version, first.author) == (2, "bob")
    assert [entry.label for entry in store.history(first.id)] == ["cat", "lion"]


def test_what_makes_no_sense_is_refused(labels: LabelSet) -> None:
    with pytest.raises(InputError, match="at least one letter"):
        labels.add("  ")
    with pytest.raises(InputError, match=r"form #3d8bff.*Given: 'red'"):
        labels.recolor("cat", "red")
    with pytest.raises(NotFoundError, match="no class 'cow'"):
        labels.rename("cow", "cat", "ann")


@pytest.mark.parametrize("name", ["\ud800", "a\0", "x" * 401])
def test_a_name_that_no_database_can_hold_is_refused_wherever_it_comes(
    labels: LabelSet, name: str
) -> None:
    for change in (
        lambda: labels.add(name),
        lambda: labels.recolor(name, "#aabbcc"),
        lambda: labels.move(name, 0),
        lambda: labels.rename(name, "cat", "ann"),
        lambda: labels.rename("cat", name, "ann"),
        lambda: labels.delete(name, "unname", "ann"),
    ):
        with pytest.raises(InputError, match="The class name (must be valid|has 401)"):
            change()
    assert names(labels) == [("cat", 2), ("cup", 0), ("dog", 1)]


def test_a_name_that_was_renamed_does_not_come_back_with_a_page_that_had_it_chosen(
    store: Store,
) -> None:
    labels = LabelSet(store.database)
    for name in ("cat", "dog"):
        labels.add(name)
    labels.rename("cat", "kitten", "bob")
    labels.rename("kitten", "tabby", "bob")

    def kept(label: str, *, told: bool = True) -> str | None:
        (entry,) = store.add_records(
            1, [Draft(rle=small_mask(1), label=label)], "ann", seconds_logged=told
        )
        return entry.label

    assert [kept("cat"), kept("kitten"), kept("dog"), kept("cow")] == [
        "tabby",
        "tabby",
        "dog",
        "cow",
    ]
    assert [label.name for label in labels.all()] == ["tabby", "dog", "cow"]
    labels.add("kitten")  # somebody wants it again
    assert kept("kitten") == "kitten"
    assert kept("cat") == "kitten"
    assert kept("cat", told=False) == "cat"  # a file means what it says
    labels.rename("tabby", "lion", "bob")
    labels.rename("lion", "tabby", "bob")
    assert kept("lion") == "tabby"
