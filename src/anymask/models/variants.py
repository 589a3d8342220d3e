"""The registry of image models: a name in, the numbers of the variant and a built model out.

A family is one row: how it sees a picture (ModelSpec), its encoder, its prompt encoder, its mask
decoder. Aliases share a row and change what the checkpoint's own code does differently. Sources of
the numbers: `build_sam.py` of segment-anything, MobileSAM, sam-hq, EdgeSAM and TinySAM,
`build_efficient_sam.py` of EfficientSAM, `MedSAM_Inference.py` of MedSAM.

A model that is not an ImageModel is one more line in `REGISTRY`, its spec and a function that
builds it: `nano`, and SAM 2's families (`video_variants.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import nn

from anymask.masks import ALL_KINDS, ModelSpec
from anymask.models import efficient_vit, nano, repvit, tiny_vit
from anymask.models.efficient_vit import EfficientVit, EfficientVitConfig
from anymask.models.image_model import ImageModel
from anymask.models.mask_decoder import (
    EFFICIENT_SAM_HEAD,
    EFFICIENT_SAM_UPSCALING,
    MaskDecoder,
    MaskDecoderConfig,
)
from anymask.models.nano import Nano, NanoConfig, nano_spec
from anymask.models.prompt_encoder import (
    EFFICIENT_SAM_NAMES,
    PromptEncoder,
    PromptEncoderConfig,
)
from anymask.models.repvit import RepViT, RepViTConfig
from anymask.models.tiny_vit import TinyViT, TinyViTConfig
from anymask.models.two_way import TwoWayConfig
from anymask.models.video_variants import (
    VIDEO_FOR_TESTS,
    VIDEO_VARIANTS,
    VideoVariant,
    build_video_variant,
)
from anymask.models.vit import Vit, VitConfig

EncoderConfig = VitConfig | TinyViTConfig | RepViTConfig | EfficientVitConfig


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One image model of the family, as numbers."""

    spec: ModelSpec
    encoder: EncoderConfig
    prompts: PromptEncoderConfig = field(default_factory=PromptEncoderConfig)
    decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)

    def renamed(self, name: str, **spec: object) -> Variant:
        """The same architecture under another name, with other values of its spec."""
        return replace(self, spec=replace(self.spec, name=name, **spec))  # type: ignore[arg-type]


def build_encoder(config: EncoderConfig) -> nn.Module:
    """The encoder that a config describes."""
    match config:
        case VitConfig():
            return Vit(config)
        case TinyViTConfig():
            return TinyViT(config)
        case RepViTConfig():
            return RepViT(config)
        case EfficientVitConfig():
            return EfficientVit(config)


def build_variant(variant: Variant) -> ImageModel:
    """A randomly initialised model in eval mode."""
    model = ImageModel(
        variant.spec,
        build_encoder(variant.encoder),
        PromptEncoder(variant.prompts),
        MaskDecoder(variant.decoder),
    )
    return model.eval()


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

# EfficientSAM resizes a float picture without antialiasing, stretches it to a square, always takes
# six points, and has neither background clicks nor mask prompts.
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

# MedSAM is ViT-B on squares stretched to 0..1. It was tuned for one box a picture; the rest of the
# prompts is ViT-B's own and stays open to those who fine-tune it.
MEDSAM = SAM_VIT_B.renamed(
    "medsam",
    fit="square",
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
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
    MOBILE_SAM.renamed("tinysam"),
)

# Small enough for a test: a 64 px picture, 8 x 8 features of 32 channels, 32 px masks.
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


@dataclass(frozen=True)
class RegistryEntry:
    """What the registry knows of a model: how it sees a picture, and how to build it."""

    spec: ModelSpec
    build: Callable[[], nn.Module]


def _entry(variant: Variant) -> RegistryEntry:
    return RegistryEntry(variant.spec, lambda: build_variant(variant))


def _video_entry(variant: VideoVariant) -> RegistryEntry:
    return RegistryEntry(variant.spec, lambda: build_video_variant(variant))


REGISTRY: dict[str, RegistryEntry] = {
    "nano": RegistryEntry(nano_spec(NanoConfig()), lambda: Nano().eval()),
    "small": RegistryEntry(nano_spec(nano.SMALL), lambda: Nano(nano.SMALL).eval()),
    **{variant.spec.name: _entry(variant) for variant in VARIANTS},
    **{variant.spec.name: _video_entry(variant) for variant in VIDEO_VARIANTS},
}

# Not listed by `names`, but `build` and `spec` know them.
FOR_TESTS: dict[str, RegistryEntry] = {
    "nano_tiny": RegistryEntry(nano_spec(nano.TINY), lambda: Nano(nano.TINY).eval()),
    **{variant.spec.name: _entry(variant) for variant in (TINY, TINY_HQ, TINY_EFFICIENT)},
    **{variant.spec.name: _video_entry(variant) for variant in VIDEO_FOR_TESTS},
}
