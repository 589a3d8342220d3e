"""The catalogue of detectors, downloading one, and loading one by name or folder.

Weights are in a folder of the store (`detectors/` in ANYMASK_HOME) or in one chosen by the user;
only `DetectorFacts.download` downloads them. The entries are in detectors.toml next to this file.
The hash of the weights is compared with the published one, else with the one recorded when they
were first loaded from the store.
"""

from __future__ import annotations

import difflib
import logging
import threading
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from anymask.base import (
    InputError,
    ModelError,
    WeightsError,
    import_offline,
    need_packages,
    parse_json,
    write_json,
)
from anymask.find.grounding import Detector
from anymask.find.official_names import official_file
from anymask.find.sam3_names import PATTERN as SAM3_FILES
from anymask.runtime import Installed, file_hash, home

log = logging.getLogger("anymask.find")

DEFAULT_DETECTOR = "llmdet_tiny"
DEFAULT_THRESHOLD = 0.3  # default of folders that are not in the catalogue
RECORD = "record.json"  # in a folder of the store: the hash at the first load
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
# Of several graphs in one folder, the first of these is used.
GRAPHS = ("model.onnx", "model_fp16.onnx", "model_q4f16.onnx", "model_quantized.onnx")


@dataclass(frozen=True, kw_only=True)
class DetectorFacts:
    """Catalogue entry of a published detector."""

    name: str  # Name used by the user
    repository: str  # Repository on huggingface.co
    revision: str | None = None  # Commit of the entry, or None if no public source names one
    bytes: int | None = None  # Size of the weights, or None if no public source states it
    sha256: str | None = None  # Hash of the weights, 64 hexadecimal digits, or None
    licence: str  # Licence of the weights
    stated_by: str  # Source of revision, size and hash
    runs: str  # Runtime: "transformers" or "onnx"
    files: tuple[str, ...] = ()  # Required files. Empty for all files of the repository.
    threshold: float  # Minimum score in the published examples, 0..1
    parameters: str  # Number of parameters
    notes: str = ""  # Remarks

    @property
    def folder(self) -> Path:
        """Folder in the store."""
        return home() / "detectors" / self.name

    def download(self) -> tuple[Path, str]:
        """Download its files from huggingface.co (or HF_ENDPOINT) to the store. Returns the weights
        file and its SHA-256.

        Raises:
            MissingExtra, WeightsError: huggingface_hub is missing, or the download fails.
        """
        need_packages(("huggingface_hub",), "words", "The download of a detector")
        try:
            import_offline("huggingface_hub").snapshot_download(
                self.repository, revision=self.revision, local_dir=self.folder,
                allow_patterns=list(self.files) or None, ignore_patterns=["*.bin", "*.pt*"],
            )  # fmt: skip
        except Exception as error:  # of several HTTP libraries
            raise WeightsError(
                f"Could not download {self.name} ({self.licence}) from {self.repository}: "
                f"{' '.join(str(error).split())}"
            ) from error
        weights = _weights_of(self.folder)
        return weights, _checked_hash(weights, self)

    def verify(self) -> Installed:
        """Read its weights and compare their hash with the published one, or with the recorded
        one."""
        if not self.folder.is_dir():
            return Installed(name=self.name, status="absent")
        try:
            path = _weights_of(self.folder)
            file_hash(path, fresh=True)
            digest = _checked_hash(path, self)
        except WeightsError:
            return Installed(name=self.name, status="altered")
        return Installed(
            name=self.name,
            status="verified" if digest == self.sha256 else "unverified",
            path=path,
            sha256=digest,
            bytes=path.stat().st_size,
        )


@cache
def known_detectors() -> dict[str, DetectorFacts]:
    """All detectors of the catalogue by name, the default first."""
    text = resources.files("anymask.find").joinpath("detectors.toml").read_text("utf-8")
    table: dict[str, dict[str, Any]] = tomllib.loads(text)["detectors"]
    return {
        name: DetectorFacts(name=name, **facts | {"files": tuple(facts.get("files", ()))})
        for name, facts in table.items()
    }


def open_detector(detector: str | Path | Detector, device: str = "auto") -> Detector:
    """Load a detector. The most recent one is cached.

    Args:
        detector: A name of `known_detectors()`, a folder, or a loaded detector.
        device: Torch device: "auto", "cpu", "cuda", ...

    Raises:
        ModelError: The name is unknown.
        WeightsError: The weights are missing, changed or incomplete. The message has the command to
            run.
        MissingExtra: A required package is not installed.
    """
    if not isinstance(detector, str | Path):
        if not callable(getattr(detector, "detect", None)):
            raise InputError(
                f"Invalid detector of type {type(detector).__name__}. Pass a name or a folder."
            )
        return detector
    facts = known_detectors().get(str(detector))
    folder = facts.folder if facts else Path(detector).expanduser()
    if facts and facts.runs == "transformers":  # before asking the user to download gigabytes
        need_packages(("torch", "transformers"), "words", "This detector")
    if facts and not folder.is_dir():
        raise WeightsError(
            f"{facts.name} is not downloaded ({facts.licence}). Run: "
            f"anymask models get {facts.name}"
        )
    if not facts and not folder.is_dir():
        name = str(detector)
        near = difflib.get_close_matches(name.lower().replace("-", "_"), known_detectors(), 2)
        guess = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ModelError(
            f"Unknown detector {name!r}. {guess}Available: {', '.join(known_detectors())}."
        )
    with _OPENING:
        return _open_folder(folder.resolve(), facts, device)


_OPENING = threading.Lock()  # prevents two threads from loading 700 MB twice
_LAST_DETECTOR: dict[tuple[Path, str, str], Detector] = {}  # most recent detector


def _open_folder(folder: Path, facts: DetectorFacts | None, device: str) -> Detector:
    """Load the detector in a folder, selected by its files."""
    name = facts.name if facts else folder.name
    # Model type in config.json, or that of an official checkpoint; "" if unknown
    path = folder / "config.json"
    config = parse_json(path.read_bytes(), path) if path.is_file() else {}
    kind = str(config.get("model_type", "")) if isinstance(config, dict) else ""
    kind = kind or ("sam3" if official_file(folder, SAM3_FILES) is not None else "")
    weights = _weights_of(folder)
    if weights.suffix != ".onnx":
        need_packages(("torch", "transformers"), "words", "This detector")
    digest = _checked_hash(weights, facts)
    key = (weights, digest, device)
    if key in _LAST_DETECTOR:
        return _LAST_DETECTOR[key]
    threshold = facts.threshold if facts else DEFAULT_THRESHOLD
    log.info("Loading the detector %s (%s)", name, weights)
    opened: Detector
    if weights.suffix == ".onnx":
        from anymask.find.onnx_detector import OnnxDetector

        opened = OnnxDetector(name, weights, folder, threshold)
    elif kind == "clip":
        from anymask.find.clip import ClipNames

        opened = ClipNames(name, folder, threshold, device)
    elif kind.startswith("sam3"):
        from anymask.find.sam3 import Sam3

        opened = Sam3(name, folder, threshold, device)
    else:
        from anymask.find.torch_detector import TorchDetector

        opened = TorchDetector(name, folder, threshold, device)
    opened.about["weights"] = digest
    _LAST_DETECTOR.clear()
    _LAST_DETECTOR[key] = opened
    return opened


def _weights_of(folder: Path) -> Path:
    """Weights file of a folder. Raises WeightsError if it is missing."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    for official in (official_file(folder), official_file(folder, SAM3_FILES)):
        if official is not None:
            return official
    graphs = [path for root in (folder, folder / "onnx") for path in sorted(root.glob("*.onnx"))]
    known = [path for name in GRAPHS for path in graphs if path.name == name]
    for path in [*known, *graphs]:
        return path
    there = (
        "a pickle file such as model.bin (anymask never loads pickle files)"
        if [*folder.glob("*.bin")]
        else ""
    )
    raise WeightsError(
        f"{folder} does not contain a detector. Expected {WEIGHT_FILES[0]} with config.json, an "
        f".onnx graph, groundingdino_swint_ogc.pth or sam3.pt, but found {there or 'none of them'}."
    )


def _checked_hash(weights: Path, facts: DetectorFacts | None) -> str:
    """SHA-256 of the weights after comparison with the known one. Raises WeightsError."""
    digest = file_hash(weights)
    if facts is None:
        return digest
    path = facts.folder / RECORD
    recorded = parse_json(path.read_bytes(), path) if path.is_file() else {}
    known = recorded.get("sha256") if isinstance(recorded, dict) else None
    published = (
        facts.sha256
        if weights.name == (Path(facts.files[0]).name if facts.files else WEIGHT_FILES[0])
        else None
    )
    if digest != (published or known or digest):
        what = "the published file" if published else "the file that was loaded first"
        raise WeightsError(f"{weights} differs from {what}. Run: anymask models get {facts.name}")
    if known is None:
        write_json(path, {"name": facts.name, "file": weights.name, "sha256": digest}, indent=1)
    return digest
