"""Files of point clouds: PLY, arrays and tables, and the errors of bad files."""

from pathlib import Path

import numpy as np
import pytest

from anymask.base import DataError, InputError
from anymask_points.cloud import PointCloud, read_points

POINTS = np.array([[0, 0, 0], [1.5, -2, 3], [4, 5, 6.25]])
BYTES = np.array([[0, 51, 255], [255, 0, 0], [102, 204, 0]], np.uint8)
HEADER = """ply
format {format} 1.0
comment made by hand
element vertex 3
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 1
property list uchar int vertex_indices
end_header
"""


def ply(kind: str) -> bytes:
    header = HEADER.format(format=kind).encode()
    if kind == "ascii":
        rows = [
            f"{x} {y} {z} {r} {g} {b}\n" for (x, y, z), (r, g, b) in zip(POINTS, BYTES, strict=True)
        ]
        return header + "".join(rows).encode() + b"3 0 1 2\n"
    order = "<" if "little" in kind else ">"
    body = b"".join(
        at.astype(f"{order}f4").tobytes() + color.tobytes()
        for at, color in zip(POINTS, BYTES, strict=True)
    )
    return header + body + b"\x03" + np.array([0, 1, 2], f"{order}i4").tobytes()


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_a_ply_file_of_each_kind_has_the_same_points(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "cloud.ply"
    path.write_bytes(ply(kind))
    cloud = read_points(path)
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.colors is not None
    np.testing.assert_allclose(cloud.colors, BYTES / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.xyz", "# x y z\n0 0 0\n1.5 -2 3\n\n4 5 6.25 // the last\n"),
        ("a.csv", "0,0,0\n1.5, -2, 3\n4;5;6.25\n"),
        ("a.pts", "3\n0 0 0\n1.5 -2 3\n4 5 6.25\n"),
    ],
)
def test_tables_of_text(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    cloud = read_points(tmp_path / name)
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.colors is None


@pytest.mark.parametrize(
    "colors", [BYTES, BYTES / 255, BYTES.astype(np.float64), BYTES.astype(int)]
)
def test_colors_in_bytes_and_fractions_are_the_same(colors: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=POINTS, colors=colors)
    np.save(tmp_path / "a.npy", np.concatenate([POINTS, colors], axis=1))
    for cloud in (
        read_points(tmp_path / "a.npz"), read_points(tmp_path / "a.npy"),
        PointCloud.of(POINTS, colors),
    ):  # fmt: skip
        np.testing.assert_array_equal(cloud.points, POINTS)
        assert cloud.colors is not None
        np.testing.assert_allclose(cloud.colors, BYTES / 255, atol=1e-7)


def test_a_written_file_is_read_again(tmp_path: Path) -> None:
    far = POINTS + np.array([4.5e6, 3.1e5, 0.001])  # coordinates of a map need double precision
    mask = np.array([True, False, True])
    for points in (POINTS, far):
        PointCloud.of(points, BYTES).write(tmp_path / "a.ply", mask)
        cloud = read_points(tmp_path / "a.ply")
        np.testing.assert_array_equal(cloud.points, points)
        assert cloud.colors is not None
        np.testing.assert_allclose(cloud.colors, BYTES / 255, atol=1e-7)
        assert b"property uchar mask\n" in (tmp_path / "a.ply").read_bytes()
        last_bytes = np.frombuffer((tmp_path / "a.ply").read_bytes()[-1:], np.uint8)
        assert last_bytes == [1]
        PointCloud.of(points).write(tmp_path / "a.npz", mask)
        with np.load(tmp_path / "a.npz") as found:
            np.testing.assert_array_equal(found["points"], points)
            np.testing.assert_array_equal(found["mask"], mask)


def test_points_that_are_not_finite_are_skipped_and_counted(tmp_path: Path) -> None:
    holes = np.insert(POINTS, 1, np.nan, axis=0)
    np.savez(tmp_path / "a.npz", points=holes, colors=np.insert(BYTES, 1, 7, axis=0))
    cloud = read_points(tmp_path / "a.npz")
    assert cloud.skipped == 1
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.colors is not None
    np.testing.assert_allclose(cloud.colors, BYTES / 255, atol=1e-7)
    with pytest.raises(InputError, match="1 of 4 points have coordinates that are not finite"):
        PointCloud.of(holes)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.ply", b"solid cube\n", "not a PLY file"),
        ("a.ply", ply("binary_little_endian")[:-14], "3 vertices, but the file contains 2"),
        ("a.ply", ply("ascii").replace(b" 3.0 ", b" ? "), "not lines of 6 numbers"),
        ("a.ply", ply("ascii").replace(b"float x", b"list uchar int x"), "properties x, y and z"),
        ("a.ply", ply("ascii").replace(b"element vertex 3", b"element vertex -3"), "invalid line"),
        ("a.ply", ply("ascii").replace(b"vertex 3", b"vertex 0"), "has no points. Export"),
        ("a.ply", ply("ascii").replace(b"vertex 3", b"face 3"), "no element 'vertex'"),
        ("a.ply", ply("ascii").replace(b"vertex 3", b"vertex " + b"9" * 5000), "invalid line"),
        ("a.ply", ply("ascii").replace(b"float y", b"float x"), "without lists or repeated names"),
        (
            "a.ply",
            b"ply\nformat binary_little_endian 1.0\nelement e 1\nproperty int a\nproperty int a\n"
            b"element vertex 1\nproperty float x\nend_header\n",
            "precedes the vertices",
        ),
        ("a.xyz", b"1 2\n", r"shape \(1, 2\). Expected 3 columns"),
        ("a.xyz", b"a b c\n", "not a table of numbers"),
        ("a.xyz", b"\xff\xfe\x00", "not text"),
        ("a.xyz", b"", "has no points. Export"),
        ("a.xyz", b"nan nan nan\n", "none of which has finite"),
        ("a.xyz", b"0 0 0 300 0 0\n", "1 of 1 colors are out of range"),
        ("a.npz", b"PK", "NumPy archive"),
        ("a.npy", b"\x93NUMPY", "NumPy array"),
    ],
)  # fmt: skip
def test_bad_files_are_data_errors(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_points(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_other_inputs_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'cloud.las' is not a point cloud"):
        read_points("cloud.las")
    np.savez(tmp_path / "a.npz", vertices=POINTS)
    with pytest.raises(DataError, match="Its arrays are vertices. Expected an array named"):
        read_points(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"must be an array \(N, 3\), got the shape \(3, 2\)"):
        PointCloud.of(POINTS[:, :2])
    with pytest.raises(InputError, match="one color for each of 3 points, got 2"):
        PointCloud.of(POINTS, BYTES[:2])
    with pytest.raises(InputError, match="cloud is empty"):
        PointCloud.of(np.zeros((0, 3)))
    with pytest.raises(InputError, match=r"written as .ply or .npz"):
        PointCloud.of(POINTS).write(tmp_path / "a.obj", np.ones(3, bool))
