"""OpenVINO against ONNX Runtime: the same graphs, the same answers; its own files; its absence."""

import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import anymask
from anymask.base import InputError, MissingExtra, ModelError, WeightsError
from anymask.cli import main
from anymask.masks import ModelPrompts
from anymask.runtime import (
    ASSETS,
    OnnxRuntime,
    open_bundle,
    open_runtime,
    read_manifest,
)
from anymask.training.export_folder import export
from tests.runtime.stand_in import some_prompts

LOGITS = 1e-3  # of the largest


def images(b: int, side: int) -> np.ndarray:
    return np.random.default_rng(b).standard_normal((b, 3, side, side)).astype(np.float32)


def assert_same_answers(one: OnnxRuntime, other: OnnxRuntime, prompts: list[ModelPrompts]) -> None:
    """From the pixels on, each with its own maps."""
    pixels = images(2, one.spec.image_side)
    for ours, theirs in zip(one.encode_images(pixels), other.encode_images(pixels), strict=True):
        assert [m.name for m in ours.maps()] == [m.name for m in theirs.maps()]
        for given in prompts:
            for a, b in zip(one.decode(ours, given), other.decode(theirs, given), strict=True):
                assert a.dtype == np.float32
                assert np.abs(a - b).max() <= LOGITS * np.abs(b).max()


@pytest.mark.parametrize("folder", [None, "nano"])
def test_float32_gives_the_logits_of_onnx_runtime(folder: str | None, bundle: Path) -> None:
    place = bundle if folder is None else ASSETS / folder
    ours = open_runtime(str(place), runtime="openvino")
    theirs = OnnxRuntime(place)
    prompts = [some_prompts(n, p, theirs.spec) for n, p in ((1, 1), (3, 2))]
    assert_same_answers(ours, theirs, prompts)
    assert ours.weights_hash == theirs.weights_hash
    assert ours.with_threads(2) is ours.with_threads(2)
    assert type(ours.with_threads(2)) is type(ours)
    assert pickle.loads(pickle.dumps(ours)).precision == "fp32"


@pytest.mark.slow
def test_weights_in_16_bits_are_multiplied_in_float32() -> None:
    """`small`: in OpenVINO's other mode its maps move by a hundredth of their largest value."""
    ours, theirs = open_runtime("small", runtime="openvino"), OnnxRuntime(ASSETS / "small")
    pixels = images(1, 256)
    pairs = zip(
        ours.encode_images(pixels)[0].maps(), theirs.encode_images(pixels)[0].maps(), strict=True
    )
    for a, b in pairs:
        assert np.abs(a.values - b.values).max() <= 1e-4 * np.abs(b.values).max()


def test_many_threads_share_one_runtime(bundle: Path) -> None:
    runtime = open_runtime(str(bundle), runtime="openvino")
    seen = runtime.encode_images(images(1, 32))[0]
    asked = [some_prompts(n, 2) for n in (1, 2, 3, 5)] * 8
    wanted = [OnnxRuntime(bundle).decode(seen, one)[0] for one in asked[:4]] * 8
    with ThreadPoolExecutor(8) as pool:
        for a, b in zip(
            pool.map(lambda one: runtime.decode(seen, one)[0], asked), wanted, strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_its_own_files_answer_alike_and_open_nowhere_else(tmp_path: Path) -> None:
    folder = export("nano", tmp_path / "ov", "openvino")
    manifest = read_manifest(folder)
    assert {info.file for info in manifest.graphs} >= {"encoder.xml", "decoder.xml"}
    assert {"encoder.bin", "decoder.bin"} < manifest.sha256.keys()
    assert not list(folder.glob("*.onnx*"))
    readme = (folder / "README.md").read_text()
    assert 'runtime="openvino"' in readme
    assert "onnxruntime" not in readme
    spec = manifest.spec
    assert_same_answers(
        open_bundle(folder), OnnxRuntime(ASSETS / "nano"), [some_prompts(2, 2, spec)]
    )
    with pytest.raises(InputError, match=r"exported for OpenVINO.*runtime='openvino'"):
        anymask.load(str(folder))
    data = (folder / "encoder.bin").read_bytes()
    (folder / "encoder.bin").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"encoder\.bin was changed"):
        open_bundle(folder).encode_images(images(1, spec.image_side))


def test_bfloat16_and_8_bits_are_near(bundle: Path) -> None:
    """Both precisions are the same model; the guide on deployment has figures on photos."""
    pixels, theirs = images(1, 32), OnnxRuntime(bundle)
    wanted = theirs.encode_images(pixels)[0].maps()
    for precision in ("bf16", "int8"):
        found = open_runtime(str(bundle), runtime="openvino", precision=precision).encode_images(
            pixels
        )[0]
        for a, b in zip(found.maps(), wanted, strict=True):
            assert np.abs(a.values - b.values).max() <= 0.05 * np.abs(b.values).max()


def test_what_it_does_not_do_is_said(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"runtime='openvino' requires an exported model"):
        open_runtime("mobile_sam", runtime="openvino")
    with pytest.raises(InputError, match="precision 'fp16' for OpenVINO"):
        open_runtime("nano", runtime="openvino", precision="fp16")
    with pytest.raises(InputError, match="device auto or cpu, got 'cuda'"):
        open_runtime("nano", runtime="openvino", device="cuda")
    with pytest.raises(InputError, match="format 'coreml'. Use 'onnx' or 'openvino'"):
        export("nano", tmp_path / "x", "coreml")  # type: ignore[arg-type]
    broken = Path(shutil.copytree(bundle, tmp_path / "broken"))
    path = broken / "decoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"decoder\.onnx was changed"):
        open_runtime(str(broken), runtime="openvino").decode(
            OnnxRuntime(bundle).encode_images(images(1, 32))[0], some_prompts(1, 1)
        )


def test_without_the_package_the_command_to_install_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    words = r"pip install 'anymask\[openvino\]'"
    with pytest.raises(MissingExtra, match=words):
        anymask.load("nano", runtime="openvino")
    with pytest.raises(MissingExtra, match=words):
        export("nano", tmp_path / "x", "openvino")
    asked = ["segment", str(tmp_path / "no.jpg"), "--point", "1,1", "--runtime", "openvino"]
    assert main.main([*asked, "-o", str(tmp_path / "m.png")]) == 2
    assert not (tmp_path / "x").exists()
    assert "Traceback" not in capsys.readouterr().err


def test_nothing_of_it_is_loaded_unless_it_is_asked_for() -> None:
    script = (
        "import sys, anymask; anymask.load('nano'); "
        "assert not any(name.startswith('openvino') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_ctrl_c_is_heard_after_two_models_are_gone(bundle: Path) -> None:
    """Of each, OpenVINO leaves a stack for signals to the thread, which may be freed memory."""
    program = """
import os, signal, sys
import numpy as np
from anymask.runtime import open_runtime
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background nobody hears it
first, second = (open_runtime(sys.argv[1], runtime="openvino") for _ in range(2))
pixels = np.zeros((1, 3, 32, 32), np.float32)
first.encode_images(pixels)
second.encode_images(pixels)
del first
del second
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("heard")
"""
    words = [sys.executable, "-c", program, str(bundle)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
