"""The model that programs of others call."""

import pytest

from anymask.segment import Model
from tests.segment.fakes import ColourRuntime


@pytest.fixture
def model() -> Model:
    return Model(ColourRuntime())
