"""Attention of exported graphs as one operator of ONNX Runtime.

ONNX Runtime has no fusion for the attention of these encoders: a graph writes the weights of all
queries and keys to memory, and copies queries, keys and values to other layouts. Its operator
`MultiHeadAttention` (com.microsoft) computes in blocks that fit into the cache. It is used for
converted checkpoints only, because other readers of ONNX files do not have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxscript
import torch
from onnx.defs import OpSchema
from onnxscript import opset20 as op

DOMAIN, NAME = "com.microsoft", "MultiHeadAttention"
LONG = 1024  # queries; with a bias, the operator uses one thread per head


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Translations of torch operators, for `custom_translation_table` of `torch.onnx.export`."""
    return {torch.ops.aten.scaled_dot_product_attention.default: _attention}


def _operator() -> Any:
    """Describe the operator and its inputs, which the exporter's type checks require."""

    def optional(name: str) -> OpSchema.FormalParameter:
        kind = OpSchema.FormalParameterOption.Optional
        return OpSchema.FormalParameter(name, "T", param_option=kind)

    schema = OpSchema(
        NAME, DOMAIN, 1,
        inputs=[
            OpSchema.FormalParameter("query", "T"),
            *map(optional, ("key", "value", "bias", "key_padding_mask", "attention_bias")),
        ],
        outputs=[OpSchema.FormalParameter("output", "T")],
        type_constraints=[("T", ["tensor(float)"], "")],
        attributes=[OpSchema.Attribute("num_heads", OpSchema.AttrType.INT, "")],
    )  # fmt: skip
    return onnxscript.values.Op(onnxscript.values.Opset(DOMAIN, 1), NAME, schema)


def _attention(query: Any, key: Any, value: Any, attn_mask: Any = None, *_: Any, **__: Any) -> Any:
    """Attention (B, heads, L, D), (B, heads, K, D), (B, heads, K, D) -> (B, heads, L, D)."""
    heads, length = query.shape[1], query.shape[2]
    if attn_mask is not None and length >= LONG:
        keys = op.Transpose(key, perm=[0, 1, 3, 2])
        scale = op.Constant(value_float=query.shape[3] ** -0.5)
        logits = op.Add(op.Mul(op.MatMul(query, keys), scale), attn_mask)
        return op.MatMul(op.Softmax(logits, axis=-1), value)
    joined: Any = op.Constant(value_ints=[0, 0, -1])
    q, k, v = (
        op.Reshape(op.Transpose(each, perm=[0, 2, 1, 3]), joined) for each in (query, key, value)
    )
    mixed = _operator()(q, k, v, None, None, attn_mask, num_heads=heads)
    apart: Any = op.Constant(value_ints=[0, 0, heads, -1])
    return op.Transpose(op.Reshape(mixed, apart), perm=[0, 2, 1, 3])
