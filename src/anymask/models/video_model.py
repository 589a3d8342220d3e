"""The model of SAM 2 for images and videos, and those of EdgeTAM and EfficientTAM.

Images are encoded and decoded as by every image model. For videos there is a memory: each frame is
conditioned on the memories of an object, and its prediction is encoded as a new memory. The network
is stateless: memories are passed in and returned (`models/rules/memory.py`).

Source: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 4 and appendix D.1); Zhou et al. 2025
(EdgeTAM, arXiv:2501.07256); Xiong et al. 2024 (EfficientTAM, arXiv:2411.18933); sam2, EdgeTAM and
EfficientTAM (all Apache-2.0), for names, numbers and rules: `modeling/sam2_base.py`,
`modeling/sam/mask_decoder.py` (dynamic multi-mask), `sam2_video_predictor.py` (holes, overlaps).

Letters: B images, S input side, N objects or prompts, P points, T masks, C channels, h w features,
L = h * w, m side of a mask, K tokens of a memory, Cm their channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.masks import ModelSpec
from anymask.models.fpn import ImageEncoder
from anymask.models.layers import VIDEO_PARTS, Mlp
from anymask.models.mask_decoder import SAM_HEAD, Decoded, MaskDecoder, MaskDecoderConfig
from anymask.models.memory_attention import (
    MemoryAttention,
    MemoryAttentionConfig,
    RecalledMemories,
    log_counts,
    memory_places,
    pool_map,
)
from anymask.models.memory_encoder import MemoryEncoder, MemoryEncoderConfig
from anymask.models.positions import (
    RotaryAngles,
    grid_turns,
    joined,
    no_turns,
    sine_grid,
    sine_line,
)
from anymask.models.prompt_encoder import NO_POINT, PromptEncoder, PromptEncoderConfig
from anymask.models.rules import (
    ABSENT,
    MASK_LIMIT,
    MASK_LOGIT,
    OVERLAP_MAX_LOGIT,
    Memory,
    MemoryBank,
    MemorySelection,
    MultimaskStability,
    TrackingSettings,
    VideoMoment,
    fill_plane,
    group_alike,
    longest_pointer,
)
from anymask.models.spatial_perceiver import PerceiverConfig, SpatialPerceiver


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """Sizes and options of SAM 2's families, except for their encoders."""

    # Prompt encoder, as for an image model
    prompts: PromptEncoderConfig = field(default_factory=PromptEncoderConfig)
    # Mask decoder, as for an image model
    decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    # Memory attention
    attention: MemoryAttentionConfig = field(default_factory=MemoryAttentionConfig)
    memory: MemoryEncoderConfig = field(default_factory=MemoryEncoderConfig)  # Memory encoder
    # EdgeTAM: compression of a memory to a few tokens, or None
    perceiver: PerceiverConfig | None = None
    absent_memory: bool = False  # SAM 2.1: whether memories of an absent object are marked
    # Published settings of the family
    settings: TrackingSettings = field(default_factory=TrackingSettings)


@dataclass(frozen=True, eq=False)
class Frame:
    """Encoder output of one frame."""

    features: Tensor  # Features (1, C, h, w)
    # SAM 2 and EdgeTAM: (1, C / 8, 4 h, 4 w), (1, C / 4, 2 h, 2 w); EfficientTAM: none
    fine: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class FramePrompts:
    """Prompts for N objects on one frame, with the same number of points."""

    coords: Tensor  # Points (N, P, 2) in model pixels
    labels: Tensor  # Labels (N, P): 1 object, 0 background, 2 and 3 box corners
    masks: Tensor | None = None  # Logits (N, 1, m, m) of the prediction to correct, or None


@dataclass(frozen=True, eq=False)
class ObjectAnswer:
    """Predictions for N objects on one frame."""

    logits: Tensor  # Logits (N, 1, m, m); far below 0 everywhere if an object is absent
    quality: Tensor  # Predicted IoU (N, 1)
    object_score: Tensor  # Logit of the object's presence (N, 1)
    pointer: Tensor  # Object pointer (N, C)


def choose(
    decoded: Decoded, several: bool, stability: MultimaskStability | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Select one of T masks per object: logits (N, 1, m, m), quality (N, 1), token (N, C).

    Args:
        decoded: Output of the decoder.
        several: Whether to select the best mask for ambiguous prompts instead of the single mask.
        stability: Condition for replacing the single mask by the best of the others, or None.
    """
    best = decoded.quality[:, 1:].argmax(dim=1) + 1
    mask = token = best if several else torch.zeros_like(best)
    if stability is not None and not several:  # the pointer stays that of token 0, as published
        stable = stability_of(decoded.logits[:, 0], stability.delta) >= stability.threshold
        mask = torch.where(stable, token, best)
    rows = torch.arange(len(mask), device=mask.device)
    logits, quality = decoded.logits[rows, mask], decoded.quality[rows, mask]
    return logits[:, None], quality[:, None], decoded.tokens[rows, token]


def is_multimask(prompts: FramePrompts | None, settings: TrackingSettings) -> bool:
    """Whether the best of three masks is selected for prompts, or for a tracked frame (None)."""
    low, high = settings.several_points
    return low <= (0 if prompts is None else prompts.labels.shape[1]) <= high


def stability_of(logits: Tensor, delta: float) -> Tensor:  # (N, m, m) -> (N,)
    """IoU of the masks at thresholds of + and - delta; 1 if both are empty."""
    inner = (logits > delta).flatten(1).sum(dim=1)
    outer = (logits > -delta).flatten(1).sum(dim=1)
    return torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)


def inpaint_hole(logits: Tensor, largest: int) -> Tensor:
    """Fill background regions of at most `largest` pixels: (N, 1, m, m) -> the same."""
    filled = [
        torch.from_numpy(fill_plane(plane.float().cpu().numpy(), largest))
        for plane in logits.flatten(0, 1)
    ]
    return torch.stack(filled).to(logits).reshape(logits.shape)


def without_overlaps(logits: Tensor) -> Tensor:
    """Assign each pixel to at most one object, the most likely: (N, 1, m, m) -> the same."""
    if len(logits) == 1:
        return logits
    likeliest = logits.argmax(dim=0, keepdim=True)
    index = torch.arange(len(logits), device=logits.device)[:, None, None, None]
    return torch.where(likeliest == index, logits, logits.clamp(max=OVERLAP_MAX_LOGIT))


LIMITS = -MASK_LIMIT, MASK_LIMIT
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class VideoModel(nn.Module):
    """SAM 2, SAM 2.1, EdgeTAM and EfficientTAM."""

    parts = VIDEO_PARTS

    def __init__(self, spec: ModelSpec, image_encoder: ImageEncoder, config: VideoConfig) -> None:
        super().__init__()
        self.spec, self.config = spec, config
        dim, memory_dim = config.attention.dim, config.attention.memory_dim
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(config.settings.frames, 1, 1, memory_dim))
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, dim))
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, dim))  # in the checkpoints, unused
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, dim))
        if config.absent_memory:
            self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, memory_dim))
        self.image_encoder = image_encoder
        self.mask_downsample = nn.Conv2d(1, 1, 4, 4)
        self.memory_attention = MemoryAttention(config.attention)
        self.memory_encoder = MemoryEncoder(config.memory)
        if config.perceiver is not None:
            self.spatial_perceiver = SpatialPerceiver(config.perceiver)
        self.sam_prompt_encoder = PromptEncoder(config.prompts)
        self.sam_mask_decoder = MaskDecoder(config.decoder)
        self.obj_ptr_proj = Mlp((dim, dim, dim, dim), SAM_HEAD, "relu")
        if config.settings.pointer_times != "none":
            self.obj_ptr_tpos_proj = nn.Linear(dim, memory_dim)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, to which inputs are converted."""
        return self.no_mem_embed.dtype

    def resized(self, side: int) -> VideoModel:
        """Set the input side S, a multiple of 64, in place; positions adapt to any side."""
        self.spec = replace(self.spec, image_side=side, mask_side=side // 4)
        prompts = self.sam_prompt_encoder
        prompts.config = replace(prompts.config, image_side=side)
        return self

    # --------------------------------------------------------------------------------- images

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode B images.

        Args:
            images: Normalized images (B, 3, S, S).

        Returns:
            Features (B, C, h, w), then the fine maps, in the model's dtype.
        """
        frame = self.encode_frame(images)
        return (self._without_memory(frame), *frame.fine)

    def decode(
        self,
        features: tuple[Tensor, ...],
        coords: Tensor,
        labels: Tensor,
        masks: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        decoded = self._decode(features, coords, labels, masks.clamp(*LIMITS), has_mask)
        return decoded.logits.float(), decoded.quality.float()

    def _decode(
        self,
        features: tuple[Tensor, ...],
        coords: Tensor,
        labels: Tensor,
        masks: Tensor,
        has_mask: Tensor,
    ) -> Decoded:
        image, *fine = (x.to(self.dtype) for x in features)
        return self.sam_mask_decoder.decode(
            image,
            self.sam_prompt_encoder.grid(image.shape[-2], image.shape[-1]),
            self.sam_prompt_encoder.embed_points(coords, labels),
            self.sam_prompt_encoder.embed_masks(masks.to(self.dtype), has_mask),
            *fine,
        )

    def _without_memory(self, frame: Frame) -> Tensor:
        return frame.features + self.no_mem_embed.reshape(1, -1, 1, 1)

    # --------------------------------------------------------------------------------- videos

    def encode_frame(self, images: Tensor) -> Frame:
        """Encode a frame, or B images: (B, 3, S, S) normalized."""
        dtype = next(self.image_encoder.parameters()).dtype
        maps = tuple(x.to(self.dtype) for x in self.image_encoder(images.to(dtype)))
        return Frame(maps[0], self.sam_mask_decoder.fine_maps(*maps[1:]) if maps[1:] else ())

    def step(
        self,
        frame: Frame,
        banks: Sequence[MemoryBank],
        at: VideoMoment,
        prompts: FramePrompts | None = None,
        settings: TrackingSettings | None = None,
    ) -> ObjectAnswer:
        """Predict N objects on a frame.

        Args:
            frame: The encoded frame.
            banks: Memories of each object; all empty on the first prompted frame.
            at: Position in the video.
            prompts: Prompts of the objects, or None while tracking.
            settings: Settings. Defaults to those of the family.
        """
        settings = settings or self.config.settings
        features = self.condition(frame, banks, at, settings)
        return self.answer(frame, features, len(banks), prompts, settings)

    def condition(
        self,
        frame: Frame,
        banks: Sequence[MemoryBank],
        at: VideoMoment,
        settings: TrackingSettings,
        plain: bool = False,
    ) -> Tensor:
        """Condition the frame's features on each object's memories.

        Args:
            frame: The encoded frame.
            banks: Memories of each object.
            at: Position in the video.
            settings: Settings.
            plain: Whether to use the reference implementation, object by object.

        Returns:
            Features (N, C, h, w), or (1, C, h, w) without any memories.
        """
        selections = [bank.select(at, settings) for bank in banks]
        if not any(selection.memories for selection in selections):
            return self._without_memory(frame)
        h, w = frame.features.shape[-2:]
        tokens = frame.features.flatten(2).transpose(1, 2)
        positions, turns = self._of_frame(h, w)
        conditioned: list[Tensor | None] = [None] * len(banks)
        for places in [[i] for i in range(len(banks))] if plain else group_alike(selections):
            recalled = self.recall([selections[i] for i in places], (h, w), at, settings)
            read = self.memory_attention(tokens, positions, turns, recalled, plain)
            for i, row in zip(places, read, strict=True):
                conditioned[i] = row.t().unflatten(1, (h, w))
        return torch.stack([features for features in conditioned if features is not None])

    def recall(
        self,
        selections: Sequence[MemorySelection],
        hw: tuple[int, int],
        at: VideoMoment,
        settings: TrackingSettings,
    ) -> RecalledMemories:
        """Memories of N objects with the same layout, as tokens."""
        memories = zip(*(selection.memories for selection in selections), strict=True)
        positions, turns = self._of_memory(*hw, settings.pool)
        tokens, places, turned = [], [], []
        for same in memories:
            read = torch.cat([memory.tokens for _, memory in same]).to(self.dtype)
            tokens.append(pool_map(read, hw, settings.pool))
            # The temporal encoding of the oldest memory is stored last but one, that of prompted
            # frames last.
            places.append(positions + self.maskmem_tpos_enc[same[0][0] - 1, 0])
            turned.append(turns)
        if selections[0].pointers:
            pointers = torch.stack(
                [torch.cat([p for _, p in selection.pointers]) for selection in selections]
            )  # (N, pointers, C)
            parts = pointers.shape[-1] // self.config.attention.memory_dim
            tokens.append(pointers.unflatten(2, (parts, -1)).flatten(1, 2).to(self.dtype))
            times = self._pointer_times([age for age, _ in selections[0].pointers], at, settings)
            places.append(times.repeat_interleave(parts, dim=1))
            turned.append(no_turns(tokens[-1].shape[1], self.config.attention.dim, times.device))
        recalled = torch.cat(tokens, dim=1), torch.cat(places, dim=1), joined(turned)
        maps = sum(memory.shape[1] for memory in tokens[: len(selections[0].memories)])
        return RecalledMemories(*recalled, log_counts(recalled[0], maps, settings.pool))

    def answer(
        self,
        frame: Frame,
        features: Tensor,
        n: int,
        prompts: FramePrompts | None,
        settings: TrackingSettings,
    ) -> ObjectAnswer:
        """Decode N objects on a frame with conditioned features (1 or N, C, h, w)."""
        decoded = self.decode_prompts(frame, features, n, prompts)
        return self.chosen(decoded, is_multimask(prompts, settings), settings)

    def chosen(self, decoded: Decoded, several: bool, settings: TrackingSettings) -> ObjectAnswer:
        """Select the masks of a decoder output (`choose`), empty for absent objects."""
        logits, quality, token = choose(decoded, several, settings.stability)
        score = decoded.object_score
        there = (score > 0).to(token.dtype)
        pointer = self._pointer(token, there)
        logits = torch.where(there[..., None, None] > 0, logits, ABSENT)
        return ObjectAnswer(logits.float(), quality, score, pointer)

    def decode_prompts(
        self, frame: Frame, features: Tensor, n: int, prompts: FramePrompts | None
    ) -> Decoded:
        """Decode all T masks of N objects from conditioned features (1 or N, C, h, w)."""
        coords = features.new_zeros(n, 1, 2)
        labels = torch.full((n, 1), NO_POINT, device=features.device)
        if prompts is not None:
            coords = torch.cat([prompts.coords.to(coords), coords], dim=1)
            labels = torch.cat([prompts.labels.to(labels), labels], dim=1)
        else:  # the reference passes an empty point, and its encoder appends another
            coords, labels = coords.repeat(1, 2, 1), labels.repeat(1, 2)
        masks = prompts.masks if prompts is not None else None
        given = features.new_full((1 if masks is None else n,), float(masks is not None))
        if masks is None:
            masks = features.new_zeros(1, 1, self.spec.mask_side, self.spec.mask_side)
        return self._decode((features, *frame.fine), coords, labels, masks.clamp(*LIMITS), given)

    def given(self, frame: Frame, masks: Tensor) -> ObjectAnswer:
        """Use given masks of N objects as the prediction: (N, 1, S, S), 1 object, 0 background."""
        masks = masks.to(self.dtype)
        quarter = (masks.shape[-2] // 4, masks.shape[-1] // 4)
        logits = F.interpolate(
            (2 * masks - 1) * MASK_LOGIT,
            quarter,
            mode="bilinear",
            antialias=True,
            align_corners=False,
        )
        there = (masks.flatten(1) > 0).any(dim=1, keepdim=True).to(self.dtype)
        decoded = self._decode(
            (frame.features, *frame.fine),
            masks.new_zeros(len(masks), 2, 2),
            torch.full((len(masks), 2), NO_POINT, device=masks.device),
            self.mask_downsample(masks),
            masks.new_ones(len(masks)),
        )
        present, (_, _, token) = decoded.object_score > 0, choose(decoded, False, None)
        pointer = self._pointer(token, present.to(self.dtype))
        pointer = there * pointer + (1 - there) * self.no_obj_ptr
        score = (2 * there - 1) * MASK_LOGIT
        return ObjectAnswer(logits.float(), torch.ones_like(score), score, pointer)

    def remember(
        self,
        frame: Frame,
        answer: ObjectAnswer,
        at: VideoMoment,
        prompted: bool = False,
        settings: TrackingSettings | None = None,
    ) -> tuple[Memory, ...]:
        """Encode the memories of N objects on a frame.

        Args:
            frame: The encoded frame.
            answer: Predictions for the objects.
            at: Position in the video.
            prompted: Whether the masks were prompted.
            settings: Settings. Defaults to those of the family.
        """
        settings = settings or self.config.settings
        sharp = answer.object_score.new_full(
            (len(answer.logits),), prompted and settings.sharp_prompted
        )
        absent = answer.object_score[:, 0] <= 0
        tokens = self.memory_tokens(frame, answer.logits, sharp, absent, settings)
        parts = tokens.to(DTYPES[settings.memory_dtype]).split(1)
        return tuple(map(Memory, [at.frame] * len(parts), parts, answer.pointer.split(1)))

    def memory_tokens(
        self,
        frame: Frame,
        logits: Tensor,
        sharp: Tensor,
        absent: Tensor,
        settings: TrackingSettings | None = None,
    ) -> Tensor:
        """Logits (N, 1, m, m) of N objects -> their memories of a frame (N, K, Cm).

        Args:
            frame: The encoded frame.
            logits: Logits (N, 1, m, m).
            sharp: (N,) nonzero if the mask is binarized.
            absent: (N,) nonzero if the object is absent.
            settings: Settings. Defaults to those of the family.
        """
        settings, side = settings or self.config.settings, self.spec.image_side
        masks = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
        if settings.exclusive_memory:
            masks = without_overlaps(masks)
        cut = (masks > 0).to(masks.dtype)
        chance = torch.where(sharp[:, None, None, None] != 0, cut, masks.sigmoid())
        scaled = (chance * settings.mask_scale + settings.mask_bias).to(self.dtype)
        memory = self.memory_encoder(frame.features, scaled)
        if self.config.absent_memory:
            gone = absent.to(memory.dtype)[:, None, None, None]
            memory = memory + gone * self.no_obj_embed_spatial[..., None, None]
        if self.config.perceiver is None:
            return memory.flatten(2).transpose(1, 2)
        dim, h, w = memory.shape[1:]
        return self.spatial_perceiver(memory, sine_grid(h, w, dim, memory.device).to(memory.dtype))

    def finished(self, answer: ObjectAnswer, settings: TrackingSettings | None = None) -> Tensor:
        """Final logits for users: holes filled and overlaps removed, depending on the settings."""
        settings, logits = settings or self.config.settings, answer.logits
        if settings.hole_area:
            logits = inpaint_hole(logits, settings.hole_area)
        return without_overlaps(logits) if settings.exclusive else logits

    # ---------------------------------------------------------------------------------- parts

    def _pointer(self, token: Tensor, there: Tensor) -> Tensor:  # (N, C), (N, 1) -> (N, C)
        return there * self.obj_ptr_proj(token) + (1 - there) * self.no_obj_ptr

    def _pointer_times(
        self, ages: list[int], at: VideoMoment, settings: TrackingSettings
    ) -> Tensor:
        """Temporal positions of pointers, (1, pointers, Cm)."""
        device = self.no_mem_embed.device
        if settings.pointer_times == "none":
            return self.no_mem_embed.new_zeros(1, len(ages), self.config.attention.memory_dim)
        oldest = max(longest_pointer(at, settings), 1)
        share = torch.tensor(ages, dtype=torch.float32, device=device) / oldest
        line = sine_line(share, self.config.attention.dim).to(self.dtype)
        return self.obj_ptr_tpos_proj(line)[None]

    def _of_frame(self, h: int, w: int) -> tuple[Tensor, RotaryAngles]:
        """Positions (1, L, C) and rotary angles of a frame's places."""
        dim, device = self.config.attention.dim, self.no_mem_embed.device
        return sine_grid(h, w, dim, device).to(self.dtype), grid_turns(h, w, dim, device)

    def _of_memory(self, h: int, w: int, pool: int) -> tuple[Tensor, RotaryAngles]:
        """Positions (1, K, Cm) and rotary angles of a memory's tokens, pooled in squares."""
        perceiver, everywhere = self.config.perceiver, 0
        if perceiver is not None:
            h, w, everywhere = perceiver.side, perceiver.side, perceiver.everywhere
        device = self.no_mem_embed.device
        places, turns = memory_places(self.config.attention, (h, w), everywhere, pool, device)
        return places.to(self.dtype), turns
