"""Export a model to ONNX graphs with a manifest, tables and an example.

Letters: B images, S the model's input side, N prompts or objects, P points, T mask tokens, m the
side of a mask, C channels, h w features, K memory tokens, Cm their channels. B, N, P, K, H and W
are dynamic; all other sizes are fixed in the graph.

encoder.onnx  images (B, 3, S, S) -> features, extras_0, ... (B, C, h, w) each; a model that
              supports rectangles (ModelSpec.pad_multiple) has images (B, 3, H, W)
decoder.onnx  features, extras_0, ... (1, C, h, w) each, coords (N, P, 2), labels (N, P),
              masks (N, 1, m, m), has_mask (N,) -> logits (N, T, m, m), quality (N, T); with
              rectangles, h, w and m may be those of another S
sweep_*.onnx  of a model with SAM's decoder, for many clicks on one image: see
              `models.fast.sweep_graphs`
classes.onnx  of a model that was fine-tuned on K classes: features, extras_0, ... -> labels
              (1, 1 + K, m, m), logits of background and of each class

Every mask token is an output; `models.rules` selects among them at run time. Optional graphs of
video models:

video_attention.onnx  features (1, C, h, w), tokens (N, K, Cm), places (1, K, Cm), cosine and sine
                      (K, C / 2) -> conditioned (N, C, h, w)
video_decoder.onnx    conditioned, extras_0, ..., coords (N, P, 2), labels (N, P), masks
                      (N, 1, m, m), has_mask (N,) -> logits (N, T, m, m), quality (N, T), score
                      (N, 1), pointers (N, T, C)
video_memory.onnx     features, logits (N, 1, m, m), sharp (N,), absent (N,) -> tokens (N, K, Cm)
video.npz             added to memories and pointers: `runtime.onnx_video.VideoConstants`

Graphs are optimized at export: they open in half the time, and the browser, which optimizes little,
uses the fused operators as well. The level is ONNX Runtime's "extended", whose fusions every build
of ONNX Runtime supports. The next level would store the memory layout of this machine's processor;
ONNX Runtime applies it whenever a graph is opened.

Weights in 16 bits halve the file size: a `Cast` converts each to float32, which ONNX Runtime folds
when it opens the graph. This is exact for weights that were rounded to float16 before
(`round_to_half`).
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import onnx
import onnxscript
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.defs import OpSchema
from onnxscript import opset20 as op
from torch import Tensor, nn

from anymask.base import InputError, file_sha256, import_offline
from anymask.masks import MAX_SIDE, ModelSpec
from anymask.models.class_head import class_head_of, class_logits, without_class_head
from anymask.models.fast import (
    CLICK_INPUTS,
    CLICK_OUTPUTS,
    PROMPTS_AT_ONCE,
    UPSCALED,
    VIEW,
    ImageWork,
    SweepClicks,
    SweepImage,
    SweepMasks,
    SweepPrompt,
    decoder_of,
    fuse,
)
from anymask.models.memory_attention import RecalledMemories
from anymask.models.positions import RotaryAngles
from anymask.models.rules import open_family
from anymask.models.video_model import Frame, VideoModel
from anymask.runtime import (
    CONSTANTS,
    DISABLED_OPTIMIZERS,
    TABLES,
    GraphInfo,
    GraphNames,
    Manifest,
    TensorInfo,
    read_manifest,
    settings_to_bytes,
)
from anymask.runtime.manifest import ASSETS
from anymask.training.export_folder import (
    add_shared_networks,
    enter_graphs,
    refuse_to_replace,
    staging,
    write_manifest,
)

OPSET = 20  # the first with a GELU operator
PROMPT_INPUTS = ("coords", "labels", "masks", "has_mask")
ANSWERS = ("logits", "quality")
Letters = Sequence[int | str]  # the first sizes of a shape, a letter for each dynamic one
Variant = Literal["fp32", "int8", "half", "fused"]  # operators and weights of the graphs


class ModelGraph(nn.Module):
    """Part of a model as a module whose `forward` the torch exporter traces."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model


class EncoderGraph(ModelGraph):
    """Wrap the model's `encode` as `forward`, for the torch exporter."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:  # (B, 3, S, S) -> (B, C, h, w) each
        return tuple(self.model.encode(images))


class ClassGraph(ModelGraph):
    """Wrap the model's class head: feature maps -> logits of the classes."""

    def forward(self, *maps: Tensor) -> Tensor:
        return class_logits(self.model, maps)


class DecoderGraph(ModelGraph):
    """Wrap the model's `decode` as `forward`: feature maps, then the four prompt inputs."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        maps, prompts = inputs[: -len(PROMPT_INPUTS)], inputs[-len(PROMPT_INPUTS) :]
        return cast("tuple[Tensor, Tensor]", self.model.decode(maps, *prompts))


def export_bundle(
    module: nn.Module,
    spec: ModelSpec,
    folder: str | Path,
    *,
    licence: str,
    weights_hash: str,
    variant: Variant = "fp32",
) -> Manifest:
    """Write a model as a bundle, atomically, and return its manifest.

    Tables and the edge and name networks come from the package. Raises InputError if the folder has
    other content.

    Args:
        module: Model with `encode` and `decode` from `anymask.models`; not modified.
        folder: Output folder. An existing bundle is replaced; files of other names are kept.
        licence: Licence of the weights, for the manifest and the README.
        weights_hash: Hash of the weights, which links image embeddings to this bundle.
        variant: "int8" uses 8-bit matrix products in the encoder: smaller, and faster on most
            CPUs. "half" stores weights in 16 bits; inference uses 32 bits. "fused" uses ONNX
            Runtime's operator for the encoder's attention (`fused_attention`): faster, but other
            programs may not read the graph.
    """
    refuse_to_replace(Path(folder))
    with staging(Path(folder)) as stage:
        graphs = _write_graphs(
            module, spec, stage, int8=variant == "int8", fused=variant == "fused"
        )
        for info in graphs if variant == "half" else ():
            store_half(stage / info.file)
        if tables := open_family(spec, weights_hash=weights_hash).tables:
            (stage / TABLES).write_text(json.dumps(tables) + "\n", encoding="utf-8")
        manifest = Manifest(
            spec=spec,
            graphs=graphs,
            sha256={path.name: file_sha256(path) for path in sorted(stage.iterdir())},
            weights_hash=weights_hash,
            licence=licence,
            precision="int8" if variant == "int8" else "fp32",
            opset=OPSET,
        )
        write_manifest(stage, manifest)
        return add_shared_networks(stage, spec)


def example_images(spec: ModelSpec) -> tuple[Tensor, Letters, dict[str, Any]]:
    """Return two example images for an encoder, the letters of their shape, and the dimensions."""
    side, step = spec.image_side, spec.pad_multiple
    if not step:
        return torch.zeros(2, 3, side, side), "B", {}
    low, wide = (step * torch.export.Dim(name, min=1, max=side // step) for name in "hw")
    return torch.zeros(2, 3, side - step, side), ("B", 3, "H", "W"), {"H": low, "W": wide}


def varying_sides(spec: ModelSpec, planes: Sequence[Tensor]) -> list[dict[int, Any]]:
    """Return the dynamic dimensions of maps and masks (.., h, w), which grow with S."""
    if not spec.pad_multiple:
        return [{} for _ in planes]
    steps = spec.image_side // spec.pad_multiple
    unit = torch.export.Dim("s", min=2, max=MAX_SIDE // spec.pad_multiple)
    return [{axis: plane.shape[axis] // steps * unit for axis in (2, 3)} for plane in planes]


def example_prompts(spec: ModelSpec, n: int, p: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return N prompts of P positive points without a mask, as decoder inputs."""
    coords = torch.linspace(0.1, 0.9, n * p * 2).reshape(n, p, 2) * spec.image_side
    masks = torch.zeros(n, 1, spec.mask_side, spec.mask_side)
    return coords, torch.ones(n, p, dtype=torch.int64), masks, torch.zeros(n)


@torch.no_grad()
def _write_graphs(
    module: nn.Module, spec: ModelSpec, stage: Path, *, int8: bool, fused: bool
) -> tuple[GraphInfo, ...]:
    model = fuse(module).cpu().float()
    if hasattr(model, "precompute"):  # constants of the weights; traced, they take longer
        cast(Any, model).precompute()
    bare = without_class_head(model)  # the graphs are those of a model without classes
    encoder = EncoderGraph(bare).eval()
    images, letters, dims = example_images(spec)
    maps = tuple(tensor[:1] for tensor in encoder(images))
    names = ["features", *(f"extras_{i}" for i in range(len(maps) - 1))]
    takes: Mapping[str, Letters] = {"images": letters}
    gives: Mapping[str, Letters] = dict.fromkeys(names, "B")
    graphs = [
        write_graph(
            GraphNames.ENCODER, encoder, (images,), takes, gives, stage, dims,
            int8=int8, fused=fused,
        )
    ]  # fmt: skip

    prompts = example_prompts(spec, 2, spec.fixed_points or 2)
    points = "N" if spec.fixed_points else "NP"
    of_prompts = dict(zip(PROMPT_INPUTS, (points, points, "N", "N"), strict=True))
    takes, gives = dict.fromkeys(names, "") | of_prompts, dict.fromkeys(ANSWERS, "N")
    *of_maps, of_masks = varying_sides(spec, (*maps, prompts[2]))
    sides = [*of_maps, {}, {}, of_masks, {}]
    decoder = DecoderGraph(bare).eval()
    graphs.append(
        write_graph(
            GraphNames.DECODER, decoder, (*maps, *prompts), takes, gives, stage, sides=sides
        )
    )

    if class_head_of(model) is not None:
        head, takes, gives = ClassGraph(model).eval(), dict.fromkeys(names, ""), {"labels": ""}
        sides = varying_sides(spec, maps)
        graphs.append(write_graph(GraphNames.CLASSES, head, maps, takes, gives, stage, sides=sides))
    graphs += _write_sweep(model, spec, dict(zip(names, maps, strict=True)), stage)
    return tuple(graphs)


def _write_sweep(
    model: nn.Module, spec: ModelSpec, maps: Mapping[str, Tensor], stage: Path
) -> list[GraphInfo]:
    """Write the graphs for many clicks on one image; none unless the decoder is SAM's."""
    parts = decoder_of(model)
    if parts is None or spec.pad_multiple or spec.fixed_points:
        return []
    graph: nn.Module = SweepImage(*parts).eval()
    outputs = graph(*maps.values())
    names = (*ImageWork._fields, *UPSCALED)[: len(outputs)]
    takes: dict[str, Letters] = dict.fromkeys(maps, "")
    image = write_graph(
        GraphNames.SWEEP_IMAGE, graph, tuple(maps.values()), takes, dict.fromkeys(names, ""), stage
    )
    work, upscaled = outputs[: len(ImageWork._fields)], outputs[len(ImageWork._fields) :]

    coords, labels, *_ = example_prompts(spec, PROMPTS_AT_ONCE, 1 + int(spec.pad_point))
    graph, given = SweepClicks(*parts).eval(), (*work, coords, labels)
    views = [f"{name}_{n}" for n in range(PROMPTS_AT_ONCE) for name in VIEW]
    takes, gives = dict.fromkeys(CLICK_INPUTS, ""), dict.fromkeys([*CLICK_OUTPUTS, *views], "")
    clicks = write_graph(GraphNames.SWEEP_CLICKS, graph, given, takes, gives, stage)

    _, weights, rows, *views = graph(*given)
    view = views[: len(VIEW)]
    graph, given = SweepMasks(*parts).eval(), (*upscaled, *view, rows[0], weights[0, :2])
    takes = dict.fromkeys(names[len(work) :], "p")
    takes |= {name: (len(tensor), "p") for name, tensor in zip(VIEW, view, strict=True)}
    takes |= {"rows": "", "weights": "k"}
    masks = write_graph(GraphNames.SWEEP_MASKS, graph, given, takes, {"logits": ("c", "k")}, stage)

    h, w = maps["features"].shape[-2:]
    graph = SweepPrompt(*parts, (h, w)).eval()
    coords, labels, *_ = example_prompts(spec, 1, 2)
    takes = dict.fromkeys(names, "") | dict.fromkeys(("coords", "labels"), (1, "P"))
    gives = dict.fromkeys(ANSWERS, "")
    given = (*outputs, coords, labels)
    prompt = write_graph(GraphNames.SWEEP_PROMPT, graph, given, takes, gives, stage)
    return [image, clicks, masks, prompt]


def write_graph(
    name: str,
    graph: nn.Module,
    given: tuple[Tensor, ...],
    takes: Mapping[str, Letters],
    gives: Mapping[str, Letters],
    folder: Path,
    dims: Mapping[str, Any] | None = None,
    sides: Sequence[dict[int, Any]] | None = None,
    *,
    int8: bool = False,
    fused: bool = False,
) -> GraphInfo:
    """Write one graph to the bundle folder and return its manifest entry.

    Args:
        given: Example inputs. Dynamic sizes must be at least two, because torch treats one as a
            constant.
        takes: Names and shapes of inputs: letters for dynamic sizes. Omitted trailing sizes are
            those of the example.
        gives: Names and shapes of outputs, like `takes`.
        dims: Dimensions of letters. Defaults to any size.
        sides: Dynamic dimensions of each input whose shape has a number there.
        int8: As in `export_bundle`.
        fused: As in `export_bundle`.
    """
    answers = graph(*given)
    outputs = answers if isinstance(answers, tuple) else (answers,)
    info = GraphInfo(name, _describe(takes, given), _describe(gives, outputs))
    letters = {letter for shape in takes.values() for letter in shape if isinstance(letter, str)}
    known = dict(dims or {})
    known |= {letter: torch.export.Dim(letter) for letter in letters - known.keys()}
    varying: tuple[Any, ...] = tuple(
        {axis: known[size] for axis, size in enumerate(shape) if isinstance(size, str)} | more
        for shape, more in zip(takes.values(), sides or [{}] * len(given), strict=True)
    )
    if inspect.getfullargspec(graph.forward).varargs:
        varying = (varying,)
    trace_graph(graph, given, info, varying, folder, int8=int8, fused=fused)
    return info


def trace_graph(
    graph: nn.Module,
    inputs: tuple[Tensor, ...],
    info: GraphInfo,
    varying: tuple[Any, ...],
    stage: Path,
    *,
    int8: bool,
    fused: bool,
) -> None:
    """Write the optimized graph of a network to the folder.

    torch traces the network, unless the package contains its trace.
    """
    size = sum(parameter.numel() * 4 for parameter in graph.parameters())
    with tempfile.TemporaryDirectory(dir=stage) as scratch, _quiet():
        raw = Path(scratch) / "raw.onnx"
        options: dict[str, Any] = {
            "dynamo": True,
            "opset_version": OPSET,
            "input_names": [tensor.name for tensor in info.inputs],
            "output_names": [tensor.name for tensor in info.outputs],
            "dynamic_shapes": varying,
            "external_data": size > BIG,
            "custom_translation_table": translations() if fused else None,
            "verbose": False,
        }
        if not fill_trace(graph, inputs, options, raw):
            torch.onnx.export(graph, inputs, raw, **options)
        if int8:
            fp32, raw = raw, raw.with_name("int8.onnx")
            quantise(fp32, raw)
        optimize(raw, stage / info.file)


def _describe(named: Mapping[str, Letters], tensors: Sequence[Tensor]) -> tuple[TensorInfo, ...]:
    """Return names, types and shapes; the first dimensions are letters instead of numbers."""
    return tuple(
        TensorInfo(
            name,
            str(tensor.dtype).removeprefix("torch."),
            (*letters, *(int(size) for size in tensor.shape[len(letters) :])),
        )
        for (name, letters), tensor in zip(named.items(), tensors, strict=True)
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress exporter messages for developers about packages and deprecations."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class AttentionGraph(ModelGraph):
    """Memory attention of one frame."""

    def forward(
        self, features: Tensor, tokens: Tensor, places: Tensor, cosine: Tensor, sine: Tensor
    ) -> Tensor:
        """Condition the features of a frame on its memories."""
        h, w = features.shape[-2:]
        frame = plain_features(self.model, features).flatten(2).transpose(1, 2)
        positions, turns = self.model._of_frame(h, w)
        recalled = RecalledMemories(tokens, places, RotaryAngles(cosine, sine))
        read: Tensor = self.model.memory_attention(frame, positions, turns, recalled)
        return read.transpose(1, 2).unflatten(2, (h, w))


class TrackDecoderGraph(ModelGraph):
    """Decoder with all masks of each object, and the values required to choose among them."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decode logits, quality, object score and pointers."""
        *maps, coords, labels, masks, has_mask = inputs
        decoded = self.model._decode(tuple(maps), coords, labels, masks, has_mask)
        pointers = self.model.obj_ptr_proj(decoded.tokens)
        return decoded.logits, decoded.quality, decoded.object_score, pointers


class TrackMemoryGraph(ModelGraph):
    """Memory encoder of one frame and its objects."""

    def forward(self, features: Tensor, logits: Tensor, sharp: Tensor, absent: Tensor) -> Tensor:
        """Encode the features and masks of a frame as memory tokens."""
        frame = Frame(plain_features(self.model, features), ())
        return self.model.memory_tokens(frame, logits, sharp, absent)


def plain_features(model: VideoModel, features: Tensor) -> Tensor:
    """Remove the embedding that marks an image without memory from the features."""
    return features - model.no_mem_embed.reshape(1, -1, 1, 1)


@torch.no_grad()
def add_video_graphs(model: VideoModel, folder: Path) -> Manifest:
    """Add the video graphs to a bundle written by `export_bundle`; return its new manifest.

    Raises InputError for settings that the graphs do not support.
    """
    settings, spec = model.config.settings, model.spec
    if settings.exclusive_memory or model.dtype != torch.float32:
        raise InputError(
            f"{spec.name} cannot be exported with exclusive_memory={settings.exclusive_memory} "
            f"in {model.dtype}. Export it in float32, with exclusive_memory=False."
        )
    manifest, model = read_manifest(folder), model.cpu().eval()
    maps = {  # of one frame, by name
        output.name: torch.zeros(1, *(int(side) for side in output.shape[1:]))
        for output in manifest.graph(GraphNames.ENCODER).outputs
    }
    features, *fine = maps.values()

    places, turns = model._of_memory(features.shape[-2], features.shape[-1], pool=1)
    tokens = torch.zeros(2, places.shape[1], places.shape[2])
    given: tuple[Tensor, ...] = (features, tokens, places, turns.cosine, turns.sine)
    takes: dict[str, Letters] = {"features": "", "tokens": "NK", "places": (1, "K")}
    takes |= {"cosine": "K", "sine": "K"}
    dims, gives = {"K": torch.export.Dim("K", min=2)}, {"conditioned": "N"}
    graph: nn.Module = AttentionGraph(model).eval()
    attention = write_graph(GraphNames.ATTENTION, graph, given, takes, gives, folder, dims)

    given = (features.repeat(2, 1, 1, 1), *fine, *example_prompts(model.spec, 2, 2))
    takes = {"conditioned": "N", **dict.fromkeys(list(maps)[1:], "")}
    takes |= {"coords": "NP", "labels": "NP", "masks": "N", "has_mask": "N"}
    gives = dict.fromkeys(("logits", "quality", "score", "pointers"), "N")
    graph = TrackDecoderGraph(model).eval()
    decoder = write_graph(GraphNames.TRACK_DECODER, graph, given, takes, gives, folder)

    m = spec.mask_side
    given = (features, torch.zeros(2, 1, m, m), torch.zeros(2), torch.zeros(2))
    takes = {"features": "", "logits": "N", "sharp": "N", "absent": "N"}
    graph = TrackMemoryGraph(model).eval()
    memory = write_graph(GraphNames.TRACK_MEMORY, graph, given, takes, {"tokens": "N"}, folder)

    with (folder / CONSTANTS).open("wb") as file:
        np.savez(file, **video_constants(model))  # type: ignore[arg-type]  # stub mixes up allow_pickle
    return enter_graphs(folder, attention, decoder, memory, further=(CONSTANTS,))


def video_constants(model: VideoModel) -> dict[str, NDArray[Any]]:
    """Return the constants that the runner of the graphs requires, and the family's settings."""
    side = model.spec.image_side // 16
    places, turns = model._of_memory(side, side, pool=1)
    tensors = {
        "ages": model.maskmem_tpos_enc[:, 0, 0],
        "no_object": model.no_obj_ptr,
        "no_memory": model.no_mem_embed[0, 0],
        "mask_weight": model.mask_downsample.weight[0, 0],
        "mask_bias": model.mask_downsample.bias,
        "places": places,
        "cosine": turns.cosine,
        "sine": turns.sine,
    }
    if model.config.settings.pointer_times != "none":
        tensors |= {
            "times_weight": model.obj_ptr_tpos_proj.weight,
            "times_bias": model.obj_ptr_tpos_proj.bias,
        }
    arrays: dict[str, NDArray[Any]] = {
        name: tensor.detach().float().numpy()
        for name, tensor in tensors.items()
        if tensor is not None
    }
    return arrays | {"settings": settings_to_bytes(model.config.settings)}


BIG = 1_500_000_000  # bytes; larger weights are stored beside the graph, as protobuf ends at 2 GB
SMALLEST_HALF = 256  # minimum number of elements to store in 16 bits
FLOAT16_MAX = 65504.0  # maximum of float16


def optimize(source: Path, target: Path, *, level: str = "extended", fold: bool = True) -> None:
    """Write `source` to `target` with constants folded and operators fused.

    Args:
        level: "extended", or "basic" for standard ONNX only, for tools that read the graph.
        fold: Whether to fold constants. False leaves it to the runtime.
    """
    ort = import_offline("onnxruntime")
    levels = {
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    }
    options = ort.SessionOptions()
    options.graph_optimization_level = levels[level]
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    if weight_bytes(source) > BIG:
        entry = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(f"{entry}file_name", f"{target.name}.data")
        options.add_session_config_entry(f"{entry}min_size_in_bytes", "1024")
    ort.InferenceSession(
        str(source),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=[*DISABLED_OPTIMIZERS, *([] if fold else ["ConstantFolding"])],
    )
    # Remove unused operator sets, which ONNX Runtime declares and other readers may reject.
    model = onnx.load(target, load_external_data=False)
    used = {node.domain for node in model.graph.node} | {""}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    target.write_bytes(model.SerializeToString())


def quantise(source: Path, target: Path) -> None:
    """Write `source` to `target` with 8-bit weights in its matrix products.

    Activations are quantized at run time ("dynamic"), so no calibration images are required.
    Convolutions stay in float32: ONNX Runtime's integer convolution is slower than its float one on
    a CPU.
    """
    quantization = import_offline("onnxruntime.quantization")
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        standard = Path(scratch) / source.name
        optimize(source, standard, level="basic")
        quantization.quantize_dynamic(
            standard,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=weight_bytes(standard) > BIG,
            extra_options={"MatMulConstBOnly": True},
        )


def round_to_half(module: nn.Module) -> None:
    """Round every float weight to float16 precision, in place; the type stays float32."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.half().to(tensor.dtype)


def store_half(path: Path) -> None:
    """Rewrite a graph file with float32 weights stored as float16, each followed by a `Cast`."""
    model = onnx.load(path)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        if values.size < SMALLEST_HALF or np.abs(values).max() > FLOAT16_MAX:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    path.write_bytes(model.SerializeToString())


def weight_bytes(path: Path) -> int:
    """Return the size of a graph file and its external weights in bytes."""
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))


# Attention of exported graphs as one operator of ONNX Runtime.
#
# ONNX Runtime has no fusion for the attention of these encoders: a graph writes the weights of all
# queries and keys to memory, and copies queries, keys and values to other layouts. Its operator
# `MultiHeadAttention` (com.microsoft) computes in blocks that fit into the cache. It is used for
# converted checkpoints only, because other readers of ONNX files do not have it.

DOMAIN, ATTENTION_OPERATOR = "com.microsoft", "MultiHeadAttention"
MIN_UNFUSED_QUERIES = 1024  # queries; with a bias, the operator uses one thread per head


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Translations of torch operators, for `custom_translation_table` of `torch.onnx.export`."""
    return {torch.ops.aten.scaled_dot_product_attention.default: _attention}


def _operator() -> Any:
    """Describe the operator and its inputs, which the exporter's type checks require."""
    kind = OpSchema.FormalParameterOption.Optional
    optional = ("key", "value", "bias", "key_padding_mask", "attention_bias")
    schema = OpSchema(
        ATTENTION_OPERATOR, DOMAIN, 1,
        inputs=[
            OpSchema.FormalParameter("query", "T"),
            *(OpSchema.FormalParameter(name, "T", param_option=kind) for name in optional),
        ],
        outputs=[OpSchema.FormalParameter("output", "T")],
        type_constraints=[("T", ["tensor(float)"], "")],
        attributes=[OpSchema.Attribute("num_heads", OpSchema.AttrType.INT, "")],
    )  # fmt: skip
    return onnxscript.values.Op(onnxscript.values.Opset(DOMAIN, 1), ATTENTION_OPERATOR, schema)


def _attention(query: Any, key: Any, value: Any, attn_mask: Any = None, *_: Any, **__: Any) -> Any:
    """Attention (B, heads, L, D), (B, heads, K, D), (B, heads, K, D) -> (B, heads, L, D)."""
    heads, length = query.shape[1], query.shape[2]
    if attn_mask is not None and length >= MIN_UNFUSED_QUERIES:
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


# Traced graphs of the bundled models, without weights.
#
# `torch.onnx.export` takes 40 to 70 s to trace `nano` or `small` on two cores, although fine-tuning
# changes only their weights. The package therefore contains what torch traced (`python -m
# research.write_traces`), and an export of the same network fills in its weights in less than a
# second. Weights are inputs of the stored graphs, so that they are never folded into constants;
# each has the name of its tensor in the module. A network that differs in anything but weights is
# traced by torch.

TRACES = ASSETS / "traces"


def fill_trace(
    graph: nn.Module,
    inputs: Sequence[Tensor],
    options: Mapping[str, Any],
    target: Path,
    traces: Path = TRACES,
) -> bool:
    """Write the stored trace of a network with its weights, instead of `torch.onnx.export`.

    Args:
        graph: The network.
        inputs: Example inputs.
        options: Keyword arguments of `torch.onnx.export`.
        target: ONNX file to write.
        traces: Folder of stored traces.

    Returns:
        Whether there is a trace of this network; nothing is written otherwise.
    """
    path = traces / f"{signature(graph, inputs, options)}.onnx"
    if not path.is_file():
        return False
    model = onnx.load(path)
    tensors, entries = tensors_of(graph), list(model.graph.input)
    del model.graph.input[:]
    for entry in entries:
        if entry.name in options["input_names"]:
            model.graph.input.append(entry)
        else:
            values = tensors[entry.name].detach().numpy()
            model.graph.initializer.append(numpy_helper.from_array(values, entry.name))
    target.write_bytes(model.SerializeToString())
    return True


def signature(graph: nn.Module, inputs: Sequence[Tensor], options: Mapping[str, Any]) -> str:
    """Hash of everything that decides a trace: modules, settings and shapes, but not weights."""
    digest = hashlib.sha256(repr([[(x.shape, x.dtype) for x in inputs], options]).encode())
    for name, module in graph.named_modules():
        plain = {k: _general(v) for k, v in vars(module).items() if not k.startswith("_")}
        digest.update(repr((name, type(module), module.extra_repr(), plain)).encode())
    for name, tensor in tensors_of(graph).items():
        digest.update(repr((name, tensor.shape, tensor.dtype)).encode())
    return digest.hexdigest()[:16]


def tensors_of(graph: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, buffers outside `state_dict` included."""
    return dict(chain(graph.named_parameters(), graph.named_buffers()))


def _general(value: Any) -> Any:
    """A spec without what no graph contains."""
    if isinstance(value, ModelSpec):
        return replace(value, name="", channels=None, classes=())
    return value
