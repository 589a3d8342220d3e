"""A video model of SAM 2's families behind a session: the session adds nothing to its numbers."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.base import InputError, ModelError
from anymask.masks import geometry, image_to_model, logits_to_rles, points_to_model, rle_to_mask
from anymask.models.rules import MemoryBank, VideoMoment, with_postprocessing
from anymask.models.variants import TINY_EDGE, TINY_VIDEO, VideoVariant
from anymask.models.video_model import FramePrompts
from anymask.runtime import TorchRuntime
from anymask.segment import Model
from anymask.track import open_session
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime
from tests.track.clips import moving_discs

IMAGES, _ = moving_discs(5)
POINT = [(30.0, 30.0)]


def tiny(variant: VideoVariant = TINY_VIDEO, precision: str = "fp32") -> Model:
    torch.manual_seed(0)
    module = variant.build()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return Model(TorchRuntime(module, "tiny", device="cpu", precision=precision))


@torch.inference_mode()
def by_hand(model: Model) -> list[object]:
    """The masks of the first object by the model's own steps."""
    module = model.runtime._module
    settings = replace(with_postprocessing(module.config.settings), prompted_limit=4)
    spec = replace(model.spec, resample="pillow_bicubic")
    where = geometry(IMAGES[0].shape[:2], spec)
    bank, masks = MemoryBank(), []
    for number, image in enumerate(IMAGES):
        frame = module.encode_frame(torch.from_numpy(image_to_model(image, spec))[None])
        prompts = None
        if number == 0:
            coords = torch.from_numpy(points_to_model(np.array([POINT]), where))
            prompts = FramePrompts(coords, torch.tensor([[1]]))
        at = VideoMoment(number)
        answer = module.step(frame, [bank], at, prompts, settings)
        (memory,) = module.remember(frame, answer, at, prompts is not None, settings)
        bank = bank.with_tracked(memory) if number else bank.with_prompted(memory)
        masks.append(logits_to_rles(module.finished(answer, settings)[0].numpy(), where, 0.0)[0])
    return masks


@pytest.mark.parametrize("variant", [TINY_VIDEO, TINY_EDGE], ids=lambda one: one.spec.name)
def test_a_session_gives_the_masks_of_the_models_own_steps(variant: VideoVariant) -> None:
    model = tiny(variant)
    with open_session(model, IMAGES, write_unsure=True) as session:
        session.add(frame=0, points=POINT)
        session.add(frame=0, id=2, box=(80, 50, 118, 88))
        found = [frame.objects[1].rle for frame in session]
    for one, other in zip(found, by_hand(model), strict=True):
        # The objects share a batch here, which moves the last bit of a float.
        assert (rle_to_mask(one) ^ rle_to_mask(other)).sum() <= 3


def test_a_saved_session_of_a_video_model_goes_on_alike(tmp_path: Path) -> None:
    model, path = tiny(), tmp_path / "clip.session"
    with open_session(model, IMAGES, write_unsure=True) as session:
        session.add(frame=0, points=POINT)
        expected = [frame.objects[1].rle for frame in session]
    with open_session(model, IMAGES, write_unsure=True, session=path) as session:
        session.add(frame=0, points=POINT)
        list(itertools.islice(session, 3))
    with open_session(model, IMAGES, write_unsure=True, session=path) as session:
        assert [frame.objects[1].rle for frame in session] == expected


ALL_SETTINGS = {"fill_gaps": True, "memory_stride": 2, "write_unsure": True}


def test_a_choice_of_memories_is_taken_and_resumed(tmp_path: Path) -> None:
    model = tiny()
    with open_session(model, IMAGES, **ALL_SETTINGS) as session:  # type: ignore[arg-type]
        session.add(frame=0, points=POINT)
        expected = [frame.objects[1].rle for frame in session]
    path = tmp_path / "clip.session"
    for frames in (3, 5):
        with open_session(model, IMAGES, session=path, **ALL_SETTINGS) as session:  # type: ignore[arg-type]
            if frames == 3:
                session.add(frame=0, points=POINT)
            found = [frame.objects[1].rle for frame in itertools.islice(session, frames)]
    assert found == expected


@pytest.mark.parametrize(
    ("variant", "pool", "message"),
    [
        (TINY_EDGE, 2, "tiny_edge does not support pool_memory"),
        (TINY_VIDEO, 3, "Invalid pool_memory 3"),
    ],
)
def test_memories_that_cannot_be_pooled_are_refused(
    variant: VideoVariant, pool: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_session(tiny(variant), IMAGES, pool_memory=pool)


def test_masks_of_low_quality_are_not_remembered() -> None:
    with open_session(tiny(), IMAGES, write_unsure=True, least_quality=1.0) as session:
        session.add(frame=0, points=POINT)
        list(session)
        bank = session._live[1, False].state
    assert (list(bank.prompted), list(bank.tracked)) == ([0], [])


def test_a_given_mask_and_a_correction_are_taken() -> None:
    with open_session(tiny(), IMAGES) as session:
        mask = rectangle(IMAGES[0].shape[:2], (20, 20, 44, 44))
        given = session.add(frame=0, mask=mask)
        assert (given.mask & mask).sum() / (given.mask | mask).sum() > 0.7
        assert len(list(session)) == 5
        session.add(frame=3, points=[(2, 2)], labels=[0])
        assert [frame.index for frame in session.propagate("both")][-1] == 0


def test_an_image_model_has_no_memory() -> None:
    with pytest.raises(ModelError, match="fake does not support tracker='memory'"):
        open_session(Model(ColorRuntime()), IMAGES, tracker="memory")
