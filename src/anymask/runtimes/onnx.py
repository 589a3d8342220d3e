"""A model on ONNX Runtime: the bundled `nano` and everything that `anymask export` writes.

Letters: B images, S the model's input side, N prompts, T mask tokens, m the side of a mask.
No torch here. A graph is opened when it is first used, so that a program that only decodes saved
embeddings never reads the encoder. One session serves any number of threads.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from anymask.primitives.errors import InputError, WeightsError
from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import FloatArray, ModelPrompts
from anymask.runtimes.failures import check_maps, running
from anymask.runtimes.manifest import (
    DECODER,
    DISABLED_OPTIMISERS,
    ENCODER,
    PROMPT_INPUTS,
    GraphInfo,
    Manifest,
    check_file,
    read_manifest,
)

THREADS = "ANYMASK_THREADS"
MOST_THREADS = 1024  # ONNX Runtime is not up to a hundred thousand
_PROVIDERS = {
    "auto": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
}


class OnnxRuntime:
    """The two graphs of a bundle folder behind the runtime protocol.

    folder   with encoder.onnx, decoder.onnx and manifest.json
    threads  of one call; the environment variable ANYMASK_THREADS when None, else every core
    device   "auto" (a GPU where the installed ONNX Runtime has one), "cpu" or "cuda"

    Raises WeightsError for a folder that is no bundle; a missing or altered graph is found when
    it is first used. InputError for threads or a device that cannot be had.
    """

    def __init__(
        self, folder: str | Path, *, threads: int | None = None, device: str = "auto"
    ) -> None:
        self._folder, self._device = Path(folder), device
        self.manifest: Manifest = read_manifest(self._folder)
        _check_inputs(self.manifest, str(self._folder))
        self.threads = pick_threads(threads)
        self._providers = _pick_providers(device)
        self._lock = threading.Lock()
        self._sessions: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its folder: a process that unpickles it opens the graphs anew."""
        return _reopen, (str(self._folder.absolute()), self.threads, self._device)

    @property
    def spec(self) -> ModelSpec:
        """How the model sees a picture."""
        return self.manifest.spec

    @property
    def weights_hash(self) -> str:
        """Of the weights that were exported: the same as in torch."""
        return self.manifest.weights_hash

    def encode(self, images: FloatArray) -> list[tuple[FloatArray, ...]]:
        """(B, 3, S, S) float32, normalised -> for each image its maps, features (C, h, w) first.

        One after the other: a batch is no faster on a CPU and needs B times the memory.
        """
        session = self._session(ENCODER, self.manifest.encoder)
        name = self.manifest.encoder.inputs[0].name
        with running(f"the encoder of {self.spec.name}"):
            answers = [session.run(None, {name: image[None]}) for image in images]
            return [tuple(maps[0] for maps in answer) for answer in answers]

    def decode(
        self, features: tuple[FloatArray, ...], prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        """One image's maps and N prompts -> logits (N, T, m, m) and quality (N, T), float32."""
        inputs = self.manifest.decoder.inputs
        check_maps(features, [info.shape for info in inputs[:-PROMPT_INPUTS]], self.spec.name)
        maps = tuple(array[None] for array in features)
        given = (*maps, prompts.coords, prompts.labels, prompts.masks, prompts.has_mask)
        names = [info.name for info in inputs]
        session = self._session(DECODER, self.manifest.decoder)
        with running(f"the decoder of {self.spec.name}"):
            logits, quality = session.run(None, dict(zip(names, given, strict=True)))
            return logits, quality

    def _session(self, name: str, info: GraphInfo) -> Any:
        """The session of one graph, opened by the first thread that needs it."""
        with self._lock:
            if name not in self._sessions:
                session = self._create_session(name)
                _check_signature(session, info, str(self._folder / name))
                self._sessions[name] = session
            return self._sessions[name]

    def _create_session(self, name: str) -> Any:
        for part in self.manifest.sha256:  # the graph, and its weights where they lie apart
            if part.startswith(name):
                check_file(self._folder, self.manifest, part)
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The threads of the encoder must not burn the cores while the decoder works.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            return ort.InferenceSession(
                str(self._folder / name),
                options,
                providers=list(self._providers),
                disabled_optimizers=list(DISABLED_OPTIMISERS),
            )
        except Exception as error:  # ONNX Runtime's own classes are not public
            raise WeightsError(
                f"ONNX Runtime {ort.__version__} cannot open {self._folder / name}: {error}; "
                "upgrade onnxruntime, or export the model again"
            ) from error


def _reopen(folder: str, threads: int, device: str) -> OnnxRuntime:
    return OnnxRuntime(folder, threads=threads, device=device)


def pick_threads(threads: int | None = None) -> int:
    """The threads of one call: the argument, else ANYMASK_THREADS, else every core we may use.

    Raises InputError for anything but a whole number of at least 1.
    """
    asked: int | str | None = threads if threads is not None else os.environ.get(THREADS)
    if asked is None or asked == "":
        if hasattr(os, "sched_getaffinity"):  # Linux: what the container lets us use
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    source = "threads" if threads is not None else THREADS
    try:
        count = int(asked)
    except (ValueError, TypeError, OverflowError):
        count = 0
    if not 1 <= count <= MOST_THREADS:
        raise InputError(
            f"{source} must be a whole number from 1 to {MOST_THREADS}, got {str(asked)[:20]!r}"
        )
    return count


def _pick_providers(device: str) -> tuple[str, ...]:
    if device not in _PROVIDERS:
        raise InputError(
            f"an exported model runs on device {', '.join(_PROVIDERS)}, got {device!r}; "
            "for other devices load the checkpoint with runtime='torch'"
        )
    if device == "cpu":
        return _PROVIDERS[device]
    from onnxruntime import get_available_providers

    available = get_available_providers()
    found = tuple(provider for provider in _PROVIDERS[device] if provider in available)
    if not found:
        raise InputError(
            "device 'cuda' was asked for, but the installed ONNX Runtime has no CUDA; "
            "install onnxruntime-gpu, or use device='auto'"
        )
    return found


def _check_inputs(manifest: Manifest, path: str) -> None:
    counts = (len(manifest.encoder.inputs), len(manifest.decoder.inputs))
    if counts[0] != 1 or counts[1] <= PROMPT_INPUTS:
        raise WeightsError(
            f"{path}: wanted an encoder of one input and a decoder of maps and {PROMPT_INPUTS} "
            f"arrays of prompts, its manifest has {counts[0]} and {counts[1]} inputs; export again"
        )


def _check_signature(session: Any, info: GraphInfo, path: str) -> None:
    got = ([node.name for node in session.get_inputs()], len(session.get_outputs()))
    wanted = ([tensor.name for tensor in info.inputs], len(info.outputs))
    if got != wanted:
        raise WeightsError(
            f"{path} takes {', '.join(got[0])} and gives {got[1]} outputs, but its manifest says "
            f"{', '.join(wanted[0])} and {wanted[1]}; export the model again"
        )
