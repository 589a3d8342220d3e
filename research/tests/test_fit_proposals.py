"""The training of the proposal head."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from anymask.base import file_sha256
from anymask.masks import Geometry
from anymask.models.rules import SHIPPED
from anymask.runtime import read_manifest
from anymask.runtime.manifest import read_tables
from anymask.segment.everything.proposals import FILE, ProposalHead
from research import fit_proposals as fit


def image(rng: np.random.Generator, count: int = 3) -> dict[str, NDArray[Any]]:
    """Features in which cells inside objects have a value of their own."""
    cover = np.zeros((count, 64, 64), np.uint8)
    boxes, fine = [], rng.normal(0, 0.1, (4, 64, 64)).astype(np.float32)
    for k in range(count):
        x, y = rng.integers(1, 14) + 16 * k, rng.integers(2, 48)
        side = int(rng.integers(4, 7))
        cover[k, y : y + side, x : x + side] = 255
        fine[0, y : y + side, x : x + side] += 2
        boxes.append((x, y, x + side, y + side))
    box = 8 * np.array(boxes, np.float32)
    coarse = fine.reshape(4, 32, 2, 32, 2).mean((2, 4))
    return {
        "map0": coarse.astype(np.float16), "map1": fine.astype(np.float16), "cover": cover,
        "boxes": box, "points": (box[:, :2] + box[:, 2:]) / 2,
        "areas": np.prod(box[:, 2:] - box[:, :2], axis=1), "input_hw": np.array([512, 512]),
    }  # fmt: skip


def test_the_package_computes_what_torch_computes() -> None:
    torch.manual_seed(0)
    head = fit.Head(6, 4).train()
    maps = [torch.randn(3, 6, 32, 32), torch.randn(3, 4, 64, 64)]
    for _ in range(3):  # normalization learns a mean and a deviation
        head(*(5 * one + 2 for one in maps))
    head.eval()
    package = ProposalHead(fit.folded(head.state_dict()))
    with torch.no_grad():
        expected = head(*maps)
    for index in range(3):
        found = package.maps(*(one[index].numpy() for one in maps))
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs[index].numpy(), atol=1e-4)


def test_a_written_head_is_bound_to_its_weights_and_its_file(tmp_path: Path) -> None:
    for name in ("manifest.json", "tables.json"):
        shutil.copy(SHIPPED / "small" / name, tmp_path)
    before = read_tables(tmp_path, read_manifest(tmp_path))
    torch.manual_seed(0)
    arrays = fit.folded(fit.Head(6, 4).eval().state_dict())
    fit.write_head(tmp_path, arrays)
    manifest = read_manifest(tmp_path)
    tables = dict(read_tables(tmp_path, manifest))
    digest = file_sha256(tmp_path / FILE)
    assert tables.pop("proposals") == {"weights": manifest.weights_hash, "sha256": digest}
    assert tables == {name: one for name, one in before.items() if name != "proposals"}
    assert FILE not in manifest.sha256  # so pages do not download it
    maps = [np.random.default_rng(0).normal(0, 1, (c, 32, 32)).astype(np.float32) for c in (6, 4)]
    maps[1] = maps[1].repeat(2, axis=1).repeat(2, axis=2)
    found = ProposalHead.read(tmp_path / FILE).maps(*maps)
    for mine, full in zip(found, ProposalHead(arrays).maps(*maps), strict=True):
        np.testing.assert_allclose(mine, full, atol=2e-2)  # float16


def test_a_target_has_the_distances_to_the_box() -> None:
    known = image(np.random.default_rng(0), count=1)
    coarse, fine = fit.targets(known, "ore_pellets")
    assert not coarse.heat.any()  # a box of less than 56 pixels belongs to the fine map
    y, x = np.unravel_index(int(fine.heat.argmax()), fine.heat.shape)
    x0, y0, x1, y1 = known["boxes"][0]
    assert fine.heat[y, x] == 1
    centre = 8 * (x + 0.5), 8 * (y + 0.5)
    wanted = (centre[0] - x0, centre[1] - y0, x1 - centre[0], y1 - centre[1])
    np.testing.assert_allclose(fine.sides[:, y, x], wanted)
    assert fit.targets(known, "pets")[1].weight.min() == np.float32(fit.SELDOM)


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ((5, 5, 5, 5), (5, 5, 5, 5), 1.0),
        ((5, 5, 5, 5), (5, 5, 15, 5), 1 / 2),
        ((10, 10, 10, 10), (5, 5, 15, 5), 150 / 450 - 50 / 500),
    ],
)
def test_giou_of_boxes_around_a_point(
    found: tuple[float, ...], wanted: tuple[float, ...], expected: float
) -> None:
    iou = fit.giou(torch.tensor([found], dtype=torch.float), torch.tensor([wanted]).float())
    assert float(iou) == pytest.approx(expected)


def test_training_lowers_the_loss_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "AT_ONCE", 2)
    monkeypatch.setattr(fit, "RATE", 2e-2)
    rng = np.random.default_rng(1)
    for number in range(8):
        np.savez(tmp_path / f"ore_pellets-{number:04d}.npz", **image(rng))  # type: ignore[arg-type]
    known = fit.read_features(tmp_path)[0]
    maps, wanted = fit.batch(known, np.random.default_rng(0))

    def loss() -> float:
        state = torch.load(tmp_path / "head.pt", weights_only=True)
        head = fit.Head(4, 4)
        head.load_state_dict(state["head"])
        with torch.no_grad():
            return float(fit.loss_of(head(*maps), wanted))

    fit.train(tmp_path, 1)
    first = loss()
    fit.train(tmp_path, 16)
    assert torch.load(tmp_path / "head.pt", weights_only=True)["step"] == 16
    last = loss()
    assert last < 0.8 * first


def test_boxes_stay_inside_the_image() -> None:
    torch.manual_seed(0)
    head = ProposalHead(fit.folded(fit.Head(4, 4).eval().state_dict()))
    maps = [np.random.default_rng(0).normal(0, 9, (4, n, n)).astype(np.float32) for n in (32, 64)]
    found = head.propose(maps, Geometry((300, 512), (300, 512), 512))
    assert len(found.boxes) > 0
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, [1, 3]] <= 300).all()
    assert (np.diff(found.scores) <= 0).all()
