import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.onnx._internal.exporter._registration import ONNXRegistry

from anymask.base import InputError, file_sha256
from anymask.runtime import GraphInfo, OnnxRuntime, TensorInfo, read_manifest
from anymask.training import export_graphs
from anymask.training import export_graphs as graphs
from anymask.training.export_graphs import export_bundle
from anymask.training.export_verify import verify_bundle
from tests.runtime.exports import META, exported, network, read_operators_once
from tests.runtime.stand_in import SPEC, build, some_prompts


@pytest.fixture
def quick(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the stand-in's graphs instead of exporting anew: for what happens around the graphs."""

    def copy(*args: object, int8: bool, fused: bool) -> None:
        info, stage = args[2], args[-1]
        assert isinstance(info, GraphInfo)
        assert isinstance(stage, Path)
        shutil.copy2(bundle / info.file, stage / info.file)

    monkeypatch.setattr(graphs, "trace_graph", copy)


def test_the_folder_holds_the_graphs_the_manifest_and_how_to_run_them(bundle: Path) -> None:
    names = {path.name for path in bundle.iterdir()}
    assert names == {
        "encoder.onnx", "decoder.onnx", "manifest.json", "README.md",
        "example.py", "answer.py", "shapes.py",
    }  # fmt: skip


def test_the_manifest_says_what_the_graphs_take_and_give(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    for name, info in ((name, manifest.graph(name)) for name in ("encoder", "decoder")):
        session = onnxruntime.InferenceSession(
            bundle / f"{name}.onnx", providers=["CPUExecutionProvider"]
        )
        assert [node.name for node in session.get_inputs()] == [t.name for t in info.inputs]
        assert [node.name for node in session.get_outputs()] == [t.name for t in info.outputs]
        for node, tensor in zip(session.get_inputs(), info.inputs, strict=True):
            assert tuple(node.shape) == tensor.shape
    assert manifest.graph("decoder").inputs[2] == TensorInfo("coords", "float32", ("N", "P", 2))
    assert manifest.graph("decoder").outputs[0] == TensorInfo("logits", "float32", ("N", 4, 8, 8))
    assert manifest.graph("encoder").outputs[1] == TensorInfo("extras_0", "float32", ("B", 1, 8, 8))
    assert manifest.sha256["encoder.onnx"] == file_sha256(bundle / "encoder.onnx")
    assert (manifest.spec, manifest.licence, manifest.precision) == (SPEC, "Apache-2.0", "fp32")


def test_the_graphs_are_optimised_and_run_on_other_processors(bundle: Path) -> None:
    for name in ("encoder.onnx", "decoder.onnx"):
        model = onnx.load(bundle / name)
        kinds = Counter(node.op_type for node in model.graph.node)
        assert kinds["BatchNormalization"] == kinds["Constant"] == kinds["Erf"] == 0
        domains = {node.domain for node in model.graph.node}
        assert domains <= {"", "com.microsoft"}, "no blocked layout of this machine's processor"
        assert {entry.domain for entry in model.opset_import} <= domains | {""}


def test_the_exported_module_is_left_alone(quick: None, tmp_path: Path) -> None:
    module = build().double()
    module.train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    export_bundle(module, SPEC, tmp_path / "x", **META)
    assert module.training
    for name, tensor in module.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert bool((tensor == before[name]).all())


def test_a_file_or_a_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo.jpg").write_text("mine")
    with pytest.raises(InputError, match="file is a file"):
        export_bundle(build(), SPEC, tmp_path / "file", **META)
    with pytest.raises(InputError, match="folder contains files"):
        export_bundle(build(), SPEC, tmp_path / "folder", **META)
    assert (tmp_path / "folder" / "photo.jpg").read_text() == "mine"


def test_an_earlier_export_is_replaced_and_what_others_put_there_stays(
    bundle: Path, quick: None, tmp_path: Path
) -> None:
    target = Path(shutil.copytree(bundle, tmp_path / "x"))
    (target / "model_card.md").write_text("mine")
    (target / "encoder.onnx.data").write_text("stale")
    export_bundle(build(), SPEC, target, licence="MIT", weights_hash="e" * 64)
    assert read_manifest(target).licence == "MIT"
    assert (target / "model_card.md").read_text() == "mine"
    assert not (target / "encoder.onnx.data").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_failed_export_leaves_the_earlier_one_whole_and_nothing_beside_it(
    bundle: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Path(shutil.copytree(bundle, tmp_path / "x"))

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(graphs, "write_manifest", fail)
    with pytest.raises(OSError, match="the disk is full"):
        export_bundle(build(), SPEC, target, licence="MIT", weights_hash="e" * 64)
    assert OnnxRuntime(target).manifest.licence == "Apache-2.0"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_fixed_number_of_points_is_fixed_in_the_graph(tmp_path: Path) -> None:
    spec = replace(SPEC, fixed_points=3, pad_point=False)
    manifest = export_bundle(build(spec), spec, tmp_path / "x", **META)
    assert manifest.graph("decoder").inputs[2].shape == ("N", 3, 2)
    assert verify_bundle(build(spec), tmp_path / "x").passed


def test_weights_too_big_for_one_file_lie_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "BIG", 1000)
    monkeypatch.setattr(graphs, "BIG", 1000)
    export_bundle(build(), SPEC, tmp_path / "x", **META)
    assert "decoder.onnx.data" in read_manifest(tmp_path / "x").sha256
    (tmp_path / "x").rename(tmp_path / "moved")
    runtime = OnnxRuntime(tmp_path / "moved")
    (features,) = runtime.encode_images(np.zeros((1, 3, 32, 32), np.float32))
    assert runtime.decode(features, some_prompts(2, 2))[0].shape == (2, 4, 8, 8)


@pytest.mark.parametrize("name", ["tiny", "tiny_hq", "video"])
def test_the_sam_family_exports_and_agrees(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    verification = verify_bundle(network(name), exported(name, tmp_path_factory))
    assert verification.passed, verification.complaints()


def test_int8_makes_the_encoder_smaller_and_says_so(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fp32 = exported("tiny", tmp_path_factory)
    whole = read_manifest(fp32)
    small = export_bundle(network("tiny"), whole.spec, tmp_path / "int8", variant="int8", **META)
    assert (whole.precision, small.precision) == ("fp32", "int8")
    sizes = [(folder / "encoder.onnx").stat().st_size for folder in (tmp_path / "int8", fp32)]
    assert sizes[0] < sizes[1]
    assert small.sha256["decoder.onnx"] == whole.sha256["decoder.onnx"]
    kinds = {node.op_type for node in onnx.load(tmp_path / "int8" / "encoder.onnx").graph.node}
    assert kinds & {"MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
    assert "ConvInteger" not in kinds


class OneAttention(nn.Module):
    """Attention of B x 2 heads over L places, with or without a bias (1, 2, L, L)."""

    def forward(self, *given: Tensor) -> Tensor:
        x, *bias = given
        heads = x.unflatten(-1, (2, 4)).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(heads, 2 * heads, heads + 1, *bias)
        return mixed.transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("biased", "places", "kinds"),
    [
        (False, 6, {"MultiHeadAttention"}),
        (True, 6, {"MultiHeadAttention"}),
        (True, export_graphs.MIN_UNFUSED_QUERIES, {"Softmax"}),
    ],
)
def test_fused_attention_equals_that_of_torch(
    tmp_path: Path, biased: bool, places: int, kinds: set[str]
) -> None:
    torch.manual_seed(0)
    given: tuple[Tensor, ...] = (torch.randn(3, places, 8),)
    given += (torch.randn(1, 2, places, places),) if biased else ()
    names = ("x", "bias")[: len(given)]
    takes = dict(zip(names, ("B", ""), strict=False))
    network = OneAttention().eval()
    info = graphs.write_graph("one", network, given, takes, {"y": "B"}, tmp_path, fused=True)
    found = {node.op_type for node in onnx.load(tmp_path / info.file).graph.node}
    assert found & {"MultiHeadAttention", "Softmax"} == kinds
    session = onnxruntime.InferenceSession(str(tmp_path / info.file))
    fewer = (given[0][:2], *given[1:])
    (mine,) = session.run(None, {name: one.numpy() for name, one in zip(names, fewer, strict=True)})
    np.testing.assert_allclose(mine, network(*fewer).numpy(), atol=1e-4)


def test_operators_of_a_fused_graph_are_not_those_of_the_next_one() -> None:
    read_operators_once()
    first, second = (ONNXRegistry.from_torchlib(opset_version=20) for _ in range(2))
    for target, operator in export_graphs.translations().items():
        first.register_op(target, operator)
        assert first.functions[target.name()][0].onnx_function is operator
        assert operator not in [one.onnx_function for one in second.functions[target.name()]]


def test_fused_graphs_agree(tmp_path: Path) -> None:
    module = network("video")
    export_bundle(module, module.spec, tmp_path / "x", variant="fused", **META)  # type: ignore[arg-type]
    nodes = onnx.load(tmp_path / "x" / "encoder.onnx").graph.node
    assert "MultiHeadAttention" in {node.op_type for node in nodes}
    assert verify_bundle(module, tmp_path / "x").passed
