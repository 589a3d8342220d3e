"""Conversion of checkpoints to ONNX Runtime, for faster inference on CPUs.

The bundle is written to a temporary folder beside the weights and renamed after verification, so an
interrupted conversion leaves nothing that is used. `runtime.converted` finds and opens it.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np

from anymask.base import (
    AnymaskError,
    MissingExtra,
    ModelError,
    ProgressBar,
    WeightsError,
    file_sha256,
    write_json,
)
from anymask.masks import ModelSpec
from anymask.runtime import (
    ImageRuntime,
    OnnxRuntime,
    entry,
    file_hash,
    load_module,
    open_runtime,
    read_manifest,
)
from anymask.runtime.adapters import license_of_weights
from anymask.runtime.converted import (
    FAILURE_FILE,
    LACKING,
    RUNTIME_FEATURES,
    check_exportable,
    checkpoint_file,
    conversion_lock,
    conversions_of,
    converted_folder,
    find_converted,
    folder_bytes,
)
from anymask.runtime.store import advise_once
from anymask.training.export_folder import write_manifest

MAX_LOGIT_ERROR = 1e-3  # relative to the largest logit; the tolerance of the reference tests
SPARE = 2.5  # required disk space, relative to the size of the weights
PROGRESS_STEPS = 3  # steps of the progress bar


def convert(name: str, weights: str | Path | None = None, *, again: bool = False) -> Path:
    """Convert a checkpoint for ONNX Runtime on a CPU, once for each weights file.

    Args:
        name: A name of `anymask models list` that is not bundled.
        weights: Checkpoint file, instead of the one in the store.
        again: Convert again although there is a conversion, or an earlier attempt failed.

    Returns:
        The bundle beside the weights, which `anymask.load` uses.

    Raises:
        ModelError: The model has no image checkpoint, or the bundle differs from the checkpoint.
        WeightsError: The weights are corrupted, or their folder cannot be written to.
        MissingExtra: PyTorch or ONNX is not installed.
    """
    path = checkpoint_file(name, weights)
    if path is None:
        raise ModelError(
            f"{name} has no image checkpoint to convert. Run: anymask models get {name}"
        )
    check_exportable(name)
    for package in ("torch", "onnx", "onnxscript"):
        if not find_spec(package):
            raise MissingExtra(package, "torch", "converting a checkpoint")
    try:
        with conversion_lock(name, weights, path):
            bundle = find_converted(name, weights)  # another process may just have written it
            if bundle is None or again:
                bundle = _convert_once(name, weights, path, again)
    except OSError as error:
        raise WeightsError(
            f"Cannot write the converted model next to {path}: {error.strerror or error}. "
            "Check the permissions of the folder, or load the model with runtime='torch'."
        ) from error
    return bundle


def _convert_once(name: str, weights: str | Path | None, path: Path, again: bool) -> Path:
    """Convert while the lock is held, and record a failure that would happen again."""
    folder = converted_folder(path, file_hash(path))
    if (folder / FAILURE_FILE).is_file() and not again:
        raise ModelError(
            f"An earlier conversion of {name} failed. Run: anymask models convert {name}"
        )
    needed, free = SPARE * path.stat().st_size, shutil.disk_usage(path.parent).free
    if free < needed:
        raise WeightsError(
            f"Not enough disk space in {path.parent} to convert {path.name}: {free / 1e9:.1f} GB "
            f"are free, {needed / 1e9:.1f} GB are required. Free disk space, or load the model "
            "with runtime='torch'."
        )
    stage = path.with_name(f"{path.name}.onnx-unfinished")
    shutil.rmtree(stage, ignore_errors=True)  # left by a killed process
    try:
        _convert(name, weights, stage)
        shutil.rmtree(folder, ignore_errors=True)
        stage.rename(folder)
    except (OSError, MemoryError, MissingExtra, WeightsError):
        raise  # caused by this machine, not by the model
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_json(folder / FAILURE_FILE, {"name": name})
        if isinstance(error, AnymaskError):
            raise
        raise ModelError(
            f"{name} could not be exported ({type(error).__name__}). Use runtime='torch'."
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    for old in conversions_of(path):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def convert_on_load(name: str, weights: str | Path | None = None) -> None:
    """Convert before loading; a failure is logged once, and the model runs on PyTorch instead."""
    try:
        convert(name, weights)
    except (AnymaskError, MemoryError) as error:
        advise_once(
            f"convert-{name}",
            f"{name} was not converted for ONNX Runtime and runs on PyTorch, which is slower "
            f"on a CPU. {str(error) or 'The system is out of memory.'}",
        )


def _convert(name: str, weights: str | Path | None, stage: Path) -> None:
    """Write and verify the bundle. Raises ModelError if its output differs."""
    import torch

    from anymask.training.export_graphs import export_bundle

    progress = ProgressBar(f"{name}: converting for ONNX Runtime", PROGRESS_STEPS)
    with torch.inference_mode(False), progress as bar:  # independent of the caller's mode
        module, digest = load_module(name, weights)
        bar.update(1)
        spec = cast(ModelSpec, module.spec)
        licence = license_of_weights(name, None if weights is None else Path(weights), digest)
        export_bundle(module, spec, stage, licence=licence, weights_hash=digest, variant="fused")
        del module
        bar.update(2)
        eager = open_runtime(name, weights, "cpu", "fp32", "torch")
        graphs = OnnxRuntime(stage, device="cpu")
        if not (error := difference(eager, graphs)) <= MAX_LOGIT_ERROR:
            raise ModelError(
                f"The logits of the converted {name} differ from those of PyTorch by "
                f"{error:.1e} of the largest logit, but at most {MAX_LOGIT_ERROR:.0e} is allowed."
            )
        lacking = [  # what only PyTorch supports
            kind
            for kind, name in RUNTIME_FEATURES.items()
            if getattr(eager, name) is not None and getattr(graphs, name) is None
        ]
        write_json(stage / LACKING, {"capabilities": lacking}, indent=1)
        manifest, data = read_manifest(stage), "" if weights is not None else entry(name).data
        hashes = {**manifest.sha256, LACKING: file_sha256(stage / LACKING)}
        write_manifest(stage, replace(manifest, sha256=hashes, data=data))
        bar.note = f"{folder_bytes(stage) / 1e6:.1f} MB"
        bar.update(PROGRESS_STEPS)


def difference(eager: ImageRuntime, graphs: OnnxRuntime) -> float:
    """Return the maximum difference of the logits for one image, relative to the largest logit.

    Covers prompts with and without masks, because a bundle may have separate graphs for the latter.
    """
    from anymask.training.export_verify import random_image, random_prompts

    spec, rng = graphs.spec, np.random.default_rng(0)
    side = (spec.image_side, spec.image_side)
    image = random_image(spec, side, rng)
    features = [(runtime, runtime.encode_images(image)[0]) for runtime in (eager, graphs)]
    errors = []
    for masks in {False, "mask" in spec.accepts}:
        prompts = random_prompts(spec, (3, min(2, spec.fixed_points or 2)), side, masks, rng)
        ours, theirs = (runtime.decode(it, prompts)[0] for runtime, it in features)
        errors.append(np.abs(ours - theirs).max() / max(float(np.abs(ours).max()), 1e-12))
    return float(np.max(errors))
