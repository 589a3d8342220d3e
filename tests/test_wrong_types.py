"""Every keyword of the public functions, given a value of a wrong type or out of range.

A method may work, or raise an AnymaskError or a TypeError that this package words itself: one that
a `raise` of anymask raises, not one that Python or NumPy raises in the middle of it. A function may
also raise an error by which Python refuses a type.
"""

import ast
import inspect
import linecache
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import AnymaskError, InputError, PromptError
from anymask.masks import Mask, mask_to_rle
from anymask.segment import Model
from anymask.studio import create_project
from anymask.studio.server_options import ServerOptions
from anymask.track import open_session
from anymask.volumes import open_volume_session
from tests.house.keywords import FILE
from tests.segment.fakes import ColorRuntime

SOURCES = str(Path(anymask.__file__).parent)
WRONG: list[Any] = ["x", None, {"a": 1}, -7, float("nan"), 5, [], object()]
IMAGE = np.zeros((24, 32, 3), np.uint8)
MASK = np.eye(24, 32, dtype=bool)
ABSENT = "/no/such/path"
REFUSED = (TypeError, ValueError, AttributeError)  # what Python raises for a wrong type
SLOW = {"ask", "follow", "begin", "scan", "runtime"}  # callables that a test hands over

Call = Callable[..., Any]


def model() -> Model:
    return Model(
        ColorRuntime(),
        lambda model, source, named, **settings: open_session(model, source, **settings),
        scan=lambda model, scan, named, **settings: open_volume_session(model, scan, **settings),
    )


# A call that works, or ends at a path that does not exist.
BASES: dict[str, dict[str, Any]] = {
    "load": {"name": "nano"},
    "load_image": {"source": IMAGE},
    "sample": {},
    "list_images": {"where": ABSENT},
    "read": {"path": ABSENT},
    "convert": {"source": ABSENT, "target": ABSENT},
    "stats": {"data": ABSENT},
    "audit": {"data": ABSENT, "model": "nano", "out": ABSENT},
    "evaluate": {"model": "nano", "data": ABSENT},
    "read_volume": {"path": ABSENT},
    "export": {"model": "no-such-model", "out": ABSENT},
    "finetune": {"data": ABSENT, "out": ABSENT},
    "distill": {"teacher": "nano", "student": "nano", "data": ABSENT, "out": ABSENT},
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
    "find": "FindKeywords", "track": "TrackOptions", "volume": "VolumeOptions",
    "cutout": "CutoutKeywords",
}  # fmt: skip


CLASSES = {
    node.name: node
    for node in ast.parse(FILE.read_text("utf-8")).body
    if isinstance(node, ast.ClassDef)
}


def typed_keywords(name: str) -> Iterator[str]:
    """The keywords of a type of `anymask/keywords.pyi`."""
    if name in CLASSES:
        yield from chain.from_iterable(typed_keywords(ast.unparse(b)) for b in CLASSES[name].bases)
        yield from (ast.unparse(row.target) for row in CLASSES[name].body
                    if isinstance(row, ast.AnnAssign))  # fmt: skip


def keywords_of(call: Call) -> Iterator[str]:
    """The names of all parameters, those of a TypedDict behind ** too."""
    yield from typed_keywords(MORE.get(call.__name__, ""))
    hints = inspect.get_annotations(call)
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            yield parameter.name
        elif (hint := hints[parameter.name]) != "Any":
            name = str(hint).removeprefix("Unpack[").removesuffix("]")
            inner: Any = inspect.unwrap(call).__globals__.get(name)
            yield from typed_keywords(name) if inner is None else inner.__annotations__


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


def escapes(
    call: Call, base: dict[str, Any], refused: tuple[type[Exception], ...] = ()
) -> list[str]:
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
            except refused as error:
                named = name != "unknown_word" or name in str(error)
                found += [] if named else [f"{name}={value!r}: {error}"]
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
    assert not escapes(getattr(anymask, name), BASES[name], REFUSED)


@pytest.mark.parametrize("name", METHODS)
def test_methods_explain_wrong_values(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not escapes(getattr(model(), name), METHODS[name])


@pytest.mark.parametrize(
    ("name", "keyword"),
    [
        ("load", "convert"),
        ("load_image", "bgr"),
        ("load_image", "allow_url"),
        ("load_image", "stretch"),
        ("read", "boxes"),
        ("convert", "copy_images"),
        ("convert", "strict"),
        ("convert", "classes"),
        ("audit", "accept"),
        ("evaluate", "refine_edges"),
        ("evaluate", "resume"),
        ("evaluate", "also"),
        ("read_volume", "detached"),
        ("export", "int8"),
        ("export", "verify"),
    ],
)
def test_text_is_neither_a_flag_nor_a_list(name: str, keyword: str) -> None:
    """Else "no" would count as True, and "12" as the list of 1 and 2."""
    with pytest.raises(InputError, match=f"{keyword} must be (a list|True or False), got '12'"):
        getattr(anymask, name)(**BASES[name] | {keyword: "12"})


def test_text_is_no_list_of_origins_or_classes(tmp_path: Path) -> None:
    wrong: Any = "12"
    for keyword in ("origins", "frames", "videos", "volumes"):
        with pytest.raises(InputError, match=f"{keyword} must be a list"):
            ServerOptions(**{keyword: wrong})
    with pytest.raises(InputError, match="labels must be a list"):
        create_project(tmp_path, labels=wrong)


def test_values_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    wrong: Any = "x"
    masks = anymask.Masks([Mask(mask_to_rle(MASK), "cup")])
    with pytest.raises(InputError, match="polygons must be True or False"):
        masks.to_coco(polygons=wrong)
    wrong = ["cup"]
    with pytest.raises(InputError, match="label must be text or None"):
        masks.filter(label=wrong)
    wrong = "half"
    with pytest.raises(InputError, match="Invalid precision 'half'"):
        model().encode(IMAGE).save(tmp_path / "it.npz", precision=wrong)


def test_text_is_no_number_of_an_object_or_a_frame() -> None:
    wrong: Any = "1"
    with model().track([IMAGE, IMAGE]) as session:
        session.add(0, 1, points=[(3, 4)])
        for call in (session.remove, session.prompts, session.frame_ranges, session.result):
            with pytest.raises(PromptError, match="Use a whole number"):
                call(wrong)
        with pytest.raises(PromptError, match="Use a whole number"):
            session.remove_prompts(wrong, 0)
        assert session.objects == [1]
    with model().volume(np.stack([IMAGE[..., 0]] * 4)) as scan:
        scan.add(1, 1, points=[(3, 4)])
        for look in (scan.slice_ranges, scan.ends, scan.prompts, scan.remove):
            with pytest.raises(PromptError, match="Use a whole number"):
                look(wrong)
