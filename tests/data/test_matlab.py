"""MATLAB files: what scipy writes comes back; whatever is broken is a DataError that names it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from anymask.data.matlab import load_matlab
from anymask.primitives.errors import DataError
from tests.primitives.strategies import quickly

KINDS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?"]


@st.composite
def numbers(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(KINDS))
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=5))
    return draw(arrays.arrays(np.dtype(kind), shape))


@quickly
@given(numbers(), st.booleans())
def test_arrays_of_every_type_come_back(
    tmp_path_factory: pytest.TempPathFactory, array: Any, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    scipy.io.savemat(path, {"a": array, "again": array}, do_compression=packed)
    found = load_matlab(path)
    np.testing.assert_array_equal(found["a"], array)
    np.testing.assert_array_equal(found["again"], array)
    assert found["a"].dtype == array.dtype


def test_cells_and_structs_are_lists_and_dicts(tmp_path: Path) -> None:
    cells = np.empty((1, 3), object)
    cells[0, 0], cells[0, 1] = {"a": np.eye(2), "longer_name": np.uint8(7)}, np.array([[1.5, 2]])
    inner = np.empty((2, 1), object)
    inner[0, 0], inner[1, 0] = np.int16([[3]]), np.zeros((0, 0))
    cells[0, 2] = inner
    scipy.io.savemat(tmp_path / "a.mat", {"cells": cells})
    first, second, third = load_matlab(tmp_path / "a.mat")["cells"]
    (record,) = first
    np.testing.assert_array_equal(record["a"], np.eye(2))
    assert record["longer_name"].tolist() == [[7]]
    assert second.tolist() == [[1.5, 2]]
    assert [one.tolist() for one in third] == [[[3]], []]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", r"a\.mat: is no MATLAB file of version 5; is it complete\?"),
        (b"MATLAB 7.3 MAT-file" + b" " * 200, r"a\.mat: is a file of version 7\.3 \(HDF5\); save"),
        (b" " * 124 + b"\0\1XX" + b" " * 20, r"a\.mat: is no MATLAB file of version 5"),
    ],
)
def test_another_file_is_named(data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(DataError, match=told):
        load_matlab(tmp_path / "a.mat")


@pytest.mark.parametrize("value", [np.array([[1 + 2j]]), "text"])
def test_what_is_not_read_is_named(value: Any, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"a": value})
    with pytest.raises(DataError, match=r"a\.mat: the array 'a' is of the class \d+, which is not"):
        load_matlab(tmp_path / "a.mat")


@quickly
@given(st.data())
def test_damage_is_a_data_error_or_other_numbers(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    cells = np.empty((1, 1), object)
    cells[0, 0] = {"Segmentation": np.arange(12, dtype=np.uint16).reshape(3, 4)}
    packed = data.draw(st.booleans())
    scipy.io.savemat(path, {"groundTruth": cells}, do_compression=packed)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    try:
        load_matlab(path)
    except DataError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - most damages raise, some do not
