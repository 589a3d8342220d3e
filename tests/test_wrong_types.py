"""Every keyword of the public functions, given a value of a wrong type or out of range.

A call may work, or raise an AnymaskError or a TypeError that this package words itself: one that a
`raise` of anymask raises, not one that Python or NumPy raises in the middle of it.
"""

import inspect
import linecache
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import AnymaskError
from anymask.edit import CutoutKeywords
from anymask.find import FindKeywords
from anymask.segment import Model
from anymask.track import TrackOptions, open_session
from anymask.volumes import VolumeOptions, open_volume_session
from tests.segment.fakes import ColourRuntime

SOURCES = str(Path(anymask.__file__).parent)
WRONG: list[Any] = ["x", None, {"a": 1}, -7, float("nan"), 5, [], object()]
IMAGE = np.zeros((24, 32, 3), np.uint8)
MASK = np.eye(24, 32, dtype=bool)
ABSENT = "/no/such/path"
SLOW = {"ask", "follow", "begin", "scan", "runtime"}  # callables that a test hands over

Call = Callable[..., Any]


def begin_session(model: Model, source: Any, named: Any, **settings: Any) -> Any:
    return open_session(model, source, **settings)


def begin_volume(model: Model, scan: Any, named: Any, **settings: Any) -> Any:
    return open_volume_session(model, scan, **settings)


def model() -> Model:
    return Model(ColourRuntime(), begin_session, scan=begin_volume)


# A call that works, or ends at a path that does not exist.
BASES: dict[str, dict[str, Any]] = {
    "load": {"name": "nano"},
    "load_image": {"source": IMAGE},
    "sample": {},
    "list_photos": {"where": ABSENT},
    "read": {"path": ABSENT},
    "convert": {"source": ABSENT, "target": ABSENT},
    "stats": {"data": ABSENT},
    "audit": {"data": ABSENT, "model": "nano", "out": ABSENT},
    "evaluate": {"model": "nano", "data": ABSENT},
    "read_volume": {"path": ABSENT},
    "export": {"model": "no-such-model", "out": ABSENT},
    "finetune": {"data": ABSENT, "out": ABSENT},
    "distil": {"teacher": "nano", "student": "nano", "data": ABSENT, "out": ABSENT},
    "train": {"config": ABSENT, "data": ABSENT, "out": ABSENT},
    "Masks": {},
    "Prompt": {},
    "Project": {"folder": ABSENT},
}
METHODS: dict[str, dict[str, Any]] = {
    "encode": {"image": IMAGE},
    "segment": {"image": IMAGE, "points": [(3, 4)]},
    "everything": {"image": IMAGE, "grid": 2},
    "find": {"image": IMAGE, "like": {"box": (1, 1, 9, 9)}},
    "refine": {"image": IMAGE, "mask": MASK},
    "parts": {"image": IMAGE, "mask": MASK},
    "label": {"image": IMAGE},
    "suggest_labels": {"image": IMAGE, "masks": MASK},
    "with_labels": {"image": IMAGE, "found": MASK},
    "cutout": {"image": IMAGE, "box": (1, 1, 9, 9)},
    "track": {"source": [IMAGE, IMAGE]},
    "volume": {"scan": [IMAGE[..., 0]] * 4},
}


MORE = {
    "find": FindKeywords, "track": TrackOptions, "volume": VolumeOptions, "cutout": CutoutKeywords
}  # fmt: skip


def keywords_of(call: Call) -> Iterator[str]:
    """The names of all parameters, those of a TypedDict behind ** too."""
    yield from MORE[call.__name__].__annotations__ if call.__name__ in MORE else ()
    hints = inspect.get_annotations(call)
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            yield parameter.name
        elif (hint := hints[parameter.name]) != "Any":
            name = str(hint).removeprefix("Unpack[").removesuffix("]")
            inner: Any = inspect.unwrap(call).__globals__.get(name)
            yield from () if inner is None else inner.__annotations__


def innermost(trace: TracebackType | None) -> tuple[str, str]:
    """The file and the line that raised."""
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_code.co_filename
    start = trace.tb_lineno
    while not linecache.getline(name, start).lstrip().startswith("raise ") and start > 1:
        if trace.tb_lineno - start > 12:
            break
        start -= 1
    return name, linecache.getline(name, start).strip()


def escapes(call: Call, base: dict[str, Any]) -> list[str]:
    found = []
    for name in [*dict.fromkeys(keywords_of(call)), "unknown_word"]:
        if name in ("self", *SLOW):
            continue
        for value in WRONG:
            try:
                answer = call(**base | {name: value})
                if inspect.isgenerator(answer):
                    list(answer)
            except AnymaskError as error:
                found += [] if str(error) else [f"{name}={value!r}: no message"]
            except Exception as error:
                file, line = innermost(error.__traceback__)
                ours = isinstance(error, TypeError) and file.startswith(SOURCES)
                known = name == "unknown_word" and "unexpected keyword" in str(error)
                if not known and not (ours and line.startswith("raise ")):
                    found.append(f"{name}={value!r}: {type(error).__name__}: {error} ({file})")
    return found


@pytest.mark.parametrize("name", BASES)
def test_functions_explain_wrong_values(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not escapes(getattr(anymask, name), BASES[name])


@pytest.mark.parametrize("name", METHODS)
def test_methods_explain_wrong_values(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not escapes(getattr(model(), name), METHODS[name])
