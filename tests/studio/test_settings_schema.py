"""What /openapi.json says of settings is what the settings themselves take."""

from __future__ import annotations

import jsonschema_rs
import pytest

from anymask.base import InputError, list_settings
from anymask.segment import Grid, MaskFilter, SegmentSettings
from anymask.studio.schemas import EVERYTHING, SEGMENT, TRACK, SegmentBody, settings_schema
from anymask.track import GROUPS

VALUES = (True, False, None, -1, 0, 0.5, 1, 7, 2000, 10**7, "auto", "exact", "tree", "points", "x")


@pytest.mark.parametrize("group", [Grid, MaskFilter, *GROUPS])
def test_a_value_fits_the_schema_where_the_setting_takes_it(group: type) -> None:
    for setting in set(list_settings(group)) & {*EVERYTHING, *TRACK}:
        schema = settings_schema([setting])
        for value in VALUES:
            given = {setting.name: value}
            if str in setting.members and isinstance(value, str):
                continue  # sizes and paths have a grammar of their own
            try:
                group(**given)
                taken = True
            except InputError:
                taken = False
            fits = jsonschema_rs.is_valid(schema, given)
            assert fits == taken, (given, schema)


def test_every_setting_is_there_that_makes_sense_without_state() -> None:
    own = {"memory_limit", "points_per_batch"}
    known = {*Grid.__dataclass_fields__, *MaskFilter.__dataclass_fields__, "tile"}
    assert {one.name for one in EVERYTHING} == known - own
    of_files = {"session", "start", "end", "every", "fps", "tracker_weights"}
    assert {one.name for one in TRACK} == {
        name for group in GROUPS for name in group.__dataclass_fields__
    } - of_files
    assert set(SEGMENT) == {*SegmentSettings.__dataclass_fields__}
    assert set(SEGMENT) < set(SegmentBody.model_fields)
