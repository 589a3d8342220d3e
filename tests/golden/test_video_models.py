"""Video models with the recipe's weights against the reference code's outputs for six frames.

Two objects are prompted on frame 0, followed, one of them corrected on frame 4, followed again from
the first frame, and then backwards from frame 4, as the references were.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from anymask import models
from anymask.masks import geometry, image_to_model, points_to_model
from anymask.models.rules import MemoryBank, VideoMoment
from anymask.models.video_model import Frame, FramePrompts, ObjectAnswer, VideoModel
from tests.golden.parity import assert_embedding, assert_video_logits, load_recipe

VIDEOS = ("sam2.1_hiera_t", "edgetam", "efficienttam_ti_512x512")
CORRECTED = 4  # the frame with the negative click
CLICK, BACKGROUND, CORNERS = [1], [0], [2, 3]


@dataclass
class Followed:
    """A model, six frames, and what is known of two objects."""

    model: VideoModel
    images: list[np.ndarray]
    reference: dict[str, np.ndarray]
    banks: list[MemoryBank] = field(default_factory=lambda: [MemoryBank(), MemoryBank()])
    answers: dict[int, Tensor] = field(default_factory=dict)
    frames: dict[int, Frame] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.images)

    def frame(self, number: int) -> Frame:
        if number not in self.frames:
            # A frame of a video is resized by Pillow, bicubic; a picture by torch, bilinear.
            spec = replace(self.model.spec, resample="pillow_bicubic")
            pixels = torch.from_numpy(image_to_model(self.images[number], spec))
            self.frames[number] = self.model.encode_frame(pixels[None])
        return self.frames[number]

    def prompt(self, number: int, which: int, points: np.ndarray, labels: list[int]) -> None:
        """Speak about one object; what was answered on the frame before is corrected."""
        at = VideoMoment(number, length=self.length)
        where = geometry(self.images[number].shape[:2], self.model.spec)
        coords = torch.from_numpy(points_to_model(points.reshape(1, -1, 2), where))
        bank = self.banks[which]
        corrects = bool(bank.prompted)
        masks = self.answers[number][which : which + 1] if corrects else None
        prompts = FramePrompts(coords, torch.tensor([labels]), masks)
        answer = self.model.step(self.frame(number), [bank], at, prompts)
        memory = self.model.remember(self.frame(number), answer, at, prompted=True)[0]
        self.banks[which] = bank.with_tracked(memory) if corrects else bank.with_prompted(memory)
        both = self.answers.get(number, answer.logits.repeat(2, 1, 1, 1)).clone()
        both[which] = answer.logits[0]
        self.answers[number] = both

    def track(self, number: int, backward: bool = False) -> None:
        at = VideoMoment(number, backward, self.length)
        answer: ObjectAnswer = self.model.step(self.frame(number), self.banks, at)
        memories = self.model.remember(self.frame(number), answer, at)
        for which, memory in enumerate(memories):
            self.banks[which] = self.banks[which].with_tracked(memory)
        self.answers[number] = answer.logits

    def assert_agrees(self, pass_name: str, number: int) -> None:
        stored = self.reference.get(f"{pass_name}_{number}")
        if stored is None:
            return
        hw = self.images[number].shape[:2]
        logits = F.interpolate(self.answers[number], hw, mode="bilinear", align_corners=False)
        assert_video_logits(logits[..., ::8, ::8].numpy(), stored)

    def assert_plain_agrees(self, number: int) -> None:
        """The step as the references compute it gives the same numbers as ours."""
        at, settings = VideoMoment(number, length=self.length), self.model.config.settings
        ways = [
            self.model.condition(self.frame(number), self.banks, at, settings, plain=plain)
            for plain in (False, True)
        ]
        assert_embedding(ways[0].numpy(), ways[1].numpy())


@pytest.fixture
def followed(request: pytest.FixtureRequest, shared: Path) -> Followed:
    name: str = request.param
    recipe = load_recipe(shared)
    model = models.build(name).requires_grad_(False)
    weights = recipe.fill(recipe.shapes(name))
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    images = [
        np.asarray(Image.open(path).convert("RGB"))
        for path in sorted((shared / "images" / "bedroom").glob("*.jpg"))
    ]
    with recipe.reference(f"{name}_video") as stored:
        reference = dict(stored)
    assert isinstance(model, VideoModel)
    return Followed(model, images, reference)


@pytest.mark.parametrize("followed", VIDEOS, indirect=True)
@torch.inference_mode()
def test_two_objects_are_followed_as_the_reference_does(followed: Followed) -> None:
    reference = followed.reference
    followed.prompt(0, 0, reference["in_click"], CLICK)
    followed.prompt(0, 1, reference["in_box"], CORNERS)
    followed.assert_agrees("first", 0)
    followed.assert_plain_agrees(1)
    for number in range(1, followed.length):
        followed.track(number)
        followed.assert_agrees("first", number)

    kept = followed.model.config.settings.corrected == "kept"
    before = followed.banks
    followed.prompt(CORRECTED, 0, reference["in_negative"], BACKGROUND)
    if not kept:
        # The new pass overwrites the correction before any frame has read it, so it repeats the
        # first one number by number; so do the reference's own.
        for number in range(followed.length):
            np.testing.assert_array_equal(
                reference[f"second_{number}"], reference[f"first_{number}"]
            )
        followed.banks = before
    else:  # the frames before the correction read nothing new, nor does the corrected frame
        for number in range(followed.length):
            if number > CORRECTED:
                followed.track(number)
            followed.assert_agrees("second", number)

    for number in range(CORRECTED, 0, -1):
        if not (kept and number == CORRECTED):
            followed.track(number, backward=True)
        followed.assert_agrees("reverse", number)
