"""Tiny random SAM 2 and EdgeTAM memories against transformers' independent video models."""

import re

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    Sam2HieraDetConfig,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VisionConfig,
)
from transformers.models.edgetam_video.modeling_edgetam_video import EdgeTamVideoInferenceSession
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from anymask import models
from anymask.models.hiera import TINY
from anymask.models.rules import MemoryBank, MultimaskStability, TrackingSettings, VideoMoment
from anymask.models.video_model import FramePrompts, ObjectAnswer, VideoModel
from anymask.runtime.checkpoints import load_official

TOLERANCE = 1e-4  # of the largest value
SIDE = 64
FRAMES = 5

VISION = Sam2VisionConfig(
    backbone_config=Sam2HieraDetConfig(
        hidden_size=TINY.width,
        image_size=[SIDE, SIDE],
        window_positional_embedding_background_size=[TINY.grid, TINY.grid],
        blocks_per_stage=list(TINY.depths),
        embed_dim_per_stage=list(TINY.widths),
        num_attention_heads_per_stage=[TINY.heads << stage for stage in range(4)],
        window_size_per_stage=list(TINY.windows),
        global_attention_blocks=list(TINY.global_blocks),
    ),
    backbone_channel_list=list(reversed(TINY.widths)),
    backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    fpn_hidden_size=128,
)
REST = {
    "image_size": SIDE,
    "memory_attention_hidden_size": 128,
    "memory_attention_num_layers": 2,
    "memory_attention_rope_feat_sizes": [4, 4],
    "memory_encoder_hidden_size": 128,
    "mask_downsampler_embed_dim": 128,
    "memory_fuser_embed_dim": 128,
    "memory_fuser_intermediate_dim": 512,
}


# So far apart that a random mask does not count as stable.
UNSTABLE = MultimaskStability(delta=2.0)


def _heads(*, stability: bool) -> dict[str, dict[str, object]]:
    return {
        "prompt_encoder_config": {"hidden_size": 128, "image_size": SIDE},
        "mask_decoder_config": {
            "hidden_size": 128,
            "mlp_dim": 48,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 128,
            "dynamic_multimask_via_stability": stability,
            "dynamic_multimask_stability_delta": UNSTABLE.delta,
        },
    }


def sam2(*, stability: bool = False) -> Sam2VideoModel:
    config = Sam2VideoConfig(
        vision_config=VISION,
        memory_attention_feed_forward_hidden_size=48,
        **_heads(stability=stability),
        **REST,
    )
    return Sam2VideoModel(config).eval()


def edge() -> EdgeTamVideoModel:
    config = EdgeTamVideoConfig(
        vision_config=VISION,
        memory_attention_mlp_hidden_size=48,
        memory_attention_rope_k_sizes=[2, 2],
        perceiver_resampler_num_latents=3,
        perceiver_resampler_num_latents_2d=4,
        enable_occlusion_spatial_embedding=False,
        enable_temporal_pos_encoding_for_object_pointers=False,
        **_heads(stability=False),
        **REST,
    )
    return EdgeTamVideoModel(config).eval()


def same_weights(theirs: nn.Module, name: str, there: bool = True) -> VideoModel:
    """Our tiny model with random weights that are also put into `theirs`.

    Args:
        there: Whether the object score is above 0.
    """
    torch.manual_seed(7)
    for key, parameter in theirs.named_parameters():
        lengths = parameter.shape[1:].numel() if parameter.ndim > 1 else 25
        center = 1.0 if re.search(r"norm\w*\.weight", key) else 0.0
        torch.nn.init.normal_(parameter, mean=center, std=min(0.3, lengths**-0.5))
    theirs.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(2.0 if there else -2.0)
    # The two are one in every checkpoint, but random apart.
    frequencies = theirs.shared_image_embedding.positional_embedding
    theirs.prompt_encoder.shared_embedding.positional_embedding = frequencies
    ours = models.build(name)
    load_official(ours, theirs.state_dict())
    assert isinstance(ours, VideoModel)
    return ours.requires_grad_(False)


@pytest.fixture(scope="module")
def video() -> Tensor:
    noise = torch.Generator().manual_seed(1)
    still = torch.randn(1, 3, SIDE, SIDE, generator=noise)
    return still + 0.3 * torch.randn(FRAMES, 3, SIDE, SIDE, generator=noise)


POINT = (torch.tensor([[[9.0, 30.0]]]), torch.tensor([[1]]))
BOX = (torch.tensor([[[4.0, 8.0], [40.0, 50.0]]]), torch.tensor([[2, 3]]))
NOTHING = (torch.zeros(1, 1, 2), torch.full((1, 1), -1))
CASES = {
    "sam 2.1": (sam2, "tiny_video", Sam2VideoInferenceSession),
    "edgetam": (edge, "tiny_edge", EdgeTamVideoInferenceSession),
}
# transformers always sharpens what a person spoke about, and keeps EdgeTAM's memories in 32 bits.
SETTINGS = {
    "tiny_video": TrackingSettings(pointer_times="signed", sharp_prompted=True),
    "tiny_edge": TrackingSettings(sharp_prompted=True, memory_dtype="float32"),
}


def session(kind: type, video: Tensor) -> Sam2VideoInferenceSession:
    """Their session with a click on object 1 and a box for object 2 on the first frame."""
    made = kind(video=video, video_height=SIDE, video_width=SIDE, dtype=torch.float32)
    for name, (coords, labels) in (("one", POINT), ("two", BOX)):
        index = made.obj_id_to_idx(name)
        inputs = {"point_coords": coords[None], "point_labels": labels[None]}
        made.add_point_inputs(index, 0, inputs)
        made.obj_with_new_inputs.append(name)
    return made


@pytest.mark.parametrize("there", [True, False], ids=["there", "absent"])
@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_two_objects_are_followed_as_transformers_does(
    case: str, there: bool, video: Tensor
) -> None:
    make, name, kind = CASES[case]
    theirs = make()
    ours, settings = same_weights(theirs, name, there), SETTINGS[name]
    asked = session(kind, video)
    banks = [MemoryBank(), MemoryBank()]
    steps = [(number, False) for number in range(FRAMES)]
    for number, backward in [*steps, *((number, True) for number in range(FRAMES - 2, 0, -1))]:
        frame = ours.encode_frame(video[number : number + 1])
        at = VideoMoment(number, backward, FRAMES)
        expected = theirs(inference_session=asked, frame_idx=number, reverse=backward)
        if number == 0:
            answers = [
                ours.step(frame, [bank], at, FramePrompts(*prompt), settings)
                for bank, prompt in zip(banks, (POINT, BOX), strict=True)
            ]
            banks = [
                bank.with_prompted(ours.remember(frame, answer, at, True, settings)[0])
                for bank, answer in zip(banks, answers, strict=True)
            ]
        else:
            answers = [ours.step(frame, banks, at, settings=settings)]
            memories = ours.remember(frame, answers[0], at, settings=settings)
            banks = [b.with_tracked(m) for b, m in zip(banks, memories, strict=True)]
        scores = torch.cat([answer.object_score for answer in answers])
        assert bool((scores > 0).all()) == there
        assert_near(scores.flatten(), expected.object_score_logits.flatten())
        logits = torch.cat([answer.logits for answer in answers])
        assert_near(logits.flatten(), expected.pred_masks.flatten())


@torch.inference_mode()
def test_medsam2_follows_at_512_pixels_as_transformers_does() -> None:
    """SAM 2.1 with Hiera-T, which are transformers' defaults, at another side."""
    backbone = Sam2HieraDetConfig(image_size=[512, 512])
    sides = [[128, 128], [64, 64], [32, 32]]
    theirs = Sam2VideoModel(
        Sam2VideoConfig(
            vision_config=Sam2VisionConfig(backbone_config=backbone, backbone_feature_sizes=sides),
            prompt_encoder_config={"image_size": 512},
            mask_decoder_config={"dynamic_multimask_via_stability": False},
            image_size=512,
            memory_attention_rope_feat_sizes=[32, 32],
        )
    ).eval()
    ours, settings = same_weights(theirs, "medsam2"), SETTINGS["tiny_video"]
    noise = torch.Generator().manual_seed(2)
    video = torch.randn(1, 3, 512, 512, generator=noise)
    video = video + 0.3 * torch.randn(2, 3, 512, 512, generator=noise)
    coords, labels = torch.tensor([[[90.0, 60.0], [400.0, 300.0]]]), torch.tensor([[2, 3]])
    asked = Sam2VideoInferenceSession(
        video=video, video_height=512, video_width=512, dtype=torch.float32
    )
    inputs = {"point_coords": coords[None], "point_labels": labels[None]}
    asked.add_point_inputs(asked.obj_id_to_idx("one"), 0, inputs)
    asked.obj_with_new_inputs.append("one")
    bank = MemoryBank()
    for number, prompt in enumerate((FramePrompts(coords, labels), None)):
        frame, at = ours.encode_frame(video[number : number + 1]), VideoMoment(number, False, 2)
        expected = theirs(inference_session=asked, frame_idx=number)
        answer = ours.step(frame, [bank], at, prompt, settings)
        if prompt is not None:
            bank = bank.with_prompted(ours.remember(frame, answer, at, True, settings)[0])
        assert_near(answer.object_score.flatten(), expected.object_score_logits.flatten())
        assert_near(answer.logits.flatten(), expected.pred_masks.flatten())


@torch.inference_mode()
def test_an_unstable_mask_gives_way_to_the_best_as_in_transformers(video: Tensor) -> None:
    theirs = sam2(stability=True)
    ours = same_weights(theirs, "tiny_video")
    frame, at = ours.encode_frame(video[:1]), VideoMoment(0)
    changed = []
    for stability in (None, UNSTABLE):
        settings = TrackingSettings(pointer_times="signed", stability=stability)
        changed.append(ours.step(frame, [MemoryBank()], at, FramePrompts(*BOX), settings))
    expected = theirs._single_frame_forward(
        pixel_values=video[:1],
        input_points=BOX[0][None],
        input_labels=BOX[1][None],
        multimask_output=False,
    )
    assert_near(changed[1].logits, expected.pred_masks)
    assert_near(changed[1].pointer[None], expected.object_pointer)
    assert (changed[0].logits - changed[1].logits).abs().max() > 0.1


@torch.inference_mode()
def test_a_given_mask_is_the_answer_and_gets_a_pointer_as_in_transformers(video: Tensor) -> None:
    theirs = sam2()
    ours = same_weights(theirs, "tiny_video")
    frame = ours.encode_frame(video[:1])
    masks = torch.zeros(2, 1, SIDE, SIDE)
    masks[0, :, 10:30, 20:50] = 1
    answer: ObjectAnswer = ours.given(frame, masks)
    for which in range(2):
        maps = [*frame.fine, frame.features]
        expected = theirs._use_mask_as_output(maps[-1], maps[:-1], masks[which : which + 1])
        assert_near(answer.logits[which : which + 1], expected.pred_masks)
        assert_near(answer.object_score[which].flatten(), expected.object_score_logits.flatten())
    # transformers takes the pointer of the best of three masks here, sam2 that of the one mask.
    one = theirs._single_frame_forward(
        input_masks=theirs.mask_downsample(masks[:1]), image_embeddings=maps, multimask_output=False
    )
    assert_near(answer.pointer[:1], one.object_pointer[0])
    assert_near(answer.pointer[1:], theirs.no_object_pointer)


@pytest.mark.parametrize("multimask", [True, False], ids=["multi", "single"])
@torch.inference_mode()
def test_a_picture_is_answered_as_in_transformers(multimask: bool, video: Tensor) -> None:
    theirs = sam2()
    ours = same_weights(theirs, "tiny_video")
    coords, labels = (
        torch.cat([part, extra], dim=1) for part, extra in zip(BOX, NOTHING, strict=True)
    )
    logits, quality = ours.decode(
        ours.encode(video[:1]), coords, labels, torch.zeros(1, 1, 16, 16), torch.zeros(1)
    )
    expected = theirs._single_frame_forward(
        pixel_values=video[:1],
        input_points=BOX[0][None],
        input_labels=BOX[1][None],
        multimask_output=multimask,
    )
    kept = slice(1, 4) if multimask else slice(0, 1)
    assert_near(quality[:, kept], expected.iou_scores[0])
    best = quality[0, kept].argmax()
    assert_near(logits[0, kept][best], expected.pred_masks[0, 0])


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= TOLERANCE * max(1.0, float(theirs.abs().max()))
