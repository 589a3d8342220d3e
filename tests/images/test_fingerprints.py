"""Photos that were encoded again are recognised, other photos are not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.images import fingerprint, first_alike


def photo(seed: int, hw: tuple[int, int] = (120, 160)) -> Image.Image:
    """Soft shades and fine noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    soft = np.asarray(coarse.resize((hw[1], hw[0]), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(np.clip(soft + rng.normal(0, 12, (*hw, 3)), 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.jpg", {"quality": 50}), ("a.webp", {"quality": 60}), ("a.bmp", {})],
)
def test_a_photo_that_was_encoded_again_is_known(
    name: str, options: dict[str, int], tmp_path: Path
) -> None:
    photo(1).save(tmp_path / "first.jpg", quality=92)
    Image.open(tmp_path / "first.jpg").save(tmp_path / name, **options)
    prints = [fingerprint(tmp_path / "first.jpg"), fingerprint(tmp_path / name)]
    assert first_alike(prints[1:], prints[:1]) == [0]


def test_other_photos_and_changed_ones_are_not(tmp_path: Path) -> None:
    first = photo(1)
    spot = np.asarray(first).copy()
    spot[40:60, 60:80] = 255 - spot[40:60, 60:80] // 2  # something else stands there
    others = {
        "other": photo(2),
        "spot": Image.fromarray(spot),
        "mirrored": first.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "square": first.resize((120, 120)),
    }
    first.save(tmp_path / "first.png")
    for name, image in others.items():
        image.save(tmp_path / f"{name}.png")
    prints = [fingerprint(tmp_path / f"{name}.png") for name in others]
    assert all(one is not None for one in prints)
    assert first_alike(prints, [fingerprint(tmp_path / "first.png")]) == [-1, -1, -1, -1]


def test_what_shows_nothing_or_is_no_photo_has_no_fingerprint(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (90, 90, 90)).save(tmp_path / "flat.png")
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)).save(tmp_path / "deep.png")
    pages = [photo(seed) for seed in (1, 2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "none.png").write_bytes(b"no picture")
    for name in ("flat.png", "deep.png", "pages.tif", "none.png"):
        assert fingerprint(tmp_path / name) is None
    assert first_alike([None], [None]) == [-1]


def test_many_are_compared_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    table = rng.uniform(0, 255, (60, 257))
    table[:, 0] = 1.5
    again = table + np.concatenate([[0], rng.uniform(-2, 2, 256)])
    prints = [*again[:30], *rng.uniform(0, 255, (10, 257))]
    slow = [
        next(
            (
                place
                for place, other in enumerate(table)
                if np.abs(one - other)[1:].mean() <= 1.5
                and np.abs(one - other)[1:].max() <= 9
                and abs(other[0] / one[0] - 1) <= 0.02
            ),
            -1,
        )
        for one in prints
    ]
    assert slow[:30] == list(range(30))
    assert first_alike(prints, list(table)) == slow
