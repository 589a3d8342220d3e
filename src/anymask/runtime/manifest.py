"""The manifest of an exported bundle: `manifest.json` in, a checked record of its graphs out.

A bundle is a folder with one ONNX file for each graph ("encoder" and "decoder" of an image model),
`tables.json` with the numbers that its family learned, and `manifest.json`. This module turns the
manifest into a record and back, and says what is wrong with a folder that is not a bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from anymask.base import DataError, WeightsError, brief, parse_json, write_whole
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
from anymask.models.rules import BUNDLED_MODELS, DEFAULT_VIDEO_MODEL, family_names, open_family

ASSETS: Path = Path(__file__).parents[1] / "assets"

FORMAT = 2
MANIFEST = "manifest.json"
TABLES = "tables.json"
WEIGHTS = "weights.safetensors"  # whose numbers graphs refer to, where they hold none themselves
GRAPH_WEIGHTS = "weights.json"  # where torch finds the numbers that graphs hold, if they do
CONSTANTS = "video.npz"  # what a video model's graphs leave to their runner
ENCODER, DECODER = "encoder", "decoder"  # names of graphs
CLASSES = "classes"  # the graph that says of which class each cell is; a bundle may be without
REFINER, REFINER_WEIGHTS = "refiner", "refiner.safetensors"  # of edges; a bundle may be without
NAMES, NAME_VECTORS = "names", "names.npz"  # of masks, and what they are called; likewise
IR, IR_WEIGHTS = ".xml", ".bin"  # a graph in OpenVINO's own two files
MEMORY = "memory"  # reads an object's earlier frames; a bundle may be without
# Many clicks on one image: what is done once, what for clicks, what for masks; likewise.
SWEEP_IMAGE, SWEEP_CLICKS, SWEEP_MASKS = "sweep_image", "sweep_clicks", "sweep_masks"
SWEEP_PROMPT = "sweep_prompt"  # one prompt and all of its masks, after `SWEEP_IMAGE`; likewise

_LARGEST_SIDE = 16384  # of a model's input, pixels

# ONNX Runtime fuses "add, then layer norm" into an operator that is slower on a CPU than the two
# (a tenth of a decode of `nano`): left out where a graph is written and where it is opened.
DISABLED_OPTIMISERS = ("SkipLayerNormFusion",)


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a graph; a dimension that may vary is a letter, as in "N"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@brief
@dataclass(frozen=True)
class GraphInfo:
    """What one graph of a bundle takes and gives, in order.

    Attributes:
        name: "encoder", "decoder", ...; it lies in `file`.
        suffix: Of that file: ".onnx", or `IR`.
    """

    name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    suffix: str = ".onnx"

    @property
    def file(self) -> str:
        """Its file in the bundle's folder."""
        return self.name + self.suffix


@brief
@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything beside the graphs.

    Attributes:
        graphs: Any number, by their names.
        sha256: Of every file of the bundle that a runtime reads, by plain file name.
        weights_hash: Of the weights that were exported; an embedding of the same weights fits.
        precision: "fp32" or "int8".
        data: What the weights learned from, and its terms; "" where nobody says.
    """

    spec: ModelSpec
    graphs: tuple[GraphInfo, ...]
    sha256: Mapping[str, str]
    weights_hash: str
    licence: str
    precision: str
    opset: int
    data: str = ""

    @property
    def refers(self) -> bool:
        """Whether the graphs' numbers lie in `WEIGHTS`: a browser does not open those."""
        return WEIGHTS in self.sha256

    def has_graph(self, name: str) -> bool:
        """Whether the bundle has a graph of this name."""
        return any(info.name == name for info in self.graphs)

    def graph(self, name: str) -> GraphInfo:
        """The graph of a name. Raises WeightsError where the bundle has none."""
        for info in self.graphs:
            if info.name == name:
                return info
        raise WeightsError(
            f"The exported model {self.spec.name!r} has no graph {name!r}, only "
            f"{', '.join(info.name for info in self.graphs)}. Export the model "
            "again."
        )


def manifest_to_json(manifest: Manifest) -> str:
    """The text of `manifest.json`."""
    family = open_family(manifest.spec, {})
    record = {
        "format": FORMAT,
        "name": manifest.spec.name,
        "licence": manifest.licence,
        **({"data": manifest.data} if manifest.data else {}),
        "precision": manifest.precision,
        "opset": manifest.opset,
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
        "grid": {  # as the page reads it
            "pred_iou_thresh": family.grid.score,
            "stability_score_thresh": family.grid.stability,
        },
        "closer": family.closer and asdict(family.closer),
    }
    return json.dumps(record, indent=2) + "\n"


def manifest_at(manifest: Manifest, side: int) -> Manifest:
    """What the same graphs take and give for pictures of another side. Raises InputError."""
    spec = spec_at(manifest.spec, side)

    def scaled(tensor: TensorInfo) -> TensorInfo:
        """Maps, masks and logits grow with the side; nothing else has four dimensions."""
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
        if info.name in (ENCODER, DECODER, CLASSES)
        else info
        for info in manifest.graphs
    )
    return replace(manifest, spec=spec, graphs=graphs)


def manifest_from_json(text: str | bytes, source: str) -> Manifest:
    """The record of a `manifest.json`; `source` names it in errors.

    Raises WeightsError for text that is no manifest, or one of another format.
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
            f"{source} has format {record['format']!r}, but this version of anymask "
            f"reads format {FORMAT}. {remedy} Or use the version of anymask that wrote "
            "it."
        )
    try:
        return Manifest(
            spec=spec_from_dict(record["spec"]),
            graphs=tuple(
                GraphInfo(
                    str(name),
                    tuple(map(_tensor_info, graph["inputs"])),
                    tuple(map(_tensor_info, graph["outputs"])),
                    IR if str(graph.get("file")).endswith(IR) else ".onnx",
                )
                for name, graph in record["graphs"].items()
            ),
            sha256={_file_name(name): str(digest) for name, digest in record["sha256"].items()},
            weights_hash=str(record["weights_hash"]),
            licence=str(record["licence"]),
            precision=str(record["precision"]),
            opset=int(record["opset"]),
            data=str(record.get("data", "")),
        )
    except KeyError as error:
        raise WeightsError(f"{source} has no entry {error}. {remedy}") from error
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{source} is corrupted ({str(error)[:200]}). {remedy}") from error


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle folder; WeightsError where the folder is not a whole bundle."""
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
    """The bundle in the package whose networks of edges and names serve a model, too. None where
    there is none, or where the model's pictures are no photos.

    Those networks look at the photo and at a mask, whatever weights drew it.
    """
    ours = spec.family in BUNDLED_MODELS and spec.channels is None
    return ASSETS / DEFAULT_VIDEO_MODEL if ours else None


def check_file(
    folder: Path, manifest: Manifest, name: str, digest: Callable[[Path], str] | None = None
) -> Path:
    """The path of one file of a bundle, present and unaltered; WeightsError otherwise.

    Args:
        folder: Of the bundle.
        manifest: With the hashes of its files.
        name: Of the file.
        digest: Computes or remembers the sha256 of a file.
    """
    path = folder / name
    if not path.is_file():
        raise WeightsError(
            f"{path} is missing, but {MANIFEST} lists it. Copy the whole folder, or "
            "export the model again."
        )
    got = (digest or file_sha256)(path)
    if got != manifest.sha256[name]:
        raise WeightsError(
            f"{path} was changed or truncated: its sha256 is {got[:12]}..., {MANIFEST} "
            f"declares {manifest.sha256[name][:12]}... Copy it again, or export the "
            "model again."
        )
    return path


def read_tables(folder: Path, manifest: Manifest) -> Tables:
    """What the bundle's family learned; nothing where it learned nothing. Raises WeightsError."""
    if TABLES not in manifest.sha256:
        return {}
    path = check_file(folder, manifest, TABLES)
    try:
        tables = parse_json(path.read_bytes(), path)
    except DataError as error:
        raise WeightsError(f"{error} Export the model again.") from error
    if not isinstance(tables, dict):
        raise WeightsError(f"{path} must contain a JSON object. Export the model again.")
    return tables


def write_tables(folder: Path, tables: Tables) -> None:
    """Give a bundle other tables, and its manifest their hash. Raises WeightsError."""
    manifest = read_manifest(folder)
    path = folder / TABLES
    write_whole(path, json.dumps(tables) + "\n")
    hashes = {**manifest.sha256, TABLES: file_sha256(path)}
    changed = replace(manifest, sha256=hashes)
    write_whole(folder / MANIFEST, manifest_to_json(changed))


def file_sha256(path: Path) -> str:
    """The sha256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def spec_to_dict(spec: ModelSpec) -> dict[str, Any]:
    """A ModelSpec in JSON's types."""
    record = {**asdict(spec), "accepts": sorted(spec.accepts)}
    if spec.channels is None:  # of models that see photos nothing is said
        del record["channels"]
    if not spec.classes:
        del record["classes"]
    return record


def spec_from_dict(record: Mapping[str, Any]) -> ModelSpec:
    """The ModelSpec of a JSON record; KeyError, TypeError or ValueError where it does not fit."""
    values = {field.name: record[field.name] for field in fields(ModelSpec)
              if field.name not in ("channels", "classes")}  # fmt: skip
    values["classes"] = tuple(record.get("classes", ()))
    values["channels"] = record.get("channels")
    if unknown := set(record) - set(values):
        raise ValueError(f"'spec' has unknown entries: {sorted(unknown)}")
    for name, known in (
        ("fit", get_args(Fit)), ("resample", get_args(Resample)), ("family", family_names()),
        ("pad_point", (True, False)),
    ):  # fmt: skip
        if values[name] not in known:
            raise ValueError(f"'{name}' is {values[name]!r}, not one of {known}")
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
            type(one) in (int, float) and abs(one) < 1e6 for one in numbers
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
    """The steps from a photo and a prompt to the graphs' inputs, for whoever writes them anew."""
    side = spec.image_side
    fit = (
        (f"resize so that the longer side is {side}, keeping the aspect ratio (sides rounded)")
        if spec.fit == "longest_side"
        else f"resize both sides to {side}"
    )
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
        f"an image has {mix.count} channels: scale each from low..high to 0..255, then "
        "apply 3 x C weights and 3 biases to obtain RGB, clipped and rounded to "
        "0..255 (`spec.channels`)"
    )
    return [
        *([mixed] if mixed else []),
        f"{fit} ({spec.resample})",
        f"x = (pixel - mean) / std per RGB channel, mean {spec.mean}, std {spec.std}",
        *(step for step in (pad, points, labels, end, fixed) if step),
        masks,
        f"pixels with an output logit above {spec.mask_threshold} belong to the object",
    ]


def _file_name(name: str) -> str:
    """A name that leads nowhere but into its folder, on any system. Raises ValueError."""
    if name in ("", ".", "..") or any(mark in name for mark in "/\\:\0"):
        raise ValueError(f"Files of a bundle have plain names, without folders, got {name[:80]!r}.")
    return name


def _tensor_info(record: Mapping[str, Any]) -> TensorInfo:
    name, dtype, shape = record["name"], record["dtype"], tuple(record["shape"])
    if not isinstance(name, str) or not isinstance(dtype, str):
        raise ValueError(f"Name and dtype of a tensor must be text, got {name!r} and {dtype!r}.")
    if not all(type(side) in (int, str) for side in shape):
        raise ValueError(f"The shape of {name!r} is {shape}. Expected whole numbers and letters.")
    return TensorInfo(name, dtype, shape)
