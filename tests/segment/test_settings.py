"""The keyword types of the settings are their dataclasses, field by field."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from anymask.base import list_settings
from anymask.segment import (
    EverythingDict,
    Grid,
    GridDict,
    MaskFilter,
    SegmentSettings,
    SegmentSettingsDict,
)
from anymask.segment.settings import MaskFilterDict


@pytest.mark.parametrize(
    ("settings", "keywords"),
    [(SegmentSettings, SegmentSettingsDict), (Grid, GridDict), (MaskFilter, MaskFilterDict)],
)
def test_the_keyword_types_are_those_of_the_settings(settings: type, keywords: type) -> None:
    assert list(get_type_hints(keywords).items()) == list(get_type_hints(settings).items())
    assert keywords.__optional_keys__ == set(get_type_hints(settings))


def test_everything_takes_the_grid_and_the_arrangement() -> None:
    assert get_type_hints(EverythingDict) == get_type_hints(Grid) | get_type_hints(MaskFilter)


@pytest.mark.parametrize("settings", [SegmentSettings, Grid, MaskFilter])
def test_every_field_says_what_it_does(settings: type) -> None:
    listed = list_settings(settings)
    assert [setting.name for setting in listed] == [field.name for field in fields(settings)]
    assert all(setting.about.description for setting in listed)
