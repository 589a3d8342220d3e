"""Downloads: whole or refused, whatever the server does."""

import os
import threading
from email.message import Message
from pathlib import Path
from urllib.request import Request

import pytest

from anymask.base import WeightsError, transfers
from anymask.runtime import download as fetching
from anymask.runtime import fetch, store
from anymask.runtime.download import Part

BINARY = "application/octet-stream"


def part_of(name: str) -> Part:
    path = store.path_of(store.entry(name))
    return Part(path.with_name(path.name + ".part"))


def leftovers(name: str) -> set[str]:
    return {path.name for path in store.path_of(store.entry(name)).parent.iterdir()}


@pytest.fixture
def model(server, shelf, content):
    """One model on the server, with its sha256 and its size in the catalogue."""
    server.files["/m.pt"] = content
    return shelf.put("m", content, f"{server.url}/m.pt")


def test_a_download_is_whole_checked_and_recorded(server, model, content):
    seen: list[tuple[int, int | None]] = []
    state = fetch("m", progress=lambda done, total: seen.append((done, total)))
    assert state.path.read_bytes() == content
    assert (state.status, state.sha256) == ("verified", model.sha256)
    assert state.source == f"{server.url}/m.pt"
    assert seen[0] == (0, len(content))
    assert seen[-1] == (len(content), len(content))
    assert seen == sorted(seen)
    assert leftovers("m") == {"m.pt", "record.json", ".lock"}


def test_a_cut_connection_is_taken_up_where_it_broke(server, model, content):
    server.cut = [300_000, 200_000]
    state = fetch("m")
    assert state.status == "verified"
    assert [expected for _, expected, _ in server.asked] == [None, "bytes=300000-", "bytes=500000-"]
    assert server.asked[1][2] == '"one"'


def test_a_chunked_answer_that_breaks_is_taken_up_too(server, model):
    server.chunked, server.cut = True, [300_000]
    assert fetch("m").status == "verified"
    assert len(server.asked) == 2


def test_a_new_edition_between_two_connections_starts_over(server, shelf, content):
    server.files["/m.pt"] = b"an older edition" * 50_000
    shelf.put("m", content, f"{server.url}/m.pt", sha256=None, bytes=None)
    stop_at("m", 400_000)
    server.files["/m.pt"], server.etag = content, '"two"'
    state = fetch("m")
    assert state.path.read_bytes() == content
    assert server.asked[-1][2] == '"one"'


def stop_at(name: str, byte: int) -> None:
    """Interrupt a download once so many bytes are there."""

    def progress(done: int, total: int | None) -> None:
        if done >= byte:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(name, progress=progress)


def test_an_interruption_keeps_what_came_and_the_next_call_goes_on(server, model, content):
    stop_at("m", 500_000)
    kept = part_of("m").size
    assert 500_000 <= kept < len(content)
    assert store.installed("m").status == "absent"
    assert fetch("m").status == "verified"
    assert server.asked[-1][1] == f"bytes={kept}-"


def test_without_a_hash_or_a_validator_nothing_is_resumed(server, shelf, content):
    server.files["/m.pt"], server.etag = content, None
    shelf.put("m", content, f"{server.url}/m.pt", sha256=None, bytes=None)
    stop_at("m", 500_000)
    assert fetch("m").status == "unverified"
    assert server.asked[-1][1] is None


@pytest.mark.parametrize(
    ("part", "shift", "asked"),
    [
        (lambda content: content, 0, True),
        (lambda content: content + b"more", 0, False),
        (lambda content: bytes(500_000), 0, False),
        (lambda content: content[:500_000], 7, False),
    ],
    ids=["whole", "too long", "other bytes", "another range than was asked for"],
)
def test_a_part_is_used_only_where_it_is_the_beginning(server, model, content, part, shift, asked):
    stop_at("m", 500_000)
    part_of("m").path.write_bytes(part(content))
    server.shift = shift
    assert fetch("m").status == "verified"
    assert server.asked[-1][1] == (f"bytes={len(content)}-" if asked else None)


def test_an_altered_file_is_refused_and_never_kept(server, shelf, content):
    altered = content[:-1] + bytes([content[-1] ^ 1])
    server.files["/m.pt"] = altered
    model = shelf.put("m", content, f"{server.url}/m.pt")
    with pytest.raises(WeightsError, match=r"Could not download m\.pt for m") as error:
        fetch("m")
    assert f"the published sha256 is {model.sha256}" in str(error.value)
    assert "anymask models add m FILE" in str(error.value)
    assert leftovers("m") == {".lock"}
    with pytest.raises(WeightsError, match="anymask models get m"):
        store.find("m")


def test_a_file_of_the_wrong_length_is_refused_before_its_first_byte(server, shelf, content):
    server.files["/m.pt"] = content[:-100]
    shelf.put("m", content, f"{server.url}/m.pt")
    seen: list[int] = []
    with pytest.raises(WeightsError, match=rf"{len(content) - 100} bytes, but "):
        fetch("m", progress=lambda done, total: seen.append(done))
    assert seen == []


def test_a_connection_that_brings_nothing_gives_up_on_that_source(server, model):
    server.cut = [0, 0, 0]
    with pytest.raises(WeightsError, match=r"The connection ended at 0 of \d+ bytes"):
        fetch("m")
    assert len(server.asked) == 1


def test_a_stalled_download_ends_and_is_resumed_later(server, model, content, monkeypatch):
    monkeypatch.setattr(transfers, "STALL_S", 0.5)
    server.cut, server.drips = [300_000, 0], True
    with pytest.raises(WeightsError, match="The download stalled at byte 300[0-9]+: ") as error:
        fetch("m")
    kept = part_of("m").size
    assert len(server.asked) == 2
    assert f"{kept} bytes were downloaded and are kept." in str(error.value)
    server.drips = False
    assert fetch("m").status == "verified"
    assert server.asked[-1][1] == f"bytes={kept}-"


UNKNOWN = {"sha256": None, "bytes": None}
PAGE = b"<!DOCTYPE html><p>Google Drive cannot scan this file for viruses"


@pytest.mark.parametrize(
    ("sent", "kind", "facts", "told"),
    [
        (slice(None), BINARY, {"sha256": None, "md5": "0" * 32}, "its md5 differs .* md5 0000"),
        (slice(-5000), BINARY, UNKNOWN, "is incomplete"),
        (slice(None), BINARY, {"bytes": 99}, "bytes were expected|sent more than|but "),
        (PAGE, "text/html", UNKNOWN, "returned a web page"),
        (PAGE, "text/html; charset=utf-8", UNKNOWN, "returned a web page"),
        (PAGE, BINARY, UNKNOWN, "is a web page, not a checkpoint"),
    ],
)
def test_what_is_not_the_file_is_refused_and_never_kept(
    server, shelf, content, sent, kind, facts, told
):
    server.files["/m.pt"] = sent if isinstance(sent, bytes) else content[sent]
    server.kind = kind
    shelf.put("m", content, f"{server.url}/m.pt", **facts)
    with pytest.raises(WeightsError, match=told):
        fetch("m")
    assert leftovers("m") == {".lock"}


def test_a_published_hash_lets_another_source_finish_the_download(server, shelf, content):
    server.files["/one.pt"] = server.files["/two.pt"] = content
    shelf.put("m", content, f"{server.url}/one.pt", f"{server.url}/two.pt")
    server.cut = [300_000, 0]
    assert fetch("m").source == f"{server.url}/two.pt"
    assert server.asked[-1] == ("/two.pt", "bytes=300000-", None)


def test_when_every_source_fails_each_is_listed_with_its_reason(server, shelf, content):
    closed = "http://127.0.0.1:1/m.pt"
    shelf.put("m", content, f"{server.url}/gone.pt", closed)
    with pytest.raises(WeightsError) as error:
        fetch("m")
    assert f"{server.url}/gone.pt: The server responded 404" in str(error.value)
    assert f"{closed}: " in str(error.value)
    assert "https://example.org/models" in str(error.value)


def test_a_redirect_is_followed(server, model):
    server.files["/real.pt"] = server.files.pop("/m.pt")
    server.redirect["/m.pt"] = f"{server.url}/real.pt"
    assert fetch("m").status == "verified"
    assert [path for path, _, _ in server.asked] == ["/m.pt", "/real.pt"]


@pytest.mark.parametrize(("old", "new"), [("https", "http"), ("http", "ftp")])
def test_a_redirect_to_another_scheme_is_refused(old, new):
    handler, request = transfers.SafeRedirects(), Request(f"{old}://example.org/m.pt")
    with pytest.raises(ValueError, match=f"redirects from {old} to {new}://example"):
        handler.redirect_request(request, None, 302, "", Message(), f"{new}://example.org/m.pt")


def test_the_mirror_is_asked_first(server, shelf, content, monkeypatch):
    server.files["/copy/m.pt"] = content
    shelf.put("m", content, f"{server.url}/m.pt")
    monkeypatch.setenv("ANYMASK_MIRROR", f"{server.url}/copy/")
    assert fetch("m").source == f"{server.url}/copy/m.pt"


def test_the_mirror_may_be_a_folder(tmp_path, shelf, content, monkeypatch):
    (tmp_path / "m.pt").write_bytes(content)
    shelf.put("m", content)
    monkeypatch.setenv("ANYMASK_MIRROR", str(tmp_path))
    assert fetch("m").status == "verified"


def test_a_mirror_with_another_file_is_passed_over(tmp_path, server, model, monkeypatch):
    (tmp_path / "m.pt").write_bytes(b"something else")
    monkeypatch.setenv("ANYMASK_MIRROR", str(tmp_path))
    assert fetch("m").source == f"{server.url}/m.pt"


def test_a_full_disk_is_said_before_the_download(model, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(
        WeightsError, match="where 1000 are free. Free some space, or set ANYMASK_HOME"
    ):
        fetch("m")


def test_two_callers_at_once_download_once(server, model):
    barrier = threading.Barrier(2)
    states = []

    def call() -> None:
        barrier.wait()
        states.append(fetch("m"))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [state.status for state in states] == ["verified", "verified"]
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", [1000, None], ids=["another size", "the same size"])
def test_a_file_that_changed_is_downloaded_again(server, model, content, size):
    path = fetch("m").path
    path.write_bytes(bytes(size or len(content)))
    os.utime(path, ns=(1, 1))  # the clock may be too coarse to show the change
    assert fetch("m").status == "verified"
    assert path.read_bytes() == content


def test_a_wrong_file_without_a_record_is_not_taken(server, model, content):
    path = store.path_of(model)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(len(content)))
    with pytest.raises(WeightsError, match="is not the published file"):
        fetch("m")


def test_addresses_of_a_name_with_odd_characters_are_quoted(shelf, content, monkeypatch):
    what = shelf.put("b+", content)
    monkeypatch.setenv("ANYMASK_MIRROR", "https://mirror.example/m")
    assert fetching.addresses(what) == ["https://mirror.example/m/b%2B.pt"]


def test_a_proxy_certificate_problem_names_its_remedy():
    error = OSError("certificate verify failed: CERTIFICATE_VERIFY_FAILED")
    assert "SSL_CERT_FILE" in fetching._network(error)


def test_the_part_remembers_no_weak_validator(tmp_path: Path):
    headers = Message()
    headers["ETag"] = 'W/"weak"'
    part = Part(tmp_path / "m.part")
    part.note("https://example.org", headers, 10)
    assert part.validator("https://example.org") is None
    headers.replace_header("ETag", '"strong"')
    part.note("https://example.org", headers, 10)
    assert part.validator("https://example.org") == '"strong"'
    assert part.validator("https://elsewhere.example.org") is None


def test_a_file_that_nothing_protects_is_not_fetched_over_plain_http(shelf, content):
    shelf.put("m", content, "http://example.org/m.pt", sha256=None)
    with pytest.raises(WeightsError, match="http does not protect"):
        fetch("m")


def test_a_link_in_the_place_of_a_part_is_not_followed(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "m.pt.part").symlink_to(tmp_path / "mine")
    part = Part(tmp_path / "m.pt.part")
    assert part.size == 0
    with part.open(0) as file:
        file.write(b"other")
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_server_without_ranges_starts_over(server, model):
    server.ranges, server.cut = False, [300_000]
    assert fetch("m").status == "verified"
    assert server.asked[1][1] == "bytes=300000-"
