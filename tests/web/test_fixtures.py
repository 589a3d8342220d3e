"""The page's unit tests compare with what the package answers today."""

import json

import numpy as np
import pytest

from tests.web.write_fixtures import FIXTURES, FOLDER


@pytest.mark.parametrize("name", FIXTURES)
def test_the_fixtures_of_the_page_are_what_the_package_answers(name: str) -> None:
    kept = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    now = json.loads(json.dumps(FIXTURES[name]()))
    assert_alike(kept, now)


def assert_alike(kept: object, now: object) -> None:
    if isinstance(kept, dict) and isinstance(now, dict):
        assert kept.keys() == now.keys()
        for key in kept:
            assert_alike(kept[key], now[key])
    elif isinstance(kept, int | float):
        np.testing.assert_allclose(now, kept, atol=0.04)  # type: ignore[call-overload]
    elif isinstance(kept, list) and isinstance(now, list):
        assert len(kept) == len(now)
        for one, other in zip(kept, now, strict=True):
            assert_alike(one, other)
    else:
        assert kept == now
