"""Reading a checkpoint: tensors or a sentence, and never code."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest

from anymask.base import WeightsError
from anymask.runtime import weight_files as formats

torch = pytest.importorskip("torch", reason="checkpoints are read with torch")
save_file = pytest.importorskip("safetensors.torch").save_file
read_checkpoint = pytest.importorskip("anymask.runtime.checkpoints").read_checkpoint

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.steps": torch.tensor(7)}


def same(got: dict[str, object]) -> bool:
    return list(got) == list(TENSORS) and all(torch.equal(got[k], TENSORS[k]) for k in TENSORS)


class Malice:
    """Creates a file when it is unpickled the ordinary way."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: {"model": t},
        lambda t: {"model": t, "optimizer": {"lr": 0.1}, "epoch": 3},
        lambda t: {"state_dict": t},
        lambda t: {"state_dict": {"model": t}},
        lambda t: {"model_state": {f"sam.{k}": v for k, v in t.items()}},
        lambda t: {  # micro-sam's best.pt: torch_em's keys, its TrainableSAM on several GPUs
            "model_state": {f"module.sam.{k}": v for k, v in t.items()},
            "decoder_state": {"out_conv.weight": torch.ones(3, 2)},
            "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-5}]},
            "iteration": 250,
        },
        lambda t: {f"module.{k}": v for k, v in t.items()},
        lambda t: {"model": {f"module._orig_mod.{k}": v for k, v in t.items()}},
    ],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_known_wrappers_come_off(path, wrap, zipped):
    torch.save(wrap(TENSORS), path, _use_new_zipfile_serialization=zipped)
    assert same(read_checkpoint(path))


def test_a_prefix_that_not_every_name_has_stays(path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, path)
    assert list(read_checkpoint(path)) == ["module.a", "b"]


def test_safetensors_are_read_whatever_the_file_is_called(path):
    save_file({k: v.contiguous() for k, v in TENSORS.items()}, path)
    got = read_checkpoint(path)
    assert all(torch.equal(got[k], TENSORS[k]) for k in TENSORS)


def test_a_zip_around_one_checkpoint_is_read_as_it_is(path, tmp_path):
    torch.save({"model": TENSORS}, path)
    outer = tmp_path / "efficient_sam_vits.pt.zip"
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "efficient_sam_vits.pt")
        archive.writestr("__MACOSX/._efficient_sam_vits.pt", "finder")
    assert same(read_checkpoint(outer))


@pytest.mark.parametrize("how", ["pickle", "torch", "legacy", "wrapped", "zip in zip"])
def test_a_hostile_file_is_refused_and_runs_nothing(path, tmp_path, how):
    trap = tmp_path / "trap"
    evil = {"model": {"a": torch.ones(2), "b": Malice(trap)}}
    if how == "pickle":
        path.write_bytes(pickle.dumps(Malice(trap)))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=how != "legacy")
    if how == "zip in zip":
        inner, path = path, tmp_path / "outer.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(inner, "inner.pt")
    called = f"{os.mkdir.__module__}.mkdir"
    reason = "a general Python pickle" if how == "pickle" else f"run code (it requires {called})"
    with pytest.raises(WeightsError, match="was not loaded") as error:
        read_checkpoint(path)
    assert reason in str(error.value)
    assert "anymask ran none of it" in str(error.value)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"],
         "is a TorchScript program, not a weights file"),
        (["photo.jpg"], "is a zip archive without a checkpoint"),
    ],
)  # fmt: skip
def test_an_archive_of_something_else_is_named(path, names, message):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><html>", "is a web page, not a checkpoint"),
        (b"<?xml version='1.0'?><Error/>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "is a Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a supported checkpoint"),
        (b"\x80\x02}q\x00(X", "is not a readable checkpoint"),
        (b"PK\x03\x04" + bytes(200), "is incomplete"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{}        ", "is incomplete: its header declares 263"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "an empty mapping"),
        (b"\x0a\x00\x00\x00\x00\x00\x00\x00{not json}", "is not a readable checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_said_in_words(path, content, message):
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)


def test_a_folder_and_a_missing_file_are_said_in_words(tmp_path):
    with pytest.raises(WeightsError, match="is a folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(WeightsError, match="Cannot read the weights"):
        read_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_checkpoint_is_refused(path, share, kind):
    tensors = {"a": torch.arange(5000.0), "b": torch.ones(300, 7)}
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match="Download it again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "contains a list, not named weights"),
        (torch.ones(2), "contains a Tensor, not named weights"),
        ({}, "contains an empty mapping"),
        ({"a": torch.ones(1), "epoch": 3}, r"contains other entries besides weights \(epoch\)"),
    ],
)
def test_a_file_without_weights_by_name_says_what_it_holds(path, content, message):
    torch.save(content, path)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)


def test_a_format_is_told_without_torch(path):
    torch.save(TENSORS, path)
    assert formats.sniff(path) == "torch"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    assert formats.sniff(path) == "pickle"
    save_file({"a": torch.ones(2)}, path)
    assert formats.sniff(path) == "safetensors"


def test_a_packed_file_that_unpacks_to_hundreds_of_times_its_size_is_refused(tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(70 << 20))
    with pytest.raises(WeightsError, match=r"bomb.pt was not loaded. Its \d+ bytes unpack to"):
        read_checkpoint(path)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(path, "inner.pt")
    with pytest.raises(WeightsError, match=r"outer.zip was not loaded. In inner.pt: Its \d+ bytes"):
        read_checkpoint(tmp_path / "outer.zip")


def test_the_trap_of_these_tests_works(tmp_path):
    pickle.loads(pickle.dumps(Malice(tmp_path / "trap")))
    assert (tmp_path / "trap").is_dir()
