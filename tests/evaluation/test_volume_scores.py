"""Dice, NSD and HD95 of labels: hand-computed cases, and the definitions by plain distances."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import anymask
from anymask.base import DataError, InputError
from anymask.cli.main import main
from anymask.evaluation.volume_scores import score_label, score_volume, surface_distances
from anymask.volumes import Volume, label_volume, write_labels
from anymask.volumes.volume import scaled_affine

distance = pytest.importorskip("scipy.spatial.distance")
pytest.importorskip("nibabel")
SPACING = (2.5, 1.3, 0.7)


def box(shape: tuple[int, ...], *sides: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


# Hand-computed.


def test_two_voxels_apart_by_hand() -> None:
    found, truth = np.zeros((1, 1, 5), np.bool_), np.zeros((1, 1, 5), np.bool_)
    found[0, 0, 0], truth[0, 0, 3] = True, True
    assert score_label(found, truth, (1, 1, 2.0), 5.9) == (0.0, 0.0, 6.0)
    assert score_label(found, truth, (1, 1, 2.0), 6.0) == (0.0, 1.0, 6.0)


def test_a_bar_that_is_one_voxel_longer_by_hand() -> None:
    """Every voxel of a bar is on its surface; one of 5 + 4 lies one step of 3 mm away."""
    found, truth = box((1, 1, 6), (0, 1), (0, 1), (0, 5)), box((1, 1, 6), (0, 1), (0, 1), (0, 4))
    dice, nsd, hd95 = score_label(found, truth, (1, 1, 3.0), 1.0)
    assert (dice, nsd) == (8 / 9, 8 / 9)
    assert hd95 == pytest.approx(0.8 * 3.0)  # between 0 and 3 mm at 95 % of four gaps: 3.8


def test_a_shell_of_one_voxel_by_hand() -> None:
    """A cube of 3 in one of 5: 26 and 98 voxels of surface, none nearer than 1 mm."""
    truth, found = box((7, 7, 7), *[(2, 5)] * 3), box((7, 7, 7), *[(1, 6)] * 3)
    dice, nsd, hd95 = score_label(found, truth, (1, 1, 1), 1.0)
    assert dice == 2 * 27 / (27 + 125)
    assert nsd == pytest.approx((26 + 54) / (26 + 98))  # the six faces of 9 are within 1 mm
    assert hd95 == pytest.approx(np.sqrt(3))  # its 8 corners are 8 % of 98


def test_empty_ones() -> None:
    nothing, some = np.zeros((3, 3, 3), np.bool_), box((3, 3, 3), *[(0, 1)] * 3)
    assert score_label(nothing, nothing, SPACING) == (1.0, 1.0, None)
    assert score_label(nothing, some, SPACING) == score_label(some, nothing, SPACING)
    assert score_label(nothing, some, SPACING) == (0.0, 0.0, None)


# By the definitions: all distances between all voxels of the surfaces.


def surface(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The places in mm of voxels with a neighbour outside, by looking at all six."""
    padded = np.pad(mask, 1)
    places = []
    for place in np.argwhere(mask):
        around = [place + 1 + step for axis in np.eye(3, dtype=int) for step in (axis, -axis)]
        if not all(padded[tuple(one)] for one in around):
            places.append(place * SPACING)
    return np.array(places)


@pytest.mark.parametrize("seed", range(6))
def test_distances_are_those_between_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(3, 9, 3)
    found, truth = (rng.random(shape) < rng.uniform(0.2, 0.9) for _ in range(2))
    apart = distance.cdist(surface(found), surface(truth))
    ways = apart.min(axis=1), apart.min(axis=0)
    for ours, theirs in zip(surface_distances(found, truth, SPACING), ways, strict=True):
        assert np.allclose(ours, theirs)
    _, nsd, hd95 = score_label(found, truth, SPACING, 1.5)
    assert nsd == pytest.approx(np.mean(np.concatenate(ways) <= 1.5))
    assert hd95 == pytest.approx(max(np.percentile(way, 95) for way in ways))


# Of volumes and files.


def volumes() -> tuple[Volume, Volume]:
    truth, found = np.zeros((2, 8, 9, 10), np.uint8)
    truth[1:5, 2:6, 2:6], truth[6, 7, 8] = 1, 3
    found[1:5, 2:6, 3:7], found[0, 0, 0] = 1, 7
    scan = Volume(np.zeros((8, 9, 10)), scaled_affine(SPACING))
    return label_volume(found, scan), label_volume(truth, scan, names={1: "liver", 3: "cyst"})


def test_each_label_is_scored_as_if_it_were_alone() -> None:
    found, truth = volumes()
    scores = {one.label: one for one in score_volume(found, truth, tolerance=0.5)}
    assert {label: one.name for label, one in scores.items()} == {1: "liver", 3: "cyst", 7: ""}
    whole = score_label(found.array == 1, truth.array == 1, SPACING, 0.5)
    assert (scores[1].dice, scores[1].nsd, scores[1].hd95) == whole
    assert [scores[3].dice, scores[7].dice, scores[3].hd95, scores[7].hd95] == [0, 0, None, None]
    assert scores[1].truth_ml == pytest.approx(64 * np.prod(SPACING) / 1000)


def test_labels_of_a_file_with_a_scale_factor_are_whole() -> None:
    found, truth = volumes()
    scaled = Volume(found.array * np.float32(1.0000154), found.affine, found.names)
    assert score_volume(scaled, truth) == score_volume(found, truth)
    with pytest.raises(InputError, match="fractions"):
        score_volume(Volume(found.array / 2, found.affine), truth)


def test_files_and_folders_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, truth = volumes()
    for name, one in (("found", found), ("truth", truth)):
        (tmp_path / name).mkdir()
        for scan in ("a.nii.gz", "b.seg.nrrd"):
            write_labels(tmp_path / name / scan, one)
    report = anymask.evaluate(tmp_path / "found", tmp_path / "truth", protocol="volume")  # type: ignore[arg-type]
    assert len(report.rows) == 6
    assert report.data["means"]["1"]["dice"] == pytest.approx(0.75)
    assert report.data["means"]["all"]["absent"] == 4
    one = anymask.evaluate(
        tmp_path / "found" / "a.nii.gz", tmp_path / "truth" / "a.nii.gz",
        protocol="volume", tolerance=0.1,
    )  # type: ignore[arg-type] # fmt: skip
    assert one.rows[0]["nsd"] < report.rows[0]["nsd"]

    words = ["evaluate", "score", "volume", str(tmp_path / "truth"), str(tmp_path / "found")]
    assert main([*words, "--tolerance", "2"]) == 0
    printed = capsys.readouterr().out
    assert "liver" in printed
    assert printed.count("NSD at 2 mm") == 2  # in both tables
    (tmp_path / "found" / "a.nii.gz").unlink()
    assert main(words) == 2
    assert "such as a.nii.gz" in capsys.readouterr().err


def test_what_does_not_lie_on_each_other_is_refused(tmp_path: Path) -> None:
    found, truth = volumes()
    moved = Volume(found.array, scaled_affine((1, 1, 1)))
    with pytest.raises(DataError, match="affines of result"):
        score_volume(moved, truth)
    with pytest.raises(DataError, match="shape"):
        score_volume(Volume(found.array[1:], found.affine), truth)
    write_labels(tmp_path / "a.nii", found)
    for settings, match in (({"tolerance": -1}, "at least 0 mm"), ({"split": "val"}, "videos")):
        with pytest.raises(InputError, match=match):
            anymask.evaluate(tmp_path / "a.nii", tmp_path / "a.nii", protocol="volume", **settings)  # type: ignore[arg-type]
