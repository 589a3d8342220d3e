"""The sweep of `sweep.py` as modules for export.

`SweepImage` runs once per image, `SweepClicks` per batch of clicks, and `SweepMasks` per mask.
`SweepPrompt` combines the last two for one prompt and all of its masks. The algebra is that of
`sweep.py`, written for ONNX Runtime: products of two matrices that accumulate, and sums as products
with ones, which take a tenth of the time of a reduction there. Places are the columns, as in the
encoder's maps, so that nothing is transposed.

The scales of the layer norms stay outside the shares, and the constant of all places is in the rows
of the second layer, because the shares of each head add up to 1. So the image of a prompt is

    r2 (r1 (X + A1 W1) + A2 W2)  with A1, A2 (L, R), W1, W2 (R, C)

Letters: as in `sweep.py`.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast.sweep import (
    as_linear,
    center_rows,
    inverse_deviation,
    scale_query,
    unrolls,
)
from anymask.models.image_model import ImageModel
from anymask.models.mask_decoder import MaskDecoder
from anymask.models.prompt_encoder import PromptEncoder
from anymask.models.two_way import DownscaledAttention, TwoWayLayer
from anymask.models.video_model import VideoModel

PROMPTS_AT_ONCE = 4  # per call: only the work on tokens is shared


class ImageWork(NamedTuple):
    """Outputs of `SweepImage`: (H, D, L) unless another shape is given.

    Attributes:
        keys: Keys of the first layer.
        values: Values of the first layer.
        asks: Queries of its places.
        power: Mean square of X after it (L,).
        meet: Products of X with the tokens' additions.
        read_*: The same of the second layer: X, positions, values.
        asks_*: Its queries: X, positions.
        power_2: Mean square of X after it (L,).
        meet_1: Products of X with the tokens' additions in the first layer.
        meet_2: Products of X with the tokens' additions in the second layer.
        meet_all: Products of X with the constant (L,).
        final_*: The same of the last attention as read_*.
    """

    keys: Tensor
    values: Tensor
    asks: Tensor
    power: Tensor
    meet: Tensor
    read_image: Tensor
    read_places: Tensor
    read_values: Tensor
    asks_image: Tensor
    asks_places: Tensor
    power_2: Tensor
    meet_1: Tensor
    meet_2: Tensor
    meet_all: Tensor
    final_image: Tensor
    final_places: Tensor
    final_values: Tensor


CLICK_INPUTS = (*ImageWork._fields, "coords", "labels")
CLICK_OUTPUTS = ("quality", "weights", "rows")  # of all prompts, then the view of each prompt
VIEW = ("scale_1", "scale_2", "shares_1", "shares_2")
UPSCALED = ("upscaled", "finer", "finest")  # per image, for masks; only the first without fine maps


def decoder_of(model: nn.Module) -> tuple[MaskDecoder, PromptEncoder] | None:
    """Mask decoder and prompt encoder of a supported model, else None."""
    if isinstance(model, ImageModel):
        decoder, prompts = model.mask_decoder, model.prompt_encoder
    elif isinstance(model, VideoModel):
        decoder, prompts = model.sam_mask_decoder, model.sam_prompt_encoder
    else:
        return None
    return (decoder, prompts) if unrolls(decoder) else None


class SweepPart(nn.Module):
    """Decoder and prompt encoder of a model that `decoder_of` accepts."""

    def __init__(self, decoder: MaskDecoder, prompts: PromptEncoder) -> None:
        super().__init__()
        self.decoder, self.prompts = decoder, prompts
        transformer = decoder.transformer
        self.first, self.second = cast("list[TwoWayLayer]", list(transformer.layers))
        self.final: DownscaledAttention = transformer.final_attn_token_to_image
        self.heads = self.first.cross_attn_image_to_token.heads
        widen, self.norm, widen_again = (
            decoder.get_submodule(name) for name in decoder.config.upscaling_names
        )
        self.widen = cast(nn.ConvTranspose2d, widen)
        self.widen_again = cast(nn.ConvTranspose2d, widen_again)

    def additions(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Additions of tokens to the image: (H * D, C) of each layer after it, of the first layer
        after the second, and the constant (C,) added to all places after the second."""
        first, second = (
            layer.cross_attn_image_to_token.out_proj for layer in (self.first, self.second)
        )
        carry = center_rows(first.weight.t())
        after = center_rows(carry * self.first.norm4.weight)
        constant = center_rows(self.first.norm4.bias + second.bias)
        return carry, after, center_rows(second.weight.t()), constant


class SweepImage(SweepPart):
    """Work per image: maps (1, C, h, w) -> `ImageWork` and `UPSCALED`."""

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        features, *fine = maps
        h, w = features.shape[-2:]
        nothing = features.new_zeros(1, 1, 4 * h, 4 * w)
        dense = self.prompts.embed_masks(nothing, nothing[0, 0, 0, :1])[..., :1, :1]  # constant
        image = (features + dense)[0].flatten(1)  # (C, L), as everything below
        grid, share = self.prompts.grid(h, w)[0].t(), 2 / len(image)
        work: dict[str, Tensor] = {}

        read, tell = self.first.cross_attn_token_to_image, self.first.cross_attn_image_to_token
        work["keys"] = self._by_head(_projected(read.k_proj, image + grid))
        work["values"] = self._by_head(_projected(read.v_proj, image))
        asks = _projected(tell.q_proj, image + grid)
        work["asks"] = self._by_head(asks) * (len(asks) // self.heads) ** -0.5
        carry, carry_1, carry_2, constant = self.additions()
        image = _centered(image + tell.out_proj.bias[:, None])
        work["power"] = _mean_square(image)
        work["meet"] = self._by_head(share * carry @ image)
        norm = self.first.norm4
        image, places = image * norm.weight[:, None], grid + norm.bias[:, None]

        read, tell = self.second.cross_attn_token_to_image, self.second.cross_attn_image_to_token
        work |= self._attended("read", read, image, places)
        work["asks_image"] = self._by_head(tell.q_proj.weight @ image)
        work["asks_places"] = self._by_head(_projected(tell.q_proj, places))
        image = _centered(image)
        work["power_2"] = _mean_square(image)
        work["meet_1"] = self._by_head(share * carry_1 @ image)
        work["meet_2"] = self._by_head(share * carry_2 @ image)
        work["meet_all"] = share * constant @ image
        norm = self.second.norm4
        image, places = image * norm.weight[:, None], grid + norm.bias[:, None]

        work |= self._attended("final", self.final, image, places)
        outputs = tuple(work[name] for name in ImageWork._fields)
        return (*outputs, image.t() @ as_linear(self.widen)[0], *_by_place(fine))

    def _attended(
        self, name: str, attention: DownscaledAttention, image: Tensor, places: Tensor
    ) -> dict[str, Tensor]:
        """Keys and values of the image, which prompts scale, and keys of the positions."""
        return {
            f"{name}_image": self._by_head(attention.k_proj.weight @ image),
            f"{name}_places": self._by_head(_projected(attention.k_proj, places)),
            f"{name}_values": self._by_head(attention.v_proj.weight @ image),
        }

    def _by_head(self, places: Tensor) -> Tensor:  # (H * D, L) -> (H, D, L)
        return places.unflatten(0, (self.heads, -1))


def _projected(layer: nn.Linear, image: Tensor) -> Tensor:  # (C, L) -> (C', L)
    return layer.weight @ image + layer.bias[:, None]


def _centered(image: Tensor) -> Tensor:  # (C, L)
    return image - sum_rows(image) / len(image)


def _mean_square(image: Tensor) -> Tensor:  # (C, L) -> (L,)
    return (sum_rows(image.square()) / len(image))[0]


def _by_place(fine: list[Tensor]) -> list[Tensor]:
    """SAM 2's fine maps grouped by place: (L, 4 * C / 4), (L, 16 * C / 8)."""
    if not fine:
        return []
    finest, finer = fine[0][0], fine[1][0]
    cells = finer.unflatten(1, (-1, 2)).unflatten(3, (-1, 2))  # (c, h, 2, w, 2)
    finer = cells.permute(1, 3, 2, 4, 0).flatten(2).flatten(0, 1)
    cells = finest.unflatten(1, (-1, 2, 2)).unflatten(4, (-1, 2, 2))  # (c, h, 2, 2, w, 2, 2)
    finest = cells.permute(1, 4, 2, 5, 3, 6, 0).flatten(2).flatten(0, 1)
    return [finer.contiguous(), finest.contiguous()]


class SweepClicks(SweepPart):
    """`ImageWork`, coords (N, P, 2), labels (N, P) -> `CLICK_OUTPUTS`, N times `VIEW`; N is fixed.

    - quality: (N, masks) of all mask tokens
    - weights: (N, masks, C / 8) of the masks
    - rows: (N, 2 R, C) W1, W2 behind the first transposed convolution
    - scale_1: (1, L) r1 r2
    - scale_2: (1, L) r2
    - shares_*: (R, L) A1, A2
    """

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        work, (coords, labels) = ImageWork(*inputs[:-2]), inputs[-2:]
        start = self.decoder.with_output_tokens(self.prompts.embed_points(coords, labels))
        tokens, values, before = self._first_layer(start, work)
        tokens, added, after = self._second_layer(tokens, start, values, before, work)
        tokens = self._last_look(tokens, start, added, (before, after), work)
        config = self.decoder.config
        if config.object_score:
            tokens = tokens[:, 1:]
        quality = self.decoder.iou_prediction_head(tokens[:, 0])
        quality = quality.sigmoid() if config.quality == "sigmoid" else quality
        heads = self.decoder.output_hypernetworks_mlps
        weights = torch.stack([head(tokens[:, 1 + i]) for i, head in enumerate(heads)], dim=1)
        outputs = [quality, weights, torch.cat(added, dim=1) @ as_linear(self.widen)[0]]
        for (first, r1), (second, r2) in zip(before, after, strict=True):
            outputs += [r1 * r2, r2, first, second]
        return tuple(outputs)

    def _first_layer(
        self, start: Tensor, work: ImageWork
    ) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        """Tokens (N, T, C), their values (N, H, T, D), and A1 and r1 of each prompt."""
        layer, C = self.first, start.shape[-1]
        read, tell = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        tokens = layer.norm1(layer.attend_to_each_other(start, start))
        query = self._by_head(scale_query(read.q_proj(tokens + start), self.heads))
        # The image is still the same for all prompts: one product for all tokens.
        together = query.transpose(0, 1).flatten(1, 2)
        attended = torch.softmax(together @ work.keys, -1) @ work.values.transpose(1, 2)
        attended = attended.unflatten(1, (len(start), -1)).transpose(0, 1)
        tokens = layer.norm2(tokens + read.out_proj(_merge(attended)))
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        keys, values = (
            self._by_head(tell.k_proj(tokens + start)),
            self._by_head(tell.v_proj(tokens)),
        )
        rows = self._times(values, self.additions()[0])
        among = rows @ rows.transpose(1, 2) / C
        views = []
        for n in range(len(start)):
            shares = softmax_over_tokens(keys[n] @ work.asks)
            met = torch.addmm((values[n] @ work.meet).flatten(0, 1), among[n], shares)
            power = work.power + sum_rows(met * shares)
            views.append((shares, inverse_deviation(power, layer.norm4)))
        return tokens, values, views

    def _second_layer(
        self,
        tokens: Tensor,
        start: Tensor,
        first_values: Tensor,
        before: list[tuple[Tensor, Tensor]],
        work: ImageWork,
    ) -> tuple[Tensor, tuple[Tensor, Tensor], list[tuple[Tensor, Tensor]]]:
        """Tokens, W1 and W2 (N, R, C), and A2 and r2 of each prompt."""
        layer, C = self.second, start.shape[-1]
        read, tell = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        carry, carry_1, carry_2, constant = self.additions()
        rows = self._times(first_values, carry * self.first.norm4.weight)
        tokens = layer.norm1(layer.attend_to_each_other(tokens, start))
        query = self._by_head(scale_query(read.q_proj(tokens + start), self.heads))
        of_rows = self._times(query, read.k_proj.weight) @ rows.transpose(1, 2)
        of_image, of_shares = [], []
        for n, (shares, scale) in enumerate(before):
            scores = torch.addmm((query[n] @ work.read_image).flatten(0, 1), of_rows[n], shares)
            scores = scores * scale + (query[n] @ work.read_places).flatten(0, 1)
            taken = torch.softmax(scores, -1) * scale
            of_image.append(self._take(taken, work.read_values))
            of_shares.append(taken @ shares.t())
        added = torch.stack(of_shares) @ rows + self.first.norm4.bias
        tokens = layer.norm2(tokens + self._read(read, torch.stack(of_image), added))
        tokens = layer.norm3(tokens + layer.mlp(tokens))

        keys = self._by_head(scale_query(tell.k_proj(tokens + start), self.heads))
        again = self._by_head(tell.v_proj(tokens))
        of_rows = self._times(keys, tell.q_proj.weight) @ rows.transpose(1, 2)
        # The shares of a prompt add up to the number of heads: the constant is part of each row.
        first = self._times(first_values, carry_1)
        second = self._times(again, carry_2) + constant / self.heads
        pairs = ((first, first), (second, 2 * first), (second, second))
        among = [x @ y.transpose(1, 2) / C for x, y in pairs]
        views = []
        for n, (shares, scale) in enumerate(before):
            scores = torch.addmm((keys[n] @ work.asks_image).flatten(0, 1), of_rows[n], shares)
            scores = (scores * scale).unflatten(0, (self.heads, -1)) + keys[n] @ work.asks_places
            later = softmax_over_tokens(scores)
            met = torch.addmm((first_values[n] @ work.meet_1).flatten(0, 1), among[0][n], shares)
            power = scale.square() * (work.power_2 + sum_rows(met * shares))
            met = torch.addmm((again[n] @ work.meet_2).flatten(0, 1), among[1][n], shares)
            met = torch.addmm(met * scale, among[2][n], later)
            power = power + sum_rows(met * later) + scale * work.meet_all
            views.append((later, inverse_deviation(power, layer.norm4)))
        weight = layer.norm4.weight
        return tokens, (first * weight, second * weight), views

    def _last_look(
        self,
        tokens: Tensor,
        start: Tensor,
        rows: tuple[Tensor, Tensor],
        views: tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]],
        work: ImageWork,
    ) -> Tensor:
        """Final tokens (N, T, C)."""
        read = self.final
        query = self._by_head(scale_query(read.q_proj(tokens + start), self.heads))
        wide = self._times(query, read.k_proj.weight)
        of_1, of_2 = (wide @ part.transpose(1, 2) for part in rows)
        of_image, of_1st, of_2nd = [], [], []
        for n, ((first, r1), (second, r2)) in enumerate(zip(*views, strict=True)):
            scores = torch.addmm((query[n] @ work.final_image).flatten(0, 1), of_1[n], first)
            scores = torch.addmm(scores * r1, of_2[n], second)
            scores = scores * r2 + (query[n] @ work.final_places).flatten(0, 1)
            taken = torch.softmax(scores, -1) * r2
            of_2nd.append(taken @ second.t())
            taken = taken * r1
            of_1st.append(taken @ first.t())
            of_image.append(self._take(taken, work.final_values))
        sums = torch.stack(of_1st) @ rows[0] + torch.stack(of_2nd) @ rows[1]
        sums = sums + self.second.norm4.bias
        tokens = tokens + self._read(read, torch.stack(of_image), sums)
        return self.decoder.transformer.norm_final_attn(tokens)

    def _read(self, attention: DownscaledAttention, of_image: Tensor, seen: Tensor) -> Tensor:
        """Values read (N, H, T, D), and the prompts' additions (N, R, C) -> (N, T, C)."""
        back = attention.v_proj.weight.unflatten(0, (self.heads, -1)).transpose(1, 2)  # (H, C, D)
        read = of_image + seen.unflatten(1, (self.heads, -1)) @ back
        return attention.out_proj(_merge(read) + attention.v_proj.bias)

    def _take(self, shares: Tensor, values: Tensor) -> Tensor:
        """(H * T, L), (H, D, L) -> (H, T, D)."""
        return shares.unflatten(0, (self.heads, -1)) @ values.transpose(1, 2)

    def _by_head(self, tokens: Tensor) -> Tensor:  # (N, T, H * D) -> (N, H, T, D)
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _times(self, tokens: Tensor, weight: Tensor) -> Tensor:
        """(N, H, T, D) times (H * D, C) per head -> (N, R, C)."""
        return (tokens @ weight.unflatten(0, (self.heads, -1))).flatten(1, 2)


class SweepMasks(SweepPart):
    """Masks of one prompt at p places.

    `UPSCALED` (p, C), ..., scale_1, scale_2 (1, p), shares_1, shares_2 (R, p), rows (2 R, C),
    weights (k, C / 8) -> logits (16 p, k), with the cells of a place in the convolutions' order
    """

    def forward(self, *inputs: Tensor) -> Tensor:
        (image, *fine), (scale, later, first, second, rows, weights) = inputs[:-6], inputs[-6:]
        widened, bias = as_linear(self.widen)
        bias = self.second.norm4.bias @ widened + bias
        shares = torch.cat([first * scale, second * later, torch.ones_like(scale)])
        base = image * scale.t()
        base = base + fine[0] if fine else base
        x = torch.addmm(base, shares.t(), torch.cat([rows, bias[None]]))
        x = x.unflatten(-1, (4, -1)).flatten(0, 1)
        weight, bias = cast(Tensor, self.norm.weight), cast(Tensor, self.norm.bias)
        x = F.layer_norm(x, x.shape[-1:], weight, bias, cast(float, self.norm.eps))
        widened, bias = as_linear(self.widen_again)
        x = torch.addmm(bias, F.gelu(x), widened)
        x = x + fine[1].unflatten(-1, (4, -1)).flatten(0, 1) if fine else x
        return F.gelu(x).unflatten(-1, (4, -1)).flatten(0, 1) @ weights.t()


class SweepPrompt(nn.Module):
    """One prompt without a mask prompt: `ImageWork`, `UPSCALED`, coords (1, P, 2), labels (1, P)
    -> logits (1, T, m, m), quality (1, T) as from the decoder."""

    def __init__(self, decoder: MaskDecoder, prompts: PromptEncoder, hw: tuple[int, int]) -> None:
        super().__init__()
        self.clicks, self.masks = SweepClicks(decoder, prompts), SweepMasks(decoder, prompts)
        self.hw = hw

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        count = len(ImageWork._fields)
        quality, weights, rows, *view = self.clicks(*inputs[:count], *inputs[-2:])
        drawn = self.masks(*inputs[count:-2], *view, rows[0], weights[0])
        # Two upscalings per place: y and x, and y and x of each.
        cells = drawn.reshape(*self.hw, 2, 2, 2, 2, -1).permute(6, 0, 2, 4, 1, 3, 5)
        h, w = self.hw
        return cells.reshape(1, -1, 4 * h, 4 * w), quality


def softmax_over_tokens(scores: Tensor) -> Tensor:  # (H, T, L) -> (H * T, L)
    """Softmax over T; ONNX Runtime's own transposes for axes other than the last."""
    shares = torch.exp(scores - scores.amax(1, keepdim=True))
    total = scores.new_ones(1, shares.shape[1]) @ shares
    return (shares * total.reciprocal()).flatten(0, 1)


def sum_rows(x: Tensor) -> Tensor:  # (R, L) -> (1, L)
    """The sum over rows as a product."""
    return x.new_ones(1, x.shape[0]) @ x


def _merge(heads: Tensor) -> Tensor:  # (N, H, T, D) -> (N, T, H * D)
    return heads.transpose(1, 2).flatten(2)
