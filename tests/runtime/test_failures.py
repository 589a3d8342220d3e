import multiprocessing
import pickle

import numpy as np
import pytest

from anymask.base import AnymaskError, DataError, InputError
from anymask.masks import FeatureMap, Features, StoredMaps
from anymask.models.rules import DEFAULT_VIDEO_MODEL
from anymask.runtime import ASSETS, OnnxRuntime, open_runtime
from anymask.runtime.onnx import check_maps
from anymask.segment import Model


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (RuntimeError("no\nstack"), AnymaskError, r"^the decoder of \w+ failed .*\(RuntimeError\)"),
        (MemoryError("full"), MemoryError, "^full$"),
    ],
)
def test_what_a_runtime_raises_is_one_error_and_no_memory_stays_what_it_is(
    error: Exception, kind: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = OnnxRuntime(ASSETS / DEFAULT_VIDEO_MODEL)

    class Session:
        def run(self, *_: object) -> None:
            raise error

    monkeypatch.setattr(runtime, "_open", lambda name: (None, Session()))
    with pytest.raises(kind, match=told):
        runtime.run_named("decoder", {})


def test_maps_of_another_shape_do_not_reach_the_decoder() -> None:
    maps = [FeatureMap("a", np.zeros((2, 3, 3), np.float32))]
    check_maps(maps, {"a": (1, 2, "h", 3)}, "nano")
    strange: list[dict[str, tuple[int | str, ...]]] = [
        {"a": (1, 2, 4, 3)}, {"a": (1, 2, 3)}, {"b": (1, 2, 3, 3)},
        {"a": (1, 2, 3, 3), "b": (1, 2, 3, 3)},
    ]  # fmt: skip
    for expected in strange:
        with pytest.raises(DataError, match=r"^nano requires the feature maps .* has a \(2, 3,"):
            check_maps(maps, expected, "nano")


def test_an_altered_embedding_is_refused_by_the_model() -> None:
    model = Model(OnnxRuntime(ASSETS / DEFAULT_VIDEO_MODEL))
    sound = model.encode(np.zeros((9, 12, 3), np.uint8))
    about = (sound.geometry, sound.model, sound.model_hash)
    first, *others = sound.maps
    cut = FeatureMap(first.name, first.values[:, :3])
    altered = Features(StoredMaps((cut, *others)), *about)
    with pytest.raises(DataError, match="requires the feature maps"):
        model.segment(altered, points=[(3, 3)])


def answer_of(model: Model) -> float:
    image = np.zeros((9, 12, 3), np.uint8)
    return float(model.segment(image, points=[(3, 3)]).scores[0])


def test_a_model_goes_to_another_process_by_its_folder() -> None:
    model = Model(OnnxRuntime(ASSETS / DEFAULT_VIDEO_MODEL, threads=1))
    assert answer_of(pickle.loads(pickle.dumps(model))) == answer_of(model)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(answer_of, (model,)) == pytest.approx(answer_of(model))


def test_the_model_of_the_package_is_pickled_without_the_place_of_the_package() -> None:
    data = pickle.dumps(Model(OnnxRuntime(ASSETS / DEFAULT_VIDEO_MODEL, threads=1)))
    assert str(ASSETS.parent).encode() not in data
    assert b"assets/nano" in data


@pytest.mark.parametrize("name", [None, 7, "a\0b"])
def test_a_name_that_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="name must be text"):
        open_runtime(name)
