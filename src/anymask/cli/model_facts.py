"""Printed information about models: list, state, licences, hashes and metadata."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anymask.base import InputError, ProgressBar, WeightsError, say, write_json
from anymask.find import known_detectors
from anymask.runtime import (
    MANIFEST,
    SAYS,
    Checkpoint,
    Installed,
    about_weights,
    catalogue,
    check_file,
    find_converted,
    folder_bytes,
    home,
    named_weights,
    read_manifest,
    remove_weights,
    store,
)


def show_list(json_file: Path | None) -> None:
    """Print every known model and detector: name, size, licence, hash, whether installed, status,
    and the plug-in or extra that it requires."""
    rows = [("name", "size", "licence", "commercial", "hash", "installed", "verified", "requires")]
    facts = []
    for name in catalogue.names():
        what, state = catalogue.entry(name), state_of(name)
        rows.append((
            name, size_text(state.bytes or what.bytes), what.licence.name,
            "yes" if what.licence.commercial else "NO",
            "-" if what.bundled else what.published_hash.replace("none", "NONE"),
            "no" if state.status == "absent" else "yes",
            {"absent": "", "bundled": ""}.get(state.status, state.status), what.plugin,
        ))  # fmt: skip
        facts.append(facts_of(what, state))
    for detector in known_detectors().values():
        licence, gated, _ = detector.licence.partition(":")
        rows.append((
            detector.name, size_text(detector.bytes), licence, "?" if gated else "yes",
            "sha256" if detector.sha256 else "NONE",
            "yes" if detector.folder.is_dir() else "no", "", "anymask[words]",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    say(
        "Column 'hash' shows the type of the published checksum. NONE: no checksum is "
        "published, so a download cannot be verified. md5: detects damage, but not "
        "tampering. Models that require anymask[words] are detectors, for --detector."
    )
    if json_file is not None:
        write_json(json_file, {
            "home": str(home()), "models": facts,
            "detectors": [*map(asdict, known_detectors().values())],
        }, indent=1)  # fmt: skip


_UNVERIFIED = {
    "md5": (
        "unverified: no SHA-256 of this file is published. Its MD5 was checked, which "
        "detects damage, but not tampering."
    ),
    "none": (
        "unverified: no hash of this file is published. A modified file would not be detected."
    ),
}


def get(name: str, *, converts: bool = True) -> None:
    """Download one model's weights with progress, print how they were verified, and convert them.

    Weights are not converted on a machine with a GPU, where PyTorch runs them.
    """
    from anymask.runtime import fetch

    what = catalogue.entry(name)
    warn_of_license(what)
    if not what.bundled and what.published_hash != "sha256":
        say(f"{name}: download {_UNVERIFIED[what.published_hash]}")
    with ProgressBar(f"{name}, kB") as bar:

        def show(done: int, total: int | None) -> None:
            bar.update(done // 1000, total and total // 1000)

        state = fetch(name, progress=show)
    print(f"{name}: {state.path}\n  sha256 {state.sha256}: {SAYS[state.status]}")
    if converts:
        from anymask.opening import convert_once

        convert_once(name)
        if (folder := find_converted(name)) is not None:
            print(_conversion_text(folder))


def convert(name: str, model: str | None = None) -> None:
    """Convert a downloaded model or a checkpoint file for ONNX Runtime. Raises ModelError."""
    from anymask.opening import convert_checkpoint

    weights = Path(name).expanduser()
    if not weights.is_file():
        refuse_detector(name, "Detectors are not converted.")
        store.find(name)
        print(f"{name}:\n{_conversion_text(convert_checkpoint(name))}")
        return
    network, _ = named_weights(name, None) if model is None else (model, None)
    print(f"{name}: {network}\n{_conversion_text(convert_checkpoint(network, weights))}")


def _conversion_text(folder: Path) -> str:
    return f"  converted for ONNX Runtime, {size_text(folder_bytes(folder))} on disk: {folder}"


def refuse_detector(name: str, remedy: str) -> None:
    """Raise InputError for the name of a detector."""
    if name in known_detectors():
        raise InputError(f"{name} is a detector. {remedy}")


def remove(name: str, *, converted_only: bool) -> None:
    """Delete a model's weights and conversion, or the conversion only, and print the disk space.

    Raises WeightsError for a bundled model, or if there is nothing to delete.
    """
    if converted_only:
        refuse_detector(name, "Detectors are not converted.")
    detector = known_detectors().get(name)
    folder = detector.folder if detector else store.path_of(store.downloadable(name)).parent
    if not folder.is_dir():
        raise WeightsError(
            f"{name} is not installed. 'anymask models list' shows the installed models."
        )
    with store.writing():
        if detector:
            freed = folder_bytes(folder)
            shutil.rmtree(folder)
        else:
            freed = remove_weights(catalogue.entry(name), converted_only=converted_only)
    if not freed:
        kind = "conversion" if converted_only else "weights"
        raise WeightsError(
            f"{name} has no {kind} in {home()}. 'anymask models list' shows the installed models."
        )
    print(f"{name}: removed {size_text(freed)}")


def show_verify(names: list[str], json_file: Path | None) -> None:
    """Hash the files of models and print the result of the comparison.

    Raises WeightsError if a file is altered, or if a requested model is missing.
    """
    for name in names:
        if own_facts(name) is not None:
            raise InputError(
                f"{name} was trained here: no hash is published. Run: anymask models info {name}"
            )
    detectors = known_detectors()
    chosen = names or [
        *(name for name in catalogue.names() if state_of(name).status != "absent"),
        *(name for name, detector in detectors.items() if detector.folder.is_dir()),
    ]
    models = [store.verify(name) for name in chosen if name not in detectors]
    others = [detectors[name].verify() for name in chosen if name in detectors]
    states = [*models, *others]
    for state in states:
        print(f"{state.name}: {state.status} ({SAYS[state.status]})")
        if state.sha256:
            print(f"  sha256 {state.sha256}\n  {state.path}")
    if json_file is not None:
        write_json(json_file, {
            "home": str(home()),
            "models": [facts_of(catalogue.entry(state.name), state) for state in models],
            "detectors": [asdict(state) | {"path": str(state.path)} for state in others],
        }, indent=1)  # fmt: skip
    bad = [state for state in states if state.status in ("altered", "absent")]
    if bad:
        raise WeightsError(
            "; ".join(f"{state.name} is {SAYS[state.status]}" for state in bad)
            + "; run: anymask models get "
            + " ".join(state.name for state in bad)
        )


def show_info(name: str) -> None:
    """Print all information about one model."""
    if (facts := own_facts(name)) is not None:
        print_facts(facts)
        return
    if (detector := known_detectors().get(name)) is not None:
        print_facts([(key, str(value)) for key, value in asdict(detector).items() if value])
        return
    what, state = catalogue.entry(name), state_of(name)
    unknown = "no published hash"
    use = "allowed" if what.licence.commercial else "NOT allowed"
    lines = [
        ("name", name),
        ("network", what.variant),
        ("notes", what.notes),
        ("home", what.home),
        ("licence", f"{what.licence.name}, commercial use {use}, {what.licence.url}"),
    ]
    if not what.bundled:
        lines += [
            ("file", what.file),
            ("bytes", str(what.bytes) if what.bytes else unknown),
            ("sha256", what.sha256 or unknown),
            ("md5", what.md5 or unknown),
            ("download", _UNVERIFIED.get(what.published_hash, "sha256 verified")),
            ("stated by", what.stated_by),
            *(("source", source) for source in what.sources),
        ]
    lines += [
        ("installed", f"{state.status}: {SAYS[state.status]}"),
        ("path", str(state.path or "-")),
    ]
    if what.plugin:
        lines.append(("plug-in", what.plugin))
    if (folder := find_converted(name)) is not None:
        lines.append(("converted", f"{size_text(folder_bytes(folder))}, {folder}"))
    print_facts(lines)


def print_facts(lines: Sequence[tuple[str, str]]) -> None:
    """Print one line for each fact, prefixed by its name."""
    print("\n".join(f"{key + ':':<10} {value}" for key, value in lines))


def own_facts(name: str) -> list[tuple[str, str]] | None:
    """Describe trained weights or an export by their metadata; None for anything else.

    The files of an export are verified. Raises WeightsError.
    """
    path = Path(name)
    if (path / MANIFEST).is_file() or any(path.glob("*.onnx")):
        manifest = read_manifest(path)
        files = [check_file(path, manifest, file) for file in manifest.sha256]
        sides = f"images of {manifest.spec.image_side} x {manifest.spec.image_side} pixels"
        prompts = ", ".join(sorted(manifest.spec.accepts))
        return [
            ("name", str(path)),
            ("network", manifest.spec.name),
            ("licence", manifest.licence),
            ("weights", manifest.weights_hash),
            ("sees", f"{sides}, {manifest.precision}, prompts: {prompts}"),
            *(
                ("file", f"{file.name}, {size_text(file.stat().st_size)}, as exported")
                for file in files
            ),
        ]
    about = about_weights(path) if path.is_file() else None
    if about is None:
        return None
    data, figures = about.get("data") or {}, about.get("figures") or {}
    facts = [("name", name), ("network", about["variant"]), ("licence", about.get("licence", ""))]
    if data.get("photos"):
        facts.append(("learned", f"{data['photos']} images with {data['masks']} masks"))
    for row in data.get("sets", ()):
        details = ", ".join(
            filter(None, (row.get(key) for key in ("licence", "source", "consent")))
        )
        facts.append(("set", f"{row['name']} ({row['format']}){': ' if details else ''}{details}"))
    for when in ("before", "after"):
        if when in figures:
            ious = ", ".join(f"{value:.3f}" for value in figures[when])
            facts.append((when, f"mean IoU on held-out masks after 1, 2, ... clicks: {ious}"))
    if about.get("classes"):
        facts.append(("classes", ", ".join(about["classes"])))
    if about.get("channels"):
        facts.append(("channels", str(len(about["channels"]["lows"]))))
    return [*facts, ("bytes", str(path.stat().st_size))]


def state_of(name: str) -> Installed:
    """Return the state of a model; "absent" if bundled files are missing."""
    try:
        return store.installed(name)
    except WeightsError:
        return Installed(name=name, status="absent")


def warn_of_license(what: Checkpoint) -> None:
    """Print a warning if a licence forbids commercial use."""
    if not what.licence.commercial:
        print(
            f"{what.name} has the licence {what.licence.name}, which does not allow "
            f"commercial use ({what.licence.url})",
            file=sys.stderr,
        )


def facts_of(what: Checkpoint, state: Installed) -> dict[str, Any]:
    """Convert the information about a model to JSON values."""
    return {
        "name": what.name,
        "variant": what.variant,
        "file": what.file or None,
        "bytes": state.bytes or what.bytes,
        "licence": what.licence.name,
        "commercial": what.licence.commercial,
        "status": state.status,
        "says": SAYS[state.status],
        "path": str(state.path) if state.path else None,
        "sha256": state.sha256 or None,
        "published_sha256": what.sha256,
        "published_md5": what.md5,
        "published_hash": None if what.bundled else what.published_hash,
        "source": state.source or None,
        "plugin": what.plugin or None,
    }


def size_text(count: int | None) -> str:
    """Format a size in decimal units, like download pages."""
    if count is None:
        return "?"
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
