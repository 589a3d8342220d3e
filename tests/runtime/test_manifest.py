import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import WeightsError
from anymask.masks import ALL_KINDS, ChannelMix, Fit, ModelSpec, Resample
from anymask.models.rules import family_names
from anymask.runtime import GraphInfo, Manifest, TensorInfo, manifest_to_json, read_manifest
from anymask.runtime.manifest import manifest_from_json, spec_to_dict

MANIFEST = Manifest(
    spec=ModelSpec(name="x"),
    graphs=(
        GraphInfo(
            "encoder",
            (TensorInfo("images", "float32", ("B", 3, 1024, 1024)),),
            (TensorInfo("features", "float32", ("B", 256, 64, 64)),),
        ),
        GraphInfo(
            "decoder",
            (TensorInfo("coords", "float32", ("N", "P", 2)),),
            (TensorInfo("logits", "float32", ("N", 4, 256, 256)),),
        ),
    ),
    sha256={"encoder.onnx": "a" * 64, "decoder.onnx": "b" * 64},
    weights_hash="c" * 64,
    licence="Apache-2.0",
    precision="fp32",
    opset=20,
)

channels = st.sampled_from(
    [None, ChannelMix.initial([(0.0, 1.5), (-3.0, 60_000.0)], None, "float32")]
)
three_floats = st.tuples(*[st.floats(0.1, 255)] * 3)
specs = st.builds(
    ModelSpec,
    name=st.text(min_size=1),
    image_side=st.integers(1, 4096),
    mask_side=st.integers(1, 1024),
    mean=three_floats,
    std=three_floats,
    fit=st.sampled_from(get_args(Fit)),
    resample=st.sampled_from(get_args(Resample)),
    accepts=st.frozensets(st.sampled_from(sorted(ALL_KINDS))),
    family=st.sampled_from(family_names()),
    pad_point=st.booleans(),
    fixed_points=st.integers(0, 8),
    mask_threshold=st.floats(-5, 5),
    channels=channels,
)


@given(spec=specs)
def test_a_manifest_survives_json(spec: ModelSpec) -> None:
    manifest = replace(MANIFEST, spec=spec)
    assert manifest_from_json(manifest_to_json(manifest), "here") == manifest


def broken(**changes: Any) -> str:
    record = json.loads(manifest_to_json(MANIFEST))
    for name, value in changes.items():
        if value is None:
            del record[name]
        else:
            record[name] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"x: Not valid JSON \(.*Export the model again with `anymask export`"),
        ("[]", "x has no 'format': it is not an anymask manifest. Export"),
        ("{}", "x has no 'format': it is not an anymask manifest. Export"),
        (broken(format=1), "x has format 1, .* reads format 2. .* version of anymask that wrote"),
        (broken(licence=None), "x has no entry 'licence'. Export"),
        (broken(spec={}), "x has no entry 'name'. Export"),
        (broken(opset="new"), r"x is corrupted \(.*\). Export"),
        (broken(sha256=[]), r"x is corrupted \(.*\). Export"),
        (broken(graphs=None), "x has no entry 'graphs'. Export"),
        (broken(graphs={"encoder": {"inputs": []}}), "x has no entry 'outputs'. Export"),
    ],
)
def test_a_broken_manifest_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        manifest_from_json(text, "x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fit", "zoom"),
        ("resample", "magic"),
        ("family", "sam9"),
        ("accepts", ["smell"]),
        ("new", 1),
    ],
)
def test_a_spec_of_a_later_anymask_is_refused(name: str, value: Any) -> None:
    record = {**spec_to_dict(MANIFEST.spec), name: value}
    with pytest.raises(WeightsError, match=f"x is corrupted .*{name}"):
        manifest_from_json(broken(spec=record), "x")


def test_the_page_knows_the_thresholds_by_the_names_of_the_format() -> None:
    spec = ModelSpec(name="x", family="nano")
    grid = json.loads(manifest_to_json(replace(MANIFEST, spec=spec)))["grid"]
    assert grid == {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.3}


def test_channels_are_said_only_of_models_that_have_them() -> None:
    assert "channels" not in spec_to_dict(MANIFEST.spec)
    mix = ChannelMix.initial([(0.0, 255.0)] * 4, (1, 2, 3), "uint8")
    tuned = replace(MANIFEST, spec=replace(MANIFEST.spec, channels=mix))
    text = manifest_to_json(tuned)
    assert "an image has 4 channels" in text
    record = json.loads(text)
    record["spec"]["channels"]["lows"] = [0.0]
    with pytest.raises(WeightsError, match="x is corrupted .*must have 1 to 16 channels"):
        manifest_from_json(json.dumps(record), "x")


def test_a_manifest_must_give_the_hash_of_every_graph(tmp_path: Path) -> None:
    manifest = replace(MANIFEST, sha256={"encoder.onnx": "a" * 64})
    (tmp_path / "manifest.json").write_text(manifest_to_json(manifest), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"declares no sha256 for decoder.onnx. Export"):
        read_manifest(tmp_path)


@given(names=st.lists(st.sampled_from(["encoder", "decoder", "memory", "text"]), unique=True))
def test_a_manifest_lists_any_number_of_graphs_by_name(names: list[str]) -> None:
    graphs = tuple(GraphInfo(name, (), ()) for name in names)
    again = manifest_from_json(manifest_to_json(replace(MANIFEST, graphs=graphs)), "here")
    assert again.graphs == graphs
    for name in names:
        assert again.graph(name).file == f"{name}.onnx"


def test_a_graph_that_is_not_there_is_told_with_those_that_are() -> None:
    told = "The exported model 'x' has no graph 'text', only encoder, decoder. Export"
    with pytest.raises(WeightsError, match=told):
        MANIFEST.graph("text")
