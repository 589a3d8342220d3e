"""Models that see pictures of another side: NAME@SIDE."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import anymask
from anymask.base import InputError, ModelError
from anymask.cli.main import main
from anymask.jobs import ModelSettings
from anymask.masks import ModelSpec, spec_at
from anymask.models.nano import Nano, NanoConfig
from anymask.runtime import (
    ASSETS,
    OnnxRuntime,
    TorchRuntime,
    open_runtime,
    read_checkpoint,
    read_manifest,
    split_side,
)
from anymask.runtime.manifest import GRAPH_WEIGHTS
from anymask.studio.serve import check_model, exported_choice
from tests.runtime.stand_in import some_prompts

WEIGHTS = ASSETS / "nano" / GRAPH_WEIGHTS


def test_a_name_is_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert split_side("nano@768") == ("nano", 768)
    assert split_side("runs/mine@640") == ("runs/mine", 640)
    for name in ("nano", "nano@", "@768", "nano@big", "nano@-64", "nano@7.5", "nano@1234567"):
        assert split_side(name) == (name, None)
    (tmp_path / "mine@640").mkdir()
    assert split_side("mine@640") == ("mine@640", None)


def test_a_spec_grows_with_its_side() -> None:
    spec = ModelSpec(name="free", image_side=512, mask_side=128, pad_multiple=32)
    wider = spec_at(spec, 768)
    assert (wider.name, wider.image_side, wider.mask_side) == ("free@768", 768, 192)
    assert spec_at(spec, 512) is spec
    for side, remedy in ((700, "@704"), (96, "@128"), (2048, "@1536"), (0, "@128")):
        with pytest.raises(
            InputError, match=f"size {side} .*multiple of 32 from 128 to 1536, .*{remedy}"
        ):
            spec_at(spec, side)
    with pytest.raises(InputError, match="fixed input size 1024, but @512"):
        spec_at(ModelSpec(name="fixed"), 512)


@pytest.mark.parametrize("side", [256, 640])
def test_graphs_answer_at_any_side_as_the_network_does(side: int) -> None:
    module = Nano(NanoConfig(image_side=side))
    module.load_state_dict(read_checkpoint(WEIGHTS))
    eager, graphs = TorchRuntime(module, device="cpu"), open_runtime(f"nano@{side}")
    image = np.random.default_rng(side).uniform(-1, 1, (1, 3, side - 64, side))
    features = [one.encode_images(image.astype(np.float32))[0] for one in (graphs, eager)]
    prompts = some_prompts(2, 3, module.spec)
    ours, theirs = graphs.decode(features[0], prompts), eager.decode(features[1], prompts)
    assert ours[0].shape == (2, 4, side // 4, side // 4)
    np.testing.assert_allclose(ours[0], theirs[0], atol=0.05)
    np.testing.assert_allclose(ours[1], theirs[1], atol=2e-3)


def test_weights_are_opened_at_a_side_too() -> None:
    """Torch and graphs agree on a photo, in tiles of threads and in another process."""
    image, click = anymask.sample("rocket"), [(300, 200)]
    graphs, torch = anymask.load("nano@640"), anymask.load("nano@640", weights=WEIGHTS)
    assert graphs.name == torch.name == "nano@640"
    a, b = (one.segment(image, points=click).best.mask for one in (graphs, torch))
    assert (a & b).sum() / (a | b).sum() > 0.99
    runtime = graphs.runtime
    assert isinstance(runtime, OnnxRuntime)
    again = pickle.loads(pickle.dumps(runtime)).with_threads(3)
    assert (again.spec, again.threads) == (runtime.spec, 3)
    with pytest.raises(InputError, match="Encode the image again"):
        anymask.load().segment(graphs.encode(image), points=click)


def test_graphs_of_one_side_say_so(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="but @256 was requested"):
        open_runtime(f"{bundle}@256")
    old = Path(shutil.copytree(bundle, tmp_path / "old"))
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["spec"] |= {"image_side": 128, "mask_side": 32, "pad_multiple": 32}
    (old / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="old was exported for one image size, so @256"):
        open_runtime(f"{old}@256")


def test_an_export_of_a_side_needs_no_name_for_it(tmp_path: Path) -> None:
    street = tmp_path / "street"
    main(["export", "nano@640", "-o", str(street)])
    written, asked = read_manifest(street), open_runtime("nano@640")
    assert written.spec == asked.spec
    assert written.graph("decoder").outputs[0].shape == ("N", 4, 160, 160)
    assert "(N, 4, 160, 160)" in (street / "README.md").read_text()
    back = anymask.load(f"{street}@512")
    assert back.spec.image_side == 512
    image = anymask.sample("coffee")
    first, second = (
        one.segment(image, points=[(250, 200)]).best.mask for one in (back, anymask.load())
    )
    assert (first == second).all()


def test_a_server_gives_its_page_the_same_side(tmp_path: Path) -> None:
    choice = exported_choice(ModelSettings("nano@640"), tmp_path)
    assert read_manifest(Path(choice.model)).spec.image_side == 640
    assert exported_choice(ModelSettings("nano"), tmp_path) == ModelSettings("nano")
    check_model(ModelSettings("nano@640", weights=WEIGHTS))
    with pytest.raises(ModelError, match="Unknown model 'nanno'"):
        check_model(ModelSettings("nanno@640"))
