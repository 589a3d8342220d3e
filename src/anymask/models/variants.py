"""The registry of models: sizes of the variants by name.

A family is one row: its specification (ModelSpec), image encoder, prompt encoder and mask decoder.
Aliases share a row and change what the checkpoint's own code does differently. Sources of the
numbers: `build_sam.py` of segment-anything, MobileSAM, sam-hq, EdgeSAM, TinySAM and SAM-Med2D,
`build_efficient_sam.py` of EfficientSAM, `MedSAM_Inference.py` of MedSAM; the configurations of
sam2 (`configs/sam2`, `configs/sam2.1`), EdgeTAM (`configs/edgetam.yaml`) and EfficientTAM
(`configs/`), all three Apache-2.0. Models with another structure have their sizes in their module.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import nn

from anymask.masks import ALL_KINDS, ModelSpec
from anymask.models import efficient_vit, hiera, nano, repvit, repvit_stages, tiny_vit
from anymask.models.efficient_vit import EfficientVit, EfficientVitConfig
from anymask.models.fpn import ImageEncoder, Neck, NeckConfig
from anymask.models.hiera import Hiera, HieraConfig
from anymask.models.image_model import ImageModel
from anymask.models.mask_decoder import (
    EFFICIENT_SAM_HEAD,
    EFFICIENT_SAM_UPSCALING,
    MaskDecoder,
    MaskDecoderConfig,
)
from anymask.models.memory_attention import MemoryAttentionConfig
from anymask.models.memory_encoder import MemoryEncoderConfig
from anymask.models.nano import Nano, NanoConfig, nano_spec
from anymask.models.prompt_encoder import EFFICIENT_SAM_NAMES, PromptEncoder, PromptEncoderConfig
from anymask.models.repvit import RepViT, RepViTConfig
from anymask.models.repvit_stages import StagedRepViT
from anymask.models.rules import RegistryEntry, TrackingSettings
from anymask.models.spatial_perceiver import PerceiverConfig
from anymask.models.tiny_vit import TinyViT, TinyViTConfig
from anymask.models.two_way import TwoWayConfig
from anymask.models.video_model import VideoConfig, VideoModel
from anymask.models.vit import Vit, VitConfig

EncoderConfig = VitConfig | TinyViTConfig | RepViTConfig | EfficientVitConfig
TrunkConfig = HieraConfig | EfficientVitConfig | RepViTConfig


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Sizes of an image model."""

    spec: ModelSpec
    encoder: EncoderConfig
    prompts: PromptEncoderConfig = field(default_factory=PromptEncoderConfig)
    decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)

    def renamed(self, name: str, **spec: object) -> Variant:
        """The same architecture with another name and other values of its spec."""
        return replace(self, spec=replace(self.spec, name=name, **spec))  # type: ignore[arg-type]

    def build(self) -> ImageModel:
        """Build a randomly initialized model in eval mode."""
        encoder: nn.Module
        match self.encoder:
            case VitConfig() as config:
                encoder = Vit(config)
            case TinyViTConfig() as config:
                encoder = TinyViT(config)
            case RepViTConfig() as config:
                encoder = RepViT(config)
            case EfficientVitConfig() as config:
                encoder = EfficientVit(config)
        prompts, decoder = PromptEncoder(self.prompts), MaskDecoder(self.decoder)
        return ImageModel(self.spec, encoder, prompts, decoder).eval()


@dataclass(frozen=True, kw_only=True)
class VideoVariant:
    """Sizes of a model of SAM 2's families."""

    spec: ModelSpec
    trunk: TrunkConfig
    neck: NeckConfig
    config: VideoConfig = field(default_factory=VideoConfig)

    def build(self) -> VideoModel:
        """Build a randomly initialized model in eval mode."""
        trunk: nn.Module
        match self.trunk:
            case HieraConfig() as config:
                trunk = Hiera(config)
            case EfficientVitConfig() as config:
                trunk = EfficientVit(config)
            case RepViTConfig() as config:
                trunk = StagedRepViT(config)
        return VideoModel(self.spec, ImageEncoder(trunk, Neck(self.neck)), self.config).eval()


# Segment Anything: ViT-B, L and H differ in four numbers.
VIT_B = VitConfig(dim=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11))
VIT_L = VitConfig(dim=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23))
VIT_H = VitConfig(dim=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31))

SAM = ModelSpec(name="sam_vit_b", accepts=ALL_KINDS)
SAM_VIT_B = Variant(spec=SAM, encoder=VIT_B)
MOBILE_SAM = Variant(spec=replace(SAM, name="mobile_sam"), encoder=tiny_vit.MOBILE_SAM)
EDGE_SAM = Variant(spec=replace(SAM, name="edge_sam"), encoder=repvit.EDGE_SAM)


def _hq(name: str, encoder: VitConfig) -> Variant:
    return Variant(
        spec=replace(SAM, name=name, family="sam_hq"),
        encoder=replace(encoder, extras="first_global"),
        decoder=MaskDecoderConfig(early_dim=encoder.dim),
    )


SAM_HQ_LIGHT = Variant(
    spec=replace(SAM, name="sam_hq_vit_tiny", family="sam_hq"),
    encoder=tiny_vit.SAM_HQ_LIGHT,
    decoder=MaskDecoderConfig(early_dim=tiny_vit.SAM_HQ_LIGHT.widths[2]),
)

# EfficientSAM resizes a float image without antialiasing, stretches it to a square, always has six
# points, and supports neither background clicks nor mask prompts.
EFFICIENT_SAM_TI = Variant(
    spec=ModelSpec(
        name="efficient_sam_ti",
        fit="square",
        resample="torch_bilinear",
        accepts=frozenset({"point", "box"}),
        family="efficient_sam",
        pad_point=False,
        fixed_points=6,
    ),
    encoder=efficient_vit.EFFICIENT_SAM_TI,
    prompts=PromptEncoderConfig(
        mask_channels=0, label_names=EFFICIENT_SAM_NAMES, no_point="outside"
    ),
    decoder=MaskDecoderConfig(
        answers="multi",
        transformer=TwoWayConfig(
            activation="gelu", mlp_names=("layers.0.0", "fc"), self_attention="plain"
        ),
        activation="gelu",
        norm="map",
        head_names=EFFICIENT_SAM_HEAD,
        upscaling_names=EFFICIENT_SAM_UPSCALING,
    ),
)

# MedSAM is ViT-B on squares whose own range becomes 0..1. It was fine-tuned for one box per image;
# the other prompts of ViT-B remain available for further fine-tuning.
MEDSAM = SAM_VIT_B.renamed(
    "medsam", fit="square", resample="medsam", mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)
)

# SAM-Med2D is ViT-B at 256 px with adapters; images are resized by nearest pixel.
SAM_MED2D_B = Variant(
    spec=replace(
        SAM, name="sam_med2d_b", image_side=256, mask_side=64, fit="square", resample="nearest"
    ),
    encoder=replace(VIT_B, image_side=256, adapters=True),
    prompts=PromptEncoderConfig(image_side=256),
)

VARIANTS: tuple[Variant, ...] = (
    SAM_VIT_B,
    replace(SAM_VIT_B.renamed("sam_vit_l"), encoder=VIT_L),
    replace(SAM_VIT_B.renamed("sam_vit_h"), encoder=VIT_H),
    MOBILE_SAM,
    _hq("sam_hq_vit_b", VIT_B),
    _hq("sam_hq_vit_l", VIT_L),
    _hq("sam_hq_vit_h", VIT_H),
    SAM_HQ_LIGHT,
    EDGE_SAM,
    EDGE_SAM.renamed("edge_sam_3x"),
    EFFICIENT_SAM_TI,
    replace(EFFICIENT_SAM_TI.renamed("efficient_sam_s"), encoder=efficient_vit.EFFICIENT_SAM_S),
    MEDSAM,
    SAM_MED2D_B,
    MOBILE_SAM.renamed("tinysam"),
)

# For tests: a 64 px image, 8 x 8 features of 32 channels, 32 px masks.
TINY_VIT = VitConfig(
    dim=24, depth=3, heads=2, global_blocks=(1,), window=3, image_side=64, patch=8, out_dim=32
)
_TINY_TWO_WAY = TwoWayConfig(dim=32, heads=4, mlp_dim=48)
TINY = Variant(
    spec=replace(SAM, name="tiny", image_side=64, mask_side=32),
    encoder=TINY_VIT,
    prompts=PromptEncoderConfig(dim=32, image_side=64),
    decoder=MaskDecoderConfig(dim=32, transformer=_TINY_TWO_WAY),
)
TINY_HQ = Variant(
    spec=replace(TINY.spec, name="tiny_hq", family="sam_hq"),
    encoder=replace(TINY_VIT, extras="first_global"),
    prompts=TINY.prompts,
    decoder=MaskDecoderConfig(dim=32, transformer=_TINY_TWO_WAY, early_dim=TINY_VIT.dim),
)
TINY_EFFICIENT = Variant(
    spec=replace(EFFICIENT_SAM_TI.spec, name="tiny_efficient", image_side=32, mask_side=32),
    encoder=efficient_vit.TINY,
    prompts=replace(EFFICIENT_SAM_TI.prompts, dim=8, image_side=32),
    decoder=replace(
        EFFICIENT_SAM_TI.decoder,
        dim=8,
        transformer=replace(EFFICIENT_SAM_TI.decoder.transformer, dim=8, heads=2, mlp_dim=16),
    ),
)


# SAM 2, SAM 2.1, EdgeTAM and EfficientTAM.


def _video_spec(name: str, side: int = 1024) -> ModelSpec:
    return ModelSpec(
        name=name,
        accepts=ALL_KINDS,
        image_side=side,
        mask_side=side // 4,
        fit="square",
        resample="torch_antialias",
        pad_box=True,
    )


# SAM's decoder with an object score, a quality between 0 and 1 and, except for EfficientTAM, the
# encoder's fine maps.
_TWO_WAY = TwoWayConfig(mlp_names=("layers.0", "layers.1"))
_VIDEO_DECODER = MaskDecoderConfig(
    transformer=_TWO_WAY, fine=True, object_score=True, quality="sigmoid"
)
SAM_2 = VideoConfig(decoder=_VIDEO_DECODER)
SAM_2_1 = replace(SAM_2, absent_memory=True, settings=TrackingSettings(pointer_times="signed"))


def _hiera(name: str, trunk: HieraConfig, config: VideoConfig) -> VideoVariant:
    return VideoVariant(
        spec=_video_spec(name), trunk=trunk, neck=NeckConfig(widths=trunk.widths), config=config
    )


# MedSAM2 (Ma et al. 2025, arXiv 2504.03600): SAM 2.1 with Hiera-T at 512 pixels, fine-tuned on
# scans; its inference scripts resize slices by Pillow's cubic filter.
MED_SAM_2 = VideoVariant(
    spec=replace(_video_spec("medsam2", 512), resample="pillow_bicubic"),
    trunk=hiera.HIERA_T,
    neck=NeckConfig(widths=hiera.HIERA_T.widths),
    config=replace(SAM_2_1, prompts=PromptEncoderConfig(image_side=512)),
)

EDGE_TAM = VideoVariant(
    spec=_video_spec("edgetam"),
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
        spec=_video_spec(name, side),
        trunk=trunk,
        neck=NeckConfig(widths=(trunk.width,), added=(), dropped=0),
        config=VideoConfig(
            prompts=PromptEncoderConfig(image_side=side),
            decoder=replace(_VIDEO_DECODER, fine=False),
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
    MED_SAM_2,
    EDGE_TAM,
    _efficient_tam("efficienttam_ti", efficient_vit.EFFICIENT_TAM_TI),
    _efficient_tam("efficienttam_s", efficient_vit.EFFICIENT_TAM_S),
    _efficient_tam("efficienttam_ti_512x512", efficient_vit.EFFICIENT_TAM_TI, 512),
    _efficient_tam("efficienttam_s_512x512", efficient_vit.EFFICIENT_TAM_S, 512),
)

# For tests: a 64 px image, 4 x 4 features of 128 channels, 16 px masks.
_TINY_VIDEO_TWO_WAY = replace(_TWO_WAY, dim=128, heads=4, mlp_dim=48)
TINY_VIDEO = VideoVariant(
    spec=_video_spec("tiny_video", 64),
    trunk=hiera.TINY,
    neck=NeckConfig(widths=hiera.TINY.widths, dim=128),
    config=VideoConfig(
        prompts=PromptEncoderConfig(dim=128, image_side=64),
        decoder=replace(_VIDEO_DECODER, dim=128, transformer=_TINY_VIDEO_TWO_WAY),
        attention=MemoryAttentionConfig(dim=128, depth=2, mlp_dim=48),
        memory=MemoryEncoderConfig(dim=128),
        absent_memory=True,
        settings=SAM_2_1.settings,
    ),
)
TINY_EDGE = replace(
    TINY_VIDEO,
    spec=_video_spec("tiny_edge", 64),
    config=replace(
        TINY_VIDEO.config,
        absent_memory=False,
        perceiver=PerceiverConfig(everywhere=3, side=2),
        settings=EDGE_TAM.config.settings,
    ),
)


_PUBLISHED: tuple[Variant | VideoVariant, ...] = (*VARIANTS, *VIDEO_VARIANTS)
_TINY: tuple[Variant | VideoVariant, ...] = (TINY, TINY_HQ, TINY_EFFICIENT, TINY_VIDEO, TINY_EDGE)

REGISTRY: dict[str, Variant | VideoVariant | RegistryEntry] = {
    "nano": RegistryEntry(nano_spec(NanoConfig()), lambda: Nano().eval()),
    "small": RegistryEntry(nano_spec(nano.SMALL), lambda: Nano(nano.SMALL).eval()),
    **{variant.spec.name: variant for variant in _PUBLISHED},
}

# Not listed by `names`, but accepted by `build` and `spec`.
FOR_TESTS: dict[str, Variant | VideoVariant | RegistryEntry] = {
    "nano_tiny": RegistryEntry(nano_spec(nano.TINY), lambda: Nano(nano.TINY).eval()),
    **{variant.spec.name: variant for variant in _TINY},
}
