import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from anymask.base import InputError, WeightsError, file_sha256
from anymask.runtime import OnnxRuntime, TorchRuntime
from research.shared import write_tables
from tests.runtime.stand_in import build, some_prompts


def some_images(b: int) -> np.ndarray:
    return np.random.default_rng(b).standard_normal((b, 3, 32, 32)).astype(np.float32)


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copied"))


def test_it_answers_as_torch_does(bundle: Path) -> None:
    exported, eager = OnnxRuntime(bundle), TorchRuntime(build(), device="cpu")
    images = some_images(3)
    for ours, theirs in zip(
        exported.encode_images(images), eager.encode_images(images), strict=True
    ):
        for a, b in zip(ours.maps(), theirs.maps(), strict=True):
            assert a.name == b.name
            np.testing.assert_allclose(a.values, b.values, rtol=1e-4, atol=1e-5)
        for n, p in ((1, 1), (3, 2), (17, 5)):
            for a, b in zip(
                exported.decode(ours, some_prompts(n, p)),
                eager.decode(theirs, some_prompts(n, p)),
                strict=True,
            ):
                assert a.dtype == np.float32
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_many_threads_share_one_runtime(bundle: Path) -> None:
    runtime = OnnxRuntime(bundle, threads=1)
    maps = OnnxRuntime(bundle).encode_images(some_images(1))[0]
    expected = OnnxRuntime(bundle, threads=1).decode(maps, some_prompts(3, 2))[0]
    with ThreadPoolExecutor(8) as pool:  # the first ones also race to open the graph
        answers = pool.map(lambda _: runtime.decode(maps, some_prompts(3, 2))[0], range(32))
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)


def test_decoding_alone_never_reads_the_encoder(copied: Path) -> None:
    maps = OnnxRuntime(copied).encode_images(some_images(1))[0]
    (copied / "encoder.onnx").unlink()
    runtime = OnnxRuntime(copied)
    assert runtime.decode(maps, some_prompts(1, 1))[0].shape == (1, 4, 8, 8)
    with pytest.raises(WeightsError, match=r"encoder.onnx is missing, but manifest.json lists"):
        runtime.encode_images(some_images(1))


def test_an_altered_graph_is_refused(copied: Path) -> None:
    path = copied / "decoder.onnx"
    path.write_bytes(path.read_bytes()[:-7])
    runtime = OnnxRuntime(copied)
    maps = runtime.encode_images(some_images(1))[0]
    with pytest.raises(WeightsError, match=r"decoder.onnx was changed or truncated: its sha256 is"):
        runtime.decode(maps, some_prompts(1, 1))


def rewrite_manifest(folder: Path, change: dict[str, object]) -> None:
    path = folder / "manifest.json"
    record = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**record, **change}), encoding="utf-8")


def test_a_file_that_is_no_graph_is_refused(copied: Path) -> None:
    (copied / "encoder.onnx").write_bytes(b"hello")
    hashes = {name: file_sha256(copied / name) for name in ("encoder.onnx", "decoder.onnx")}
    rewrite_manifest(copied, {"sha256": hashes})
    with pytest.raises(WeightsError, match=r"cannot open .*encoder.onnx. Upgrade onnxruntime"):
        OnnxRuntime(copied).encode_images(some_images(1))


def test_a_graph_with_other_inputs_than_its_manifest_says_is_refused(copied: Path) -> None:
    record = json.loads((copied / "manifest.json").read_text("utf-8"))
    record["graphs"]["encoder"]["inputs"][0]["name"] = "photo"
    rewrite_manifest(copied, record)
    with pytest.raises(WeightsError, match=r"has the inputs images and 2 outputs, .* declares"):
        OnnxRuntime(copied).encode_images(some_images(1))


def test_a_device_that_onnx_runtime_lacks_is_refused(bundle: Path) -> None:
    with pytest.raises(InputError, match="device auto, cpu, cuda, got 'mps'. .*'torch'"):
        OnnxRuntime(bundle, device="mps")
    with pytest.raises(InputError, match="ONNX Runtime does not support device 'cuda'. Install"):
        OnnxRuntime(bundle, device="cuda")


# What the family learned.


@pytest.fixture
def learned(copied: Path) -> Path:
    """The bundle, as if its family had learned something."""
    write_tables(copied, {"own": {"direct": [1.0]}})
    return copied


def test_the_tables_of_a_bundle_are_its_family_s(learned: Path, bundle: Path) -> None:
    assert OnnxRuntime(learned).family.tables == {"own": {"direct": [1.0]}}
    assert OnnxRuntime(bundle).family.tables == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", ": Not valid JSON"),
        ("[1]", " must contain a JSON object"),
        ('{"own": 1}', ": The table 'own' is missing, or has other"),
        (
            '{"scores": {"factor": 1.0, "shift": "0"}}',
            ": The table 'scores' is missing, or has other",
        ),
        ('{"adaptive": {"into": [[1.0]], "bias": [1.0], "out": [1.0]}}', ": The table 'adaptive'"),
    ],
)
def test_tables_that_are_none_are_told(learned: Path, text: str, told: str) -> None:
    path = learned / "tables.json"
    path.write_text(text, encoding="utf-8")
    hashes = json.loads((learned / "manifest.json").read_text("utf-8"))["sha256"]
    rewrite_manifest(learned, {"sha256": {**hashes, "tables.json": file_sha256(path)}})
    with pytest.raises(WeightsError, match=rf"tables.json{told}"):
        OnnxRuntime(learned)


def test_a_sibling_has_other_threads_the_same_answers_and_is_opened_once(bundle: Path) -> None:
    runtime = OnnxRuntime(bundle, threads=3)
    sibling = runtime.with_threads(2)
    assert (sibling.threads, runtime.threads) == (2, 3)
    assert (sibling.device, sibling.precision) == ("cpu", "fp32")
    assert sibling is runtime.with_threads(2)
    assert runtime.with_threads(3) is runtime
    for a, b in zip(
        runtime.encode_images(some_images(1)), sibling.encode_images(some_images(1)), strict=True
    ):
        for ours, theirs in zip(a.maps(), b.maps(), strict=True):
            np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-4, atol=1e-5)


def test_the_graphs_of_prompts_are_opened_while_the_first_image_is_encoded(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, opened = OnnxRuntime._read_graph, list[str]()

    def recorded(self: OnnxRuntime, path: Path) -> object:
        if self is runtime:  # threads of earlier tests may still open theirs
            opened.append(path.stem)
        return read(self, path)

    monkeypatch.setattr(OnnxRuntime, "_read_graph", recorded)
    runtime = OnnxRuntime(bundle, threads=1)
    assert opened == []
    side = runtime.spec.image_side
    for _ in range(2):
        runtime.encode_images(np.zeros((1, 3, side, side), np.float32))
    for thread in threading.enumerate():
        if thread.name == "anymask-open":
            thread.join()
    assert opened[0] == "encoder"
    assert sorted(opened[1:]) in (["decoder"], ["sweep_image", "sweep_prompt"])
