"""Films that a session exports: each style on a clip as telephones make them, turned, uneven, with
sound."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import pytest

from anymask.base import BoolArray
from anymask.masks import rle_to_mask
from anymask.studio import ServerParts
from anymask.track import VideoWriter
from tests.patience import PATIENCE_S
from tests.segment.fakes import iou
from tests.studio.servers import client, error_of, inference, listening
from tests.studio.test_videos import START, lines, opened, rles
from tests.track.clips import moving_discs

IMAGES, TRUTH = moving_discs(6)
TIMES = [0, 40, 90, 120, 180, 200]  # thousandths of a second
RATE, LASTS = 48_000, 0.24  # of the tone: samples a second, seconds
QUARTER = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # clockwise


def turned_clip(path: Path) -> Path:
    """An MP4 whose frames lie on their side, with the matrix that turns them upright, and AAC."""
    with av.open(str(path), "w") as out:
        shown = out.add_stream("libx264", rate=25, options={"crf": "1"})
        tone = out.add_stream("aac", rate=RATE, layout="mono")
        shown.width, shown.height = IMAGES[0].shape[:2]
        shown.pix_fmt = "yuv444p"
        shown.codec_context.time_base = Fraction(1, 1000)
        for at, image in zip(TIMES, IMAGES, strict=True):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(np.rot90(image)), format="rgb24"
            )
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            out.mux(shown.encode(frame))
        out.mux(shown.encode())
        wave = np.sin(np.arange(round(RATE * LASTS)) / 10).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        sound.rate = RATE
        out.mux(tone.encode(sound))
        out.mux(tone.encode())
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2, version 0
    content[matrix : matrix + 36] = QUARTER
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return turned_clip(tmp_path_factory.mktemp("clips") / "clip.mp4").read_bytes()


@pytest.fixture(scope="module")
def followed(clip: bytes) -> Iterator[tuple[Any, str, list[BoolArray]]]:
    """A session that has followed the first disc, and the masks."""
    with client() as http:
        video = opened(http)
        http.put(f"{video}/file", content=clip)
        http.post(f"{video}/prompts", json={"points": START})
        found = [rles(line)[1] for line in lines(http.get(f"{video}/masks"))]
        masks = [rle_to_mask(rle) for rle in found]
        assert all(iou(mask, truth[0]) > 0.7 for mask, truth in zip(masks, TRUTH, strict=True))
        yield http, video, masks


def exported(http: Any, video: str, style: str, **more: Any) -> bytes:
    named = [{"object": 1, "color": "#ff0000"}]
    body = {"format": "video", "style": style, "title": "clip", "objects": named} | more
    reply = http.post(f"{video}/export", json=body)
    assert reply.status_code == 200, reply.text
    ending = "webm" if style == "cutout" else "mp4"
    assert reply.headers["content-type"] == f"video/{ending}"
    assert f"clip.{ending}" in reply.headers["content-disposition"]
    return bytes(reply.content)


def decoded(content: bytes) -> list[np.ndarray]:
    """The frames of a film (H, W, 3 or 4) in signed numbers; its times and sound are the clip's."""
    with av.open(io.BytesIO(content)) as video:
        (sound,) = video.streams.audio
        webm = "webm" in video.format.name
        assert sound.codec_context.name in ({"opus", "libopus"} if webm else {"aac"})
        heard = sum(frame.samples / frame.sample_rate for frame in video.decode(sound))
        assert heard == pytest.approx(LASTS, abs=0.05)  # whole packets of 21 and of 20 ms
    decoder: Any = av.CodecContext.create("libvpx-vp9" if webm else "h264", "r")
    with av.open(io.BytesIO(content)) as video:
        if webm:  # FFmpeg's own decoder of VP9 drops the alpha
            coming = (one for packet in video.demux(video=0) for one in decoder.decode(packet))
        else:
            coming = video.decode(video=0)
        frames = list(coming)
    assert [round(1000 * frame.time) for frame in frames] == TIMES
    form = "rgba" if webm else "rgb24"
    return [frame.to_ndarray(format=form).astype(int) for frame in frames]


def grown(mask: BoolArray, pixels: int) -> BoolArray:
    """A mask and what lies so near that codec, rim or margin reach it."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


def off(frame: np.ndarray, expected: Any, where: BoolArray) -> float:
    """The mean difference of a part of a frame."""
    return float(np.abs(frame - expected)[where].mean())


COLOR = (32, 160, 255)


@pytest.mark.parametrize(
    ("style", "inside", "outside"),
    [
        ("overlay", None, "clip"),
        ("masks", (255, 0, 0), (0, 0, 0)),
        ("blur", None, "clip"),
        ("color", COLOR, "clip"),
        ("background-blur", "clip", None),
        ("background-color", "clip", COLOR),
    ],
)
def test_a_style_changes_what_it_says_and_nothing_else(
    followed: tuple[Any, str, list[BoolArray]], style: str, inside: Any, outside: Any
) -> None:
    http, video, masks = followed
    film = decoded(exported(http, video, style, color="#20a0ff"))
    for frame, image, mask, (_, second) in zip(film, IMAGES, masks, TRUTH, strict=True):
        assert frame.shape == image.shape  # upright
        for expected, where, other in (
            (inside, ~grown(~mask, 3), mask),
            (outside, ~grown(mask, 9), grown(second, 2) & ~grown(mask, 9)),
        ):
            if expected is None:  # changed: the disc, or the rim of the second one
                assert off(frame, image, other) > 8
            else:
                assert off(frame, image if expected == "clip" else expected, where) < 5


def test_a_cut_out_has_alpha_and_the_clips_sound_as_opus(
    followed: tuple[Any, str, list[BoolArray]],
) -> None:
    http, video, masks = followed
    for frame, image, mask in zip(
        decoded(exported(http, video, "cutout")), IMAGES, masks, strict=True
    ):
        assert iou(frame[..., 3] > 127, mask) > 0.9
        assert off(frame[..., :3], image, ~grown(~mask, 3)) < 8


def test_a_film_that_the_servers_pyav_cannot_write_is_refused(
    followed: tuple[Any, str, list[BoolArray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    http, video, _ = followed
    codec = av.Codec
    monkeypatch.setattr(av, "Codec", lambda name, mode: codec(f"no-{name}", mode))
    reply = http.post(f"{video}/export", json={"format": "video", "style": "cutout"})
    assert "no libvpx-vp9 encoder, which .webm files require" in error_of(reply)


def test_an_export_tells_how_far_it_is_and_ends_when_its_client_has_gone(
    clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, go_on, abandoned, write = Event(), Event(), Event(), VideoWriter.write
    written: list[int] = []

    def slow(self: VideoWriter, *given: Any) -> None:
        written.append(1)
        if len(written) == 3:
            held.set()
            assert go_on.wait(PATIENCE_S)
        write(self, *given)

    def told(self: VideoWriter, abandon: Callable[[Any], None] = VideoWriter.abandon) -> None:
        abandon(self)
        abandoned.set()

    monkeypatch.setattr(VideoWriter, "write", slow)
    monkeypatch.setattr(VideoWriter, "abandon", told)
    with listening(ServerParts(inference())) as address:

        def ask(method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
            link = HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE_S)
            sent = body if isinstance(body, bytes) else json.dumps(body)
            link.request(method, path, sent, {"Content-Type": kind})
            return link

        def content(*asked: Any) -> bytes:
            with closing(ask(*asked)) as link:
                return bytes(link.getresponse().read())

        def answer(*asked: Any) -> Any:
            return json.loads(content(*asked))

        video = "/api/videos/" + answer("POST", "/api/videos", {})["name"]
        answer("PUT", f"{video}/file", clip, "video/mp4")
        answer("POST", f"{video}/prompts", {"points": START})
        leaving = ask("POST", f"{video}/export", {"format": "video"})
        assert held.wait(PATIENCE_S)
        assert answer("GET", f"{video}/export") == {"done": 2, "total": 6}
        leaving.close()
        while answer("GET", f"{video}/export")["total"]:
            pass  # until the server has seen that it has
        go_on.set()
        assert abandoned.wait(PATIENCE_S)
        assert len(written) == 3
        assert len(decoded(content("POST", f"{video}/export", {"format": "video"}))) == 6
