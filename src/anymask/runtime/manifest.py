"""The manifest of an exported bundle: `manifest.json`.

A bundle is a folder with one ONNX file per graph ("encoder" and "decoder" of an image model),
`tables.json` with learned parameters of the family, and `manifest.json`. This module reads,
validates and writes the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from anymask.base import DataError, WeightsError, brief, file_sha256, load_plugin, parse_json
from anymask.masks import (
    MAX_POINTS,
    ChannelMix,
    Fit,
    ModelSpec,
    PromptKind,
    Resample,
    Tables,
    spec_at,
)
from anymask.models.rules import (
    BUNDLED_MODELS,
    DEFAULT_VIDEO_MODEL,
    family_names,
    open_family,
    shipped_tables,
)

ASSETS: Path = Path(__file__).parents[1] / "assets"

FORMAT = 2
MANIFEST = "manifest.json"
TABLES = "tables.json"
WEIGHTS = "weights.safetensors"  # external weights of the graphs, if they do not contain them
GRAPH_WEIGHTS = "weights.json"  # maps torch parameters to initializers of the graphs
CONSTANTS = "video.npz"  # constants of a video model outside its graphs
REFINER_WEIGHTS = "refiner.safetensors"
NAME_VECTORS = "names.npz"


class GraphNames:
    """Names of the graphs of a bundle. All but the first two are optional."""

    ENCODER, DECODER = "encoder", "decoder"
    CLASSES = "classes"  # classifies each cell
    INSTANCES = "instances"  # foreground and distances of instances
    REFINER = "refiner"  # edges
    NAMES = "names"  # names of masks
    MEMORY = "memory"  # reads an object's earlier frames
    # Many clicks on one image: work per image, per clicks, per masks.
    SWEEP_IMAGE, SWEEP_CLICKS, SWEEP_MASKS = "sweep_image", "sweep_clicks", "sweep_masks"
    SWEEP_PROMPT = "sweep_prompt"  # one prompt with all of its masks, after `SWEEP_IMAGE`
    ATTENTION, TRACK_DECODER, TRACK_MEMORY = "video_attention", "video_decoder", "video_memory"


_LARGEST_SIDE = 16384  # maximum input side of a model in pixels
_EARLIER = {"scores": {"factor": 1.0, "shift": 0.0}}  # tables of earlier bundles only

# ONNX Runtime fuses "add, then layer norm" into an operator that is slower on a CPU than both (a
# tenth of a decoder call of `nano`), so it is disabled on export and on loading.
DISABLED_OPTIMIZERS = ("SkipLayerNormFusion",)


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a graph; variable dimensions are letters such as "N"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@brief
@dataclass(frozen=True)
class GraphInfo:
    """Inputs and outputs of one graph, in order."""

    name: str  # Name of the graph, such as "encoder"
    inputs: tuple[TensorInfo, ...]  # Inputs of the graph
    outputs: tuple[TensorInfo, ...]  # Outputs of the graph

    @property
    def file(self) -> str:
        """File name in the bundle's folder."""
        return f"{self.name}.onnx"


@brief
@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Metadata of a bundle."""

    spec: ModelSpec  # Specification of the model
    graphs: tuple[GraphInfo, ...]  # Graphs of the bundle
    sha256: Mapping[str, str]  # Hash of every file that a runtime reads, by plain file name
    weights_hash: str  # Hash of the exported weights; embeddings of the same weights are compatible
    licence: str  # Licence of the weights
    precision: str  # "fp32" or "int8"
    opset: int  # ONNX opset version
    data: str = ""  # Training data and its terms, or ""
    base: str = ""  # Bundled model with the files that the folder lacks, or ""
    domains: tuple[str, ...] = ()  # Domains of operators that are not standard ONNX

    @property
    def refers(self) -> bool:
        """Whether the graphs have external weights (`WEIGHTS`), which browsers do not support."""
        return WEIGHTS in self.sha256

    def has_graph(self, name: str) -> bool:
        """Whether the bundle has a graph with this name."""
        return any(info.name == name for info in self.graphs)

    def graph(self, name: str) -> GraphInfo:
        """The graph with this name.

        Raises:
            WeightsError: The bundle has no such graph.
        """
        for info in self.graphs:
            if info.name == name:
                return info
        raise WeightsError(
            f"The exported model {self.spec.name!r} has no graph {name!r}, only "
            f"{', '.join(info.name for info in self.graphs)}. Export the model again."
        )


def manifest_to_json(manifest: Manifest) -> str:
    """Text of `manifest.json`."""
    family = open_family(manifest.spec, {})
    record = {
        "format": FORMAT,
        "name": manifest.spec.name,
        "licence": manifest.licence,
        **({"data": manifest.data} if manifest.data else {}),
        **({"base": manifest.base} if manifest.base else {}),
        "precision": manifest.precision,
        "opset": manifest.opset,
        **({"domains": list(manifest.domains)} if manifest.domains else {}),
        "weights_hash": manifest.weights_hash,
        "sha256": dict(manifest.sha256),
        "spec": spec_to_dict(manifest.spec),
        "preprocessing": describe_preprocessing(manifest.spec),
        "graphs": {
            info.name: {
                "file": info.file,
                "inputs": [asdict(tensor) for tensor in info.inputs],
                "outputs": [asdict(tensor) for tensor in info.outputs],
            }
            for info in manifest.graphs
        },
        "grid": {  # read by the page
            "pred_iou_thresh": family.grid.score,
            "stability_score_thresh": family.grid.stability,
        },
        "closer": family.crop_refinement and asdict(family.crop_refinement),
    }
    return json.dumps(record, indent=2) + "\n"


def manifest_at(manifest: Manifest, side: int) -> Manifest:
    """Manifest of the same graphs for another input side. Raises InputError."""
    spec = spec_at(manifest.spec, side)

    def scaled(tensor: TensorInfo) -> TensorInfo:
        """Scale the sides of feature maps, masks and logits, the only tensors with 4 dimensions."""
        if len(tensor.shape) != 4:
            return tensor
        sides = (
            n if isinstance(n, str) else n * side // manifest.spec.image_side
            for n in tensor.shape[2:]
        )
        return replace(tensor, shape=(*tensor.shape[:2], *sides))

    graphs = tuple(
        replace(
            info, inputs=tuple(map(scaled, info.inputs)), outputs=tuple(map(scaled, info.outputs))
        )
        if info.name
        in (GraphNames.ENCODER, GraphNames.DECODER, GraphNames.CLASSES, GraphNames.INSTANCES)
        else info
        for info in manifest.graphs
    )
    return replace(manifest, spec=spec, graphs=graphs)


def manifest_from_json(text: str | bytes, source: str) -> Manifest:
    """Read the text of a `manifest.json`; `source` is used in messages.

    Raises WeightsError if the text is not a manifest, or has another format.
    """
    remedy = "Export the model again with `anymask export`."
    try:
        record = parse_json(text, source)
    except DataError as error:
        raise WeightsError(f"{error} {remedy}") from error
    if not isinstance(record, dict) or "format" not in record:
        raise WeightsError(f"{source} has no 'format': it is not an anymask manifest. {remedy}")
    if record["format"] != FORMAT:
        raise WeightsError(
            f"{source} has format {record['format']!r}, but this version of anymask reads format "
            f"{FORMAT}. {remedy} Or use the version of anymask that wrote it."
        )
    try:
        for name in record["sha256"]:  # plain on any system
            if name in ("", ".", "..") or any(mark in name for mark in "/\\:\0"):
                raise ValueError(f"Files of a bundle have plain names, got {name[:80]!r}.")
        base = str(record.get("base", ""))
        if base not in ("", *BUNDLED_MODELS):
            raise ValueError(f"'base' is {base[:80]!r}, not one of {BUNDLED_MODELS}")
        return Manifest(
            spec=spec_from_dict(record["spec"]),
            graphs=tuple(
                GraphInfo(
                    str(name),
                    tuple(map(_tensor_info, graph["inputs"])),
                    tuple(map(_tensor_info, graph["outputs"])),
                )
                for name, graph in record["graphs"].items()
            ),
            sha256={name: str(digest) for name, digest in record["sha256"].items()},
            weights_hash=str(record["weights_hash"]),
            licence=str(record["licence"]),
            precision=str(record["precision"]),
            opset=int(record["opset"]),
            data=str(record.get("data", "")),
            base=base,
            domains=tuple(map(str, record.get("domains", ()))),
        )
    except KeyError as error:
        raise WeightsError(f"{source} has no entry {error}. {remedy}") from error
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{source} is corrupted ({str(error)[:200]}). {remedy}") from error


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a bundle folder.

    Raises:
        WeightsError: The folder is not a complete bundle.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise WeightsError(
            f"{folder} is not an exported model: it has no {MANIFEST}. Create one with "
            "`anymask export NAME -o FOLDER`."
        )
    manifest = manifest_from_json(path.read_bytes(), str(path))
    for info in manifest.graphs:
        if info.file not in manifest.sha256:
            raise WeightsError(
                f"{path} declares no sha256 for {info.file}. Export the model again."
            )
    return manifest


def shared_folder(spec: ModelSpec) -> Path | None:
    """Bundle in the package whose edge and name networks also serve this model, or None.

    These networks use only the image and a mask, so they work with other weights of the bundled
    families, except for models with other channels than RGB.
    """
    ours = spec.family in BUNDLED_MODELS and spec.channels is None
    return ASSETS / DEFAULT_VIDEO_MODEL if ours else None


def check_file(
    folder: Path, manifest: Manifest, name: str, digest: Callable[[Path], str] | None = None
) -> Path:
    """Return the path of a file of a bundle after verifying its hash.

    Args:
        folder: Folder of the bundle.
        manifest: Manifest with the hashes.
        name: Name of the file.
        digest: Function that returns the SHA-256 of a file, possibly cached.

    Raises:
        WeightsError: The file is missing or has changed.
    """
    path = folder / name
    if manifest.base and not path.is_file():
        path = ASSETS / manifest.base / name
    if not path.is_file():
        raise WeightsError(
            f"{path} is missing, but {MANIFEST} lists it. Copy the whole folder, or "
            "export the model again."
        )
    got = (digest or file_sha256)(path)
    if got != manifest.sha256[name]:
        raise WeightsError(
            f"{path} was changed or truncated: its sha256 is {got[:12]}..., {MANIFEST} declares "
            f"{manifest.sha256[name][:12]}... Copy it again, or export the model again."
        )
    return path


def read_tables(folder: Path, manifest: Manifest) -> Tables:
    """Learned parameters of the bundle's family, possibly empty. Raises WeightsError."""
    if TABLES not in manifest.sha256:
        return {}
    path = check_file(folder, manifest, TABLES)
    try:
        tables = parse_json(path.read_bytes(), path)
    except DataError as error:
        raise WeightsError(f"{error} Export the model again.") from error
    if not isinstance(tables, dict):
        raise WeightsError(f"{path} must contain a JSON object. Export the model again.")
    family = manifest.spec.family
    needed: dict[str, Any] = {"ranking": None} if family in BUNDLED_MODELS else {}
    forms = {**_EARLIER, **shipped_tables(DEFAULT_VIDEO_MODEL), **shipped_tables(family)}
    for name, table in (needed | tables).items():
        if not isinstance(table, dict) or not _is_like(table, forms.get(name)):
            raise WeightsError(
                f"{path}: The table {name[:80]!r} is missing, or has other entries, lengths or "
                "magnitudes than that of a bundled model. Export the model again."
            )
    return tables


def _is_like(value: Any, form: Any, most: float = 9.0) -> bool:
    """Whether a part of a table has the entries, lengths and kinds of numbers of `form`, if any."""
    if isinstance(form, int | float):  # a coefficient of a logit: its exponential stays finite
        return type(value) in (int, float) and abs(value) <= most
    if form is None or type(value) is not type(form) or len(value) != len(form):
        return form is None
    if isinstance(form, dict):
        return all(name in value and _is_like(value[name], form[name]) for name in form)
    return isinstance(form, str) or all(map(_is_like, value, form, [1e6] * len(form)))


def spec_to_dict(spec: ModelSpec) -> dict[str, Any]:
    """Convert a ModelSpec to JSON types."""
    record = {**asdict(spec), "accepts": sorted(spec.accepts)}
    if spec.channels is None:  # omitted for RGB models
        del record["channels"]
    if not spec.classes:
        del record["classes"]
    return record


def spec_from_dict(record: Mapping[str, Any]) -> ModelSpec:
    """Read a ModelSpec from JSON. Raises KeyError, TypeError or ValueError if it is invalid."""
    values = {field.name: record[field.name] for field in fields(ModelSpec)
              if field.name not in ("channels", "classes")}  # fmt: skip
    values["classes"] = tuple(record.get("classes", ()))
    values["channels"] = record.get("channels")
    if unknown := set(record) - set(values):
        raise ValueError(f"'spec' has unknown entries: {sorted(unknown)}")
    for name, known in (
        ("fit", get_args(Fit)), ("resample", get_args(Resample)), ("pad_point", (True, False)),
    ):  # fmt: skip
        if values[name] not in known:
            raise ValueError(f"'{name}' is {values[name]!r}, not one of {known}")
    family, known = values["family"], family_names()
    if family not in known and load_plugin("families", family) is None:
        raise ValueError(f"'family' is {family!r}, not one of {known}")
    if not all(isinstance(name, str) for name in (values["name"], *values["classes"])):
        raise ValueError(
            f"'name' and 'classes' must be text, got {values['name']!r}, {values['classes']!r}"
        )
    if not set(values["accepts"]) <= set(get_args(PromptKind)):
        raise ValueError(
            f"'accepts' is {values['accepts']!r}, but only {get_args(PromptKind)} are supported"
        )
    for name, least, most in (
        ("image_side", 1, _LARGEST_SIDE), ("mask_side", 1, _LARGEST_SIDE),
        ("pad_multiple", 0, values["image_side"]), ("fixed_points", 0, MAX_POINTS),
    ):  # fmt: skip
        value = values[name]
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"'{name}' is {value!r}, not a whole number from {least} to {most}")
    for name, count in (("mean", 3), ("std", 3), ("mask_threshold", 1)):
        numbers = [values[name]] if count == 1 else list(values[name])
        if len(numbers) != count or not all(
            type(number) in (int, float) and abs(number) < 1e6 for number in numbers
        ):
            raise ValueError(f"'{name}' is {values[name]!r}, not {count} finite numbers")
    values["mean"], values["std"] = (tuple(map(float, values[name])) for name in ("mean", "std"))
    if not min(values["std"]) > 0:
        raise ValueError(f"'std' is {values['std']}, not 3 numbers above 0")
    values["accepts"] = frozenset(values["accepts"])
    if values["channels"] is not None:
        values["channels"] = ChannelMix.of(values["channels"])
    return ModelSpec(**values)


def describe_preprocessing(spec: ModelSpec) -> list[str]:
    """Preprocessing steps from an image and a prompt to graph inputs, for other implementations."""
    side = spec.image_side
    fit = {
        "longest_side": (
            f"resize so that the longer side is {side}, keeping the aspect ratio (sides rounded)"
        ),
        "short_side": (
            f"resize so that the shorter side is {side // 2} and the longer side at most {side}, "
            "keeping the aspect ratio (sides rounded)"
        ),
        "square": f"resize both sides to {side}",
    }[spec.fit]
    size = f"{side} x {side}"
    if spec.pad_multiple:
        size = f"the next multiples of {spec.pad_multiple} (or to {size}, which is slower)"
    pad = f"pad right and bottom with zeros to {size}" if spec.fit != "square" else ""
    points = f"points are x, y in pixels of the {side} x {side} input"
    labels = (
        "point labels: 1 for the object, 0 for the background, 2 and 3 for the corners "
        "of a box, -1 for padding"
    )
    which = "points and boxes" if spec.pad_box else "points without a box"
    end = f"after {which}, add the point 0, 0 with label -1" if spec.pad_point else ""
    fixed = f"pad the points to {spec.fixed_points} with label -1" if spec.fixed_points else ""
    masks = (
        f"mask prompt: logits of an earlier prediction ({spec.mask_side} x "
        f"{spec.mask_side}) and has_mask 1; without a mask prompt: zeros and has_mask 0"
    )
    mix = spec.channels
    mixed = mix and (
        f"an image has {mix.count} channels: scale each from low..high to 0..255, then apply 3 x C "
        "weights and 3 biases to obtain RGB, clipped and rounded to 0..255 (`spec.channels`)"
    )
    return [
        *([mixed] if mixed else []),
        f"{fit} ({spec.resample})",
        f"x = (pixel - mean) / std per RGB channel, mean {spec.mean}, std {spec.std}",
        *(step for step in (pad, points, labels, end, fixed) if step),
        masks,
        f"pixels with an output logit above {spec.mask_threshold} belong to the object",
    ]


def _tensor_info(record: Mapping[str, Any]) -> TensorInfo:
    name, dtype, shape = record["name"], record["dtype"], tuple(record["shape"])
    if not isinstance(name, str) or not isinstance(dtype, str):
        raise ValueError(f"Name and dtype of a tensor must be text, got {name!r} and {dtype!r}.")
    if not all(type(side) in (int, str) for side in shape):
        raise ValueError(f"The shape of {name!r} is {shape}. Expected whole numbers and letters.")
    return TensorInfo(name, dtype, shape)
