"""Folders of exported models: written by name, and with the networks that a family shares."""

import filecmp
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import anymask
from anymask import models
from anymask.base import ModelError, write_whole
from anymask.runtime import ASSETS, MANIFEST, GraphNames, manifest_to_json, read_manifest
from anymask.training import copy_bundle
from anymask.training.export_folder import add_shared_networks, export


def bare(folder: Path) -> Path:
    """A bundle of encoder and decoder alone, as graphs are written first."""
    copy_bundle(ASSETS / "nano", folder)
    manifest = read_manifest(folder)
    graphs = tuple(
        graph for graph in manifest.graphs if graph.name in (GraphNames.ENCODER, GraphNames.DECODER)
    )
    for name in (GraphNames.REFINER, GraphNames.NAMES, GraphNames.MEMORY):
        (folder / f"{name}.onnx").unlink()
    kept = {name: value for name, value in manifest.sha256.items() if (folder / name).is_file()}
    write_whole(folder / MANIFEST, manifest_to_json(replace(manifest, graphs=graphs, sha256=kept)))
    return folder


def test_edges_and_names_come_along_and_what_reads_earlier_frames_does_not(tmp_path: Path) -> None:
    folder = bare(tmp_path / "tuned")
    add_shared_networks(folder, models.spec("nano"))
    manifest = read_manifest(folder)
    assert {graph.name for graph in manifest.graphs} == {
        GraphNames.ENCODER,
        GraphNames.DECODER,
        GraphNames.REFINER,
        GraphNames.NAMES,
    }
    files = ["refiner.onnx", "refiner.safetensors", "names.onnx", "names.npz"]
    assert filecmp.cmpfiles(ASSETS / "nano", folder, files, shallow=False)[0] == files
    model = anymask.load(str(folder))
    answer = model.segment(anymask.sample("cat"), box=(100, 10, 400, 290))
    assert model.suggest_labels(anymask.sample("cat"), answer, top=1)[0][0].label == "cat"
    assert "refiner.onnx" in (folder / "README.md").read_text()


def test_a_family_without_such_networks_stays_as_it_is(tmp_path: Path) -> None:
    folder = bare(tmp_path / "other")
    before = (folder / MANIFEST).read_bytes()
    add_shared_networks(folder, models.spec("mobile_sam"))
    assert (folder / MANIFEST).read_bytes() == before


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the Sigmoid of onnx.reference overflows
def test_standard_operators_agree_with_the_reference_implementation(tmp_path: Path) -> None:
    folder = export("nano", tmp_path / "x", runtime="any")
    fused, plain = read_manifest(export("nano", tmp_path / "y")), read_manifest(folder)
    assert (fused.domains, plain.domains) == (("com.microsoft",), ())
    assert "com.microsoft" in (tmp_path / "y" / "README.md").read_text()
    sizes, rng = {"B": 1, "N": 2, "P": 3, "H": 64, "W": 96}, np.random.default_rng(0)
    for info in plain.graphs:
        onnx.checker.check_model(folder / info.file)
        if info.name not in (GraphNames.ENCODER, GraphNames.DECODER):
            continue  # the reference implementation of GatherElements is limited
        given = {
            one.name: rng.random([sizes.get(n, n) for n in one.shape]).astype(one.dtype)  # type: ignore[call-overload]  # letters are in sizes
            for one in info.inputs
        }
        fast = onnxruntime.InferenceSession(ASSETS / "nano" / info.file).run(None, given)
        slow = ReferenceEvaluator(str(folder / info.file)).run(None, given)
        for ours, theirs in zip(slow, fast, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_what_is_not_offered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not support 8-bit export"):
        export("nano", tmp_path / "x", int8=True)
    assert not (tmp_path / "x").exists()
