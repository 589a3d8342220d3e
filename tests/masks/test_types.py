"""Prompts are checked at the gate; embeddings survive the disk; bad files are refused."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import AnymaskError, DataError, InputError, PromptError
from anymask.masks import FeatureMap, Features, ModelSpec, Prompt, StoredMaps, geometry
from tests.masks.strategies import thoroughly

# Prompts


def test_a_prompt_does_not_follow_the_users_array() -> None:
    points = np.zeros((1, 2), np.float32)
    prompt = Prompt.of(points=points)
    points[:] = 7
    assert not prompt.points.any()


@pytest.mark.parametrize(
    ("given_mask", "kind"),
    [
        (np.eye(3, dtype=np.bool_), "b"),
        (np.eye(3, dtype=np.uint8) * 255, "b"),
        ([[0, 1], [1, 0]], "b"),
        (np.eye(3) * 4.5, "f"),
    ],
)
def test_masks_are_bool_or_logits(given_mask: Any, kind: str) -> None:
    mask = Prompt.of(mask=given_mask).mask
    assert mask.dtype.kind == kind


def test_empty_points_beside_a_box_are_no_points() -> None:
    prompt = Prompt.of(points=[], labels=[], box=(0, 0, 1, 1))
    assert prompt.points is None
    assert prompt.labels is None


@pytest.mark.parametrize(
    ("given_prompt", "message"),
    [
        ({}, r"The prompt is empty.*points=\[\(x, y\)"),
        ({"points": []}, "prompt is empty"),
        ({"points": (3, 4)}, r"shape \(2,\).*\(P, 2\).*points=\[\(x, y\)\]"),
        ({"points": [(1, 2, 3)]}, r"points of shape \(1, 3\)"),
        ({"points": [[(1, 2)]]}, r"\(1, 1, 2\).*Prompt.of\(points=one\) for"),
        ({"points": [(1, 2), (3,)]}, "Invalid points"),
        ({"points": "here"}, "Invalid points: here.*points="),
        ({"points": [(None, 1)]}, "Invalid points"),
        ({"points": [(1, np.nan)]}, r"Invalid points: \[1.0, nan\]. Remove NaN"),
        ({"points": [(1, 1e300)]}, "Invalid points"),
        ({"points": [(10**400, 1)]}, "Invalid points"),
        ({"points": np.ones((1001, 2))}, "at most 1000 points, but 1001"),
        ({"labels": [1]}, "1 point labels were passed without points"),
        ({"points": [(1, 2)], "labels": [1, 0]}, r"labels of shape \(2,\)"),
        ({"points": [(1, 2)], "labels": 1}, r"labels of shape \(\) for 1 points.*\[1\]"),
        ({"points": [(1, 2)], "labels": [2]}, r"Invalid point labels \[2.0\]"),
        ({"points": [(1, 2)], "labels": [-1]}, r"labels \[-1.0\].*box="),
        ({"points": [(1, 2)], "labels": [0.5]}, r"labels \[0.5\]"),
        ({"points": [(1, 2)], "labels": ["a"]}, "Invalid labels"),
        ({"box": (1, 2, 3)}, r"shape \(3,\). Expected four numbers"),
        ({"box": [(1, 2, 3, 4)]}, r"shape \(1, 4\).*For several objects"),
        ({"box": (5, 5, 5, 9)}, r"\(5, 5, 5, 9\). Expected x0 < x1"),
        ({"box": (9, 9, 5, 5)}, "Expected x0 < x1 and y0 < y1"),
        ({"box": (0, 0, np.inf, 5)}, "Invalid box"),
        ({"mask": np.zeros((1, 4, 4))}, r"Invalid mask of shape \(1, 4, 4\)"),
        ({"mask": np.zeros((0, 4))}, r"shape \(0, 4\).*at least 1 x 1"),
        (
            {"mask": np.broadcast_to(False, (10**6, 10**6))},
            "1000000, 10.*At most 200 million pixels",
        ),
        ({"mask": [[1, 2], [3]]}, "rows of the mask have different lengths"),
        ({"mask": [["a"]]}, "Expected bool, integers"),
        ({"mask": [[np.nan]]}, "NaN or infinite"),
    ],
)
def test_a_bad_prompt_says_what_is_wrong(given_prompt: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Prompt.of(**given_prompt)


# Embeddings


def embedding(**changes: Any) -> Features:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "geometry": geometry((120, 180), ModelSpec(name="tiny", image_side=64)),
        "model": "tiny",
        "model_hash": "ab12",
        "image_hash": "cd34",
        "encoder_output": maps_of(
            rng.standard_normal((8, 4, 5)), *(rng.standard_normal((2, 3, 3)) for _ in "ab")
        ),
    }
    return Features(**(values | changes))


def maps_of(*arrays: np.ndarray) -> StoredMaps:
    """Maps named as an encoder's."""
    names = ("features", "extras_0", "extras_1")[: len(arrays)]
    values = (array.astype(np.float32) for array in arrays)
    return StoredMaps(tuple(map(FeatureMap, names, values)))


def same(a: Features, b: Features, tolerance: float = 0.0) -> None:
    assert (a.geometry, a.model, a.model_hash, a.image_hash) == (
        b.geometry, b.model, b.model_hash, b.image_hash,
    )  # fmt: skip
    for x, y in zip(a.maps, b.maps, strict=True):
        assert x.name == y.name
        assert x.values.dtype == np.float32
        np.testing.assert_allclose(x.values, y.values, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["photo.npz", "photo.emb", "фото 1"])
def test_an_embedding_survives_the_disk_at_exactly_its_path(tmp_path: Path, name: str) -> None:
    saved = embedding()
    saved.save(tmp_path / name)
    same(Features.load(str(tmp_path / name)), saved)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert Features.load(tmp_path / name).image_hw == (120, 180)


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    big = embedding(encoder_output=maps_of(np.random.default_rng(0).standard_normal((64, 32, 32))))
    big.save(tmp_path / "full")
    big.save(tmp_path / "half", precision="fp16")
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "full").stat().st_size
    same(Features.load(tmp_path / "half"), big, tolerance=2e-3)


def test_numbers_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='with precision="fp32"'):
        embedding(encoder_output=maps_of(np.full((1, 1, 1), 1e6))).save(
            tmp_path / "half", precision="fp16"
        )
    assert not list(tmp_path.iterdir())


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("executed",)


def test_pickles_are_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(DataError, match="plain is not an embedding file.*anymask encode"):
        Features.load(tmp_path / "plain")
    hidden = np.empty(1, object)
    hidden[0] = Hostile()
    with (tmp_path / "inside").open("wb") as file:
        np.savez(file, about=hidden)
    with pytest.raises(DataError, match="inside is corrupted or not an embedding file"):
        Features.load(tmp_path / "inside")
    assert not (tmp_path / "executed").exists()


def rewritten(path: Path, about: Any = None, **arrays: Any) -> Path:
    """A saved embedding with some entries of its description and some arrays replaced."""
    embedding().save(path)
    with np.load(path) as archive:
        kept = {name: archive[name] for name in archive.files}
    old = json.loads(kept["about"].tobytes())
    new = old | about if isinstance(about, dict) else old if about is None else about
    kept["about"] = np.frombuffer(json.dumps(new).encode(), np.uint8)
    kept |= arrays
    with path.open("wb") as file:
        np.savez(file, **{name: array for name, array in kept.items() if array is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"about": {"format": 3}}, "embedding format 3, but this version reads 2. Update anymask"),
        (
            {"about": {"format": 1}},
            "embedding format 1, but this version reads 2.*encode the image",
        ),
        ({"about": {"image_hw": [0, 4]}}, "incomplete or corrupted"),
        ({"about": {"image_hw": 4}}, "incomplete or corrupted"),
        ({"about": {"side": "x"}}, "incomplete or corrupted"),
        ({"about": {"side": 0}}, "incomplete or corrupted"),
        ({"about": {"model": 5}}, "incomplete or corrupted"),
        ({"about": {"maps": ["features", "extra_2"]}}, "incomplete or corrupted"),
        ({"about": {"maps": []}}, "incomplete or corrupted"),
        ({"about": {"maps": 3}}, "incomplete or corrupted"),
        ({"about": [1]}, "is not an embedding file"),
        ({"features": None}, "incomplete or corrupted"),
        ({"features": np.zeros((4, 4), np.float32)}, "incomplete or corrupted"),
        ({"features": np.zeros((1, 4, 4), np.int64)}, "incomplete or corrupted"),
    ],
)
def test_an_altered_embedding_says_what_is_wrong(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = rewritten(tmp_path / "a", **changes)
    with pytest.raises(DataError, match=message):
        Features.load(path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedding") / "saved"
    embedding().save(path)
    return path


@thoroughly
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), cut=st.booleans())
def test_damaged_bytes_are_refused_or_harmless(
    saved: Path, place: float, flip: int, cut: bool
) -> None:
    data = bytearray(saved.read_bytes())
    at = int(place * len(data))
    if cut:
        del data[at:]
    else:
        data[at] ^= flip
    damaged = saved.with_name("damaged")
    damaged.write_bytes(data)
    try:
        loaded = Features.load(damaged)
    except DataError:
        return
    same(loaded, embedding())  # a byte that carries nothing, such as a date


# Prediction


def test_every_error_has_one_root() -> None:
    assert issubclass(PromptError, AnymaskError)
    assert issubclass(InputError, ValueError)
