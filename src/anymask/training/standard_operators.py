"""Replace ONNX Runtime's fused operators in an exported model by standard ONNX operators."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import NodeProto, helper

from anymask.base import ModelError, file_sha256
from anymask.runtime import read_manifest
from anymask.training.export_folder import write_manifest


def copy_standard(source: Path, target: Path) -> None:
    """Copy an exported model to an existing folder, with standard operators only.

    Raises:
        ModelError: An operator has no replacement, such as those of an int8 export.
    """
    manifest = read_manifest(source)
    for name in manifest.sha256:
        shutil.copyfile(source / name, target / name)
    for info in manifest.graphs:
        path = target / info.file
        model = onnx.load(path, load_external_data=False)
        graph = model.graph
        ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer} | {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in (*graph.input, *graph.value_info)
        }
        nodes = [
            new
            for node in graph.node
            for new in (_standard(node, ranks) if node.domain else [node])
        ]
        graph.ClearField("node")
        graph.node.extend(nodes)
        opsets = [opset for opset in model.opset_import if not opset.domain]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
        path.write_bytes(model.SerializeToString())
        onnx.checker.check_model(path)
    hashes = {name: file_sha256(target / name) for name in manifest.sha256}
    write_manifest(target, replace(manifest, sha256=hashes))


def _standard(node: NodeProto, ranks: Mapping[str, int]) -> list[NodeProto]:
    """Standard nodes with the same result, given the numbers of dimensions of the tensors."""
    inputs, result, part = [*node.input], node.output[0], f"{node.output[0]}_part"
    settings = {setting.name: helper.get_attribute_value(setting) for setting in node.attribute}
    then = settings.pop("activation", b"").decode()
    numbers = settings.pop("activation_params", [])
    nodes: list[NodeProto] = []
    known = then in ("Relu", "Sigmoid", "Tanh", "Clip") and len(inputs) < 4  # a 4th is added
    if node.op_type in ("FusedConv", "FusedGemm") and known:
        nodes += [helper.make_node(node.op_type[len("Fused") :], inputs, [part], **settings)]
    elif node.op_type == "BiasGelu":
        nodes, then = [helper.make_node("Add", inputs, [part])], "Gelu"
    elif node.op_type == "FusedMatMul" and not any(
        map(settings.get, ("transBatchA", "transBatchB"))
    ):
        for index in (0, 1):
            if settings[("transA", "transB")[index]]:
                rank, turned = ranks[inputs[index]], f"{part}_turned_{index}"
                perm = [*range(rank - 2), rank - 1, rank - 2]
                nodes += [helper.make_node("Transpose", [inputs[index]], [turned], perm=perm)]
                inputs[index] = turned
        nodes += [helper.make_node("MatMul", inputs, [part])]
        then, numbers = "Mul", [settings["alpha"]]
    else:
        raise ModelError(
            f"The operator {node.op_type} of ONNX Runtime has no replacement by standard ONNX "
            'operators. Export without int8, or for runtime="onnxruntime".'
        )
    names = [f"{part}_{index}" for index in range(len(numbers))]
    nodes += [
        helper.make_node("Constant", [], [name], value_float=number)
        for name, number in zip(names, numbers, strict=True)
    ]
    return [*nodes, helper.make_node(then, [part, *names], [result])]
