import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from anymask.base import DataError, arrays, check_members, read_array, read_arrays


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"(8, 8)", b"(9999999999, 100)", "declares 999999999900 bytes"),
        (b"(8, 8)", b"(8, -8)", "Expected a numeric array"),
        (b"'|b1'", b"'|O8'", "Expected a numeric array"),
        (b"{'descr'", b"{'desc\xff'", "Not a NumPy array"),
        (b"(8, 8)", b"((8, 8", "Not a NumPy array"),
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
    with (tmp_path / "a").open("rb") as file, pytest.raises(DataError, match="is not an array"):
        read_arrays(file)


@pytest.mark.parametrize("count", [1, 8])
def test_an_archive_that_unpacks_to_a_thousand_times_its_size_is_refused(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one member or of many small ones."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            archive.writestr(f"{number}.npy", saved(np.zeros(800_000 // count, np.int8)))
    assert len(read_arrays(buffer)) == count  # as much as a sound one may have, however packed
    monkeypatch.setattr(arrays, "ANY_RATIO_BYTES", 600_000)
    size = len(buffer.getvalue())
    with pytest.raises(
        DataError, match=rf"{size} bytes unpack to 80\d+, .* of its {count} members"
    ):
        read_arrays(buffer)


def test_members_that_lie_over_each_other_count_as_often_as_they_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrays, "ANY_RATIO_BYTES", 100_000)
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 2, 8000, np.int8)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", saved(noise))
        archive.filelist *= 300
    with zipfile.ZipFile(buffer) as archive:
        stated = [(one.file_size, one.compress_size) for one in archive.infolist()]
        unpacked, packed = np.sum(stated, axis=0)
        assert unpacked < 50 * packed
        with pytest.raises(DataError, match="The largest of its 300 members is 'a.npy'"):
            check_members(archive)
