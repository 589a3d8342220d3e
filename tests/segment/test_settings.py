"""Every setting is described."""

from dataclasses import fields

import pytest

from anymask.base import list_settings
from anymask.segment import Grid, MaskFilter, SegmentSettings


@pytest.mark.parametrize("settings", [SegmentSettings, Grid, MaskFilter])
def test_every_field_says_what_it_does(settings: type) -> None:
    listed = list_settings(settings)
    assert [setting.name for setting in listed] == [field.name for field in fields(settings)]
    assert all(setting.about.description for setting in listed)
