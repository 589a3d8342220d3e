"""Values of video models: configuration, encoded frames and prompts of objects on a frame.

Letters: N objects, P points, C channels, h w features, m side of a mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from anymask.models.mask_decoder import MaskDecoderConfig
from anymask.models.memory_attention import MemoryAttentionConfig
from anymask.models.memory_encoder import MemoryEncoderConfig
from anymask.models.prompt_encoder import PromptEncoderConfig
from anymask.models.spatial_perceiver import PerceiverConfig
from anymask.primitives.memory_bank import TrackingSettings


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """The numbers in which SAM 2's families differ beyond their encoders.

    prompts, decoder  as for an image model
    attention, memory how memories are read and written
    perceiver         EdgeTAM: a memory becomes a few tokens; None: it stays a map
    absent_memory     SAM 2.1: memories of an object that is not seen are marked
    settings          the options that the family was published with
    """

    prompts: PromptEncoderConfig = field(default_factory=PromptEncoderConfig)
    decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    attention: MemoryAttentionConfig = field(default_factory=MemoryAttentionConfig)
    memory: MemoryEncoderConfig = field(default_factory=MemoryEncoderConfig)
    perceiver: PerceiverConfig | None = None
    absent_memory: bool = False
    settings: TrackingSettings = field(default_factory=TrackingSettings)


@dataclass(frozen=True, eq=False)
class Frame:
    """What the encoder saw of one frame.

    features  (1, C, h, w)
    fine      SAM 2 and EdgeTAM: (1, C / 8, 4 h, 4 w), (1, C / 4, 2 h, 2 w); EfficientTAM: none
    """

    features: Tensor
    fine: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class FramePrompts:
    """What a person says about N objects on one frame, as many points for each.

    coords  (N, P, 2) model pixels
    labels  (N, P) 1 object, 0 background, 2 and 3 box corners
    masks   (N, 1, m, m) logits of the answer that is to be corrected, or None
    """

    coords: Tensor
    labels: Tensor
    masks: Tensor | None = None
