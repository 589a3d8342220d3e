"""CLIP: images and texts to vectors of one space.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision"
(openai/CLIP, MIT), the versions with a vision transformer. Parameter names are those of its
checkpoints, which open_clip shares; `official_names` converts those of transformers.

Letters: B images or texts, S the side of an image, L tokens, C channels of a tower, D the length of
a vector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.layers import add_submodule

HEAD_DIM = 64  # of all published sizes
Shapes = Mapping[str, tuple[int, ...]]
Activation = Literal["quick_gelu", "gelu"]


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Sizes of both towers."""

    side: int = 224  # Side S of an image
    patch: int = 32  # Side of a patch
    width: int = 768  # Channels of the image tower
    depth: int = 12  # Blocks of the image tower
    text_width: int = 512  # Channels of the text tower
    text_depth: int = 12  # Blocks of the text tower
    tokens: int = 77  # Maximum number of tokens of a text
    vocabulary: int = 49408  # Number of tokens in the vocabulary
    length: int = 512  # Length D of a vector
    head_dim: int = HEAD_DIM  # Channels of an attention head
    # "quick_gelu" for the weights of OpenAI, "gelu" for most others
    activation: Activation = "quick_gelu"

    @classmethod
    def of(cls, shapes: Shapes, activation: Activation = "quick_gelu") -> ClipConfig:
        """Sizes of weights with the official names. Raises KeyError, ValueError for others."""
        width, _, patch, _ = shapes["visual.conv1.weight"]
        places, _ = shapes["visual.positional_embedding"]
        tokens, text_width = shapes["positional_embedding"]
        return cls(
            side=patch * round((places - 1) ** 0.5),
            patch=patch,
            width=width,
            depth=_blocks(shapes, "visual.transformer."),
            text_width=text_width,
            text_depth=_blocks(shapes, "transformer."),
            tokens=tokens,
            vocabulary=shapes["token_embedding.weight"][0],
            length=shapes["visual.proj"][1],
            head_dim=min(HEAD_DIM, text_width, width),
            activation=activation,
        )


def _blocks(shapes: Shapes, tower: str) -> int:
    return len({name.split(".resblocks.")[1].split(".")[0] for name in shapes
                if name.startswith(f"{tower}resblocks.")})  # fmt: skip


class ClipModel(nn.Module):
    """Both towers."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = _ImageTower(config)
        add_submodule(
            self,
            "transformer.resblocks",
            tower_blocks(config, config.text_width, config.text_depth),
        )
        self.token_embedding = nn.Embedding(config.vocabulary, config.text_width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.tokens, config.text_width))
        self.ln_final = nn.LayerNorm(config.text_width)
        self.text_projection = nn.Parameter(torch.zeros(config.text_width, config.length))
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_image(self, images: Tensor) -> Tensor:  # (B, 3, S, S) -> (B, D)
        """Vectors of normalized images; they are not of length 1."""
        vectors: Tensor = self.visual(images)
        return vectors

    def encode_text(self, tokens: Tensor) -> Tensor:  # (B, L) -> (B, D)
        """Vectors of token ids, padded with 0. The last token of a text has the largest id."""
        places = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:places]
        later = torch.ones(places, places, dtype=torch.bool, device=x.device).triu(1)
        for block in self.get_submodule("transformer.resblocks").children():
            x = block(x, later)
        ends = self.ln_final(x)[torch.arange(len(x)), tokens.argmax(-1)]
        vectors: Tensor = ends @ self.text_projection
        return vectors


class _ImageTower(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width, places = config.width, (config.side // config.patch) ** 2
        self.conv1 = nn.Conv2d(3, width, config.patch, stride=config.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(places + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        add_submodule(self, "transformer.resblocks", tower_blocks(config, width, config.depth))
        self.proj = nn.Parameter(torch.zeros(width, config.length))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(images), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        for block in self.get_submodule("transformer.resblocks").children():
            x = block(x)
        vectors: Tensor = self.ln_post(x[:, 0]) @ self.proj
        return vectors


def tower_blocks(config: ClipConfig, width: int, depth: int) -> nn.ModuleList:
    """Blocks of a tower; each requires the tokens, and the hidden pairs of a text."""
    return nn.ModuleList(_Block(width, config.head_dim, config.activation) for _ in range(depth))


class _Block(nn.Module):
    def __init__(self, width: int, head_dim: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, width // head_dim, batch_first=True)
        self.mlp = nn.Module()
        add_submodule(self.mlp, "c_fc", nn.Linear(width, 4 * width))
        add_submodule(self.mlp, "c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:  # (B, L, C)
        normal = self.ln_1(x)
        x = x + self.attn(normal, normal, normal, attn_mask=hidden, need_weights=False)[0]
        inner = self.mlp.get_submodule("c_fc")(self.ln_2(x))
        gate = F.gelu(inner) if self.activation == "gelu" else inner * torch.sigmoid(1.702 * inner)
        answer: Tensor = x + self.mlp.get_submodule("c_proj")(gate)
        return answer


# Names.

_PARTS = (
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_model.final_layer_norm.", "ln_final."),
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),
    ("vision_model.post_layernorm.", "visual.ln_post."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
    (".self_attn.out_proj.", ".attn.out_proj."),
)
_TRANSPOSED = {
    "text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj",
}  # fmt: skip
_THIRD = re.compile(r"^(.+)\.self_attn\.([qkv])_proj\.(weight|bias)$")
UNUSED = re.compile(  # tensors that some files contain and that are computed or not needed
    r"(^|\.)(position_ids|attn_mask|input_resolution|context_length|vocab_size)$"
)


def official_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert weights with the names of transformers to the official names; others are unchanged.

    Transformers stores queries, keys and values separately, and transposes both projections.
    """
    found: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        if UNUSED.search(name):
            continue
        if name in _TRANSPOSED:
            found[_TRANSPOSED[name]] = value.T
            continue
        third = _THIRD.match(name)
        if third is not None:
            plain = _renamed(f"{third[1]}.attn.in_proj_{third[3]}")
            thirds.setdefault(plain, {})[third[2]] = value
            continue
        found[_renamed(name)] = value
    complete = {name: torch.cat([parts[one] for one in "qkv"]) for name, parts in thirds.items()
                if len(parts) == 3}  # fmt: skip
    return found | complete


def _renamed(name: str) -> str:
    for theirs, ours in _PARTS:
        name = name.replace(theirs, ours)
    return name
