"""`segment` keeps the last images encoded. The oracle is a model that keeps none."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anymask
from anymask import jobs
from anymask.base import FloatArray, InputError
from anymask.images import load_image
from anymask.masks import EncoderOutput, Prompt
from anymask.runtime import OnnxRuntime
from anymask.segment import EmbeddingCache, Model, RecentValues

CUP, DISH, SMALL, OTHER = (
    {"points": [(290, 120)]},
    {"box": (75, 12, 495, 388)},  # too large for a crop
    {"box": (250, 80, 330, 160)},
    {"box": (400, 200, 470, 270)},
)


@pytest.fixture(scope="module")
def coffee() -> np.ndarray:
    return load_image(anymask.sample("coffee"))


@pytest.fixture(scope="module")
def plain() -> Model:
    model = anymask.load("nano")
    model.recent = None
    return model


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of every call of an encoder."""
    encode, counts = OnnxRuntime.encode_images, list[int]()

    def spy(self: OnnxRuntime, images: FloatArray) -> list[EncoderOutput]:
        counts.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(OnnxRuntime, "encode_images", spy)
    return counts


def asked(model: Model, image: np.ndarray, encoded: list[int], **prompt: Any) -> tuple[bytes, int]:
    """The masks of a prompt, and the number of encodings."""
    encoded.clear()
    return model.segment(image, **prompt).masks.tobytes(), len(encoded)


def test_an_image_and_a_crop_are_encoded_once(
    plain: Model, coffee: np.ndarray, encoded: list[int]
) -> None:
    model = anymask.load("nano")
    for prompt, crops, new in (
        (CUP, 0, 1),
        (DISH, 0, 0),
        (SMALL, 1, 1),
        (SMALL, 1, 0),
        (CUP, 0, 0),
    ):
        masks, count = asked(model, coffee, encoded, **prompt)
        assert (masks, 1 + crops) == asked(plain, coffee, encoded, **prompt)
        assert count == new
    encoded.clear()
    model.encode(coffee)
    assert encoded == [1]
    assert asked(model, coffee, encoded, **SMALL, mirror=True)[1] == 2  # both mirror images


def test_an_array_that_was_changed_is_another_image(
    plain: Model, coffee: np.ndarray, encoded: list[int]
) -> None:
    model, image = anymask.load("nano"), coffee.copy()
    asked(model, image, encoded, **CUP)
    image[:] = image[:, ::-1]
    assert asked(model, image, encoded, **CUP) == asked(plain, image, encoded, **CUP)
    image[:] = coffee
    assert asked(model, image, encoded, **CUP)[1] == 0


def test_threads_share_the_images(plain: Model, coffee: np.ndarray) -> None:
    model = anymask.load("nano")
    asks = [(image, ask) for image in (coffee, coffee[:, ::-1]) for ask in (CUP, SMALL)] * 2

    def masks(of: tuple[np.ndarray, Any], by: Model = model) -> bytes:
        return by.segment(of[0], **of[1]).masks.tobytes()

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(masks, asks))
    assert found == [masks(one, plain) for one in asks[:4]] * 2


def test_memory_is_bounded_and_an_image_outlives_its_crops(
    coffee: np.ndarray, encoded: list[int]
) -> None:
    model = anymask.load("nano")
    size = model.encode(coffee).nbytes + coffee.nbytes
    model.recent = cache = EmbeddingCache(2 * size)
    asked(model, coffee, encoded, **CUP)
    assert (cache.used_bytes, len(cache)) == (size, 1)
    for prompt in (SMALL, OTHER, SMALL):
        assert asked(model, coffee, encoded, **prompt)[1] == 1  # the other crop was evicted
        assert cache.used_bytes <= 2 * size
    for image in (coffee[::-1], coffee[:, ::-1], coffee):
        assert asked(model, image, encoded, **CUP)[1] == 1


def test_the_environment_variable_switches_it_off(
    coffee: np.ndarray, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMASK_CACHE_MEGABYTES", "0")
    model = anymask.load("nano")
    assert [asked(model, coffee, encoded, **CUP)[1] for _ in range(2)] == [1, 1]
    monkeypatch.setenv("ANYMASK_CACHE_MEGABYTES", "-1")
    with pytest.raises(InputError, match="at least 0"):
        anymask.load("nano")


def test_pickles_folders_and_lists_of_images_hold_none(
    coffee: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = anymask.load("nano")
    before = pickle.dumps(model)
    model.segment(coffee, **CUP)
    assert pickle.dumps(model) == before
    monkeypatch.delattr(RecentValues, "keep")
    again = pickle.loads(before)
    with pytest.raises(AttributeError):
        again.segment(coffee, **CUP)
    list(again.segment(iter([coffee]), prompts=[Prompt.of(**CUP)]))
    again.everything(coffee, grid=2, tile=300)
    done = jobs.run("cutout", anymask.sample("coffee"), tmp_path, model="nano", **SMALL)
    assert done.done == 1
