"""Labels of masks: names from the name model, and classes of a model fine-tuned on classes.

Custom names are stored in a JSON file: `network` identifies the name model of the vectors, `names`
has for each label the number of masks and their mean vector. Each mask is assigned the nearest one.

The class of a mask is the most frequent class of its cells, and its probability is the mean over
those cells, among the K classes.

Letters: n masks, D the length of a vector, K classes, m the side of the low-resolution masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from anymask.base import (
    DataError,
    FloatArray,
    InputError,
    ModelError,
    PromptError,
    UintImage,
    parse_json,
    write_json,
)
from anymask.masks import (
    Features,
    LabelMap,
    Mask,
    Masks,
    Rle,
    logits_to_image,
    mask_to_model,
    mask_to_rle,
    rle_to_mask,
)
from anymask.models.rules import ChosenNames, LabelSuggestion, NameTable
from anymask.runtime import ImageRuntime, mask_vectors, require
from anymask.segment.prediction import Prediction

Names = str | Path | Sequence[str] | ChosenNames | None
FoundMasks = TypeVar("FoundMasks", Prediction, Masks)
Nameable = Prediction | Mask | Sequence[Mask] | ArrayLike

FORMAT = 1


def write_own_names(
    path: Path, table: NameTable, examples: Iterable[tuple[str, FloatArray]]
) -> dict[str, int]:
    """Write the mean vectors of labels to a file, and return the number of masks per label.

    Args:
        path: File to write.
        table: Name table of the model.
        examples: Labels, each with the vectors (n, D) of some masks.

    Raises:
        InputError: There are no examples.
    """
    sums: dict[str, FloatArray] = {}
    counts: dict[str, int] = {}
    for label, vectors in examples:
        sums[label] = sums.get(label, np.zeros(vectors.shape[1], np.float32)) + vectors.sum(axis=0)
        counts[label] = counts.get(label, 0) + len(vectors)
    if not counts:
        raise InputError("No masks with labels found. Pass labeled masks to learn names from.")
    means = {
        label: total / max(float(np.linalg.norm(total)), 1e-6) for label, total in sums.items()
    }
    names = {
        label: {"masks": counts[label], "vector": [round(float(x), 5) for x in means[label]]}
        for label in sorted(means)
    }
    write_json(path, {"format": FORMAT, "network": table.network, "names": names})
    return counts


def read_own_names(path: Path, table: NameTable) -> ChosenNames:
    """Read a file of custom names. Raises InputError or DataError if the file is invalid."""
    if not path.is_file():
        raise InputError(
            f"The names file {path} does not exist. Create it with `anymask names`, or pass a "
            "list of names."
        )
    document = parse_json(path.read_bytes(), path)
    try:
        if document["format"] != FORMAT:
            raise DataError(
                f"{path} is a names file of format {document['format']!r}, but this version of "
                f"anymask supports format {FORMAT}. Create it again with `anymask names`."
            )
        vectors = np.array([entry["vector"] for entry in document["names"].values()], np.float32)
        labels, network = tuple(map(str, document["names"])), document["network"]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a names file. Create one with `anymask names`.") from error
    if vectors.ndim != 2 or vectors.shape[1] != table.vectors.shape[1] or network != table.network:
        raise InputError(
            f"{path} was created with another version of the name model. Create it again with "
            "`anymask names`."
        )
    return ChosenNames(labels, vectors, table.scale)


def choose_names(runtime: ImageRuntime, names: Names) -> ChosenNames:
    """Resolve candidate names: a list, a file of custom names, resolved names, or None for all.

    Raises:
        ModelError: The model does not support names.
        InputError: A name is unknown.
    """
    table = require(runtime, runtime.naming, "mask naming").name_table()
    if isinstance(names, ChosenNames):
        return names
    if isinstance(names, str | Path):
        return read_own_names(Path(names), table)
    value: object = names
    words = isinstance(value, Iterable) and all(isinstance(name, str) for name in value)
    if names is not None and not words:
        raise InputError(f"Invalid names {str(names)[:60]!r}. Expected a list of words.")
    return table.chosen(names)


def naming_network(runtime: ImageRuntime) -> str:
    """Identifier of the name model.

    Raises:
        ModelError: The model does not support names.
    """
    return require(runtime, runtime.naming, "mask naming").name_table().network


def suggest_labels(
    runtime: ImageRuntime, image: UintImage, masks: Nameable, names: Names, top: int
) -> list[list[LabelSuggestion]]:
    """Implementation of `Model.suggest_labels`."""
    if type(top) is not int or top < 1:
        raise InputError(f"Invalid top {top!r}. Use a whole number of at least 1.")
    chosen, rles = choose_names(runtime, names), rles_of(masks, image.shape[:2])
    if not rles:
        return []
    return chosen.suggest(mask_vectors(runtime, image, rles), top)


def with_labels(
    runtime: ImageRuntime, image: UintImage, found: FoundMasks, names: Names
) -> FoundMasks:
    """Implementation of `Model.with_labels`; empty masks have no label."""
    rles = rles_of(found, image.shape[:2])
    suggestions = suggest_labels(runtime, image, found, names, 1)
    names_of = [labels[0] if len(rle.counts) > 1 else (None, None)
                for labels, rle in zip(suggestions, rles, strict=True)]  # fmt: skip
    if isinstance(found, Prediction):
        rows = zip(found.items, names_of, strict=True)
        items = tuple(replace(mask, label=a, label_probability=b) for mask, (a, b) in rows)
        return replace(found, items=items)
    pairs = zip(found, names_of, strict=True)
    named = [replace(mask, label=a, label_probability=b) for mask, (a, b) in pairs]
    return Masks(named, image_hw=found.image_hw, source_image=found.source_image)


def rles_of(masks: Nameable, image_hw: tuple[int, ...]) -> list[Rle]:
    """Run-length encodings of masks. Raises PromptError for masks of another size or type."""
    if isinstance(masks, Prediction):
        rles = masks.rles()
    elif isinstance(masks, Mask):
        rles = [masks.rle]
    elif isinstance(masks, list | tuple) and not any(np.ndim(mask) for mask in masks):
        rles = [mask.rle for mask in masks if isinstance(mask, Mask)]
    else:
        planes = np.asarray(masks)
        planes = planes[None] if planes.ndim == 2 else planes
        if planes.ndim != 3 or planes.dtype.kind not in "bui":
            raise PromptError(
                f"Invalid masks of type {planes.dtype} and shape {planes.shape}. Pass a "
                "prediction, one or several masks, or a bool or integer array (H, W) or (n, H, W)."
            )
        rles = [mask_to_rle(plane != 0) for plane in planes]
    for rle in rles:
        if rle.size != tuple(image_hw):
            raise PromptError(
                f"The masks have the size (H, W) = {rle.size}, but the image has "
                f"{tuple(image_hw)}. Pass the image to which the masks belong."
            )
    return rles


# Classes.


def predict_classes(runtime: ImageRuntime, embedding: Features) -> LabelMap:
    """Predict the class of every pixel. Raises ModelError for a model without classes."""
    logits = _cell_logits(runtime, embedding)
    best = logits_to_image(logits[:1], embedding.geometry)[0]
    numbers: UintImage = np.zeros(best.shape, np.uint8)
    for number in range(1, len(logits)):  # one at a time, to limit memory
        plane = logits_to_image(logits[number : number + 1], embedding.geometry)[0]
        numbers[plane > best] = number
        np.maximum(best, plane, out=best)
    return LabelMap(runtime.spec.classes, numbers)


def label_answers(
    runtime: ImageRuntime, embedding: Features, answers: Sequence[Prediction]
) -> list[Prediction]:
    """Set the class of each mask, except for empty masks."""
    class_of = _classifier(runtime, embedding)
    named = []
    for answer in answers:
        items = []
        for candidate in answer.items:
            cover = (candidate.shown_logits > candidate.threshold).astype(np.float32)
            items.append(replace(candidate, **class_of(cover)) if cover.any() else candidate)
        named.append(replace(answer, items=tuple(items)))
    return named


def label_masks(runtime: ImageRuntime, embedding: Features, records: Sequence[Mask]) -> list[Mask]:
    """Set the class of each mask."""
    class_of = _classifier(runtime, embedding)
    named = []
    for record in records:
        cells = mask_to_model(rle_to_mask(record.rle), embedding.geometry, runtime.spec.mask_side)
        named.append(replace(record, **class_of(1 / (1 + np.exp(-cells[0])))))
    return named


def _classifier(
    runtime: ImageRuntime, embedding: Features
) -> Callable[[FloatArray], dict[str, Any]]:
    """Return a function that classifies a mask (m, m), with its probability."""
    logits = _cell_logits(runtime, embedding)
    powers = np.exp(logits - logits.max(0))
    shares = (powers / powers.sum(0))[1:]

    def class_of(cover: FloatArray) -> dict[str, Any]:
        sums = (shares * cover).sum((1, 2)) + 1e-9
        best = int(sums.argmax())
        probability = round(float(sums[best] / sums.sum()), 4)
        return {"label": runtime.spec.classes[best], "label_probability": probability}

    return class_of


def _cell_logits(runtime: ImageRuntime, embedding: Features) -> FloatArray:  # (1 + K, m, m)
    label_cells = runtime.label_cells
    if label_cells is None:
        raise ModelError(
            f"{runtime.spec.name} does not predict classes. Train a model with classes "
            "on your data: anymask finetune --classes all"
        )
    return label_cells(embedding.encoder_output)
