"""ONNX Runtime backend: the graphs of a bundle behind the runtime protocol, without torch.

Graphs are opened on first use, so that a program that only decodes saved embeddings never loads the
encoder. Sessions can be shared by threads. Optional graphs (classes, edges, names, memory, videos)
are features.

Letters: B images, S the model's input side, N prompts, T mask tokens, m the side of a mask, D the
length of a name's vector.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import (
    AnymaskError,
    DataError,
    FloatArray,
    InputError,
    UintImage,
    WeightsError,
    file_sha256,
    import_offline,
    parse_json,
    pick_threads,
    read_arrays,
)
from anymask.masks import (
    EncoderOutput,
    FeatureMap,
    Geometry,
    ModelPrompts,
    Origin,
    StoredMaps,
    logits_used,
)
from anymask.models.rules import (
    ANCHOR,
    DEFAULT_VIDEO_MODEL,
    Family,
    MemoryOutput,
    MemoryQuery,
    NameTable,
    open_family,
)
from anymask.models.rules.crops import CROP_SIDE as CLOSE_UP_SIDE
from anymask.runtime.manifest import (
    ASSETS,
    CONSTANTS,
    DISABLED_OPTIMIZERS,
    NAME_VECTORS,
    WEIGHTS,
    GraphInfo,
    GraphNames,
    Manifest,
    check_file,
    manifest_at,
    read_manifest,
    read_tables,
    shared_folder,
)
from anymask.runtime.protocol import (
    Decoded,
    DecodingSweep,
    ImageRuntime,
    MaskNaming,
    ReadMemory,
    RefineEdge,
    Sweep,
    SweepOutput,
    SweepPrecision,
    VideoRuntime,
    drawn_answer,
    failure_of,
)

LARGE_GRAPH_BYTES = 20_000_000  # file size of a large graph in bytes
SLOW = 2.0  # seconds per image from which a faster bundled model is suggested

_PACKAGE = Path(__file__).absolute().parents[1]
PROMPT_INPUTS = ("coords", "labels", "masks", "has_mask")  # of a decoder, besides the maps
_PROVIDERS = {
    "auto": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
}


class OnnxRuntime(ImageRuntime):
    """Runtime of the graphs in a bundle folder.

    Args:
        folder: Folder with manifest.json and the files that it lists.
        threads: Threads per call. Defaults to the environment variable ANYMASK_THREADS, else to the
            number of cores.
        device: "auto" (a GPU if the installed ONNX Runtime supports one), "cpu" or "cuda".
        side: Input side in pixels (`spec_at`). Defaults to that of the manifest.

    Raises:
        WeightsError: The folder is not a bundle. A missing or changed graph is detected on first
            use.
        InputError: Threads, device or side are not supported.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        device: str = "auto",
        side: int | None = None,
    ) -> None:
        self._folder, self._device, self._side = Path(folder), device, side
        self.manifest: Manifest = read_manifest(self._folder)
        if side is not None:
            self.manifest = manifest_at(self.manifest, side)
        path, stated = str(self._folder), self.manifest
        self.spec, self.weights_hash = stated.spec, stated.weights_hash
        self.origin = Origin(self.spec.name, stated.weights_hash, stated.licence, stated.data)
        encoder, decoder = stated.graph(GraphNames.ENCODER), stated.graph(GraphNames.DECODER)
        names = {tensor.name for tensor in decoder.inputs}
        if len(encoder.inputs) != 1 or not encoder.outputs or not names > set(PROMPT_INPUTS):
            raise WeightsError(
                f"{path}: Expected an encoder with one input and a decoder with feature maps and "
                f"{', '.join(PROMPT_INPUTS)}, but the manifest declares an encoder with "
                f"{len(encoder.inputs)} inputs and a decoder with {sorted(names)}. Export the "
                "model again."
            )
        self.threads = pick_threads(threads)
        self._providers = _pick_providers(device)
        self.device = "cuda" if self._providers[0].startswith("CUDA") else "cpu"
        self.precision = self.manifest.precision
        tables = read_tables(self._folder, self.manifest)
        if self.manifest.has_graph(GraphNames.INSTANCES):
            tables = {**tables, GraphNames.INSTANCES: {}}
        base = self.manifest.base  # the tables are those of the base, for its weights
        trained = read_manifest(ASSETS / base).weights_hash if base else self.weights_hash
        self.family: Family = open_family(self.spec, tables, trained)
        self._lock = threading.Lock()
        self._sessions: dict[str, tuple[GraphInfo, Any]] = {}
        self._siblings: dict[int, OnnxRuntime] = {}
        self._checked: set[str] = set()  # files with verified hashes
        self._is_opened_ahead = False
        self._shares_work = self.manifest.has_graph(GraphNames.SWEEP_PROMPT)
        self._works: list[tuple[weakref.ref[EncoderOutput], Arrays]] = []  # most recent last
        if side is not None:
            _, session = self._open(GraphNames.DECODER)
            shapes = {node.name: node.shape for node in session.get_inputs()}
            if isinstance(shapes["masks"][2], int) and shapes["masks"][2] != self.spec.mask_side:
                raise InputError(
                    f"{self._folder} was exported for one image size, so @{side} does not apply. "
                    f"Remove @{side}, or export the model again."
                )

    def __repr__(self) -> str:
        return f"<OnnxRuntime: {self.spec.name}, {self._device}, {self.threads} threads>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by folder: unpickling opens the graphs again.

        A folder inside this package is stored relative to the package.
        """
        folder = self._folder.absolute()
        path = folder.relative_to(_PACKAGE) if folder.is_relative_to(_PACKAGE) else folder
        settings = {"threads": self.threads, "side": self._side, **self._settings()}
        return _reopen, (type(self), path.as_posix(), settings)

    def file(self, name: str) -> Path | None:
        """Path of a file of the bundle, or None.

        Raises:
            WeightsError: The file has changed.
        """
        return (
            check_file(self._folder, self.manifest, name) if name in self.manifest.sha256 else None
        )

    def runtime_with(self, graph: str) -> OnnxRuntime:
        """Return this runtime, or the one of the shared networks if only that may have a graph.

        Bundled models have shared networks (`shared_folder`). The graph may be missing there, too.
        """
        shared = shared_folder(self.spec)
        if shared is None or self.manifest.has_graph(graph) or self._folder.parent != ASSETS:
            return self
        return self._again(shared, self.threads)

    def with_threads(self, threads: int) -> OnnxRuntime:
        """Return this model with another number of threads, opened once for each."""
        if threads == self.threads:
            return self
        with self._lock:
            if threads not in self._siblings:
                self._siblings[threads] = self._again(self._folder, threads, self._side)
            return self._siblings[threads]

    def for_calls_at_once(self) -> tuple[OnnxRuntime, int]:
        if self._providers == _PROVIDERS["cpu"]:
            return self.with_threads(1), self.threads
        return self, 1

    def _again(self, folder: Path, threads: int, side: int | None = None) -> OnnxRuntime:
        """Open another bundle, or this one with other threads, with the same settings."""
        return type(self)(folder, threads=threads, side=side, **self._settings())

    def _settings(self) -> dict[str, Any]:
        """Constructor arguments other than folder, threads and side."""
        return {"device": self._device}

    def encode_images(self, images: FloatArray) -> list[EncoderOutput]:
        """Encode images (B, 3, S, S) float32, normalized, to the feature maps of each image.

        Images are encoded one by one: a batch is not faster on a CPU and requires B times the
        memory. For a single image, the decoder's work that all prompts share is done as well, so
        that the first click takes as long as the next ones.
        """
        self._open(GraphNames.ENCODER)  # not included in the measured time
        self._open_ahead()
        began = time.monotonic()
        outputs: list[EncoderOutput] = [self._encode(image) for image in images]
        if self._shares_work and len(images) == 1:
            self.image_work(outputs[0])
        if self._folder.parent == ASSETS and self.spec.family != DEFAULT_VIDEO_MODEL:
            seconds = (time.monotonic() - began) / max(1, len(images))
            if seconds > SLOW:
                from anymask.runtime.store import advise_once

                fast = DEFAULT_VIDEO_MODEL
                advise_once(
                    f"slow-{self.spec.name}",
                    f"{self.spec.name} takes {seconds:.1f} s to encode an image on this machine. "
                    f"{fast} is about 8 times faster: --model {fast}, or anymask.load({fast!r}).",
                )
        return outputs

    def image_work(self, features: EncoderOutput) -> Arrays:
        with self._lock:
            for owner, work in self._works:
                if owner() is features:
                    return work
        maps = self.maps_for(GraphNames.SWEEP_IMAGE, features)
        work = self.run_graph(GraphNames.SWEEP_IMAGE, maps)
        with self._lock:
            alive = [pair for pair in self._works if pair[0]() is not None]
            self._works = [*alive, (weakref.ref(features), work)][-IMAGES_KEPT:]
        return work

    def _encode(self, image: FloatArray) -> StoredMaps:
        arrays = self.run(GraphNames.ENCODER, image[None])
        pairs = zip(self.manifest.graph(GraphNames.ENCODER).outputs, arrays, strict=True)
        return StoredMaps(tuple(FeatureMap(tensor.name, array[0]) for tensor, array in pairs))

    # Features of optional graphs.

    @cached_property
    def video(self) -> VideoRuntime | None:  # type: ignore[override]  # read-only
        constants = self.file(CONSTANTS)
        if constants is None:
            return None
        from anymask.runtime.onnx_video import OnnxVideo, read_constants

        def see(image: FloatArray) -> dict[str, FloatArray]:  # -> (1, C, h, w) by name
            return {level.name: level.values[None] for level in self._encode(image).maps()}

        return OnnxVideo(see, self.run_named, read_constants(constants))

    @cached_property
    def refine_edge(self) -> RefineEdge | None:  # type: ignore[override]  # read-only
        bundle = self.runtime_with(GraphNames.REFINER)
        if not bundle.manifest.has_graph(GraphNames.REFINER):
            return None

        def refine(image: UintImage, logits: FloatArray, prompt: FloatArray) -> FloatArray:
            planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
            inputs = planes[None], logits[None, None], prompt[None]
            return bundle.run(GraphNames.REFINER, *inputs)[0][0, 0]

        return refine

    @cached_property
    def naming(self) -> MaskNaming | None:  # type: ignore[override]  # read-only
        bundle = self.runtime_with(GraphNames.NAMES)
        return OnnxNames(bundle) if bundle.manifest.has_graph(GraphNames.NAMES) else None

    @cached_property
    def read_memory(self) -> ReadMemory | None:  # type: ignore[override]  # read-only
        return OnnxMemory(self).read_memory if self.manifest.has_graph(GraphNames.MEMORY) else None

    @cached_property
    def sweep(self) -> Callable[[EncoderOutput, Geometry, SweepPrecision], Sweep] | None:  # type: ignore[override]  # read-only
        if not self.manifest.has_graph(GraphNames.SWEEP_CLICKS):
            return None
        # The precision of the graphs is fixed.
        return lambda seen, geometry, _: OnnxSweep(self, seen, geometry)

    @cached_property
    def label_cells(self) -> Callable[[EncoderOutput], FloatArray] | None:  # type: ignore[override]  # read-only
        return self._run_on_maps(GraphNames.CLASSES)

    @cached_property
    def instance_planes(self) -> Callable[[EncoderOutput], FloatArray] | None:  # type: ignore[override]  # read-only
        return self._run_on_maps(GraphNames.INSTANCES)

    def _run_on_maps(self, graph: str) -> Callable[[EncoderOutput], FloatArray] | None:
        """Function that runs a graph on an image's maps, or None if the bundle lacks it."""
        if not self.manifest.has_graph(graph):
            return None
        return lambda seen: self.run_named(graph, self.maps_for(graph, seen))[0][0]

    def maps_for(self, graph: str, features: EncoderOutput) -> dict[str, NDArray[Any]]:
        """Feature maps as graph inputs.

        Raises:
            DataError: The maps are from another model.
        """
        maps = features.maps()
        inputs = {tensor.name: tensor.shape for tensor in self._open(graph)[0].inputs}
        requested = {name: shape for name, shape in inputs.items() if name not in PROMPT_INPUTS}
        check_maps(maps, requested, self.spec.name)
        return {level.name: level.values[None] for level in maps}

    def decode(self, features: EncoderOutput, prompts: ModelPrompts) -> Decoded:
        if self._shares_work and len(prompts.coords) and not prompts.has_mask.any():
            return self._decode_clicks(features, prompts)
        inputs = self.maps_for(GraphNames.DECODER, features)
        inputs |= {name: getattr(prompts, name) for name in PROMPT_INPUTS}
        logits, quality = self.run_named(GraphNames.DECODER, inputs)
        return logits, quality

    def _decode_clicks(self, features: EncoderOutput, prompts: ModelPrompts) -> Decoded:
        """Decode prompts without mask prompts in half of the decoder's time."""
        work, count = self.image_work(features), len(prompts.coords)
        inputs = [tensor.name for tensor in self.manifest.graph(GraphNames.SWEEP_PROMPT).inputs]

        def answer(runtime: OnnxRuntime, row: int) -> list[FloatArray]:
            part = slice(row, row + 1)
            arrays = {**work, "coords": prompts.coords[part], "labels": prompts.labels[part]}
            return runtime.run_named(
                GraphNames.SWEEP_PROMPT, {name: arrays[name] for name in inputs}
            )

        if count < MIN_PARALLEL_PROMPTS:
            answers = [answer(self, row) for row in range(count)]
        else:
            lone, threads = self.for_calls_at_once()
            with ThreadPoolExecutor(threads, "anymask-prompts") as pool:
                answers = list(pool.map(lambda row: answer(lone, row), range(count)))
        if count == 1:
            return answers[0][0], answers[0][1]
        logits, quality = zip(*answers, strict=True)
        return np.concatenate(logits), np.concatenate(quality)

    def run_graph(self, graph: str, given: Arrays) -> Arrays:
        """Run a graph and return its outputs by name."""
        outputs, arrays = self.manifest.graph(graph).outputs, self.run_named(graph, given)
        return {tensor.name: array for tensor, array in zip(outputs, arrays, strict=True)}

    def run(self, name: str, *given: NDArray[Any]) -> list[FloatArray]:
        """Run a graph on inputs in the manifest's order."""
        names = [tensor.name for tensor in self._open(name)[0].inputs]
        return self.run_named(name, dict(zip(names, given, strict=True)))

    def run_named(self, name: str, given: Mapping[str, NDArray[Any]]) -> list[FloatArray]:
        """Run a graph on named inputs.

        Raises:
            AnymaskError: The graph failed.
        """
        _, session = self._open(name)
        try:
            outputs: list[FloatArray] = session.run(None, given)
        except MemoryError:
            raise
        except Exception as error:
            raise failure_of(f"the {name} of {self.spec.name}", error) from error
        return outputs

    def _open(self, name: str) -> tuple[GraphInfo, Any]:
        """Info and session of a graph, opened by the first thread that requires it."""
        opened = self._sessions.get(name)
        if opened is not None:  # without the lock, because another graph may be loading
            return opened
        with self._lock:
            if name not in self._sessions:
                info = self.manifest.graph(name)
                path = self._folder / info.file
                for part in self.manifest.sha256:  # the graph, and its external weights
                    shared = part == WEIGHTS and WEIGHTS not in self._checked
                    if part.startswith(info.file) or shared:
                        file = check_file(self._folder, self.manifest, part, self._hash)
                        path = file if part == info.file else path
                        self._checked.add(part)
                session = self._read_graph(path)
                got = ([node.name for node in session.get_inputs()], len(session.get_outputs()))
                requested = ([tensor.name for tensor in info.inputs], len(info.outputs))
                if got != requested:
                    raise WeightsError(
                        f"{path} has the inputs {', '.join(got[0])} and {got[1]} outputs, but its "
                        f"manifest declares {', '.join(requested[0])} and {requested[1]}. Export "
                        "the "
                        "model again."
                    )
                self._sessions[name] = info, session
            return self._sessions[name]

    def _open_ahead(self) -> None:
        """Load the decoder graphs in a thread while the first image is encoded."""
        with self._lock:
            if self._is_opened_ahead:
                return
            self._is_opened_ahead = True

        def open_graphs() -> None:
            shared = (GraphNames.SWEEP_IMAGE, GraphNames.SWEEP_PROMPT)
            with contextlib.suppress(AnymaskError):  # raised again by the first prompt
                for name in (GraphNames.DECODER,) if not self._shares_work else shared:
                    self._open(name)

        threading.Thread(target=open_graphs, name="anymask-open").start()

    def _hash(self, path: Path) -> str:
        """SHA-256 of a file, cached by size and modification time, except for bundled models:
        importing `store` takes longer than hashing them."""
        if self._folder.parent == ASSETS:
            return file_sha256(path)
        from anymask.runtime.store import file_hash

        return file_hash(path)

    def _read_graph(self, path: Path) -> Any:
        """Create the session of a graph. Raises WeightsError if it cannot be opened."""
        ort = import_offline("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The memory pattern is planned after the first run and allocates new buffers in the second:
        # for a large encoder a third more memory, and 0.1 s.
        options.enable_mem_pattern = path.stat().st_size < LARGE_GRAPH_BYTES
        # Spinning encoder threads would occupy the cores while the decoder runs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            return ort.InferenceSession(
                str(path),
                options,
                providers=list(self._providers),
                disabled_optimizers=list(DISABLED_OPTIMIZERS),
            )
        except Exception as error:  # ONNX Runtime's exception classes are not public
            raise WeightsError(
                f"ONNX Runtime {ort.__version__} cannot open {path}. Upgrade "
                "onnxruntime, or export the model again."
            ) from error


def _reopen(kind: type[OnnxRuntime], folder: str, settings: dict[str, Any]) -> OnnxRuntime:
    return kind(_PACKAGE / folder, **settings)


def _pick_providers(device: str) -> tuple[str, ...]:
    if device not in _PROVIDERS:
        raise InputError(
            f"Exported models support device {', '.join(_PROVIDERS)}, got {device!r}. For "
            "other devices, load the checkpoint with runtime='torch'."
        )
    if device == "cpu":
        return _PROVIDERS[device]
    available = import_offline("onnxruntime").get_available_providers()
    providers = tuple(provider for provider in _PROVIDERS[device] if provider in available)
    if not providers:
        raise InputError(
            "This ONNX Runtime does not support device 'cuda'. Install "
            "onnxruntime-gpu, or use device='auto'."
        )
    return providers


def check_maps(
    maps: Sequence[FeatureMap], requested: Mapping[str, tuple[int | str, ...]], name: str
) -> None:
    """Raises DataError unless feature maps (C, h, w) match the inputs of a decoder.

    Args:
        maps: Feature maps of the image.
        requested: Shapes (1, C, h, w) by name; a letter is a variable dimension.
        name: Name of the model, for messages.
    """
    shapes = {level.name: (1, *level.values.shape) for level in maps}
    fits = shapes.keys() == requested.keys() and all(
        len(shape) == len(requested[key])
        and all(isinstance(a, str) or a == b for a, b in zip(requested[key], shape, strict=True))
        for key, shape in shapes.items()
    )
    if not fits:
        listed = ", ".join(f"{key} {sides[1:]}" for key, sides in requested.items())
        got = ", ".join(f"{level.name} {level.values.shape}" for level in maps)
        raise DataError(
            f"{name} requires the feature maps {listed}, but this embedding has "
            f"{got}. Encode the image again."
        )


# Networks of optional graphs.


class OnnxMemory:
    """Reads objects' earlier frames by a graph of `research/nano/graphs.py`."""

    INPUTS = (
        "keys", "middle", "fine", "hints",
        "anchor_keys", "anchor_labels", "recent_keys", "recent_labels", "recent_there",
    )  # fmt: skip

    def __init__(self, runtime: OnnxRuntime) -> None:
        self._runtime = runtime
        names = tuple(tensor.name for tensor in runtime.manifest.graph(GraphNames.MEMORY).inputs)
        if names != self.INPUTS:
            raise WeightsError(
                f"A memory network requires the inputs {', '.join(self.INPUTS)}, but the network "
                f"of {runtime.spec.name} has {', '.join(names)}. Train the memory network again."
            )

    def read_memory(self, questions: Sequence[MemoryQuery]) -> list[MemoryOutput]:
        alike: dict[int, list[int]] = {}
        for index, question in enumerate(questions):
            alike.setdefault(id(question.memory_keys), []).append(index)
        outputs: dict[int, MemoryOutput] = {}
        for places in alike.values():
            answers = self._read([questions[index] for index in places])
            outputs |= dict(zip(places, answers, strict=True))
        return [outputs[index] for index in range(len(questions))]

    def _read(self, questions: list[MemoryQuery]) -> list[MemoryOutput]:
        """Read the objects of one frame with one memory in one call."""
        first, frame = questions[0], questions[0].frame
        anchors = int(np.count_nonzero(first.memory_kinds == ANCHOR))
        anchored, recent = (_cells(questions, part) for part in (np.s_[:anchors], np.s_[anchors:]))
        there = np.ones((1, recent[0].shape[1]), np.float32)
        if not there.size:
            recent, there = tuple(array[:, :1] for array in anchored), np.zeros((1, 1), np.float32)
        logits, presence = self._runtime.run(
            GraphNames.MEMORY, frame.keys[None], frame.middle[None], frame.fine[None],
            np.stack([question.hints for question in questions]), *anchored, *recent, there,
        )  # fmt: skip
        return [
            MemoryOutput(*row) for row in zip(logits[:, 0], presence[:, 0].tolist(), strict=True)
        ]


def _cells(questions: list[MemoryQuery], part: slice) -> tuple[FloatArray, ...]:
    """Keys (1, M, K) and labels (N, M, 16) of a part of the memory cells."""
    labels = np.stack([question.memory_labels[part] for question in questions])
    return questions[0].memory_keys[None, part], labels


CLOSE_UPS = 16  # per call: larger batches are not faster


class OnnxNames:
    """Names masks by a graph of object crops and masks, with the name vectors in a file."""

    def __init__(self, runtime: OnnxRuntime) -> None:
        graph, path = runtime.manifest.graph(GraphNames.NAMES), runtime.file(NAME_VECTORS)
        network, side = graph.file, graph.inputs[0].shape[-1]
        if path is None or side != CLOSE_UP_SIDE:
            raise WeightsError(
                f"{network} requires {NAME_VECTORS} and crops of {CLOSE_UP_SIDE} pixels, but "
                f"found {NAME_VECTORS if path else 'nothing'} and crops of {side} pixels. "
                "Export the model again."
            )
        self._runtime = runtime
        self.name_table = cache(lambda: read_table(path, runtime.manifest.sha256[network]))

    def embed_crops(self, images: UintImage, masks: UintImage) -> FloatArray:
        vectors = []
        for start in range(0, len(images), CLOSE_UPS):
            part = slice(start, start + CLOSE_UPS)
            planes = np.ascontiguousarray(images[part].transpose(0, 3, 1, 2), np.float32)
            covered = masks[part, None].astype(np.float32) / 255
            vectors += self._runtime.run(GraphNames.NAMES, planes, covered)
        return np.concatenate(vectors)


# names.npz contains only numeric arrays: `words` is UTF-8 text, a JSON object of `words` (a list)
# and `also` (other spellings to indices); `vectors` (N, D), `learned` (N,) and `scale`.


def read_table(path: Path, network: str = "") -> NameTable:
    """Read the names of a bundle for `network`. Raises WeightsError if the file is invalid."""
    try:
        with path.open("rb") as file:
            arrays = read_arrays(file)
        record = parse_json(arrays["words"].tobytes(), path)
        words, also = tuple(map(str, record["words"])), dict(record["also"])
        vectors = arrays["vectors"].astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-6)
        learned = arrays["learned"].astype(np.bool_)
        if not len(words) == len(vectors) == len(learned):
            raise DataError(f"{len(words)} names, {len(vectors)} vectors")
    except (DataError, KeyError, TypeError, ValueError, IndexError) as error:
        raise WeightsError(
            f"{path}: Not a valid file of class names. Train the classes again."
        ) from error
    return NameTable(words, vectors, learned, also, float(arrays["scale"]), network)


# Decode prompts on exported graphs that share the work per image.
#
# `OnnxRuntime.decode` decodes a few prompts, `OnnxSweep` many, of which few masks are read.
#
# The graphs are those of `models.fast.sweep_graphs`. Their operations are small, so each thread
# computes separate clicks with single-threaded sessions.
#
# Letters: N prompts, n of one call, P points, K candidates, k masks, h w features, m = 4 h, p
# places.

Arrays = dict[str, NDArray[Any]]
UPSCALING_BATCH = 512  # upscaled in one call: their channels fit into the cache of a core
VIEW = ("scale_1", "scale_2", "shares_1", "shares_2")  # (.., h * w) of each prompt
PER_PLACE = ("upscaled", "finer", "finest")  # (h * w, ..) of the image
IMAGES_KEPT = 2  # images with cached work for further prompts: 32 MB each for SAM
MIN_PARALLEL_PROMPTS = 4  # with fewer, threads within one prompt are faster


class OnnxSweep:
    """Decodes many single clicks on one image with the sweep graphs of a bundle."""

    def __init__(self, runtime: OnnxRuntime, features: EncoderOutput, geometry: Geometry) -> None:
        self._lone, threads = runtime.for_calls_at_once()
        self._pool, self._ahead = ThreadPoolExecutor(threads, "anymask-sweep"), 2 * threads
        self._work = runtime.image_work(features)
        clicks = runtime.manifest.graph(GraphNames.SWEEP_CLICKS)
        self._inputs = [tensor.name for tensor in clicks.inputs]
        self._drawing = [
            tensor.name for tensor in runtime.manifest.graph(GraphNames.SWEEP_MASKS).inputs
        ]
        coords = clicks.inputs[self._inputs.index("coords")]
        self._together, self._points = int(coords.shape[0]), int(coords.shape[1])
        self._others = DecodingSweep(runtime, features)
        side = runtime.spec.mask_side
        self._side, used = side // 4, logits_used(side, geometry)
        self._shown = -(-used[0] // 4), -(-used[1] // 4)
        sizes = [np.prod([int(size) for size in tensor.shape]) for tensor in clicks.outputs]
        self.bytes_per_prompt = 4 * int(sum(sizes)) // self._together

    def decode(self, prompts: ModelPrompts) -> SweepOutput:
        """Decode N prompts; other numbers of points use the decoder."""
        if prompts.coords.shape[1] != self._points:
            return self._others.decode(prompts)
        starts = range(0, len(prompts.coords), self._together)
        answers = list(self._pool.map(lambda start: self._decode(prompts, start), starts))
        rows = [(answer, row) for answer in answers for row in range(len(answer["quality"]))]
        rows = rows[: len(prompts.coords)]
        quality = np.stack([answer["quality"][row, 1:] for answer, row in rows])
        return drawn_answer(quality, rows, self.draw)

    def _decode(self, prompts: ModelPrompts, start: int) -> Arrays:
        """Outputs for n prompts; the last prompt is repeated to fill the batch."""
        part = np.minimum(np.arange(start, start + self._together), len(prompts.coords) - 1)
        arrays = {**self._work, "coords": prompts.coords[part], "labels": prompts.labels[part]}
        return self._lone.run_graph(
            GraphNames.SWEEP_CLICKS, {name: arrays[name] for name in self._inputs}
        )

    def draw(self, prompts: list[tuple[Arrays, int, list[int]]]) -> Iterator[FloatArray]:
        """Yield mask tokens of prompts as logits (m, m), computed a few ahead."""
        for start in range(0, len(prompts), self._ahead):
            part = prompts[start : start + self._ahead]
            for planes in self._pool.map(lambda one: self._draw(*one), part):
                yield from planes

    def _draw(self, answered: Arrays, row: int, masks: list[int]) -> FloatArray:
        """Logits (k, m, m), the minimum in the padding."""
        (rows, columns), side = self._shown, self._side
        arrays = {"rows": answered["rows"][row], "weights": answered["weights"][row, masks]}
        places = {name: answered[f"{name}_{row}"].reshape(-1, side, side) for name in VIEW}
        image = {
            name: self._work[name].reshape(side, side, -1)
            for name in PER_PLACE
            if name in self._work
        }
        drawn = np.empty((len(masks), 4 * side, 4 * side), np.float32)
        step = max(1, UPSCALING_BATCH // columns)
        for top in range(0, rows, step):
            part = slice(top, min(top + step, rows)), slice(columns)
            few = {name: grid[:, *part].reshape(len(grid), -1) for name, grid in places.items()}
            few |= {name: grid[part].reshape(-1, grid.shape[-1]) for name, grid in image.items()}
            few |= arrays
            inputs = {name: few[name] for name in self._drawing}
            logits = self._lone.run_graph(GraphNames.SWEEP_MASKS, inputs)["logits"]
            # Two upscalings per place: y and x, and y and x of each.
            cells = logits.reshape(-1, columns, 2, 2, 2, 2, len(masks))
            planes = cells.transpose(6, 0, 2, 4, 1, 3, 5).reshape(len(masks), -1, 4 * columns)
            drawn[:, 4 * top : 4 * part[0].stop, : 4 * columns] = planes
        lowest = drawn[:, : 4 * rows, : 4 * columns].min()
        drawn[:, 4 * rows :], drawn[:, :, 4 * columns :] = lowest, lowest
        return drawn
