import io
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anymask.primitives.arrays import check_members, read_array, read_arrays
from anymask.primitives.errors import DataError


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_arrays_come_back() -> None:
    for array in (np.ones((3, 2), np.bool_), np.arange(6.0).reshape(2, 3), np.array(3)):
        assert np.array_equal(read_array(io.BytesIO(saved(array))), array)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"(8, 8)", b"(9999999999, 100)", "its header states 999999999900 bytes"),
        (b"(8, 8)", b"(8, -8)", "not numbers"),
        (b"'|b1'", b"'|O8'", "not numbers"),
        (b"{'descr'", b"{'desc\xff'", "no array file"),
        (b"(8, 8)", b"((8, 8", "no array file"),
    ],
)
def test_a_header_that_the_bytes_do_not_bear_out_is_refused(
    old: bytes, new: bytes, why: str
) -> None:
    data = saved(np.zeros((8, 8), np.bool_))
    head, body = data[: data.index(b"\n") + 1], data[data.index(b"\n") + 1 :]
    text = head[10:].replace(old, new)
    head = head[:8] + len(text).to_bytes(2, "little") + text
    with pytest.raises(DataError, match=why):
        read_array(io.BytesIO(head + body))


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("features", b"text")
    with (tmp_path / "a").open("rb") as file, pytest.raises(DataError, match="is no array"):
        read_arrays(file)


def test_a_member_that_unpacks_to_a_thousand_times_its_size_is_refused() -> None:
    member = zipfile.ZipInfo("bomb.npy")
    member.file_size, member.compress_size = 6 << 30, 5 << 20
    archive: Any = SimpleNamespace(infolist=lambda: [member])
    with pytest.raises(DataError, match=r"'bomb.npy' of 5242880 bytes unpacks to 6442450944"):
        check_members(archive)
    member.file_size = 60 << 20  # as large as a sound one may be, however it is packed
    check_members(archive)
