"""Texts of a bundle: its manifest in; README.md, example.py and family.py out."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from anymask.export.family_source import closer_to_source, family_to_source, windows_to_source
from anymask.families import open_family
from anymask.runtimes.manifest import REFINER, GraphInfo, Manifest, describe_preprocessing

README = "README.md"
EXAMPLE = "example.py"
FAMILY = "family.py"
EDGES = "edges.py"  # where the bundle has a network of edges
CLOSER = "closer.py"  # where the family gains by a closer look

_TEXT = """\
# {name}, exported by anymask

Licence of the weights: {licence}. Precision: {precision}. ONNX opset {opset}.
Everything a program needs to know is in `manifest.json`; this page says it for people.

## Run it

With anymask:

```python
import anymask

model = anymask.load("this/folder")
answer = model.segment("photo.jpg", points=[(500, 375)])
```

Without anymask, `example.py` needs numpy, Pillow, OpenCV and onnxruntime
(`pip install numpy pillow opencv-python-headless onnxruntime`). It answers a click, or a box, with
the mask that anymask gives first:

```
python example.py photo.jpg 500 375 mask.png
python example.py photo.jpg 420 290 610 480 mask.png
```

Which of the decoder's masks answer and in which order, and what is asked again, are rules of the
model's family: `family.py`, with what was learned beside the weights in `tables.json` (absent where
nothing was). Where there is a `refiner.onnx`, it draws the mask's edge again at the photo's own
resolution; `edges.py` says what it is given and where its answer goes. Where the manifest has
numbers for `closer`, a box is asked once more about a window around its first answer, and the
chances of both are averaged: `closer.py`. What anymask does besides, such as to look closer at
corrected clicks, or to clear a mask around negative clicks that it does not heed, is left to
anymask.

```python
{example}```

## Steps

{steps}

## Graphs

A letter is a dimension that may vary: B images, N prompts (objects), P points of each.

{graphs}
"""


def write_readme(folder: Path, manifest: Manifest) -> None:
    """Write README.md, example.py and the files that it imports into a bundle folder."""
    example = resources.files("anymask.export").joinpath(EXAMPLE).read_text(encoding="utf-8")
    steps = describe_preprocessing(manifest.spec)
    text = _TEXT.format(
        name=manifest.spec.name,
        licence=manifest.licence,
        precision=manifest.precision,
        opset=manifest.opset,
        example=example,
        steps="\n".join(f"{i}. {step}" for i, step in enumerate(steps, start=1)),
        graphs="\n\n".join(_graph_to_table(info.file, info) for info in manifest.graphs),
    )
    (folder / README).write_text(text, encoding="utf-8")
    (folder / EXAMPLE).write_text(example, encoding="utf-8")
    family = open_family(manifest.spec, {})
    (folder / FAMILY).write_text(family_to_source(family), encoding="utf-8")
    if family.closer is not None:
        (folder / CLOSER).write_text(closer_to_source(), encoding="utf-8")
    if manifest.has_graph(REFINER):
        (folder / EDGES).write_text(windows_to_source(), encoding="utf-8")


def _graph_to_table(name: str, info: GraphInfo) -> str:
    rows = [f"`{name}`", "", "| | name | type | shape |", "|---|---|---|---|"]
    for kind, tensors in (("in", info.inputs), ("out", info.outputs)):
        for tensor in tensors:
            shape = ", ".join(map(str, tensor.shape))
            rows.append(f"| {kind} | {tensor.name} | {tensor.dtype} | ({shape}) |")
    return "\n".join(rows)
