"""The keyword types of the settings are their dataclasses, field by field."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from anymask.base import list_settings
from anymask.segment import (
    Arrangement,
    EverythingDict,
    Grid,
    GridDict,
    SegmentSettings,
    SegmentSettingsDict,
)
from anymask.segment.settings import ArrangementDict


@pytest.mark.parametrize(
    ("settings", "keywords"),
    [(SegmentSettings, SegmentSettingsDict), (Grid, GridDict), (Arrangement, ArrangementDict)],
)
def test_the_keyword_types_are_those_of_the_settings(settings: type, keywords: type) -> None:
    assert list(get_type_hints(keywords).items()) == list(get_type_hints(settings).items())
    assert keywords.__optional_keys__ == set(get_type_hints(settings))


def test_everything_takes_the_grid_and_the_arrangement() -> None:
    assert get_type_hints(EverythingDict) == get_type_hints(Grid) | get_type_hints(Arrangement)


@pytest.mark.parametrize("settings", [SegmentSettings, Grid, Arrangement])
def test_every_field_says_what_it_does(settings: type) -> None:
    listed = list_settings(settings)
    assert [setting.name for setting in listed] == [field.name for field in fields(settings)]
    assert all(setting.about.does for setting in listed)
