"""Converted checkpoints: an ONNX bundle next to the weights, used on CPUs.

The bundle's name contains the hash of the weights and the version of the conversion
(`training.conversion` writes it), so a bundle of other weights is never used. Features that its
graphs lack (vector prompts, guided decoding, videos) open the checkpoint in PyTorch on first use.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anymask.base import ModelError, WeightsError, exclusive
from anymask.masks import EncoderOutput, ModelPrompts
from anymask.runtime.catalogue import Checkpoint, catalogue, entry, names
from anymask.runtime.manifest import FORMAT, MANIFEST, check_file, read_manifest
from anymask.runtime.onnx import OnnxRuntime
from anymask.runtime.protocol import Decoded, ImageRuntime, available_devices
from anymask.runtime.store import current, file_hash, lock_of, path_of, read_json

CONVERSION = 4  # increase it if the numbers or inputs of the graphs change
LACKING = "pytorch.json"  # in the bundle: the features that only PyTorch supports
FAILURE_FILE = "failed.json"  # instead of the bundle: why the conversion is not used
# Features of a runtime by their names in that file.
RUNTIME_FEATURES = {
    "ClassLabelling": "label_cells", "EdgeRefining": "refine_edge",
    "GuidedDecoding": "decode_guided", "MaskNaming": "naming", "Remembering": "read_memory",
    "Sweeps": "sweep", "VectorPrompts": "vector_length", "VideoSteps": "video",
}  # fmt: skip


def converted_folder(weights: Path, digest: str) -> Path:
    """Folder of the conversion of weights with this hash, existing or not."""
    return weights.parent / f"{weights.name}.onnx-{digest[:16]}-{FORMAT}.{CONVERSION}"


def conversions_of(weights: Path) -> list[Path]:
    """All conversions next to a weights file, of any version."""
    return sorted(weights.parent.glob(f"{weights.name}.onnx-*"))


def find_converted(name: str, weights: str | Path | None = None) -> Path | None:
    """Bundle that replaces a checkpoint on a CPU, or None.

    Weights are not read: hashes are cached by size and modification time (`store.file_hash`).
    """
    path = checkpoint_file(name, weights)
    if path is None:
        return None
    folder = converted_folder(path, file_hash(path))
    if not (folder / MANIFEST).is_file() or not (folder / LACKING).is_file():
        return None
    with contextlib.suppress(WeightsError):
        manifest = read_manifest(folder)
        if manifest.weights_hash == file_hash(path) and manifest.spec.name == name:
            return folder
    return None


def checkpoint_file(name: str, weights: str | Path | None = None) -> Path | None:
    """File of an image model's checkpoint, or None."""
    if name not in names():
        return None
    what = entry(name)
    if weights is not None:
        path = Path(weights).expanduser()
        return path if path.is_file() and what.input == "images" else None
    if what.bundled or what.input != "images" or current(name).status in ("absent", "altered"):
        return None
    return path_of(what)


def needs_conversion(name: str, weights: str | Path | None = None) -> bool:
    """Whether a checkpoint can be converted here, is not converted, and no attempt has failed."""
    path = checkpoint_file(name, weights)
    if path is None or not entry(name).exportable:
        return False
    if not find_spec("torch") or find_converted(name, weights) is not None:
        return False
    return not (converted_folder(path, file_hash(path)) / FAILURE_FILE).is_file()


def check_exportable(name: str) -> None:
    """Raise ModelError if a model of the catalogue has no ONNX export."""
    known = catalogue().get(name)
    if known is None:
        return
    known.check_input("images")
    if not known.exportable:
        raise ModelError(
            f"{name} cannot be exported to ONNX. It runs on PyTorch: anymask.load({name!r})."
        )


@contextlib.contextmanager
def conversion_lock(name: str, weights: str | Path | None, path: Path) -> Iterator[None]:
    """Lock a conversion for one process. Raises OSError if the folder is not writable."""
    lock = lock_of(entry(name)) if weights is None else path.with_name(f".{path.name}.lock")
    with exclusive(lock):
        yield


def remove_weights(what: Checkpoint, *, converted_only: bool = False) -> int:
    """Delete a model's weights and conversions from the store, and return the freed bytes."""
    path = path_of(what)
    with exclusive(lock_of(what)):
        freed = 0
        for folder in conversions_of(path):
            freed += folder_bytes(folder)
            shutil.rmtree(folder)
        if not converted_only:
            for file in (path, path.with_name("record.json")):
                if file.exists() or file.is_symlink():
                    freed += file.lstat().st_size
                    file.unlink()
    return freed


def folder_bytes(folder: Path) -> int:
    """Total size of the files in a folder, in bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def runs_on_cpu(device: str) -> bool:
    """Whether a device is the CPU; imports PyTorch only if there may be a GPU."""
    if device != "auto":
        return device == "cpu"
    if not find_spec("torch") or not _may_have_gpu():
        return True
    return available_devices() == ("cpu",)


def _may_have_gpu() -> bool:
    from ctypes.util import find_library
    from importlib.metadata import PackageNotFoundError, version

    with contextlib.suppress(PackageNotFoundError):
        if version("torch").endswith("+cpu"):
            return False
    if sys.platform == "darwin":
        return True
    names = ("nvcuda",) if sys.platform == "win32" else ("cuda", "amdhip64")
    return any(map(find_library, names)) or Path("/dev/nvidiactl").exists()


class ConvertedRuntime(OnnxRuntime):
    """A converted checkpoint on ONNX Runtime, with PyTorch for missing features.

    Args:
        folder: Folder of the conversion.
        open_torch: Function that opens the same weights in PyTorch.
        reopened: Function and arguments that open the model in another process, as in
            `TorchRuntime`.
        settings: Settings of `OnnxRuntime`.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        open_torch: Callable[[], ImageRuntime],
        reopened: tuple[Callable[..., Any], tuple[Any, ...]],
        **settings: Any,
    ) -> None:
        super().__init__(folder, **settings)
        self._open_torch, self._reopened = open_torch, reopened
        self._torch: ImageRuntime | None = None
        self._torch_lock = threading.Lock()
        record = read_json(check_file(self._folder, self.manifest, LACKING))
        for kind in record.get("capabilities", ()) if find_spec("torch") else ():
            name = RUNTIME_FEATURES.get(kind)
            if name is not None and getattr(self, name) is None:
                setattr(self, name, Deferred(partial(self._of_torch, name)))

    def __repr__(self) -> str:
        return f"<ConvertedRuntime: {self.spec.name}, {self.threads} threads>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name and weights, because another process may have no conversion."""
        return self._reopened

    def _settings(self) -> dict[str, Any]:
        opening = {"open_torch": self._open_torch, "reopened": self._reopened}
        return {**super()._settings(), **opening}

    def decode(self, features: EncoderOutput, prompts: ModelPrompts) -> Decoded:
        """Decode prompts, those with vectors in PyTorch."""
        if prompts.vectors is None:
            return super().decode(features, prompts)
        return self.torch().decode(features, prompts)

    def _of_torch(self, name: str) -> Any:
        return getattr(self.torch(), name)

    def torch(self) -> ImageRuntime:
        """Runtime of the same weights in PyTorch, opened once."""
        with self._torch_lock:
            if self._torch is None:
                self._torch = self._open_torch()
            return self._torch


class Deferred:
    """Proxy of a function or object that is created when it is first used."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __call__(self, *given: Any) -> Any:
        return self._make()(*given)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._make(), name)
