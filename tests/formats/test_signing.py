"""Signed manifests: what was changed, removed or added after an export is found."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from anymask.base import DataError, InputError, MissingExtra
from anymask.cli.main import main
from anymask.formats import convert, signing
from anymask.formats.signing import MANIFEST, read_private_key, signed_bytes
from tests.formats.test_terms import TERMS, coco

pytest.importorskip("cryptography")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(secret)
    public = private.public_key()
    shown = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(shown)
    return tmp_path / "key.pem"


@pytest.fixture
def out(tmp_path: Path, key: Path) -> Path:
    convert(coco(tmp_path / "in", **TERMS), tmp_path / "out", "yolo", sign=key)
    return tmp_path / "out"


def test_an_unchanged_dataset_is_verified_with_its_terms(
    out: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", str(out), "--key", str(key.with_name("public.pem"))]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "2 files unchanged, signed with the key" in shown
    assert "consent: given in writing" in shown
    assert "licences: CC BY-SA 9.0 (http://l.test/by-sa)" in shown


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda out: (out / "labels/a.txt").write_text("x"), "changed: labels/a.txt"),
        (lambda out: (out / "labels/a.txt").unlink(), "missing: labels/a.txt"),
        (lambda out: (out / "labels/b.txt").write_text("x"), "extra: labels/b.txt"),
    ],
)
def test_changed_missing_and_extra_files_are_listed(
    out: Path, change: Callable[[Path], None], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(out)
    assert main(["check", str(out / MANIFEST), "--json", str(out.parent / "found.json")]) == 2
    shown = capsys.readouterr()
    assert told in shown.out
    assert "The files differ from the manifest" in shown.err
    found = json.loads((out.parent / "found.json").read_text())
    word, _, name = told.partition(": ")
    assert found[word] == [name]
    assert not found["intact"]


def test_a_byte_of_the_same_length_is_found(out: Path) -> None:
    path = out / "labels/a.txt"
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    assert signing.check_manifest(out).changed == ("labels/a.txt",)


def test_a_changed_manifest_is_refused(out: Path) -> None:
    document = json.loads((out / MANIFEST).read_text())
    document["content"]["terms"]["consent"] = "none"
    (out / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(DataError, match="The signature is invalid"):
        signing.check_manifest(out)


def test_the_key_of_somebody_else_is_refused(out: Path, key: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    other = Ed25519PrivateKey.generate().public_key()
    path = tmp_path / "other.pem"
    path.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(DataError, match="signed with another key"):
        signing.check_manifest(out, path)
    with pytest.raises(DataError, match="not an Ed25519 public key"):
        signing.check_manifest(out, key)


def test_a_path_outside_the_folder_is_refused(out: Path, key: Path) -> None:
    document = json.loads((out / MANIFEST).read_text())
    document["content"]["files"][0]["path"] = "../key.pem"
    private = read_private_key(key)
    signature = private.sign(signed_bytes(document["content"]))
    document["signature"] = base64.b64encode(signature).decode()
    (out / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(DataError, match="outside the folder"):
        signing.check_manifest(out)


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"content": {}, "public_key": "?", "signature": ""}', "x"]
)
def test_another_file_is_refused(out: Path, text: str) -> None:
    (out / MANIFEST).write_text(text)
    assert main(["check", str(out)]) == 2


def test_the_name_of_a_missing_manifest_is_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(tmp_path / "gone")]) == 2
    assert capsys.readouterr().err.count("gone") == 1


def test_other_files_beside_a_single_file_are_not_extra(key: Path, tmp_path: Path) -> None:
    source = coco(tmp_path / "in", **TERMS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/other.txt").write_text("x")
    convert(source, tmp_path / "out/a.json", "coco", sign=key)
    found = signing.check_manifest(tmp_path / "out/a.manifest.json")
    assert (found.files, found.is_intact) == (1, True)
    assert found.terms["restrictions"] == ["no-mixing"]


def test_openssl_verifies_the_signature(out: Path, key: Path, tmp_path: Path) -> None:
    """The signature is that of RFC 8032, verified by another implementation."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    document = json.loads((out / MANIFEST).read_text())
    data, signature = tmp_path / "data", tmp_path / "signature"
    content = json.dumps(document["content"], sort_keys=True, separators=(",", ":"))
    data.write_text(content)
    signature.write_bytes(base64.b64decode(document["signature"]))
    command = [
        openssl, "pkeyutl", "-verify", "-pubin", "-inkey", str(key.with_name("public.pem")),
        "-rawin", "-in", str(data), "-sigfile", str(signature),
    ]  # fmt: skip
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    data.write_text(content + " ")
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    private = generate_private_key(SECP256R1())
    for encryption, told in (
        (NoEncryption(), "not an Ed25519 key"), (BestAvailableEncryption(b"x"), "is encrypted"),
    ):  # fmt: skip
        path = tmp_path / "key.pem"
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        with pytest.raises(InputError, match=told):
            read_private_key(path)
    path.write_text("x")
    with pytest.raises(InputError, match="not a private key in PEM format"):
        read_private_key(path)
    with pytest.raises(InputError, match="Key file not found"):
        read_private_key(tmp_path / "none.pem")


def test_without_the_package_the_extra_is_named(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"anymask\[sign\]"):
        convert(coco(tmp_path / "in"), tmp_path / "out", "yolo", sign=key)
    assert not (tmp_path / "out").exists()
