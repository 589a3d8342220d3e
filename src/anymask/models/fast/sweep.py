"""Sweep: decodes many clicks on one image by SAM's decoder, with shared work done once.

Equivalent to the two-way transformer (`two_way.py`) and the upscaling (`mask_decoder.py`) up to
rounding, for prompts without mask prompts. All prompts start from the same image X (L, C). A prompt
adds attention to its T tokens: with H heads, R = H * T shares per place times R rows of C numbers.
So the image of every prompt is represented as

    r1 (X' + A U)                    after the first layer, with A (L, R), U (R, C)
    r2 (r1 X'' + r1 A U' + B W + c)  after the second

where r1, r2 (L) are the scales of the layer norms. Their means vanish because all rows are centred
over C in advance, and their variances follow from the products of the rows with each other (R x R)
and with X. Projections to queries, keys and values are linear: those of X are computed once per
image, and those of U and W are computed for R rows instead of L. So no operation of size L x C x C
is required per prompt.

Masks are computed from the same sums, and only on request. The first transposed convolution of the
upscaling is linear, so that of the shared image is computed once; the rest is computed per place,
with channels last. Places are independent, so padding is skipped.

Source of the network: Kirillov et al. 2023, appendix A. The algebra is this project's own.

Letters: N prompts, T tokens, L = h * w places, C channels, H heads, D head width, R = H * T, S rows
of a view, k masks, p computed places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.bottlenecks import has_bottlenecks
from anymask.models.image_model import ImageModel
from anymask.models.mask_decoder import MaskDecoder
from anymask.models.two_way import DownscaledAttention, TwoWayLayer


def columns(places: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """Projected places (L, H * D) -> (H, D, L)."""
    return places.unflatten(-1, (heads, -1)).permute(1, 2, 0).to(dtype).contiguous()


def by_head(tokens: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """(N, T, H * D) -> (N, H, T, D)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2).to(dtype).contiguous()


def with_heads(rows: Tensor, heads: int) -> Tensor:
    """(H * T, L) -> (H, T, L), a view of the same memory."""
    return rows.unflatten(0, (heads, -1))


def multiply_by_head(tokens: Tensor, weight: Tensor, heads: int) -> Tensor:
    """Multiply tokens (N, T, H * D) by a weight (H * D, C) per head -> (N, H * T, C)."""
    return multiply_head_by_head(tokens.float().unflatten(-1, (heads, -1)).transpose(1, 2), weight)


def multiply_head_by_head(x: Tensor, weight: Tensor) -> Tensor:
    """(N, H, T, D) times (H * D, C) per head -> (N, H * T, C)."""
    N, H, T, _ = x.shape
    product = torch.bmm(x.transpose(0, 1).flatten(1, 2), weight.unflatten(0, (H, -1)))
    return product.unflatten(1, (N, T)).transpose(0, 1).flatten(1, 2)


def center_rows(rows: Tensor) -> Tensor:
    """Subtract the mean of each row (..., C)."""
    return rows - rows.mean(-1, keepdim=True)


class Drawing:
    """The upscaling for one image of (h, w) places.

    Args:
        decoder: The mask decoder.
        image: Shared image (L, C).
        constant: Constant of all places (C,).
        hw: Height and width in places.
        dtype: Type of all tensors of map size.
    """

    def __init__(
        self,
        decoder: MaskDecoder,
        image: Tensor,
        constant: Tensor,
        hw: tuple[int, int],
        dtype: torch.dtype,
    ) -> None:  # (L, C), (C,)
        widen, self.norm, widen_again = (
            decoder.get_submodule(name) for name in decoder.config.upscaling_names
        )
        self.hw, self.dtype = hw, dtype
        first, bias = as_linear(cast(nn.ConvTranspose2d, widen))
        self.first = first  # (C, 4 * C / 4)
        self.image = (image @ first).to(dtype).unflatten(0, hw)
        self.bias = (constant @ first + bias).to(dtype)
        second, bias = as_linear(cast(nn.ConvTranspose2d, widen_again))
        self.second, self.second_bias = second.to(dtype), bias.to(dtype)
        self.norm_weight = cast(Tensor, self.norm.weight).to(dtype)
        self.norm_bias = cast(Tensor, self.norm.bias).to(dtype)
        self.eps = cast(float, self.norm.eps)

    def __call__(
        self, view: tuple[Tensor, Tensor, Tensor], weights: Tensor, shown: tuple[int, int]
    ) -> Tensor:
        """First rows and columns of places of one prompt's masks -> (k, 4 h', 4 w') float32.

        Args:
            view: Scale (1, L), shares (S, L), rows (S, C).
            weights: Weights (k, C / 8) of the masks.
            shown: Number of rows h' and columns w'.
        """
        part = tuple(slice(length) for length in shown)
        scale, shares = (x.unflatten(1, self.hw)[:, *part].flatten(1) for x in view[:2])
        image, rows = self.image[part].flatten(0, 1), (view[2] @ self.first).to(self.dtype)
        x = torch.addcmul(self.bias, scale.t(), image).addmm_(shares.t(), rows)
        # Two upscalings per place: y and x, and y and x of each.
        cells = self._draw(x, weights.t().to(self.dtype)).float().view(*shown, 2, 2, 2, 2, -1)
        return cells.permute(6, 0, 2, 4, 1, 3, 5).flatten(4, 6).flatten(1, 3)

    def _draw(self, x: Tensor, mix: Tensor) -> Tensor:  # (p, C), (C / 8, k) -> (16 p, k)
        x = x.unflatten(-1, (4, -1)).flatten(0, 1)
        x = F.layer_norm(x, x.shape[-1:], self.norm_weight, self.norm_bias, self.eps)
        x = torch.addmm(self.second_bias, torch.ops.aten.gelu_(x), self.second)
        return torch.ops.aten.gelu_(x).unflatten(-1, (4, -1)).flatten(0, 1) @ mix


def as_linear(widen: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A transposed convolution with stride 2 as a matrix (C, 4 * C') and its bias (4 * C',)."""
    weight = widen.weight.float().permute(0, 2, 3, 1).flatten(1)
    return weight, cast(Tensor, widen.bias).float().repeat(4)


def unrolls(decoder: MaskDecoder) -> bool:
    """Whether a decoder has the supported form: SAM's own."""
    config = decoder.config
    plain = config.transformer.depth == 2 and config.transformer.self_attention == "sam"
    plain = plain and not has_bottlenecks(decoder.state_dict())
    return plain and not config.early_dim and config.norm == "place" and config.answers == "all"


def fits(model: nn.Module) -> bool:
    """Whether `ClickSweep` supports a model."""
    return isinstance(model, ImageModel) and unrolls(model.mask_decoder)


@dataclass(frozen=True, eq=False)
class PromptedImage:
    """The image after attention to N prompts: scale * X + shares * rows + a constant."""

    scale: Tensor  # Scale (N, 1, L) of X, the (L, C) shared by all prompts
    shares: Tensor  # Shares (N, S, L)
    rows: Tensor  # Rows (N, S, C) float32
    # Buffer (2, R, L) for temporary results; allocation would take longer than the sums
    spare: Tensor


@dataclass(frozen=True, eq=False)
class SweepTokens:
    """Decoder state of N prompts: final tokens (N, T, C) and the view of the image."""

    tokens: Tensor
    view: PromptedImage


class ClickSweep:
    """Sweep of one image (1, C, h, w).

    Args:
        model: The model.
        features: Features (1, C, h, w).
        dtype: Type of products of image size; the rest has the model's own type.
        shown: Rows and columns of h, w that the image covers. The padding is attended to, but no
            mask is computed there.
    """

    def __init__(
        self,
        model: ImageModel,
        features: Tensor,
        dtype: torch.dtype,
        shown: tuple[int, int] | None = None,
    ) -> None:
        self.decoder: MaskDecoder = model.mask_decoder
        self.prompts = model.prompt_encoder
        self.dtype = dtype
        self.hw = (features.shape[-2], features.shape[-1])
        self.shown = shown or self.hw
        nothing = features.new_zeros(1, 1, 4 * self.hw[0], 4 * self.hw[1])
        dense = self.prompts.embed_masks(nothing, nothing[0, 0, 0, :1])
        image = (features + dense)[0].flatten(1).t().float()
        positions = self.prompts.grid(*self.hw)[0].float()
        transformer = self.decoder.transformer
        first, second = cast("list[TwoWayLayer]", list(transformer.layers))
        self.first = FirstLayer(first, image, positions, dtype)
        self.second = SecondLayer(second, self.first, positions, dtype)
        weight, self.constant = _affine(second.norm4)
        self.image, self.weight = self.second.image * weight, weight
        self.read = TokenReader(
            transformer.final_attn_token_to_image, self.image, positions + self.constant, dtype
        )
        self.drawing = Drawing(self.decoder, self.image, self.constant, self.hw, dtype)

    def decode(
        self, coords: Tensor, labels: Tensor, room: Tensor | None = None
    ) -> tuple[Tensor, SweepTokens]:
        """Decode prompts: quality (N, masks) of all mask tokens, and the state for `draw`.

        Args:
            coords: Points (N, P, 2).
            labels: Labels (N, P).
            room: Memory of an earlier result to reuse, whose masks can then no longer be computed.
        """
        token_at = self.decoder.with_output_tokens(self.prompts.embed_points(coords, labels))
        room = self._room(token_at.shape[0], token_at.shape[1], room)
        tokens, view, values = self.first(token_at, room)
        tokens, view = self.second(tokens, token_at, view, values, room)
        view = replace(view, rows=view.rows * self.weight)
        tokens = tokens + self.read(tokens + token_at, view, self.constant)
        tokens = self.decoder.transformer.norm_final_attn(tokens)
        return self.decoder.iou_prediction_head(tokens[:, 0]).float(), SweepTokens(tokens, view)

    @property
    def bytes_per_prompt(self) -> int:
        """Memory per prompt of a batch, for one click and no box."""
        tokens = 3 + self.decoder.config.masks
        return len(self.image) * (2 * tokens * self.first.heads + 1) * self.dtype.itemsize

    def _room(self, prompts: int, tokens: int, used: Tensor | None) -> Tensor:
        shape = (prompts, 2 * tokens * self.first.heads + 1, len(self.image))
        if used is not None and used.shape[1:] == shape[1:] and len(used) >= prompts:
            return used[:prompts]
        return self.image.new_empty(shape, dtype=self.dtype)

    def draw(self, answered: SweepTokens, row: int, masks: Sequence[int]) -> Tensor:
        """Masks of one prompt -> logits (k, 4 h, 4 w), with the minimum in the padding."""
        heads = self.decoder.output_hypernetworks_mlps
        weights = torch.cat([heads[i](answered.tokens[row, 1 + i][None]) for i in masks])
        view = answered.view
        drawn = self.drawing(
            (view.scale[row], view.shares[row], view.rows[row]), weights, self.shown
        )
        beyond = [4 * (all_of - seen) for all_of, seen in zip(self.hw, self.shown, strict=True)]
        if not any(beyond):
            return drawn
        return F.pad(drawn, (0, beyond[1], 0, beyond[0]), value=float(drawn.min()))


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    return cast(Tensor, norm.weight).float(), cast(Tensor, norm.bias).float()


# --- attention to the image


class Scores:
    """Products of tokens with a projection of the image of each prompt.

    Attributes:
        projection: The linear projection.
        image: X (L, C).
        placed: What all prompts add before the projection (L, C).
        heads: Number of heads.
        dtype: Type of the products.
    """

    def __init__(
        self, projection: nn.Linear, image: Tensor, placed: Tensor, heads: int, dtype: torch.dtype
    ) -> None:
        self.weight, self.heads, self.dtype = projection.weight.float(), heads, dtype
        bias = projection.bias.float()
        self.image = columns(image @ self.weight.t(), heads, dtype)
        self.placed = columns(placed @ self.weight.t() + bias, heads, dtype)

    def __call__(self, tokens: Tensor, view: PromptedImage) -> Iterator[Tensor]:
        """(N, T, H * D) -> (H * T, L) prompt by prompt, in the view's spare memory."""
        projected = multiply_by_head(tokens, self.weight, self.heads)  # (N, R, C)
        of_rows = (projected @ view.rows.transpose(1, 2)).to(self.dtype)  # (N, R, S)
        head_tokens = by_head(tokens, self.heads, self.dtype)
        scores = view.spare[0]
        for row in range(len(tokens)):
            torch.bmm(head_tokens[row], self.image, out=with_heads(scores, self.heads))
            scores.mul_(view.scale[row]).addmm_(of_rows[row], view.shares[row])
            with_heads(scores, self.heads).baddbmm_(head_tokens[row], self.placed)
            yield scores


class TokenReader:
    """Attention from tokens to the image (`two_way.Attention` with queries from the tokens)."""

    def __init__(
        self, attention: DownscaledAttention, image: Tensor, placed: Tensor, dtype: torch.dtype
    ) -> None:
        self.attention, heads = attention, attention.heads
        self.scores = Scores(attention.k_proj, image, placed, heads, dtype)
        self.weight = attention.v_proj.weight.float()
        values = (image @ self.weight.t()).unflatten(-1, (heads, -1)).transpose(0, 1)
        self.values = values.to(dtype).contiguous()  # (H, L, D)
        self.back = self.weight.unflatten(0, (heads, -1)).transpose(1, 2).flatten(0, 1)  # (H*C, D)

    def __call__(self, tokens: Tensor, view: PromptedImage, constant: Tensor) -> Tensor:
        """(N, T, C) -> (N, T, C); `constant` (C,) is common to all places."""
        attention, heads = self.attention, self.attention.heads
        query = scale_query(attention.q_proj(tokens), heads)
        of_rows, of_image = [], []
        for row, scores in enumerate(self.scores(query, view)):
            taken = torch.softmax(scores, dim=-1, out=view.spare[1])
            of_rows.append(taken @ view.shares[row].t())  # (R, S)
            taken.mul_(view.scale[row])
            of_image.append(torch.bmm(with_heads(taken, heads), self.values))  # (H, T, D)
        added = torch.stack(of_rows).float() @ view.rows + constant  # (N, R, C)
        by_rows = multiply_head_by_head(added.unflatten(1, (heads, -1)), self.back)
        read = torch.stack(of_image).float() + by_rows.unflatten(1, (heads, -1))
        merged = read.transpose(1, 2).flatten(2) + attention.v_proj.bias
        return attention.out_proj(merged.to(tokens.dtype))


def scale_query(query: Tensor, heads: int) -> Tensor:
    """Divide queries (.., H * D) by the square root of D."""
    return query * (query.shape[-1] // heads) ** -0.5


# --- the two layers


class FirstLayer:
    """The first layer, where all prompts attend to the same image."""

    def __init__(
        self, layer: TwoWayLayer, image: Tensor, positions: Tensor, dtype: torch.dtype
    ) -> None:
        reading, telling = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        self.layer, self.dtype, self.heads = layer, dtype, telling.heads
        placed = image + positions
        keys, values = (
            F.linear(x, part.weight.float(), part.bias.float())
            for x, part in ((placed, reading.k_proj), (image, reading.v_proj))
        )
        self.keys = columns(keys, self.heads, torch.float32)
        self.values = columns(values, self.heads, torch.float32).transpose(1, 2).contiguous()
        projection = telling.q_proj
        asks = scale_query(
            F.linear(placed, projection.weight.float(), projection.bias.float()), self.heads
        )
        self.asks = columns(asks, self.heads, dtype)
        # The image with everything that tokens add, centred over the channels.
        self.carry = center_rows(telling.out_proj.weight.float().t())  # (H * D, C)
        self.image = center_rows(image + telling.out_proj.bias.float())  # (L, C)
        self.power = self.image.square().mean(-1)
        self.meet = columns(2 / image.shape[-1] * self.image @ self.carry.t(), self.heads, dtype)
        weight, self.constant = _affine(layer.norm4)
        self.image, self.next_carry = self.image * weight, self.carry * weight

    def __call__(self, token_at: Tensor, room: Tensor) -> tuple[Tensor, PromptedImage, Tensor]:
        """Tokens (N, T, C) -> tokens, the view after the layer, the tokens' values (N, T, H * D).

        Args:
            token_at: Tokens (N, T, C), which are also their positions.
            room: Memory (N, 2 R + 1, L) for the shares of this layer and the next.
        """
        layer = self.layer
        tokens = layer.norm1(layer.attend_to_each_other(token_at, token_at))
        spare = room.new_empty(2, room.shape[1] // 2, room.shape[-1])
        tokens = layer.norm2(tokens + self._attend_to_image(tokens + token_at, spare))
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        telling = layer.cross_attn_image_to_token
        keys, values = telling.k_proj(tokens + token_at), telling.v_proj(tokens)
        return tokens, self._attend_to_tokens(keys, values, room, spare), values

    def _attend_to_image(self, tokens: Tensor, spare: Tensor) -> Tensor:
        """Always in float32, which is as fast here, because all later steps depend on it."""
        attention, spare = self.layer.cross_attn_token_to_image, spare.float()
        query = scale_query(attention.q_proj(tokens), self.heads)
        read = []
        for head_query in by_head(query, self.heads, torch.float32):
            scores, taken = (with_heads(part, self.heads) for part in spare)
            torch.softmax(torch.bmm(head_query, self.keys, out=scores), dim=-1, out=taken)
            read.append(torch.bmm(taken, self.values))  # (H, T, D)
        return attention.out_proj(torch.stack(read).transpose(1, 2).flatten(2).to(tokens.dtype))

    def _attend_to_tokens(
        self, keys: Tensor, values: Tensor, room: Tensor, spare: Tensor
    ) -> PromptedImage:
        rows = multiply_by_head(values, self.carry, self.heads)
        among = _products(rows, rows).to(self.dtype)
        asking, head_values = (by_head(x, self.heads, self.dtype) for x in (keys, values))
        R, scores = rows.shape[1], spare[0]
        scale = room.new_empty(len(rows), 1, room.shape[-1])
        for row, shares in enumerate(room[:, :R]):
            torch.bmm(asking[row], self.asks, out=with_heads(scores, self.heads))
            torch.softmax(with_heads(scores, self.heads), 1, out=with_heads(shares, self.heads))
            torch.bmm(head_values[row], self.meet, out=with_heads(scores, self.heads))
            variance = self.power + sum_products(scores.addmm_(among[row], shares), shares)
            scale[row] = inverse_deviation(variance, self.layer.norm4)
            shares.mul_(scale[row])
        rows = multiply_by_head(values, self.next_carry, self.heads)
        return PromptedImage(scale, room[:, :R], rows, spare)


def sum_products(spread: Tensor, shares: Tensor) -> Tensor:
    """(R, L) twice -> the sum over R of their products, float32; overwrites `spread`."""
    return spread.mul_(shares).sum(0, dtype=torch.float32)


def _products(rows: Tensor, others: Tensor) -> Tensor:
    """(N, R, C), (N, S, C) -> (N, R, S), the mean over the channels."""
    return rows @ others.transpose(1, 2) / rows.shape[-1]


def inverse_deviation(variance: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Factor by which a layer norm multiplies centred values."""
    return (variance.clamp(min=0) + norm.eps).rsqrt()


class SecondLayer:
    """The second layer, where the image differs per prompt."""

    def __init__(
        self, layer: TwoWayLayer, before: FirstLayer, positions: Tensor, dtype: torch.dtype
    ) -> None:
        reading, telling = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        self.layer, self.dtype, self.heads = layer, dtype, before.heads
        placed = positions + before.constant
        self.before = before.constant
        self.read = TokenReader(reading, before.image, placed, dtype)
        self.asks = Scores(telling.q_proj, before.image, placed, self.heads, dtype)
        # The image after this layer, centred over the channels.
        self.image = center_rows(before.image)
        out = telling.out_proj
        self.carry = center_rows(torch.stack([before.next_carry, out.weight.float().t()]))
        self.constant = center_rows(before.constant + out.bias.float())
        share = 2 / positions.shape[-1]
        self.meet = [columns(share * self.image @ c.t(), self.heads, dtype) for c in self.carry]
        self.power = self.image.square().mean(-1)
        self.image_meets = share * (self.image @ self.constant)

    def __call__(
        self, tokens: Tensor, token_at: Tensor, view: PromptedImage, first: Tensor, room: Tensor
    ) -> tuple[Tensor, PromptedImage]:
        """Tokens (N, T, C), their positions, the view, values and memory of the first layer.

        Returns the tokens, and the view with the additions of both layers and the constant.
        """
        layer = self.layer
        tokens = layer.norm1(layer.attend_to_each_other(tokens, token_at))
        tokens = layer.norm2(tokens + self.read(tokens + token_at, view, self.before))
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        telling = layer.cross_attn_image_to_token
        keys, values = telling.k_proj(tokens + token_at), telling.v_proj(tokens)
        pairs = zip((first, values), self.carry, strict=True)
        rows = torch.cat([multiply_by_head(x, carry, self.heads) for x, carry in pairs], dim=1)
        among = _products(rows, rows)  # (N, 2 R, 2 R), symmetric
        linear = 2 * (rows @ self.constant)[..., None] / rows.shape[-1]
        R = rows.shape[1] // 2
        first, again = (by_head(x, self.heads, self.dtype) for x in (first, values))
        scale = torch.empty_like(view.scale)
        for row, scores in enumerate(self.asks(scale_query(keys, self.heads), view)):
            shares = room[row, R : 2 * R]
            torch.softmax(with_heads(scores, self.heads), 1, out=with_heads(shares, self.heads))
            self._norm((first[row], again[row]), among[row], linear[row], view, room, row)
            scale[row] = view.scale[row] * room[row, 2 * R]
        constant = self.constant.expand(len(rows), 1, -1)
        return tokens, PromptedImage(scale, room, torch.cat([rows, constant], dim=1), view.spare)

    def _norm(
        self,
        values: tuple[Tensor, Tensor],
        among: Tensor,
        linear: Tensor,
        view: PromptedImage,
        room: Tensor,
        row: int,
    ) -> None:
        """Divide one prompt's shares by the deviation, and store its inverse as the last one.

        Args:
            values: Values (H, T, D) of the tokens of both layers.
            among: Products (2 R, 2 R) of their rows with each other.
            linear: Twice their products with the constant (2 R, 1).
        """
        R = len(among) // 2
        scale, spread = view.scale[row].float()[0], view.spare[0]
        variance = self.power * scale.square() + self.constant.square().mean()
        variance += self.image_meets * scale
        among = among.to(self.dtype)
        among[R:, :R] *= 2  # both halves of the symmetric products at once
        halves = slice(0, R), slice(R, 2 * R)
        for part, of_layer, meet in zip(halves, values, self.meet, strict=True):
            torch.bmm(of_layer, meet, out=with_heads(spread, self.heads))
            spread.mul_(view.scale[row]).add_(linear[part].to(self.dtype))
            spread.addmm_(among[part, : part.stop], room[row, : part.stop])
            variance += sum_products(spread, room[row, part])
        room[row, -1] = inverse_deviation(variance, self.layer.norm4)
        room[row, :-1].mul_(room[row, -1])
