"""How small a region may be: pixels and shares are told apart, nonsense is refused."""

import numpy as np
import pytest

from anymask.base import InputError
from anymask.masks import clean_mask, parse_region_size
from tests.evaluation.small_sets import rectangle


@pytest.mark.parametrize(
    ("given", "least"),
    [
        (50, 50), (1, 1), (2.5, 2.5), (0, 0), (0.05, 10), (0.999, 199.8), ("5%", 10), (" 5 % ", 10),
        ("0.5%", 1), ("0%", 0), ("99.5%", 199), ("50", 50), ("0.05", 10),
    ],
)  # fmt: skip
def test_a_size_is_pixels_from_1_on_and_a_share_of_the_mask_below(
    given: float | str, least: float
) -> None:
    assert parse_region_size(given, "area").of(200) == pytest.approx(least)


@pytest.mark.parametrize(
    "given",
    [-1, -0.05, "-5%", "100%", "105%", "five", "%", "", "5%%", "nan", "inf", np.nan, np.inf,
     True, None, [5], "auto"],
)  # fmt: skip
def test_what_is_no_size_is_refused_with_the_settings_name(given: object) -> None:
    told = r"Invalid area .*number of pixels \(1 or more\), a share .* or 0 for none"
    with pytest.raises(InputError, match=told):
        parse_region_size(given, "area")


def test_a_share_is_of_the_mask_before_anything_is_filled() -> None:
    mask = rectangle((20, 40), (2, 2, 12, 12))
    mask[4:6, 4:6] = False  # 4 of 96 + 4 + 5 pixels
    mask[15:17, 20:22] = True  # 4
    mask[5, 30:35] = True  # 5
    area = int(mask.sum())
    assert area == 105
    small = clean_mask(mask, 5 / area, 5 / area)
    assert small[5, 5]
    assert not small[15, 20]
    assert small[5, 30:35].all()  # not less than the share: it stays
    np.testing.assert_array_equal(clean_mask(mask, "4.8%", 5), small)


def test_a_hole_is_enclosed_so_a_gap_at_the_border_stays() -> None:
    mask = np.ones((20, 20), np.bool_)
    mask[0:3, 5:8] = False
    mask[10, 10] = False
    filled = clean_mask(mask, 50)
    assert filled[10, 10]
    assert not filled[0:3, 5:8].any()
