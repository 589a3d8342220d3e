"""A model at another input side is followed by its network of memory, too."""

import numpy as np
import pytest

import anymask
from tests.segment.fakes import iou
from tests.track.clips import moving_discs

IMAGES, TRUTH = moving_discs(4)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", ["nano@384", "nano@640"])
def test_the_network_of_memory_follows_at_another_side(name: str, turned: bool) -> None:
    images = [np.rot90(one).copy() if turned else one for one in IMAGES]
    truth = [np.rot90(one[0]) if turned else one[0] for one in TRUTH]
    with anymask.load(name).track(images, tracker="memory") as session:
        session.add(mask=truth[0])
        for frame in session:
            assert iou(frame.masks[1], truth[frame.index]) > 0.85
