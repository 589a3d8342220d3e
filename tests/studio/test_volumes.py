"""Sessions about scans over HTTP: the masks are those of a session in Python; all is bounded."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import nibabel
import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.masks import coco_to_rle, rle_to_mask
from anymask.segment import Model
from anymask.studio import ServerParts
from anymask.studio.limits import Limits
from anymask.volumes import open_volume_session
from tests.patience import PATIENCE_S
from tests.segment.fakes import ColorRuntime
from tests.studio.scans import AFFINE, FIRST, SHAPE, made_scan, write_scan
from tests.studio.servers import client, error_of, in_thread, inference, listening
from tests.volumes.test_isolated_scans import is_read
from tests.volumes.test_untrusted_scans import header, nifti

BOTH = ((0, 5, 1, FIRST), (1, 20, 2, [[48, 7]]))  # axis, slice, object, points


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scan(tmp_path_factory.mktemp("scans") / "scan.nii.gz")


@pytest.fixture(scope="module")
def expected(scan: Path) -> np.ndarray:
    """The labels of two objects, one of them spoken of across y, by the library."""
    with open_volume_session(Model(ColorRuntime()), scan) as session:
        for axis, index, number, points in BOTH:
            session.add(index, number, axis=axis, points=points)
        return session.follow().labels().array


def opened(http: Any, scan: Path, **settings: Any) -> str:
    reply = http.post("/api/volumes", json={"settings": settings})
    assert reply.status_code == 200, reply.text
    volume = f"/api/volumes/{reply.json()['name']}"
    sent = http.put(f"{volume}/file", content=scan.read_bytes())
    assert sent.status_code == 200, sent.text
    return volume


def followed(http: Any, volume: str) -> list[dict[str, Any]]:
    for axis, index, number, points in BOTH:
        said = {"axis": "zyx"[axis], "slice": index, "object": number, "points": points}
        assert http.post(f"{volume}/prompts", json=said).status_code == 200
    reply = http.get(f"{volume}/masks")
    assert reply.status_code == 200, reply.text
    return [json.loads(line) for line in reply.text.splitlines()]


def test_a_scan_is_followed_and_its_labels_are_those_of_the_library(
    scan: Path, expected: np.ndarray
) -> None:
    with client() as http:
        volume = opened(http, scan)
        state = http.get(volume).json()
        assert (state["shape"], state["spacing"]) == ([*SHAPE], [2.5, 1, 1])
        assert (state["orientation"], state["endings"]) == ("LPS", [".nii.gz", ".seg.nrrd", ".csv"])
        lines = followed(http, volume)
        assert {line["axis"] for line in lines} == {0, 1}
        known = [json.loads(line) for line in http.get(f"{volume}/results").text.splitlines()]
        assert {(one["axis"], one["slice"]) for one in known} == {
            (one["axis"], one["slice"]) for one in lines
        }
        file = http.post(f"{volume}/export", json={"ending": ".nii.gz", "title": "a/b"})
        assert 'filename="a-b.nii.gz"' in file.headers["content-disposition"]
        image = nibabel.Nifti1Image.from_bytes(gzip.decompress(file.content))
        assert np.array_equal(np.asarray(image.dataobj).T, expected)
        assert np.allclose(image.affine, AFFINE)
        at = {"z": 6, "y": 21, "x": 30}
        planes = http.get(f"{volume}/labels", params=at).json()["planes"]
        for plane, index in zip(planes, at.values(), strict=True):
            shown = np.zeros_like(np.take(expected, 0, axis=plane["axis"]))
            for one in plane["objects"]:
                shown[rle_to_mask(coco_to_rle(one["segmentation"]))] = one["object"]
            assert np.array_equal(shown, np.take(expected, index, axis=plane["axis"]))


def test_slices_are_shown_by_the_window_that_is_asked_for(scan: Path) -> None:
    with client() as http:
        volume = opened(http, scan)
        for axis, index in enumerate((5, 24, 20)):
            address = f"{volume}/slices/{'zyx'[axis]}/{index}"
            reply = http.get(address, params={"level": 100, "width": 50})
            raw = np.take(made_scan(), index, axis=axis)
            shown = np.asarray(Image.open(io.BytesIO(reply.content)))
            assert np.array_equal(shown, np.rint(((raw - 75) / 50).clip(0, 1) * 255))
        error_of(http.get(f"{volume}/slices/z/{SHAPE[0]}"))
        error_of(http.get(f"{volume}/slices/z/0", params={"level": 0, "width": 0}))


def test_the_model_sees_the_window_that_was_chosen_before_the_first_click(scan: Path) -> None:
    with client() as http:
        volume = opened(http, scan)
        chosen = {"level": 100.0, "width": 200.0}
        told = http.put(f"{volume}/window", json=chosen).json()
        assert told["window"] == [100, 200]
        said = {"slice": 5, "points": FIRST}
        mask = http.post(f"{volume}/prompts", json=said).json()["segmentation"]
        with open_volume_session(Model(ColorRuntime()), scan, window=(100, 200)) as session:
            assert coco_to_rle(mask) == session.add(5, points=FIRST).rle
        assert http.put(f"{volume}/window", json=chosen).status_code == 200  # the same one
        assert "before you change the window" in error_of(
            http.put(f"{volume}/window", json={"level": 1, "width": 2}), 409
        )
        assert http.delete(f"{volume}/objects/1/prompts/z/5").json()["objects"] == []
        assert http.put(f"{volume}/window", json={"level": 1, "width": 2}).status_code == 200


def test_a_series_leaves_as_dicom_and_another_scan_does_not(tmp_path: Path, scan: Path) -> None:
    pytest.importorskip("highdicom")
    from tests.volumes.test_dicom_labels import write_scan as write_series

    folder = tmp_path / "series"
    write_series(folder, AFFINE, (3, 8, 10))
    with client(scans={"series": folder}) as http:
        assert http.get("/api/volumes").json()["scans"] == ["series"]
        name = http.post("/api/volumes", json={}).json()["name"]
        volume = f"/api/volumes/{name}"
        told = http.put(f"{volume}/scan", json={"scan": "series"}).json()
        assert told["endings"][3:] == [".dcm", ".rtstruct.dcm"]
        mask = np.zeros(told["shape"][1:], bool)
        mask[1:3, 1:4] = True
        counts = [int(n) for n in anymask.masks.mask_to_rle(mask).counts]
        said = {"mask": {"size": mask.shape, "counts": counts}}
        reply = http.post(f"{volume}/prompts", json=said)
        assert reply.status_code == 200, reply.text
        file = tmp_path / "found.dcm"
        file.write_bytes(http.post(f"{volume}/export", json={"ending": ".dcm"}).content)
        assert np.array_equal(anymask.read_volume(file).array[0] > 0, mask)
        other = opened(http, scan)
        http.post(f"{other}/prompts", json={"slice": 5, "points": FIRST})
        error_of(http.post(f"{other}/export", json={"ending": ".dcm"}))


def test_an_uploaded_header_reads_no_file_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(range(24)))
    text = header(more=f"data file: {tmp_path / 'secret.raw'}\n")
    own = tmp_path / "own.nhdr"
    own.write_text(header(more="data file: secret.raw\n"))
    with client(scans={"own": own}) as http:
        volume = f"/api/volumes/{http.post('/api/volumes', json={}).json()['name']}"
        for sent in (
            text,
            own.read_text(),
            text.replace(str(tmp_path / "secret.raw"), "scan.nrrd"),
        ):
            reply = http.put(f"{volume}/file?ending=.nrrd", content=sent.encode())
            assert "in another file" in reply.json()["error"]["message"], reply.text
        assert http.put(f"{volume}/scan", json={"scan": "own"}).status_code == 200  # the operator's


def test_a_scan_beyond_the_limits_is_refused_with_what_raises_them(tmp_path: Path) -> None:
    small = Limits(volume_bytes=1_000_000)
    with client(limits=small) as http:
        volume = f"/api/volumes/{http.post('/api/volumes', json={}).json()['name']}"
        bomb = header("999 999 9", "gzip").encode() + b"\n" + gzip.compress(bytes(8_982_009))
        for data, ending in ((bomb, ".nrrd"), (nifti((999, 999, 9)) + bytes(99), ".nii")):
            reply = http.put(f"{volume}/file?ending={ending}", content=data)
            assert "at most 1000000 bytes of voxels" in error_of(reply, 413)
            told = reply.json()["error"]
            assert "volume_megabytes" in told["message"]
            size = 999 * 999 * 9 * (1 + (ending == ".nii"))
            assert f"{size} bytes" in told["message"]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A scan that no reader ever finishes."""
    if not hasattr(os, "mkfifo") or shutil.which("pgrep") is None:
        pytest.skip("needs named pipes and pgrep")
    os.mkfifo(tmp_path / "scan.nii")
    return tmp_path / "scan.nii"


def test_a_scan_that_takes_too_long_is_given_up(pipe: Path) -> None:
    with client(scans={"own": pipe}, limits=Limits(volume_seconds=0.5)) as http:
        volume = f"/api/volumes/{http.post('/api/volumes', json={}).json()['name']}"
        reply = http.put(f"{volume}/scan", json={"scan": "own"})
        assert "read in 0.5 seconds" in error_of(reply, 413)
        assert not is_read(pipe)
        assert http.get(volume).status_code == 200


def test_the_server_answers_while_a_scan_is_read_and_ends_the_reader(pipe: Path) -> None:
    parts = ServerParts(inference(), scans={"own": pipe})
    with listening(parts) as address, httpx.Client(base_url=address, timeout=PATIENCE_S) as http:

        def begin() -> tuple[str, Any]:
            volume = f"/api/volumes/{http.post('/api/volumes', json={}).json()['name']}"
            body = {"scan": "own"}
            put = partial(httpx.put, f"{address}{volume}/scan", json=body, timeout=PATIENCE_S)
            asked = in_thread(put)
            while not is_read(pipe):
                assert not asked.done()
            return volume, asked

        volume, asked = begin()
        assert http.get("/health").status_code == 200
        assert not asked.done()
        assert http.delete(volume).status_code == 204
        error_of(asked.result(PATIENCE_S), 404)
        volume, asked = begin()
    assert "shutting down" in error_of(asked.result(PATIENCE_S), 503)
    assert not is_read(pipe)
