"""The store: what is here, what is asked for, and what is refused."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anymask.base import ModelError, WeightsError, write_whole
from anymask.runtime import fetch, home, store
from anymask.runtime import store as weights


@pytest.fixture
def model(shelf, content):
    return shelf.put("m", content)


@pytest.fixture
def file(tmp_path, content):
    path = tmp_path / "from_a_colleague.pth"
    path.write_bytes(content)
    return path


def test_absent_weights_are_an_error_with_both_commands_and_no_download(model):
    with pytest.raises(WeightsError) as error:
        weights.find("m")
    assert "anymask models get m," in str(error.value)
    assert "anymask models add m FILE" in str(error.value)


def test_an_unknown_name_brings_the_nearest_ones():
    with pytest.raises(ModelError, match=r"Did you mean mobile_sam.*anymask models list"):
        weights.find("mobil_sam")
    with pytest.raises(ModelError, match=r"Did you mean sam2.1_hiera_l or .*sam2.1_hiera_b\+"):
        weights.find("SAM2.1")


def test_a_path_is_taken_as_it_is(file):
    assert weights.find("sam_vit_b", file) == file
    with pytest.raises(WeightsError, match=r"not found: .*nowhere\.pth, for sam"):
        weights.find("sam_vit_b", file.with_name("nowhere.pth"))


def test_an_added_file_is_copied_checked_and_found(model, file, content):
    state = weights.add("m", file)
    assert (state.status, state.sha256, state.bytes) == ("verified", model.sha256, len(content))
    file.unlink()
    assert weights.find("m").read_bytes() == content
    assert weights.verify("m").status == "verified"


def test_a_linked_file_stays_where_it_is(model, file):
    weights.add("m", file, link=True)
    assert weights.find("m").resolve() == file.resolve()


def test_another_file_is_not_added_under_a_published_name(model, file, content):
    file.write_bytes(content + b"0")
    with pytest.raises(WeightsError, match=rf"it has {len(content) + 1} bytes, but the published"):
        weights.add("m", file)
    with pytest.raises(WeightsError, match="To use your own weights"):
        weights.add("m", file)
    assert store.installed("m").status == "absent"


def test_without_a_public_hash_the_record_notices_a_change(shelf, file, content):
    shelf.put("m", content, sha256=None, bytes=None)
    weights.add("m", file)
    assert weights.verify("m").status == "unverified"
    path = weights.find("m")
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert weights.verify("m").status == "altered"
    with pytest.raises(WeightsError, match="has changed since it was added"):
        weights.find("m")


def test_a_public_md5_verifies_where_no_sha256_is_public(shelf, file, content):
    md5 = store.digests(file, "md5")["md5"]
    shelf.put("m", content, sha256=None, md5=md5, bytes=None)
    assert weights.add("m", file).status == "verified_md5"


def test_a_file_that_lost_bytes_in_the_store_is_not_used(model, file, content):
    weights.add("m", file)
    weights.find("m").write_bytes(content[:100])
    with pytest.raises(WeightsError, match=r"has changed since it was added.*models verify m"):
        weights.find("m")


def test_a_broken_record_is_no_more_than_a_missing_one(model, file):
    weights.add("m", file)
    store.record_of(model).write_text('{"status": "verified", "bytes"')
    assert store.installed("m").status == "unverified"
    assert weights.verify("m").status == "verified"


def test_the_bundled_model_is_a_folder_of_the_package(tmp_path, monkeypatch):
    (tmp_path / "nano").mkdir()
    (tmp_path / "nano" / "manifest.json").write_text("{}")
    monkeypatch.setattr(store, "ASSETS", tmp_path)
    assert weights.find("nano") == tmp_path / "nano"
    assert weights.verify("nano").status == "bundled"
    with pytest.raises(WeightsError, match="is included in the package"):
        weights.add("nano", "anything.pt")


def test_a_package_without_its_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ASSETS", tmp_path)
    with pytest.raises(WeightsError, match=r"no manifest\.json. Reinstall anymask"):
        weights.find("nano")


def test_a_hash_is_computed_once_until_the_file_changes(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weights.file_hash(path) == known
    monkeypatch.setattr("anymask.runtime.store.digests", lambda *_: {"sha256": "read again"})
    assert weights.file_hash(path) == known
    assert weights.file_hash(path, fresh=True) == "read again"
    path.write_bytes(b"abcd")
    assert weights.file_hash(path) == "read again"


def test_a_hash_needs_no_writable_store(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "not_a_folder").write_text("")
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "not_a_folder"))
    assert weights.file_hash(tmp_path / "file").startswith("ba7816bf")


def test_a_broken_hash_cache_is_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    write_whole(home() / "hashes.json", "[1, 2")
    assert weights.file_hash(tmp_path / "file").startswith("ba7816bf")
    assert str(tmp_path / "file") in json.loads((home() / "hashes.json").read_text())


@pytest.mark.parametrize(
    ("platform", "settings", "end"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/anymask"),
        ("linux", {}, ".cache/anymask"),
        ("darwin", {}, "Library/Caches/anymask"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/anymask"),
        ("linux", {"ANYMASK_HOME": "/mine", "XDG_CACHE_HOME": "/x"}, "/mine"),
    ],
)
def test_the_store_lies_where_the_platform_keeps_such_things(monkeypatch, platform, settings, end):
    for name in ("ANYMASK_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert home().as_posix().endswith(end)


@pytest.mark.parametrize("record", [b'{"status": []}', b"[" * 100_000, b'{"sha256": 7}'])
def test_a_record_of_another_kind_counts_as_none(record, shelf, content):
    shelf.put("m", content)
    what = store.downloadable("m")
    store.path_of(what).parent.mkdir(parents=True)
    store.path_of(what).write_bytes(content)
    store.record_of(what).write_bytes(record)
    assert store.installed("m").status in ("unverified", "altered")
    assert store.installed("m").sha256 == ""


def test_importing_opens_no_connection_and_no_torch(repository):
    code = (
        "import socket, sys\n"
        "def no(*a, **k): raise SystemExit('a socket was opened')\n"
        "socket.socket.connect = no\n"
        "import anymask.runtime.open, anymask.cli.models, anymask.runtime.download\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, cwd=repository / "src")


def test_a_file_where_the_store_should_be_is_named(tmp_path, monkeypatch, shelf, content, file):
    shelf.put("m", content, file.as_uri())
    (tmp_path / "file").write_text("")
    for place, told in (
        ("file", "it is a file|part of its path"),
        ("file/in", "part of its path is a file"),
    ):
        monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / place))
        expected = f"{place}' is not writable: .*({told}).* Set ANYMASK_HOME"
        assert store.installed("m").status == "absent"
        with pytest.raises(WeightsError, match=expected):
            fetch("m")
        with pytest.raises(WeightsError, match=expected):
            store.add("m", file)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_store_that_cannot_be_written_to_is_named(code, monkeypatch, shelf, content, file):
    def refuse(self, *args, **options):
        raise OSError(code, os.strerror(code), str(self))

    shelf.put("m", content, file.as_uri())
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(WeightsError, match="home' is not writable: .* Set ANYMASK_HOME"):
        fetch("m")


def test_an_unreadable_source_is_not_taken_for_the_store(tmp_path):
    with pytest.raises(PermissionError), store.writing():
        raise PermissionError(errno.EACCES, "no", str(tmp_path / "elsewhere"))
    with pytest.raises(OSError, match="no room"), store.writing():
        raise OSError(errno.ENOSPC, "no room", str(home() / "x"))


def test_adding_the_stored_file_itself_changes_nothing(model, file, content):
    weights.add("m", file)
    weights.add("m", weights.find("m"))
    assert weights.find("m").read_bytes() == content
