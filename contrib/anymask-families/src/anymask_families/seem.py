"""SEEM v0 with FocalNet-T: scribbles, points, a referring image and text in one prompt.

    python -m anymask_families.seem PHOTO --weights seem_focalt_v0.pt --stroke mask.png -o out.png

Other prompts are `--point 500,375`, `--text 'red truck' --vocabulary CLIP`, and
`--example other.jpg mask.png`; they can be combined.

Source: Zou et al. 2023 (SEEM, arXiv:2304.06718) and UX-Decoder's repository of it (Apache-2.0,
parts MIT), `demo_code` and `configs/seem/focalt_unicl_lang_v0.yaml`, for names and numbers; Yang et
al. 2022 (FocalNet, arXiv:2203.11926) for the backbone. Prompts are tokens that join the
self-attention of the queries. The mask is that of the query whose mask embedding is most similar to
the mean feature under the stroke, else under the referring stroke; with text alone, that of the
query whose class embedding is most similar to the sentence.

It is a separate program, because its choice of one mask of 101 queries is not that of a detector
or of an image model of the catalogue, and the licence of its weights is not stated. Text requires
CLIP's vocabulary, a folder as for `anymask find`. Difference: of more than 512 points of a stroke,
the reference draws 512 at random; here they are evenly spaced in the order of rows.

Letters: C channels, h w a map, L = h * w, Q queries, T tokens, P points of a stroke, K classes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.base import AnymaskError, BoolArray, InputError, UintImage
from anymask.find import BytePairs
from anymask.images import load_image, load_mask
from anymask.models import Mlp, add_submodule, sine_grid, tower_blocks
from anymask.runtime import load_official, read_checkpoint

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
DIVISOR = 32  # images are padded to a multiple of it
SIDE = 512  # default short side
MOST_POINTS = 512  # of a stroke
START, END = 49406, 49407  # token ids around a sentence
FOCAL = (3, 3)  # levels of a block, and the first kernel; each further one is 2 larger


@dataclass(frozen=True, kw_only=True)
class SeemConfig:
    """Sizes of the network."""

    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    hidden: int = 512
    heads: int = 8
    mlp: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 9
    queries: int = 101
    memories: int = 32
    text_layers: int = 12
    vocabulary: int = 49408
    context: int = 77


class FocalModulation(nn.Module):
    """Multiplies each place with its context: depthwise convolutions of growing size, gated."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        levels, kernel = FOCAL
        self.f = nn.Linear(dim, 2 * dim + levels + 1)
        self.h = nn.Conv2d(dim, dim, 1)
        self.proj = nn.Linear(dim, dim)
        sides = [kernel + 2 * level for level in range(levels)]
        self.focal_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, dim, side, 1, side // 2, groups=dim, bias=False))
            for side in sides
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, h, w, C) -> the same
        C, levels = x.shape[-1], len(self.focal_layers)
        query, context, gates = self.f(x).movedim(-1, 1).split((C, C, levels + 1), dim=1)
        total = torch.zeros_like(context)
        for level, layer in enumerate(self.focal_layers):
            context = F.gelu(layer(context))
            total = total + context * gates[:, level, None]
        total = total + F.gelu(context.mean((2, 3), keepdim=True)) * gates[:, levels, None]
        mixed = query * self.h(total / (levels + 1))
        y: Tensor = self.proj(mixed.movedim(1, -1))
        return y


class FocalBlock(nn.Module):
    """Post-norm modulation and MLP with layer scale, a depthwise convolution before each."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma_1, self.gamma_2 = (nn.Parameter(torch.ones(dim)) for _ in range(2))
        self.dw1, self.dw2 = (nn.Conv2d(dim, dim, 3, 1, 1, groups=dim) for _ in range(2))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.modulation = FocalModulation(dim)
        self.mlp = Mlp((dim, 4 * dim, dim), ("fc1", "fc2"), "gelu")

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> the same
        x = (x + self.dw1(x)).movedim(1, -1)
        x = self.norm1(x + self.gamma_1 * self.modulation(x)).movedim(-1, 1)
        x = (x + self.dw2(x)).movedim(1, -1)
        y: Tensor = self.norm2(x + self.gamma_2 * self.mlp(x)).movedim(-1, 1)
        return y


class Downsample(nn.Module):
    """A strided convolution and a norm."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.proj = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(c_out)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C', h / stride, w / stride)
        x = F.pad(x, (0, -x.shape[3] % self.stride, 0, -x.shape[2] % self.stride))
        y: Tensor = self.norm(self.proj(x).movedim(1, -1)).movedim(-1, 1)
        return y


class FocalNet(nn.Module):
    """The backbone: maps of stride 4, 8, 16 and 32."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        self.patch_embed = Downsample(3, config.dim, 7, 4)
        self.layers = nn.ModuleList()
        last = len(config.depths) - 1
        for stage, depth in enumerate(config.depths):
            dim = config.dim * 2**stage
            layer = nn.Module()
            layer.blocks = nn.ModuleList(FocalBlock(dim) for _ in range(depth))
            if stage < last:
                layer.downsample = Downsample(dim, 2 * dim, 3, 2)
            self.layers.append(layer)
            self.add_module(f"norm{stage}", nn.LayerNorm(dim))

    def forward(self, x: Tensor) -> list[Tensor]:  # (B, 3, H, W) -> maps (B, C, h, w)
        x = self.patch_embed(x)
        maps = []
        for stage, layer in enumerate(self.layers):
            for block in layer.get_submodule("blocks").children():
                x = block(x)
            norm = self.get_submodule(f"norm{stage}")
            maps.append(norm(x.movedim(1, -1)).movedim(-1, 1))
            for step in layer.children():
                if isinstance(step, Downsample):
                    x = step(x)
        return maps


class NormedConv(nn.Conv2d):
    """A convolution without bias, followed by a group norm and optionally a ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int, relu: bool) -> None:
        super().__init__(c_in, c_out, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(32, c_out)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C', h, w)
        y: Tensor = self.norm(super().forward(x))
        return F.relu(y) if self.relu else y


def attention(config: SeemConfig) -> nn.MultiheadAttention:
    """Multi-head attention of the network's width."""
    return nn.MultiheadAttention(config.hidden, config.heads, batch_first=True)


class EncoderLayer(nn.Module):
    """Post-norm self-attention and MLP; positions affect queries and keys."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        self.self_attn = attention(config)
        self.linear1 = nn.Linear(config.hidden, config.mlp)
        self.linear2 = nn.Linear(config.mlp, config.hidden)
        self.norm1, self.norm2 = nn.LayerNorm(config.hidden), nn.LayerNorm(config.hidden)

    def forward(self, x: Tensor, at: Tensor) -> Tensor:  # (B, L, C), (1, L, C) -> (B, L, C)
        placed = x + at
        x = self.norm1(x + self.self_attn(placed, placed, x, need_weights=False)[0])
        y: Tensor = self.norm2(x + self.linear2(F.relu(self.linear1(x))))
        return y


class PixelDecoder(nn.Module):
    """A transformer on the coarsest map and a feature pyramid down to stride 4."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        hidden, self.last = config.hidden, len(config.depths)
        for level in range(1, self.last):
            adapter = NormedConv(config.dim * 2 ** (level - 1), hidden, 1, relu=False)
            self.add_module(f"adapter_{level}", adapter)
            self.add_module(f"layer_{level}", NormedConv(hidden, hidden, 3, relu=True))
        self.mask_features = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.input_proj = nn.Conv2d(config.dim * 2 ** (self.last - 1), hidden, 1)
        layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        add_submodule(self, "transformer.encoder.layers", layers)
        self.add_module(f"layer_{self.last}", NormedConv(hidden, hidden, 3, relu=True))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Maps of the backbone -> mask features at stride 4, and maps of stride 32, 16 and 8."""
        x = self.input_proj(maps[-1])
        h, w = x.shape[2:]
        at = sine_grid(h, w, x.shape[1], x.device)
        flat = x.flatten(2).transpose(1, 2)
        for layer in self.get_submodule("transformer.encoder.layers").children():
            flat = layer(flat, at)
        y = self.get_submodule(f"layer_{self.last}")(flat.transpose(1, 2).unflatten(2, (h, w)))
        scales = [y]
        for level in range(self.last - 1, 0, -1):
            beside = self.get_submodule(f"adapter_{level}")(maps[level - 1])
            y = beside + F.interpolate(y, size=beside.shape[2:], mode="nearest")
            y = self.get_submodule(f"layer_{level}")(y)
            scales.append(y)
        return self.mask_features(y), scales[:3]


class TextEncoder(nn.Module):
    """The text encoder and its projection."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.lang_proj = nn.Parameter(torch.zeros(hidden, hidden))
        self.logit_scale = nn.Parameter(torch.ones(()))
        self.lang_encoder = nn.Module()
        table = nn.Parameter(torch.zeros(config.context, hidden))
        self.lang_encoder.positional_embedding = table
        self.lang_encoder.token_embedding = nn.Embedding(config.vocabulary, hidden)
        self.lang_encoder.resblocks = tower_blocks(
            hidden, config.text_layers, hidden // config.heads
        )
        self.lang_encoder.ln_final = nn.LayerNorm(hidden)
        for norm in self.lang_encoder.modules():
            if isinstance(norm, nn.LayerNorm):
                norm.eps = 1e-12

    def forward(self, ids: Tensor) -> Tensor:  # (T,) -> projected tokens (T, C)
        inner = self.lang_encoder
        x = inner.get_submodule("token_embedding")(ids)
        x = (x + inner.get_parameter("positional_embedding")[: len(ids)])[None]
        causal = torch.ones(len(ids), len(ids), dtype=torch.bool, device=ids.device).triu(1)
        for block in inner.get_submodule("resblocks").children():
            x = block(x, causal)
        y: Tensor = inner.get_submodule("ln_final")(x)[0] @ self.lang_proj
        return y


@dataclass(frozen=True)
class Stroke:
    """Features under a stroke.

    Attributes:
        mean: Mean mask feature (C,) under the positive points.
        tokens: Tokens (P, C) for each of the three scales.
    """

    mean: Tensor
    tokens: list[Tensor]


@dataclass(frozen=True)
class Words:
    """An encoded sentence: all its tokens (T, C), and the last one (C,)."""

    tokens: Tensor
    sentence: Tensor


@dataclass(frozen=True)
class Scene:
    """An encoded image: mask features (C, h, w), maps (C, h, w) of three scales, padded size."""

    pixels: Tensor
    scales: list[Tensor]
    padded_hw: tuple[int, int]


@dataclass(frozen=True)
class Answer:
    """Predictions of all queries: masks (Q, h, w), mask and class embeddings (Q, C)."""

    masks: Tensor
    mask_embeddings: Tensor
    class_embeddings: Tensor


class Residual(nn.Module):
    """An attention and the norm that follows it."""

    def __init__(self, config: SeemConfig, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, attention(config))
        self.norm = nn.LayerNorm(config.hidden)

    def forward(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> Tensor:
        """Tokens (T, C), queries, keys and values, hidden pairs (T, L) -> (T, C)."""
        attend = self.get_submodule(self.name)
        read = attend(q[None], k[None], v[None], need_weights=False, attn_mask=hidden)[0][0]
        y: Tensor = self.norm(x + read)
        return y


class FeedForward(nn.Module):
    """An MLP and the norm that follows it."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        self.linear1 = nn.Linear(config.hidden, config.mlp)
        self.linear2 = nn.Linear(config.mlp, config.hidden)
        self.norm = nn.LayerNorm(config.hidden)

    def forward(self, x: Tensor) -> Tensor:  # (T, C) -> the same
        y: Tensor = self.norm(x + self.linear2(F.relu(self.linear1(x))))
        return y


class Predictor(nn.Module):
    """Queries attend to the image inside their masks, then to each other and to prompts."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        hidden, layers = config.hidden, range(config.decoder_layers)
        self.class_embed = nn.Parameter(torch.zeros(hidden, hidden))
        self.transformer_self_attention_layers = nn.ModuleList(
            Residual(config, "self_attn") for _ in layers
        )
        self.transformer_cross_attention_layers = nn.ModuleList(
            Residual(config, "multihead_attn") for _ in layers
        )
        self.transformer_ffn_layers = nn.ModuleList(FeedForward(config) for _ in layers)
        self.decoder_norm = nn.LayerNorm(hidden)
        self.query_feat = nn.Embedding(config.queries, hidden)
        self.query_embed = nn.Embedding(config.queries, hidden)
        self.pn_indicator = nn.Embedding(2, hidden)
        self.level_embed = nn.Embedding(3, hidden)
        self.lang_encoder = TextEncoder(config)
        names = tuple(f"layers.{i}" for i in range(3))
        self.mask_embed = Mlp((hidden,) * 4, names, "relu")
        self.mask_sptial_embed = nn.ParameterList(
            nn.Parameter(torch.zeros(hidden, hidden)) for _ in range(3)
        )
        # Memories of earlier rounds, which this path does not use.
        self.spatial_embed = nn.Embedding(config.memories, hidden)
        self.spatial_featured = nn.Embedding(config.memories, hidden)

    def levels(self, scene: Scene) -> list[Tensor]:
        """Maps of three scales with their level's embedding, (C, h, w) each."""
        added = self.level_embed.weight[..., None, None]
        return [one + added[i] for i, one in enumerate(scene.scales)]

    def stroke(self, scene: Scene, positive: Tensor, negative: Tensor) -> Stroke:
        """Sample features at points (P, 2) as x, y in 0..1 of the padded image."""
        mean = sample(scene.pixels, positive).mean(dim=0)
        points = torch.cat([positive, negative])
        signs = torch.tensor([0] * len(positive) + [1] * len(negative), device=points.device)
        tokens = [
            sample(one, points) @ matrix + self.pn_indicator.weight[signs]
            for one, matrix in zip(self.levels(scene), self.mask_sptial_embed, strict=True)
        ]
        return Stroke(mean, tokens)

    def forward(self, scene: Scene, strokes: Sequence[Stroke], words: Words | None) -> Answer:
        """Decode an image with any number of strokes, of it or of others, and a sentence."""
        maps = self.levels(scene)
        sizes = [one.shape[1:] for one in maps]
        flat = [one.flatten(1).T for one in maps]
        at = [sine_grid(size[0], size[1], flat[0].shape[1], flat[0].device)[0] for size in sizes]
        queries, query_at = self.query_feat.weight, self.query_embed.weight
        text = words.tokens if words else queries[:0]
        text_at = text
        answer = self.predict(queries, scene.pixels)
        Q, T = len(queries), len(text)
        for i, cross in enumerate(self.transformer_cross_attention_layers):
            level = i % 3
            outside = hidden_places(answer.masks, sizes[level])
            seen = flat[level]
            queries = cross(queries, queries + query_at, seen + at[level], seen, outside)
            given = [stroke.tokens[level] for stroke in strokes]
            x = torch.cat([queries, text, *given])
            x_at = torch.cat([query_at, text_at, *given])
            x = self.transformer_self_attention_layers[i](
                x, x + x_at, x + x_at, x, hidden_pairs(Q, T, [len(one) for one in given], x.device)
            )
            x = self.transformer_ffn_layers[i](x)
            queries, text = x[:Q], x[Q : Q + T]  # stroke tokens are the same in each layer
            answer = self.predict(queries, scene.pixels)
        return answer

    def predict(self, queries: Tensor, pixels: Tensor) -> Answer:  # (Q, C), (C, h, w)
        normal = self.decoder_norm(queries)
        embeddings = self.mask_embed(normal)
        masks = torch.einsum("qc,chw->qhw", embeddings, pixels)
        return Answer(masks, embeddings, normal @ self.class_embed)


def sample(features: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of a map (C, h, w) at points (P, 2) as x, y in 0..1 -> (P, C)."""
    grid = (2 * points - 1)[None, None]
    found = F.grid_sample(features[None], grid, align_corners=True)  # (1, C, 1, P)
    return found[0, :, 0].T


def hidden_places(masks: Tensor, size: torch.Size) -> Tensor:
    """Places that a query does not attend to, outside its mask: (Q, h, w) -> (Q, L)."""
    small = F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
    outside = small.flatten(1).sigmoid() < 0.5
    return outside & ~outside.all(dim=1, keepdim=True)


def hidden_pairs(queries: int, words: int, strokes: Sequence[int], device: torch.device) -> Tensor:
    """Pairs of tokens that do not attend: strokes to themselves alone, words not to strokes."""
    total = queries + words + sum(strokes)
    hidden = torch.ones(total, total, dtype=torch.bool, device=device)
    hidden[:queries] = False
    hidden[queries : queries + words, : queries + words] = False
    start = queries + words
    for count in strokes:
        hidden[start : start + count, start : start + count] = False
        start += count
    return hidden


class Seem(nn.Module):
    """The network with preprocessing and the choice of a mask."""

    dilation_kernel: Tensor  # of the reference's training

    def __init__(self, config: SeemConfig | None = None) -> None:
        super().__init__()
        config = config or SeemConfig()
        self.config = config
        self.register_buffer("dilation_kernel", torch.ones(1, 1, 3, 3))
        self.backbone = FocalNet(config)
        add_submodule(self, "sem_seg_head.pixel_decoder", PixelDecoder(config))
        add_submodule(self, "sem_seg_head.predictor", Predictor(config))

    @property
    def predictor(self) -> Predictor:
        found = self.get_submodule("sem_seg_head.predictor")
        assert isinstance(found, Predictor)
        return found

    def encode(self, image: UintImage) -> Scene:  # (H, W, 3), already resized
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
        mean, std = (torch.tensor(three)[:, None, None] for three in (MEAN, STD))
        pixels = (pixels - mean) / std
        pixels = F.pad(pixels, (0, -pixels.shape[2] % DIVISOR, 0, -pixels.shape[1] % DIVISOR))
        features, scales = self.get_submodule("sem_seg_head.pixel_decoder")(
            self.backbone(pixels[None])
        )
        return Scene(features[0], [one[0] for one in scales], (pixels.shape[1], pixels.shape[2]))

    def stroke(self, scene: Scene, drawn: BoolArray, background: BoolArray | None = None) -> Stroke:
        """Encode strokes (H, W) on the object and on the background. Raises InputError."""
        positive = stroke_points(drawn, scene.padded_hw)
        if not len(positive):
            raise InputError("The stroke is empty. Draw at least one pixel on the object.")
        negative = (
            positive[:0] if background is None else stroke_points(background, scene.padded_hw)
        )
        return self.predictor.stroke(scene, positive, negative)

    def words(self, tokens: Sequence[int]) -> Words:
        """Encode the token ids of a sentence, without start and end. Raises InputError."""
        if not 0 < len(tokens) <= self.config.context - 2:
            raise InputError(
                f"Expected 1 to {self.config.context - 2} tokens of a sentence, got {len(tokens)}."
            )
        found = self.predictor.lang_encoder(torch.tensor([START, *tokens, END]))
        return Words(found, found[-1])

    def segment(self, scene: Scene, prompt: SeemPrompt) -> Tensor:
        """Logits (h, w) of the selected mask, at a quarter of the padded image's size."""
        strokes = [one for one in (prompt.stroke, prompt.example) if one is not None]
        if not strokes and prompt.words is None:
            raise InputError("No prompt was passed. Add a stroke, a point, an example or text.")
        answer = self.predictor(scene, strokes, prompt.words)
        if strokes:
            similar = answer.mask_embeddings @ strokes[0].mean
        else:
            assert prompt.words is not None
            similar = F.normalize(answer.class_embeddings, dim=1) @ prompt.words.sentence
        chosen: Tensor = answer.masks[similar.argmax()]
        return chosen

    def class_logits(self, answer: Answer, classes: Tensor) -> Tensor:
        """Similarity (Q, K) of all queries with normalized class embeddings (K, C)."""
        scale = self.predictor.lang_encoder.logit_scale.exp()
        unit = F.normalize(answer.class_embeddings, dim=1)
        similar: Tensor = scale * unit @ classes.T
        return similar


@dataclass(frozen=True)
class SeemPrompt:
    """A prompt of several parts: a stroke of this image, one of another image, and a sentence."""

    stroke: Stroke | None = None
    example: Stroke | None = None
    words: Words | None = None


def stroke_points(drawn: BoolArray, padded_hw: tuple[int, int]) -> Tensor:
    """Pixels of a stroke (H, W), at most 512, as x, y in 0..1 of the padded image: (P, 2)."""
    rows, columns = np.nonzero(drawn)
    if len(rows) > MOST_POINTS:
        kept = np.linspace(0, len(rows) - 1, MOST_POINTS).round().astype(int)
        rows, columns = rows[kept], columns[kept]
    points = np.stack([columns / padded_hw[1], rows / padded_hw[0]], axis=1)
    return torch.from_numpy(points.astype(np.float32))


def resized(image: Image.Image, side: int = SIDE) -> UintImage:
    """Resize an image to a short side, as the reference does, -> (H, W, 3)."""
    width, height = image.size
    if width <= height:
        size = (side, math.floor(side * height / width))
    else:
        size = (math.floor(side * width / height), side)
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))


def _drawn(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    """Resize a stroke to (H, W); a pixel is drawn if any part of it is."""
    weight = Image.fromarray(mask).convert("F").resize(size[::-1], Image.Resampling.BOX)
    drawn: BoolArray = np.asarray(weight) > 0
    return drawn


def _read_prompt(
    seem: Seem, args: argparse.Namespace, image: Image.Image, scene: Scene
) -> SeemPrompt:
    """Encode the prompts of the command line. Raises AnymaskError."""
    drawn = np.zeros(image.size[::-1], bool)
    if args.stroke:
        drawn |= load_mask(args.stroke)
    for text in args.point:
        x, y = (round(float(part)) for part in text.split(","))
        drawn[y, x] = True
    stroke = example = None
    if drawn.any():
        stroke = seem.stroke(scene, _drawn(drawn, resized(image).shape[:2]))
    if args.example:
        other = resized(Image.fromarray(load_image(args.example[0])))
        mask = _drawn(load_mask(Path(args.example[1])), other.shape[:2])
        example = seem.stroke(seem.encode(other), mask)
    words = None
    if args.text:
        if args.vocabulary is None:
            raise InputError("--text requires the vocabulary of CLIP. Pass --vocabulary FOLDER.")
        words = seem.words(BytePairs.read(args.vocabulary).encode(args.text))
    return SeemPrompt(stroke, example, words)


def main() -> None:
    """Write the mask of a prompt."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--stroke", type=Path, help="mask image, white on the object")
    parser.add_argument("--point", metavar="X,Y", action="append", default=[])
    parser.add_argument("--example", nargs=2, metavar=("IMAGE", "MASK"))
    parser.add_argument("--text")
    parser.add_argument("--vocabulary", type=Path, help="folder with the vocabulary of CLIP")
    parser.add_argument("-o", "--output", type=Path, default=Path("mask.png"))
    args = parser.parse_args()
    try:
        seem = Seem().eval().requires_grad_(False)
        load_official(seem, read_checkpoint(args.weights))
        image = Image.fromarray(load_image(args.image))
        scene = seem.encode(resized(image))
        low = seem.segment(scene, _read_prompt(seem, args, image, scene))
    except AnymaskError as error:
        parser.error(str(error))
    large = F.interpolate(low[None, None], scene.padded_hw, mode="bilinear")[0, 0]
    height, width = resized(image).shape[:2]
    mask = Image.fromarray(large[:height, :width].numpy() > 0).resize(image.size)
    mask.convert("L").save(args.output)
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
