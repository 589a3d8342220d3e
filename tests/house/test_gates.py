"""The gates see what they are there to see, and leave the rest alone."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house import docstrings, gates

STANDARD = frozenset(sys.stdlib_module_names)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return tmp_path / "anymask"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("formats/images.py", "from anymask.base.errors import ImageError"),
        ("segment/model.py", "from anymask.runtime import protocol"),
        ("cli/export.py", "from anymask.export import bundle"),
        ("cli/segment.py", "import anymask"),
        ("evaluation/metrics.py", "from anymask.evaluation import report"),
        ("__init__.py", "from anymask.segment.model import Model"),
        ("masks/rle.py", "import numpy as np"),
        ("assets/nano/example.py", "import anymask"),
    ],
)
def test_imports_that_go_down_pass(package: Path, file: str, line: str) -> None:
    write(package / file, line)
    assert gates.climbing_imports(package) == []


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        (
            "masks/rle.py",
            "from anymask.formats.images import load_image",
            "anymask/masks/rle.py:1: masks/ imports anymask.formats.images; it may import base",
        ),
        (
            "formats/sets.py",
            "import anymask.models.vit",
            "anymask/formats/sets.py:1: formats/ imports anymask.models.vit; "
            "it may import base, images, masks",
        ),
        (
            "training/loop.py",
            "def f():\n    from anymask.studio import store",
            "anymask/training/loop.py:2: training/ imports anymask.studio; "
            "it may import anymask, base, edit, evaluation, find, formats, images, jobs, "
            "maps, masks, models, runtime, segment, track, volumes",
        ),
        (
            "models/vit.py",
            "from anymask import runtime",
            "anymask/models/vit.py:1: models/ imports anymask.runtime; it may import base, masks",
        ),
        (
            "formats/sets.py",
            "import anymask",
            "anymask/formats/sets.py:1: formats/ imports anymask; "
            "it may import base, images, masks",
        ),
        ("tools/x.py", "", "anymask/tools/x.py:1: tools/ is no room of the house (see design.md)"),
    ],
)
def test_imports_that_climb_are_named(package: Path, file: str, line: str, complaint: str) -> None:
    write(package / file, line)
    assert gates.climbing_imports(package) == [complaint]


def test_imports_of_a_plug_in_that_are_not_public_are_named(tmp_path: Path) -> None:
    good = "import anymask\nfrom anymask import Mask\nfrom anymask.studio import Limits, a_room\n"
    bad = "from anymask.studio.app import Limits\nimport anymask.studio\nfrom anymask_x.a import b"
    write(tmp_path / "anymask_x/a.py", good + bad)
    assert gates.inner_imports(tmp_path, {("studio", "Limits")}) == [
        "anymask_x/a.py:3: imports anymask.studio.a_room, which is no public name",
        "anymask_x/a.py:4: imports anymask.studio.app.Limits, which is no public name",
        "anymask_x/a.py:5: imports anymask.studio, which is no public name",
    ]


def test_files_that_import_each_other_are_named_once(package: Path) -> None:
    write(package / "formats/a.py", "from anymask.formats import b")
    write(package / "formats/b.py", "def f():\n    from anymask.formats.c import C")
    write(package / "formats/c.py", "import anymask.formats.a\nfrom anymask.masks import d")
    write(package / "formats/e.py", "from anymask.formats.a import A")
    write(package / "formats/__init__.py", "from anymask.formats.a import A")
    write(package / "masks/d.py", "from anymask.formats.e import E")
    assert gates.circular_imports(package) == [
        "anymask/formats/a.py:1: is in a circle of imports with b.py, c.py"
    ]
    write(package / "formats/c.py", "from anymask.masks import d")
    assert gates.circular_imports(package) == []


def heavy_imports(package: Path) -> list[str]:
    return gates.heavy_imports(package, STANDARD)


@pytest.mark.parametrize(
    ("gate", "file", "text", "count"),
    [
        (
            heavy_imports,
            "formats/images.py",
            "import cv2\nimport numpy as np\nfrom PIL import Image",
            0,
        ),
        (heavy_imports, "formats/images.py", "import torch", 1),
        (heavy_imports, "formats/images.py", "def f():\n    import torch", 0),
        (heavy_imports, "formats/images.py", "class A:\n    def f(self):\n        import torch", 0),
        (
            heavy_imports,
            "formats/images.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
            0,
        ),
        (
            heavy_imports,
            "formats/images.py",
            "try:\n    import torch\nexcept ImportError:\n    pass",
            1,
        ),
        (heavy_imports, "models/vit.py", "import torch\nfrom torch import nn", 0),
        (heavy_imports, "runtime/torch.py", "import torch", 0),
        (heavy_imports, "runtime/onnx.py", "import torch", 1),
        (heavy_imports, "runtime/onnx.py", "import onnxruntime", 0),
        (heavy_imports, "masks/rle.py", "import onnxruntime", 1),
        (heavy_imports, "evaluation/metrics.py", "import scipy.ndimage", 1),
        (heavy_imports, "studio/tables.py", "import sqlalchemy", 0),
        (heavy_imports, "studio/app.py", "from fastapi import FastAPI", 0),
        (heavy_imports, "cli/serve.py", "import fastapi", 1),
        (
            gates.json_readers,
            "formats/coco.py",
            "import json\nrows = json.loads(path.read_text())",
            True,
        ),
        (gates.json_readers, "formats/coco.py", "import json\nrows = map(json.loads, lines)", 1),
        (
            gates.json_readers,
            "formats/coco.py",
            "import json\nwith path.open() as file:\n    json.load(file)",
            True,
        ),
        (
            gates.json_readers,
            "jobs/masks.py",
            "import json\nabout = json.loads(json.dumps(about))",
            False,
        ),
        (gates.json_readers, "base/parsing.py", "import json\nvalue = json.loads(text)", 0),
        (
            gates.json_readers,
            "assets/bundle/example.py",
            "import json\nvalue = json.loads(text)",
            False,
        ),
        (gates.reporting_imports, "runtime/a.py", "import onnxruntime", 1),
        (gates.reporting_imports, "runtime/a.py", "def f():\n    from ray.data import x", 1),
        (
            gates.reporting_imports,
            "runtime/a.py",
            "from anymask.base import import_offline\nimport_offline('ray')",
            False,
        ),
        (
            gates.reporting_imports,
            "runtime/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ray",
            False,
        ),
        (gates.machine_paths, "notes.md", "path = '/" + "root/x/y'", 1),
        (gates.machine_paths, "notes.md", "cd /" + "work/main", 1),
        (gates.machine_paths, "notes.md", "C:" + "\\Users\\me", 1),
        (gates.machine_paths, "notes.md", "pip install --index" + "-url x", 1),
        (gates.machine_paths, "notes.md", "https://example.org/" + "work/x", 0),
        (gates.machine_paths, "notes.md", "../shared/data and src/" + "work/", 0),
        (gates.machine_paths, "notes.md", "#!/usr/bin/env bash", 0),
        (
            gates.image_openers,
            "images/decoding.py",
            "from PIL import Image\nImage.open('a', formats=())",
            0,
        ),
        (
            gates.image_openers,
            "jobs/a.py",
            "from PIL import Image\ndef f():\n    with Image.open('a'): ...",
            1,
        ),
        (gates.image_openers, "assets/example.py", "from PIL import Image\nImage.open('a')", 1),
        (gates.csv_users, "base/tables.py", "import csv", 0),
        (gates.csv_users, "jobs/lists.py", "def f():\n    import csv", 1),
        (gates.forbidden_imports, "a.py", "def f():\n    from timm.layers import DropPath", 1),
        (
            gates.over_budget,
            "a.py",
            "class A:\n    def f(self, a, b, c, d, e, g, h, **settings: Unpack[S]): ...\n",
            0,
        ),
    ],
)
def test_a_gate_names_what_breaks_it_and_nothing_else(
    package: Path, gate: Callable[[Path], list[str]], file: str, text: str, count: int
) -> None:
    write(package / file, text)
    assert len(gate(package)) == count


def test_docstrings_of_unknown_parameters_are_named(package: Path) -> None:
    new = 'def f(a: int) -> int:\n    """Add.\n\n    Args:\n        {}: Number.\n    """\n'
    write(package / "formats/sets.py", new.format("a"))
    assert docstrings.unparsed(package) == []
    write(package / "formats/sets.py", new.format("b"))
    assert any("'b' does not appear" in line for line in docstrings.unparsed(package))


def test_budgets_allow_the_limit_and_refuse_one_more(tmp_path: Path) -> None:
    function = "def f(a, b, c, d, e, g, h, *, i):\n" + "    a = 1\n" * 99
    filler = "x = 1\n" * 900
    write(tmp_path / "full.py", function + filler)
    assert gates.over_budget(tmp_path) == []

    over = "def f(a, b, c, d, e, g, h, *, i, **j):\n" + "    a = 1\n" * 100
    write(tmp_path / "full.py", over + filler)
    assert gates.over_budget(tmp_path) == [
        "full.py:1: 1001 lines, the budget is 1000",
        "full.py:1: f has 101 lines, the budget is 100",
        "full.py:1: f takes 9 parameters, the budget is 8",
    ]


def test_modules_that_do_not_exist_are_named(tmp_path: Path) -> None:
    write(tmp_path / "src/anymask/masks/rle.py", "")
    write(tmp_path / "research/measure_video.py", '"""`masks/rle.py`, `modeling/masks/x.py`"""')
    assert gates.dead_paths(tmp_path) == []
    write(tmp_path / "a.ts", "// see `masks/" + "lost.py`")
    assert gates.dead_paths(tmp_path) == ["a.ts:1: masks/lost.py does not exist"]


def test_outputs_and_hidden_folders_are_not_ours(tmp_path: Path) -> None:
    for folder in ("runs", ".venv", "out/demo", "a/__pycache__"):
        write(tmp_path / folder / "utils.py", "import timm\n" + "x = 1\n" * 500)
    assert gates.over_budget(tmp_path) == []
    assert gates.forbidden_imports(tmp_path) == []
