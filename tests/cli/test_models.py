"""`anymask models` as a user meets it."""

import hashlib
import io
import json
import re
import shutil

import pytest

from anymask.cli.main import main
from anymask.find import known_detectors
from anymask.runtime import ASSETS, Checkpoint, catalogue
from anymask.runtime.catalogue import Licence


@pytest.fixture(autouse=True)
def store_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ANYMASK_MIRROR", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def content():
    torch = pytest.importorskip("torch", reason="checkpoints are read with torch")
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, buffer)
    return buffer.getvalue()


@pytest.fixture
def mirror(tmp_path, monkeypatch, content):
    """A folder with the files of two models: one with a public hash, one without and not free."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    facts = {
        "hashed": {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "unhashed": {},
    }
    known = {}
    for name, given in facts.items():
        (folder / f"{name}.pt").write_bytes(content)
        licence = Licence(name="Terms", url="https://example.org/l", commercial=name == "hashed")
        known[name] = Checkpoint(
            name=name,
            variant="sam_vit_b",
            file=f"{name}.pt",
            licence=licence,
            home="https://example.org",
            notes="A test.",
            **given,
        )
    monkeypatch.setattr(catalogue, "catalogue", lambda: known)
    monkeypatch.setenv("ANYMASK_MIRROR", str(folder))
    return folder


def test_the_list_shows_every_model_with_its_licence_and_its_state(capsys, tmp_path):
    assert main(["models", "list", "--json", str(tmp_path / "list.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    columns = ["name", "size", "licence", "commercial", "hash", "installed", "verified", "requires"]
    assert lines[0].split() == columns
    every = [*catalogue.names(), *known_detectors()]
    assert [line.split()[0] for line in lines[1:]] == every
    assert re.search(
        r"^sam3 .*SAM License, gated +\? +NONE +no +anymask.words.$", "\n".join(lines), re.M
    )
    lines = lines[: 1 + len(catalogue.names())]
    assert any(line.startswith("edge_sam ") and " NO " in line for line in lines)
    facts = json.loads((tmp_path / "list.json").read_text())
    assert [model["name"] for model in (*facts["models"], *facts["detectors"])] == every
    plugins = {line.split()[0]: line[lines[0].index("requires") :] for line in lines[1:]}
    assert plugins == {model["name"]: model["plugin"] or "" for model in facts["models"]}
    assert plugins["xmem"] == "anymask-families"
    assert facts["home"] == str(tmp_path / "home")


def test_get_downloads_checks_and_says_how_far(mirror, capsys):
    assert main(["models", "get", "hashed", "unhashed"]) == 0
    out, err = capsys.readouterr()
    assert "the published sha256" in out
    assert "no hash is published" in out
    assert "unhashed: download unverified: no hash of this file is published." in err
    assert "\nhashed: download" not in err
    assert (
        "unhashed has the licence Terms, which does not allow commercial use (https://example.org/l)"
        in err
    )
    assert re.search(r"^hashed, kB (\d+)/\1, ", err, re.MULTILINE)
    assert main(["models", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert [(row[0], *row[-3:]) for row in rows] == [
        ("hashed", "sha256", "yes", "verified"),
        ("unhashed", "NONE", "yes", "unverified"),
    ]


def test_verify_reads_anew_writes_json_and_fails_on_an_altered_file(mirror, capsys, tmp_path):
    assert main(["models", "get", "hashed", "unhashed"]) == 0
    out = tmp_path / "verify.json"
    assert main(["models", "verify", "--json", str(out)]) == 0
    states = {model["name"]: model["status"] for model in json.loads(out.read_text())["models"]}
    assert states == {"hashed": "verified", "unhashed": "unverified"}
    file = tmp_path / "home" / "models" / "hashed" / "hashed.pt"
    file.write_bytes(bytes(file.stat().st_size))
    capsys.readouterr()
    assert main(["models", "verify"]) == 2
    captured = capsys.readouterr()
    assert "hashed: altered" in captured.out
    assert "unhashed: unverified" in captured.out
    assert captured.err.endswith("run: anymask models get hashed\n")


def test_a_detector_is_verified_and_removed_as_a_model_is(store_folder, capsys, tmp_path):
    weights = store_folder / "detectors" / "llmdet_tiny" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    assert main(["models", "verify", "--json", str(tmp_path / "found.json")]) == 0
    (found,) = json.loads((tmp_path / "found.json").read_text())["detectors"]
    digest = hashlib.sha256(b"weights").hexdigest()
    assert (found["status"], found["sha256"]) == ("unverified", digest)
    weights.write_bytes(b"changed")
    assert main(["models", "verify", "llmdet_tiny"]) == 2
    assert "llmdet_tiny: altered" in capsys.readouterr().out
    assert main(["models", "remove", "llmdet_tiny"]) == 0
    assert not weights.parent.exists()


@pytest.mark.parametrize("link", [[], ["--link"]])
def test_add_takes_the_right_file_and_refuses_another(mirror, capsys, link):
    file = mirror / "hashed.pt"
    assert main(["models", "add", "hashed", str(file), *link]) == 0
    assert "the published sha256" in capsys.readouterr().out
    wrong = mirror / "wrong.pt"
    wrong.write_bytes(file.read_bytes() + b" ")
    assert main(["models", "add", "hashed", str(wrong)]) == 2
    assert "is not the published hashed.pt" in capsys.readouterr().err


def test_info_tells_source_licence_and_what_is_unknown(capsys):
    assert main(["models", "info", "edge_sam"]) == 0
    out = capsys.readouterr().out
    assert "NTU S-Lab License 1.0, commercial use NOT allowed" in out
    assert (
        "https://huggingface.co/spaces/chongzhou/EdgeSAM/resolve/main/weights/edge_sam.pth" in out
    )
    assert "sha256:    no published hash" in out
    assert "download:  unverified: no hash of this file is published." in out
    assert "absent: not installed" in out


def test_info_of_tuned_weights_is_what_they_say_of_themselves(tmp_path, capsys):
    about = {
        "variant": "nano",
        "licence": "Apache-2.0",
        "data": {
            "photos": 10,
            "masks": 346,
            "sets": [{"name": "nuclei", "format": "set", "licence": "CC0"}],
        },
        "figures": {"before": [0.692, 0.796], "after": [0.677, 0.822]},
        "classes": ["nucleus"],
    }
    header = json.dumps({"__metadata__": {"anymask": json.dumps(about)}}).encode()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert main(["models", "info", str(path)]) == 0
    told = capsys.readouterr().out
    for line in (
        "network:   nano",
        "learned:   10 images with 346 masks",
        "set:       nuclei (set): CC0",
        "after:     mean IoU on held-out masks after 1, 2, ... clicks: 0.677, 0.822",
        "classes:   nucleus",
    ):
        assert f"{line}\n" in told
    assert main(["models", "verify", str(path)]) == 2
    assert f"anymask models info {path}" in capsys.readouterr().err


def test_info_of_an_export_is_its_manifest_and_its_files_are_read(tmp_path, capsys):
    folder = tmp_path / "nano"
    shutil.copytree(ASSETS / "nano", folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert main(["models", "info", str(folder)]) == 0
    told = capsys.readouterr().out
    assert f"weights:   {manifest['weights_hash']}\n" in told
    named = [line.split()[1].rstrip(",") for line in told.splitlines() if line.startswith("file:")]
    assert named == list(manifest["sha256"])
    with (folder / "encoder.onnx").open("ab") as file:
        file.write(b"more")
    assert main(["models", "info", str(folder)]) == 2
    assert "encoder.onnx was changed or truncated" in capsys.readouterr().err
    (folder / "manifest.json").unlink()
    assert main(["models", "info", str(folder)]) == 2
    assert "is not an exported model: it has no manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["get", "mobil_sam"], "Did you mean mobile_sam"),
        (["info", "nothing_like_it"], "Unknown model 'nothing_like_it'"),
        (["info", "SAM_VIT_B"], "Did you mean sam_vit_b?"),
        (["info", "my.pth"], "Weights file not found: 'my.pth'. Check the path"),
        (["info", "run"], "'run' is a folder, not a model"),
        (["info", "photo.jpg"], "'photo.jpg' is a file, not a model"),
        (["info", "run/last.pt"], "'run/last.pt' is a weights file, not the name"),
        (["get", "nano"], "is included in the package"),
        (["add", "sam_vit_b", "none.pth"], "Cannot read the weights none.pth"),
        (["add", "llmdet_tiny", "photo.jpg"], "is a detector. Download it: anymask models get"),
        (["remove", "llmdet_tiny"], "llmdet_tiny is not installed"),
        (["remove", "--converted", "llmdet_tiny"], "Detectors are not converted"),
        (["convert", "llmdet_tiny"], "Detectors are not converted"),
    ],
)
def test_a_wrong_name_or_file_is_one_sentence_and_exit_code_2(
    capsys, words, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for path in ("run/weights.safetensors", "run/last.pt", "begun/last.pt", "photo.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert main(["models", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("anymask: error: ")
    assert message in err
