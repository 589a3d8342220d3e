"""Prompts in point clouds: sampling and neighbours by definition, coordinates, errors, command."""

from pathlib import Path

import numpy as np
import pytest
import torch

import anymask
from anymask.base import InputError, MissingExtra, ModelError, PromptError
from anymask.cli.main import main
from anymask_points import load_point_model
from anymask_points.clicks import ClicksInClouds
from anymask_points.point_sam import TINY, TINY_SPEC, PointModel, farthest_points, neighbors

CLOUD = np.random.default_rng(0).normal(size=(300, 3)) * 5 + [1000, -400, 7]
COLORS = np.random.default_rng(1).uniform(size=(300, 3))


def test_farthest_points_and_neighbours_by_their_definition() -> None:
    at = torch.from_numpy(CLOUD)
    chosen = farthest_points(at, 12).tolist()
    assert chosen[0] == 0
    for place in range(1, 12):  # each is the farthest from all before it
        far = np.linalg.norm(CLOUD[:, None] - CLOUD[chosen[:place]], axis=2).min(axis=1)
        assert far[chosen[place]] == pytest.approx(far.max())
    distances, found = neighbors(at[:5], at, 4)
    all_of_them = np.linalg.norm(CLOUD[:5, None] - CLOUD, axis=2)
    np.testing.assert_array_equal(found, np.argsort(all_of_them, axis=1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(all_of_them, axis=1)[:, :4], atol=1e-5)


@pytest.fixture(scope="module")
def clicks() -> ClicksInClouds:
    torch.manual_seed(0)
    module = PointModel(TINY_SPEC, TINY)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return ClicksInClouds(module, "f" * 64, "cpu")


def test_an_answer_depends_on_the_prompts_and_not_on_the_unit(clicks: ClicksInClouds) -> None:
    features = clicks.encode(CLOUD, COLORS)
    first = clicks.segment(features, CLOUD[:1])
    assert first.masks.shape == (3, 300)
    assert (np.diff(first.scores) <= 0).all()
    other = clicks.encode(CLOUD * 1000 + 5, COLORS)  # millimetres, another origin
    same = clicks.segment(other, CLOUD[:1] * 1000 + 5)
    np.testing.assert_allclose(same.logits, first.logits, atol=1e-3)
    one = clicks.segment(features, CLOUD[:2], [1, 0])
    assert one.masks.shape == (1, 300)
    refined = clicks.segment(features, CLOUD[:2], [1, 0], mask=first.logits[0])
    assert np.abs(refined.logits - one.logits).max() > 1e-3
    dark = clicks.segment(clicks.encode(CLOUD, COLORS * 0), CLOUD[:1])
    assert np.abs(dark.logits - first.logits).max() > 1e-3


@pytest.mark.parametrize("count", [1, 2, 7, 600])
def test_clouds_of_any_size(clicks: ClicksInClouds, count: int) -> None:
    points = np.random.default_rng(2).normal(size=(count, 3))
    answer = clicks.segment(clicks.encode(points), points[:1])
    assert answer.mask.shape == (count,)
    assert np.isfinite(answer.logits).all()


def test_wrong_prompts_are_reported(clicks: ClicksInClouds) -> None:
    features = clicks.encode(CLOUD)
    with pytest.raises(PromptError, match=r"Point \(0, 0, 0\) is outside the cloud, which extends"):
        clicks.segment(features, [(0, 0, 0)])
    with pytest.raises(PromptError, match=r"an array \(P, 3\)"):
        clicks.segment(features, [(0, np.nan, 0)])
    with pytest.raises(PromptError, match="at least one foreground point"):
        clicks.segment(features, CLOUD[:1], [0])
    with pytest.raises(PromptError, match="1 point_labels"):
        clicks.segment(features, CLOUD[:1], [1, 0])
    with pytest.raises(InputError, match=r"array \(300,\) of finite numbers"):
        clicks.segment(features, CLOUD[:1], mask=np.zeros(299))
    with pytest.raises(InputError, match="colors= requires an array"):
        clicks.encode("a.ply", COLORS)


def test_models_of_other_inputs_are_reported() -> None:
    with pytest.raises(ModelError, match=r"load_point_model\('point_sam_l'\)"):
        anymask.load("point_sam_l")
    with pytest.raises(ModelError, match=r"2D images, not for point clouds.*anymask\.load"):
        load_point_model("nano")


def test_the_command_writes_the_mask_and_reports(
    clicks: ClicksInClouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source, out = tmp_path / "a.npz", tmp_path / "b.npz"
    np.savez(source, points=np.insert(CLOUD, 3, np.nan, axis=0), colors=np.insert(COLORS, 3, 0, 0))
    monkeypatch.setattr("anymask_points.commands.points.load_point_model", lambda *_: clicks)
    place = ",".join(map(str, CLOUD[0]))
    assert main(["points", str(source), "--point", place, "-o", str(out)]) == 0
    told = capsys.readouterr().err
    assert "skipped 1 points" in told
    expected = clicks.segment(clicks.encode(CLOUD, COLORS), CLOUD[:1])
    assert f"{expected.mask.sum()} of 300 points" in told
    with np.load(out) as found:
        np.testing.assert_array_equal(found["mask"], expected.mask)
    for words, message in (
        ([], "No prompt was passed. Add --point X,Y,Z"),
        (["--point", "1,2"], "Expected 3 numbers"),
        (["--point", "0,0,0"], "outside the cloud"),
    ):
        assert main(["points", str(source), *words, "-o", str(out)]) == 2
        assert message in capsys.readouterr().err
    assert main(["points", str(source), "--point", place, "-o", str(tmp_path / "b.obj")]) == 2
    assert "written as .ply or .npz" in capsys.readouterr().err


def test_a_missing_input_is_reported_before_a_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(*_: object) -> None:
        raise MissingExtra("torch", "torch", "this")

    monkeypatch.setattr("anymask_points.commands.points.need_packages", lacks)
    words = ["points", str(tmp_path / "a.xyz"), "--point", "1,1,1", "-o", str(tmp_path / "o.ply")]
    assert main(words) == 2
    assert "File or folder not found" in capsys.readouterr().err
    (tmp_path / "a.xyz").write_text("1 1 1\n")
    assert main(words) == 2
    assert "anymask[torch]" in capsys.readouterr().err
