"""The README of an exported bundle: what is in it, and a program that runs it without anymask."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from anymask.runtimes.manifest import GraphInfo, Manifest, describe_preprocessing

README = "README.md"
EXAMPLE = "example.py"

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

Without anymask, `example.py` needs only numpy, Pillow and onnxruntime:

```
python example.py photo.jpg 500 375 mask.png
```

```python
{example}```

It resizes with Pillow's bilinear filter; the numbers of the reference code come with the filter
that the first step below names.

## Steps

{steps}

## Graphs

A letter is a dimension that may vary: B images, N prompts (objects), P points of each.

{graphs}
"""


def write_readme(folder: Path, manifest: Manifest) -> None:
    """Write README.md and example.py into a bundle folder."""
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


def _graph_to_table(name: str, info: GraphInfo) -> str:
    rows = [f"`{name}`", "", "| | name | type | shape |", "|---|---|---|---|"]
    for kind, tensors in (("in", info.inputs), ("out", info.outputs)):
        for tensor in tensors:
            shape = ", ".join(map(str, tensor.shape))
            rows.append(f"| {kind} | {tensor.name} | {tensor.dtype} | ({shape}) |")
    return "\n".join(rows)
