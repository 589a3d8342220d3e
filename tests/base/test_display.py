"""Values show what they are in a line, and nothing of what they hold."""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import brief
from anymask.base.display import brief_text
from anymask.masks import LabelMap, Prompt
from anymask.volumes import Volume

ROOMS = (
    "base", "masks", "images", "formats", "models", "runtime", "find", "edit", "segment", "track",
    "volumes", "maps", "jobs", "training", "evaluation", "studio",
)  # fmt: skip
LONGEST = 400  # characters
ARRAYS = re.compile(r"Array|UintImage|Floats|Voxels|Tensor|Any\b(?!\])")
MANY = re.compile(r"\b(?:Sequence|list|set)\[|Set\[|\btuple\[[^\[\]]*, \.\.\.\]")
PAIRS = re.compile(r"\b(?:Mapping|dict)\[")
TYPED = re.compile(  # whose lists are as long as a person typed them, or as a standard says
    r"\w*(?:Choice|Layout|Style|Options|Plan|Policy|Query|Rule|Rules|Settings?|Stage|Task|View)"
    r"|Access|MaskFilter|ObjectMask|TensorInfo|TokenRoles|TrackMask|VideoFacts"
)


def public_values() -> Iterator[type]:
    """Every public dataclass of every room."""
    for room in ROOMS:
        module = importlib.import_module(f"anymask.{room}")
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isclass(found) and dataclasses.is_dataclass(found):
                yield found


def filled(kind: type) -> Any:
    """An instance whose arrays, lists and mappings are huge."""
    made = object.__new__(kind)
    for one in dataclasses.fields(kind):
        said, value = str(one.type), None
        if PAIRS.search(said):
            value = dict.fromkeys(range(999), "secret" * 9)
        elif MANY.search(said):
            value = ("secret" * 9,) * 999
        elif ARRAYS.search(said):
            value = np.zeros((9, 99, 99))
        object.__setattr__(made, one.name, value)
    return made


def shows_its_fields(kind: type) -> bool:
    """Whether a class has no repr of its own, and fields without a bound."""
    fields = " ".join(str(one.type) for one in dataclasses.fields(kind))
    unbounded = any(one.search(fields) for one in (ARRAYS, MANY, PAIRS))
    own = not hasattr(kind.__repr__, "__wrapped__") and "brief" not in kind.__repr__.__name__
    return unbounded and not own and not TYPED.fullmatch(kind.__name__)


SHOWN = sorted({one for one in public_values() if shows_its_fields(one)}, key=str)


@pytest.mark.parametrize("kind", SHOWN, ids=lambda one: one.__name__)
def test_a_value_is_shown_in_a_line(kind: type) -> None:
    told = repr(filled(kind))
    assert len(told) < LONGEST, f"put @brief of anymask.base above the class: {told[:200]}"
    assert "secret" not in told
    assert hasattr(kind, "_repr_html_")


def test_each_kind_of_value_has_a_short_form() -> None:
    @brief
    @dataclasses.dataclass
    class Shown:
        name: str
        size: float
        array: np.ndarray
        path: Path
        few: tuple[int, ...]
        many: list[int]
        none: None = None
        hidden: str = dataclasses.field(default="secret", repr=False)

    one = Shown("<b>", 1 / 3, np.zeros((3, 4), np.int16), Path("a/b"), (1, 2), [*range(99)])
    name = "Shown(name='<b>', size=0.3333, array=3x4 int16, path='a/b', few=(1, 2), many=99 items)"
    assert repr(one) == name
    assert "&lt;b&gt;" in one._repr_html_()  # type: ignore[attr-defined]
    assert brief_text("a" * 99) == repr("a" * 39 + "…")
    assert brief_text(b"abc") == "3 bytes"
    assert brief_text({"a": 1}) == "{'a': 1}"
    assert brief_text(object()) == "<object>"
    assert brief_text(Prompt(points=[(1, 2)])) == "<Prompt: 1 click>"


def test_a_volume_shows_its_shape_and_a_slice() -> None:
    scan = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([-1, -2, 2.5, 1.0]))
    assert repr(scan) == "<Volume of 3x4x5 int16, 2.5x2x1 mm, LPS>"
    assert scan._repr_html_().count("data:image/png;base64,") == 1
    labels = LabelMap(("cat",), np.ones((2, 2), np.uint8))
    assert "data:image/png" in labels._repr_html_()


def test_nothing_of_a_patient_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from tests.volumes.test_volumes import write_slice

    about = {"PatientName": "Doe^Jane", "PatientBirthDate": "19700101", "PatientID": "4711"}
    for k in range(2):
        upright = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], **about}
        write_slice(tmp_path / f"{k}.dcm", k, np.array([0, 0, 2.5 * k]), **upright)
    scan = anymask.read_volume(tmp_path)
    parts: Any = scan.voxels
    shown = [repr(one) for one in (scan, parts, parts.slices, parts.slices[0])]
    shown.append(scan._repr_html_())
    for secret in ("Doe", "1970", "4711"):
        assert not any(secret in one for one in shown)


def test_no_secret_of_a_server_is_shown() -> None:
    from anymask.studio.middleware import Access

    token = "a-secret-token"
    assert token not in repr(Access(token=token))
