"""Folders of exported models (bundles): atomic writing, copying, and adding graphs.

The models in the package are bundles already; they are copied without torch.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from anymask.base import (
    InputError,
    ModelError,
    claimed,
    file_sha256,
    need_packages,
    refuse_text,
    write_whole,
)
from anymask.models.rules import BUNDLED_MODELS, DEFAULT_VIDEO_MODEL, FIELD_MODELS
from anymask.runtime import (
    ASSETS,
    CONSTANTS,
    EXPORTED,
    MANIFEST,
    NAME_VECTORS,
    REFINER_WEIGHTS,
    TABLES,
    GraphInfo,
    GraphNames,
    Manifest,
    OnnxRuntime,
    check_file,
    describe_preprocessing,
    exported_beside,
    load_module,
    manifest_to_json,
    named_weights,
    read_manifest,
    shared_folder,
    split_side,
)

if TYPE_CHECKING:
    from anymask.masks import ModelSpec

DOMAIN = "com.microsoft"  # of ONNX Runtime's fused operators
README, EXAMPLE, MODEL_CARD = "README.md", "example.py", "MODEL_CARD.md"
TEMPLATES = ASSETS / "bundle"  # templates of README and example
RULES = [ASSETS.parent / "masks" / name for name in ("answer.py", "shapes.py")]  # example imports
PROGRAM = (TEMPLATES / EXAMPLE, *RULES)
GRAPH_FILES = {
    GraphNames.REFINER: REFINER_WEIGHTS,
    GraphNames.NAMES: NAME_VECTORS,
}  # additional files of graphs
BUNDLE_FILES = {
    MANIFEST, TABLES, CONSTANTS, README, REFINER_WEIGHTS, "subject.json",
    *(path.name for path in PROGRAM),
}  # fmt: skip


def export(
    model: str | Path,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    int8: bool = False,
    video: bool = False,
    verify: bool = False,
    runtime: Literal["onnxruntime", "any"] = "onnxruntime",
) -> Path:
    """Export a model to a folder that runs without PyTorch and anymask.

    The folder contains encoder.onnx, decoder.onnx, manifest.json, README.md and example.py.

    Args:
        model: Name from `anymask models list`, or trained weights. "nano@768" sets the input size.
        out: Output folder. An earlier export is replaced, and other files in the folder are kept.
        weights: Checkpoint file to use instead of the downloaded one.
        int8: Use 8-bit matrix products in the encoder.
        video: Also export the graphs of a video model, so that `Model.track` needs no PyTorch.
        verify: Compare the exported graphs with the checkpoint (`training.export_verify`).
        runtime: "onnxruntime" permits its fused operators (domain com.microsoft), "any" writes
            standard ONNX operators only, for other programs. Requires the package onnx.

    Returns:
        The output folder, which `anymask.load` accepts.

    Raises:
        InputError: The folder has other content.
        ModelError: The model or an option is not supported, or `verify` failed.
        WeightsError: The weights are missing.
        MissingExtra: PyTorch or onnx is missing; the bundled models do not need PyTorch.
    """
    refuse_text("True or False", int8=int8, video=video, verify=verify)
    (name, side), folder = split_side(str(model)), Path(out)
    if int8 and name == DEFAULT_VIDEO_MODEL:
        raise ModelError(
            f"{DEFAULT_VIDEO_MODEL} does not support 8-bit export. Export it without int8."
        )
    bundled_weights = name in (*BUNDLED_MODELS, *FIELD_MODELS) and weights is None
    if bundled_weights and video:
        raise not_a_video_model(name)
    if runtime not in ("onnxruntime", "any"):
        raise InputError(f'Unknown runtime {runtime!r}. Use "onnxruntime" or "any".')
    if runtime == "any":
        need_packages(("onnx",), "torch", "Standard operators")
        from anymask.training.standard_operators import copy_standard

        refuse_to_replace(folder)
        with staging(folder) as stage:
            fused = export(model, stage / "fused", weights=weights, int8=int8, video=video)
            copy_standard(fused, stage)
            shutil.rmtree(fused)
    elif bundled_weights and not int8:
        from anymask.runtime import bundled

        copied = copy_bundle(cast(Path, bundled(name).path), folder, side)
        add_shared_networks(folder, copied.spec)
    else:
        _export_checkpoint(str(model), folder, weights, int8, video)
    if verify:
        from anymask.training.export_verify import verify_export

        verify_export(str(model), folder, weights).check(folder)
    return folder


def not_a_video_model(name: str) -> ModelError:
    """Return the error for video graphs of an image model."""
    return ModelError(
        "Video export requires a video model, such as SAM 2, EdgeTAM or EfficientTAM, but "
        f"{name} is an image model. Image models need no video graphs: `anymask track` supports "
        "them directly."
    )


def _export_checkpoint(
    model: str, folder: Path, weights: str | Path | None, int8: bool, video: bool
) -> None:
    from anymask.runtime.converted import check_exportable

    check_exportable(split_side(model)[0])
    module, weights_hash = load_module(model, weights)
    from anymask.models.video_model import VideoModel
    from anymask.runtime import license_of_weights
    from anymask.training.export_graphs import export_bundle

    if video and not isinstance(module, VideoModel):
        raise not_a_video_model(model)
    name, file = named_weights(split_side(model)[0], weights)
    licence = license_of_weights(name, None if file is None else Path(file), weights_hash)
    export_bundle(
        module,
        cast("ModelSpec", module.spec),
        folder,
        licence=licence,
        weights_hash=weights_hash,
        variant="int8" if int8 else "fp32",
    )
    if video:
        from anymask.training.export_graphs import add_video_graphs

        add_video_graphs(cast(VideoModel, module), folder)


def export_beside(weights: Path, *, video: bool = False) -> None:
    """Export trained weights to the folder beside them, unless it exists.

    `anymask.load` uses it instead of the weights if ONNX Runtime is available.

    Args:
        video: Also export the graphs of a video model.
    """
    if exported_beside(weights) is None:
        export(weights, weights.parent / EXPORTED, video=video)


def copy_bundle(source: Path, target: Path, side: int | None = None) -> Manifest:
    """Copy an exported model to another folder, verifying the hash of each file.

    Args:
        source: Folder of the exported model.
        target: Output folder.
        side: Input side of the copy in pixels (`OnnxRuntime`). Defaults to that of `source`.

    Raises:
        WeightsError: The source is incomplete or corrupted.
        InputError: The target has other content, or the model does not support the side.
    """
    refuse_to_replace(target)
    manifest = read_manifest(source) if side is None else OnnxRuntime(source, side=side).manifest
    with staging(target) as stage:
        for name in manifest.sha256:
            shutil.copyfile(check_file(source, manifest, name), stage / name)
        if (source / MODEL_CARD).is_file():
            shutil.copyfile(source / MODEL_CARD, stage / MODEL_CARD)
        manifest = replace(manifest, base="")
        write_manifest(stage, manifest)
    return manifest


def refuse_to_replace(target: Path) -> None:
    """Raise InputError for a file, or for a folder that is not an exported model."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target} is a file. Choose a folder for the exported model.")
    if any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise InputError(
            f"{target} contains files that are not part of an exported model. Choose a new folder."
        )


@contextlib.contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `target` at the end, or is deleted on an error.

    It is in .NAME.parts, which a killed run leaves and the next one removes.
    """
    parts = target.parent / f".{target.name}.parts"
    stage, old = parts / "new", parts / "old"
    with claimed(target, parts / ".lock"):
        try:
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir()
            yield stage
            if target.exists():
                for path in target.iterdir():
                    if path.name in BUNDLE_FILES or ".onnx" in path.name:
                        continue
                    if path.is_dir():
                        shutil.copytree(path, stage / path.name)
                    else:
                        shutil.copy2(path, stage / path.name)
                target.rename(old)
            stage.rename(target)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(OSError):  # already removed
        parts.rmdir()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, README.md, and example.py with the modules that it imports."""
    text = (TEMPLATES / README).read_text(encoding="utf-8")
    fused = any(DOMAIN.encode() in (folder / info.file).read_bytes() for info in manifest.graphs)
    manifest = replace(manifest, domains=(DOMAIN,) * fused)
    steps = enumerate(describe_preprocessing(manifest.spec), start=1)
    tables = []
    for info in manifest.graphs:
        rows = [f"`{info.file}`", "", "| | name | type | shape |", "|---|---|---|---|"]
        for kind, tensors in (("in", info.inputs), ("out", info.outputs)):
            for tensor in tensors:
                shape = ", ".join(map(str, tensor.shape))
                rows.append(f"| {kind} | {tensor.name} | {tensor.dtype} | ({shape}) |")
        tables.append("\n".join(rows))
    readme = text.format(
        name=manifest.spec.name,
        licence=manifest.licence,
        precision=manifest.precision,
        opset=manifest.opset,
        operators=", ".join(["ONNX", *manifest.domains]),
        steps="\n".join(f"{i}. {step}" for i, step in steps),
        graphs="\n\n".join(tables),
    )
    (folder / README).write_text(readme, encoding="utf-8")
    for path in PROGRAM:
        shutil.copyfile(path, folder / path.name)
    write_whole(folder / MANIFEST, manifest_to_json(manifest))


def enter_graphs(folder: Path, *graphs: GraphInfo, further: tuple[str, ...] = ()) -> Manifest:
    """Add graphs and other files of a bundle to its manifest and README.

    Graphs of the same names are replaced. Raises WeightsError if the folder is not a bundle.
    """
    manifest, names = read_manifest(folder), {info.name for info in graphs}
    parts = [path.name for info in graphs for path in sorted(folder.glob(f"{info.file}*"))]
    changed = replace(
        manifest,
        graphs=(*(info for info in manifest.graphs if info.name not in names), *graphs),
        sha256={
            **manifest.sha256,
            **{name: file_sha256(folder / name) for name in (*parts, *further)},
        },
    )
    write_manifest(folder, changed)
    return changed


def add_shared_networks(folder: Path, spec: ModelSpec) -> Manifest:
    """Add the networks that the package provides for a model family; return the manifest.

    The edge and name networks take an image and a mask of any origin, so they work with every model
    of the family. The network for earlier video frames depends on the feature maps that it was
    trained with, and is not copied.
    """
    source = shared_folder(spec)
    for info in read_manifest(source).graphs if source is not None else ():
        if source is not None and info.name in GRAPH_FILES and not (folder / info.file).exists():
            for file in (info.file, GRAPH_FILES[info.name]):
                shutil.copyfile(source / file, folder / file)
            enter_graphs(folder, info, further=(GRAPH_FILES[info.name],))
    return read_manifest(folder)
