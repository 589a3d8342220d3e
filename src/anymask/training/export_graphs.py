"""Export: an image model in, a folder of ONNX graphs with manifest, tables and example out.

Letters: B images, S the model's input side, N prompts, P points, T mask tokens, m the side of a
mask. B, N and P may vary, and H and W; everything else is a number in the graph.

encoder.onnx  images (B, 3, S, S) -> features, extras_0, ... (B, C, h, w) each; a model that takes
              rectangles (ModelSpec.pad_multiple) has images (B, 3, H, W)
decoder.onnx  features, extras_0, ... (1, C, h, w) each, coords (N, P, 2), labels (N, P),
              masks (N, 1, m, m), has_mask (N,) -> logits (N, T, m, m), quality (N, T); of a model
              that takes rectangles h, w and m may be those of another S
classes.onnx  of a model that was tuned on K classes: features, extras_0, ... -> labels
              (1, 1 + K, m, m), logits of "none of them" and of each class

Every mask token is an output: which of them answers a prompt is chosen outside of the graph
(`families`), where it can still be asked for at run time.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from anymask.masks import MOST_SIDE, ModelSpec
from anymask.models.class_head import class_head_of
from anymask.models.fast import fuse
from anymask.models.rules import open_family
from anymask.runtime import (
    CLASSES,
    DECODER,
    ENCODER,
    TABLES,
    GraphInfo,
    Manifest,
    TensorInfo,
    file_sha256,
)
from anymask.training.export_folder import (
    add_shared_networks,
    refuse_to_replace,
    staging,
    write_manifest,
)
from anymask.training.export_optimise import BIG, optimise, quantise, store_half

OPSET = 20  # the first that has GELU as one operator
PROMPTS = ("coords", "labels", "masks", "has_mask")
ANSWERS = ("logits", "quality")
Letters = Sequence[int | str]  # the first sizes of a shape, a letter for each that varies


class EncoderGraph(nn.Module):
    """The model's `encode` as a module's `forward`, which is what torch exports."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:  # (B, 3, S, S) -> (B, C, h, w) each
        return tuple(self.model.encode(images))


class ClassGraph(nn.Module):
    """The model's class head: maps in, logits of the classes out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.head: Any = class_head_of(model)

    def forward(self, *maps: Tensor) -> Tensor:
        return cast(Tensor, self.head(*maps))


class DecoderGraph(nn.Module):
    """The model's `decode` as a module's `forward`: first the maps, then the four prompt inputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        maps, prompts = inputs[: -len(PROMPTS)], inputs[-len(PROMPTS) :]
        return cast(tuple[Tensor, Tensor], self.model.decode(maps, *prompts))


def export_bundle(
    module: nn.Module,
    spec: ModelSpec,
    folder: str | Path,
    *,
    licence: str,
    weights_hash: str,
    int8: bool = False,
    half: bool = False,
) -> Manifest:
    """Write a model as a bundle folder, whole or not at all, and return its manifest.

    module        with `encode` and `decode` as `anymask.models` builds them; left alone
    folder        made, or replaced where it is a bundle already (files of other names stay)
    licence       of the weights, for the manifest and the README
    weights_hash  of the weights; an embedding of the same weights fits this bundle
    int8          the encoder's matrix products in 8 bits: smaller, and faster on most CPUs
    half          weights stored in 16 bits; they run in 32, see `training.export_optimise`

    Tables, networks of edges and names are the package's. Raises InputError for a foreign folder.
    """
    refuse_to_replace(Path(folder))
    with staging(Path(folder)) as stage:
        graphs = _write_graphs(module, spec, stage, int8)
        for info in graphs if half else ():
            store_half(stage / info.file)
        if tables := open_family(spec, weights_hash=weights_hash).tables:
            (stage / TABLES).write_text(json.dumps(tables) + "\n", encoding="utf-8")
        manifest = Manifest(
            spec=spec,
            graphs=graphs,
            sha256={path.name: file_sha256(path) for path in sorted(stage.iterdir())},
            weights_hash=weights_hash,
            licence=licence,
            precision="int8" if int8 else "fp32",
            opset=OPSET,
        )
        write_manifest(stage, manifest)
        return add_shared_networks(stage, spec)


def example_images(spec: ModelSpec) -> tuple[Tensor, Letters, dict[str, Any]]:
    """Two pictures as an encoder takes them, their shape in letters, the letters' dimensions."""
    side, step = spec.image_side, spec.pad_multiple
    if not step:
        return torch.zeros(2, 3, side, side), "B", {}
    low, wide = (step * torch.export.Dim(name, min=1, max=side // step) for name in "hw")
    return torch.zeros(2, 3, side - step, side), ("B", 3, "H", "W"), {"H": low, "W": wide}


def varying_sides(spec: ModelSpec, planes: Sequence[Tensor]) -> list[dict[int, Any]]:
    """Of maps and masks (.., h, w), which grow with S: the dimensions that vary."""
    if not spec.pad_multiple:
        return [{} for _ in planes]
    steps = spec.image_side // spec.pad_multiple
    unit = torch.export.Dim("s", min=2, max=MOST_SIDE // spec.pad_multiple)
    return [{axis: one.shape[axis] // steps * unit for axis in (2, 3)} for one in planes]


def example_prompts(spec: ModelSpec, n: int, p: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """N prompts of P positive clicks, without a mask: what a decoder takes after the maps."""
    coords = torch.linspace(0.1, 0.9, n * p * 2).reshape(n, p, 2) * spec.image_side
    masks = torch.zeros(n, 1, spec.mask_side, spec.mask_side)
    return coords, torch.ones(n, p, dtype=torch.int64), masks, torch.zeros(n)


@torch.no_grad()
def _write_graphs(
    module: nn.Module, spec: ModelSpec, stage: Path, int8: bool
) -> tuple[GraphInfo, ...]:
    model = fuse(module).cpu().float()
    encoder = EncoderGraph(model).eval()
    images, letters, dims = example_images(spec)
    maps = tuple(one[:1] for one in encoder(images))
    names = ["features", *(f"extras_{i}" for i in range(len(maps) - 1))]
    takes: Mapping[str, Letters] = {"images": letters}
    gives: Mapping[str, Letters] = dict.fromkeys(names, "B")
    graphs = [write_graph(ENCODER, encoder, (images,), takes, gives, stage, dims, int8=int8)]

    prompts = example_prompts(spec, 2, spec.fixed_points or 2)
    points = "N" if spec.fixed_points else "NP"
    of_prompts = dict(zip(PROMPTS, (points, points, "N", "N"), strict=True))
    takes, gives = dict.fromkeys(names, "") | of_prompts, dict.fromkeys(ANSWERS, "N")
    *of_maps, of_masks = varying_sides(spec, (*maps, prompts[2]))
    sides = [*of_maps, {}, {}, of_masks, {}]
    decoder = DecoderGraph(model).eval()
    graphs.append(
        write_graph(DECODER, decoder, (*maps, *prompts), takes, gives, stage, sides=sides)
    )

    if class_head_of(model) is not None:
        head, takes, gives = ClassGraph(model).eval(), dict.fromkeys(names, ""), {"labels": ""}
        sides = varying_sides(spec, maps)
        graphs.append(write_graph(CLASSES, head, maps, takes, gives, stage, sides=sides))
    return tuple(graphs)


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
) -> GraphInfo:
    """Write one graph into the bundle's folder; what its manifest says of it.

    given         its inputs, with two of all that varies: torch takes a size of one for a constant
    takes, gives  names and shapes of inputs and outputs: a letter for what varies; sizes that are
                  left out at the end are the example's
    dims          what letters stand for; others: any size
    sides         of each input, what varies although its shape has a number
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
    parameters = inspect.signature(graph.forward).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        varying = (varying,)
    trace_graph(graph, given, info, varying, folder, int8=int8)
    return info


def trace_graph(
    graph: nn.Module,
    inputs: tuple[Tensor, ...],
    info: GraphInfo,
    varying: tuple[Any, ...],
    stage: Path,
    *,
    int8: bool,
) -> None:
    """Let torch trace a network, and write the optimised graph into the folder."""
    size = sum(parameter.numel() * 4 for parameter in graph.parameters())
    with tempfile.TemporaryDirectory(dir=stage) as scratch, _quiet():
        raw = Path(scratch) / "raw.onnx"
        torch.onnx.export(
            graph,
            inputs,
            raw,
            dynamo=True,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in info.inputs],
            output_names=[tensor.name for tensor in info.outputs],
            dynamic_shapes=varying,
            external_data=size > BIG,
            verbose=False,
        )
        if int8:
            fp32, raw = raw, raw.with_name("int8.onnx")
            quantise(fp32, raw)
        optimise(raw, stage / info.file)


def _describe(named: Mapping[str, Letters], tensors: Sequence[Tensor]) -> tuple[TensorInfo, ...]:
    """Names, types and shapes; the first dimensions are letters instead of the example's."""
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
    """The exporter tells its own developers about packages and deprecations; users need none."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
