"""How a prompt is answered: one photo and any number of prompts in, `Prediction` out.

The decoder answers, its family chooses and orders the masks (`families`), and then the steps below
take the answer one after the other.

Letters: N prompts, K candidates, m the side of a low-resolution mask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from anymask.base import InputError, UintImage
from anymask.masks import EncoderOutput, Features, Prompt, geometry, image_to_model
from anymask.models.rules import check_prompt, group_prompts
from anymask.runtime import EdgeRefining, ImageRuntime, PromptDecoding, require
from anymask.segment.prediction import Prediction
from anymask.segment.requests import SegmentSettings, order_by_granularity
from anymask.segment.retry import ask_again
from anymask.segment.steps import (
    Question,
    RetryTime,
    Step,
    clean_masks,
    look_closer,
    name_violated_clicks,
    obey_negative_clicks,
    refine_edges,
)

if TYPE_CHECKING:
    from anymask.models.rules import Decode

PROMPTS_PER_CALL = 16  # larger calls are no faster on a CPU and need more memory


def choose_first(answer: Prediction, question: Question) -> Prediction:
    """A step: the candidate first that the settings' granularity means."""
    granularity = question.settings.granularity
    return answer if granularity == "all" else order_by_granularity(answer, granularity)


# What becomes of an answer, in this order; each step leaves alone what its setting does not want.
STEPS: tuple[Step, ...] = (
    choose_first,  # granularity: which candidate is shown first
    obey_negative_clicks,  # multimask="auto": a negative click always takes its place back
    clean_masks,  # max_hole_area, min_island_area
    name_violated_clicks,  # which clicks the first mask still does not obey
)
# Then what the settings ask for, by their names: these ask the model again, with the steps above
# for each further answer; the last one looks at the photo once more.
STEPS_ON_DEMAND: dict[str, Step] = {
    "zoom": look_closer,  # a window around the object
    "retry": ask_again,  # shifted prompts, windows, a larger model
    "refine_edges": refine_edges,  # the edge where the photo has it
}
ON_PHOTO = ("zoom", "refine_edges")  # those that an embedding alone is not enough for


def answer_prompts(
    runtime: ImageRuntime,
    photo: UintImage | None,
    embedding: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
) -> list[Prediction]:
    """Check everything first, then answer each prompt about one photo, in their order.

    Raises PromptError and InputError.
    """
    check_embedding(runtime, embedding)
    if settings.mirror and photo is not None and embedding.mirrored is None:
        embedding = replace(embedding, mirrored=see_mirrored(runtime, photo))
    checked = [check_prompt(prompt, embedding.image_hw, runtime.spec) for prompt in prompts]
    firsts = decode_prompts(runtime, embedding, checked, settings)
    time = None if settings.retry is None else RetryTime.start(settings.retry)
    answers = [
        _take_steps(first, question_of(runtime, photo, embedding, prompt, settings, time))
        for first, prompt in zip(firsts, checked, strict=True)
    ]
    if not runtime.spec.classes:
        return answers
    from anymask.segment.classes import name_answers  # few models need it

    return name_answers(runtime, embedding, answers)


def question_of(
    runtime: ImageRuntime,
    photo: UintImage | None,
    embedding: Features,
    prompt: Prompt,
    settings: SegmentSettings,
    time: RetryTime | None = None,
) -> Question:
    """A prompt with the ways to ask more of the same model."""
    return Question(
        photo,
        embedding,
        prompt,
        settings,
        see=lambda picture: encode_image(runtime, picture, mirror=settings.mirror),
        ask=lambda seen, others, first=None: decode_prompts(runtime, seen, others, settings, first),
        time=time,
        edges=runtime.capability(EdgeRefining),
        closer=runtime.family.closer,
    )


def _take_steps(answer: Prediction, question: Question) -> Prediction:
    for name, step in STEPS_ON_DEMAND.items():
        wanted = getattr(question.settings, name) not in (False, None)
        if wanted and (question.photo is not None or name not in ON_PHOTO):
            answer = step(answer, question)
    return answer


def decode_prompts(
    runtime: ImageRuntime,
    embedding: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
    first: Step | None = None,
) -> list[Prediction]:
    """Answers to checked prompts about one photo, through `STEPS`, and a step before them."""
    answers: dict[int, Prediction] = {}
    for place, answer in _decode(runtime, embedding, prompts, settings):
        question = question_of(runtime, None, embedding, prompts[place], settings)
        for step in STEPS if first is None else (first, *STEPS):
            answer = step(answer, question)
        answers[place] = answer
    return [answers[place] for place in range(len(prompts))]


def _decode(
    runtime: ImageRuntime,
    embedding: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
) -> Iterator[tuple[int, Prediction]]:
    """What the family answers, with each prompt's place."""
    clicks, where, spec = require(runtime, PromptDecoding), embedding.geometry, runtime.spec
    decode: Decode = partial(clicks.decode, embedding.seen)
    if settings.mirror and embedding.mirrored is not None:
        from anymask.segment.steps import both_ways  # few answers need it

        decode = both_ways(decode, partial(clicks.decode, embedding.mirrored), where, spec)
    for places, batch in group_prompts(prompts, where, spec, PROMPTS_PER_CALL):
        ordered = runtime.family.answer(
            decode,
            batch,
            where,
            settings.multimask,
            settings.ranking,
        )
        for place, answer in zip(places, ordered, strict=True):
            yield place, Prediction.of_logits(*answer, where, spec.mask_threshold)


def encode_image(
    runtime: ImageRuntime, image: UintImage, *, mirror: bool = False
) -> Features:  # (H, W, 3)
    """See one photo, and its mirror image where that is wanted, too."""
    spec = runtime.spec
    return Features(
        seen=runtime.see(image_to_model(image, spec)[None])[0],
        mirrored=see_mirrored(runtime, image) if mirror else None,
        geometry=geometry((image.shape[0], image.shape[1]), spec),
        model=spec.name,
        model_hash=runtime.weights_hash,
        image_hash=image_hash(image),
    )


def see_mirrored(runtime: ImageRuntime, image: UintImage) -> EncoderOutput:  # (H, W, 3)
    """What the model sees in a photo's mirror image."""
    turned = np.ascontiguousarray(image[:, ::-1])
    return runtime.see(image_to_model(turned, runtime.spec)[None])[0]


def image_hash(image: UintImage) -> str:
    """Names the pixels and their shape; 32 hexadecimal digits of a sha256."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:32]


def check_embedding(runtime: ImageRuntime, embedding: Features) -> None:
    """Refuse what another model saw. Raises InputError."""
    made_by = (embedding.model, embedding.model_hash)
    wanted = (runtime.spec.name, runtime.weights_hash)
    if made_by != wanted:
        raise InputError(
            "an embedding can only be read by the model that made it; this is "
            f"{wanted[0]} (weights {wanted[1][:12]}), the embedding was made by "
            f"{made_by[0]} (weights {made_by[1][:12]}); embed the photo again with this model"
        )
    if embedding.geometry.side != runtime.spec.image_side:
        raise InputError(
            f"{wanted[0]} sees photos in a square of {runtime.spec.image_side} pixels, the "
            f"embedding is of {embedding.geometry.side}; embed the photo again"
        )
