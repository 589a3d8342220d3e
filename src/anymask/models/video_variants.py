"""The variants of SAM 2, SAM 2.1, EdgeTAM and EfficientTAM, as numbers.

Sources of the numbers: the model configurations of sam2 (`configs/sam2`, `configs/sam2.1`), EdgeTAM
(`configs/edgetam.yaml`) and EfficientTAM (`configs/`), all Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import nn

from anymask.masks import ALL_KINDS, ModelSpec
from anymask.models import efficient_vit, hiera, repvit_stages
from anymask.models.efficient_vit import EfficientVit, EfficientVitConfig
from anymask.models.fpn import ImageEncoder, Neck, NeckConfig
from anymask.models.hiera import Hiera, HieraConfig
from anymask.models.mask_decoder import MaskDecoderConfig
from anymask.models.memory_attention import MemoryAttentionConfig
from anymask.models.memory_encoder import MemoryEncoderConfig
from anymask.models.prompt_encoder import PromptEncoderConfig
from anymask.models.repvit import RepViTConfig
from anymask.models.repvit_stages import StagedRepViT
from anymask.models.rules import TrackingSettings
from anymask.models.spatial_perceiver import PerceiverConfig
from anymask.models.two_way import TwoWayConfig
from anymask.models.video_model import VideoConfig, VideoModel

TrunkConfig = HieraConfig | EfficientVitConfig | RepViTConfig


@dataclass(frozen=True, kw_only=True)
class VideoVariant:
    """One model of SAM 2's families, as numbers."""

    spec: ModelSpec
    trunk: TrunkConfig
    neck: NeckConfig
    config: VideoConfig = field(default_factory=VideoConfig)


def build_trunk(config: TrunkConfig) -> nn.Module:
    """The trunk that a config describes."""
    match config:
        case HieraConfig():
            return Hiera(config)
        case EfficientVitConfig():
            return EfficientVit(config)
        case RepViTConfig():
            return StagedRepViT(config)


def build_video_variant(variant: VideoVariant) -> VideoModel:
    """A randomly initialised model in eval mode."""
    encoder = ImageEncoder(build_trunk(variant.trunk), Neck(variant.neck))
    return VideoModel(variant.spec, encoder, variant.config).eval()


def _spec(name: str, side: int = 1024) -> ModelSpec:
    return ModelSpec(
        name=name,
        accepts=ALL_KINDS,
        image_side=side,
        mask_side=side // 4,
        fit="square",
        resample="torch_antialias",
        pad_box=True,
    )


# The decoder of SAM with an object score, a quality between 0 and 1 and, but for EfficientTAM, the
# encoder's fine maps.
_TWO_WAY = TwoWayConfig(mlp_names=("layers.0", "layers.1"))
_DECODER = MaskDecoderConfig(transformer=_TWO_WAY, fine=True, object_score=True, quality="sigmoid")
SAM_2 = VideoConfig(decoder=_DECODER)
SAM_2_1 = replace(SAM_2, absent_memory=True, settings=TrackingSettings(pointer_times="signed"))


def _hiera(name: str, trunk: HieraConfig, config: VideoConfig) -> VideoVariant:
    return VideoVariant(
        spec=_spec(name), trunk=trunk, neck=NeckConfig(widths=trunk.widths), config=config
    )


EDGE_TAM = VideoVariant(
    spec=_spec("edgetam"),
    trunk=repvit_stages.EDGE_TAM,
    neck=NeckConfig(widths=repvit_stages.EDGE_TAM.widths),
    config=replace(
        SAM_2,
        attention=MemoryAttentionConfig(depth=2),
        perceiver=PerceiverConfig(),
        settings=TrackingSettings(corrected="kept"),
    ),
)


def _efficient_tam(name: str, trunk: EfficientVitConfig, side: int = 1024) -> VideoVariant:
    return VideoVariant(
        spec=_spec(name, side),
        trunk=trunk,
        neck=NeckConfig(widths=(trunk.width,), added=(), dropped=0),
        config=VideoConfig(
            prompts=PromptEncoderConfig(image_side=side),
            decoder=replace(_DECODER, fine=False),
        ),
    )


VIDEO_VARIANTS: tuple[VideoVariant, ...] = (
    _hiera("sam2_hiera_t", hiera.HIERA_T, SAM_2),
    _hiera("sam2_hiera_s", hiera.HIERA_S, SAM_2),
    _hiera("sam2_hiera_b+", hiera.HIERA_B_PLUS, SAM_2),
    _hiera("sam2_hiera_l", hiera.HIERA_L, SAM_2),
    _hiera("sam2.1_hiera_t", hiera.HIERA_T, SAM_2_1),
    _hiera("sam2.1_hiera_s", hiera.HIERA_S, SAM_2_1),
    _hiera("sam2.1_hiera_b+", hiera.HIERA_B_PLUS, SAM_2_1),
    _hiera("sam2.1_hiera_l", hiera.HIERA_L, SAM_2_1),
    EDGE_TAM,
    _efficient_tam("efficienttam_ti", efficient_vit.EFFICIENT_TAM_TI),
    _efficient_tam("efficienttam_s", efficient_vit.EFFICIENT_TAM_S),
    _efficient_tam("efficienttam_ti_512x512", efficient_vit.EFFICIENT_TAM_TI, 512),
    _efficient_tam("efficienttam_s_512x512", efficient_vit.EFFICIENT_TAM_S, 512),
)

# Small enough for a test: a 64 px picture, 4 x 4 features of 128 channels, 16 px masks.
_TINY_TWO_WAY = replace(_TWO_WAY, dim=128, heads=4, mlp_dim=48)
TINY_VIDEO = VideoVariant(
    spec=_spec("tiny_video", 64),
    trunk=hiera.TINY,
    neck=NeckConfig(widths=hiera.TINY.widths, dim=128),
    config=VideoConfig(
        prompts=PromptEncoderConfig(dim=128, image_side=64),
        decoder=replace(_DECODER, dim=128, transformer=_TINY_TWO_WAY),
        attention=MemoryAttentionConfig(dim=128, depth=2, mlp_dim=48),
        memory=MemoryEncoderConfig(dim=128),
        absent_memory=True,
        settings=SAM_2_1.settings,
    ),
)
TINY_EDGE = replace(
    TINY_VIDEO,
    spec=_spec("tiny_edge", 64),
    config=replace(
        TINY_VIDEO.config,
        absent_memory=False,
        perceiver=PerceiverConfig(everywhere=3, side=2),
        settings=EDGE_TAM.config.settings,
    ),
)
VIDEO_FOR_TESTS: tuple[VideoVariant, ...] = (TINY_VIDEO, TINY_EDGE)
