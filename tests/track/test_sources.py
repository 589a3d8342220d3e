"""Frames by their number, whatever they come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError, ImageError, InputError
from anymask.images import load_image
from anymask.track import FrameSampling, open_source
from anymask.track import sources as video_file
from anymask.track.sources import FrameStream, SampledFrames
from tests.track.clips import moving_discs, write_video

IMAGES, _ = moving_discs(40)


def numbered(count: int) -> list[np.ndarray]:
    return [np.full((8, 8, 3), number, np.uint8) for number in range(count)]


def test_a_video_file_gives_the_pictures_that_were_written_in_any_order(tmp_path: Path) -> None:
    source = open_source(write_video(tmp_path / "clip.mkv", IMAGES, g=12))
    assert source.length == 40
    for frame in (0, 1, 2, 30, 29, 28, 13, 12, 11, 0, 39):
        np.testing.assert_array_equal(source.read(frame), IMAGES[frame])
    assert source.read(40) is None
    assert source.read(-1) is None


@pytest.mark.parametrize("ending", ["mp4", "ts"])  # with an index, and without one
def test_reading_backwards_gives_every_frame(tmp_path: Path, ending: str) -> None:
    path, look = tmp_path / f"clip.{ending}", {"codec": "libx264", "pix_fmt": "yuv444p"}
    source = open_source(write_video(path, IMAGES, crf=0, g=12, **look))
    forwards = [source.read(frame) for frame in range(40)]
    assert all(frame is not None for frame in forwards)
    for frame in reversed(range(40)):
        np.testing.assert_array_equal(source.read(frame), forwards[frame])


def test_of_large_frames_few_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "clip.mkv", IMAGES, g=12)
    monkeypatch.setattr(video_file, "KEPT_BYTES", 2 * IMAGES[0].nbytes + 1)
    source = video_file.VideoFile(path)
    for frame in (*range(40), *reversed(range(40)), 5, 30):
        np.testing.assert_array_equal(source.read(frame), IMAGES[frame])
        assert len(source._kept) <= 2


def test_frames_beyond_the_limit_are_refused_before_one_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "clip.mkv", IMAGES[:2])
    monkeypatch.setattr("anymask.images.decoding.MAX_PIXELS", 12_287)
    monkeypatch.setattr(video_file, "_upright", lambda _: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=r"clip.mkv has 128 x 96 pixels, but the limit"):
        open_source(path).read(0)


def test_times_of_a_variable_frame_rate_are_those_of_the_file(tmp_path: Path) -> None:
    times = [0, 10, 100, 130, 500]
    source = open_source(write_video(tmp_path / "clip.mkv", IMAGES[:5], times))
    assert [round(1000 * source.seconds(frame)) for frame in range(5)] == times


def test_a_video_that_was_filmed_sideways_is_upright(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", IMAGES[:3], codec="libx264", pix_fmt="yuv444p")
    plain = open_source(path).read(1)
    turned = tmp_path / "turned.mp4"
    turn_track(path, turned)
    found = open_source(turned).read(1)
    assert plain is not None
    assert found is not None
    np.testing.assert_array_equal(found, np.rot90(plain, -1))


def turn_track(path: Path, target: Path) -> None:
    """Write a quarter turn clockwise into an MP4's track header (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    at += 40 if data[at] == 0 else 52
    one = 1 << 16
    matrix = [0, one, 0, -one, 0, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
    target.write_bytes(data)


def test_ten_bits_become_eight(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", IMAGES[:3], codec="ffv1", pix_fmt="yuv444p10le")
    found = open_source(path).read(2)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - IMAGES[2]).max() <= 4


def test_a_truncated_file_gives_frames_up_to_the_fault_and_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", IMAGES, g=1)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    source = open_source(path)
    frames = []
    while (image := source.read(len(frames))) is not None:
        frames.append(image)
    assert 5 < len(frames) < 40
    for found, expected in zip(frames, IMAGES, strict=False):
        np.testing.assert_array_equal(found, expected)
    assert source.error is not None
    assert "clip.mkv is truncated: " in source.error
    assert "of about 40 frames are readable" in source.error


def test_a_truncated_mp4_whose_index_comes_first_says_what_is_missing(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "clip.mp4", IMAGES, codec="mpeg4", pix_fmt="yuv420p", index_first=True
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    source = open_source(path)
    assert source.length < 40
    assert source.error is not None
    assert f"{source.length} of about 40 frames are readable" in source.error


def test_a_drawing_that_ffmpeg_cannot_decode_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "drawing.svg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>')
    with pytest.raises(DataError, match="not a readable video"):
        open_source(path)


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"frame{number}.png")
    source = open_source(tmp_path)
    assert [int(source.read(frame)[0, 0, 0]) for frame in range(3)] == [1, 2, 10]


def test_a_generator_is_read_once_and_holds_one_frame() -> None:
    taken = []

    def frames() -> Iterator[np.ndarray]:
        for image in numbered(5):
            taken.append(len(taken))
            yield image

    source = open_source(frames())
    assert isinstance(source, FrameStream)
    assert source.read(2)[0, 0, 0] == 2
    assert len(taken) == 3
    assert source.read(2)[0, 0, 0] == 2
    with pytest.raises(InputError, match="Frame 1 is no longer available"):
        source.read(1)
    assert source.read(9) is None


@pytest.mark.parametrize("nothing", [3.5, b"abc", True])
def test_what_has_no_frames_is_refused(nothing: object) -> None:
    with pytest.raises(InputError, match="Expected a video file, a folder, a list"):
        open_source(nothing)


def test_picks_take_every_nth_frame_of_a_part() -> None:
    frames = SampledFrames(open_source(numbered(20)), FrameSampling(every=3, start=4, end=15))
    assert frames.length == 4
    assert [int(frames.read(frame)[0, 0, 0]) for frame in range(4)] == [4, 7, 10, 13]
    assert frames.read(4) is None
    assert frames.nearest(11) == 2


def test_frames_a_second_go_by_the_times(tmp_path: Path) -> None:
    times = [0, 40, 80, 120, 200, 210, 400, 440]
    source = open_source(write_video(tmp_path / "clip.mkv", IMAGES[:8], times))
    frames = SampledFrames(source, FrameSampling(fps=10))
    assert [frames.source_frame(frame) for frame in range(frames.length or 0)] == [0, 3, 4, 6]


@pytest.mark.parametrize(
    ("picks", "told"),
    [
        ({"every": 2, "fps": 5}, "cannot be combined"),
        ({"start": 5, "end": 5}, "greater than start"),
    ],
)
def test_picks_that_contradict_are_refused(picks: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        FrameSampling(**picks)


def test_the_pages_of_a_tiff_are_frames(tmp_path: Path) -> None:
    grays = [10, 200, 90, 250]
    first, *others = [Image.new("L", (16, 8), gray) for gray in grays]
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    source = open_source(tmp_path / "a.tif")
    assert source.length == 4
    assert [source.read(frame).mean() for frame in (0, 3, 1, 2)] == [10, 250, 200, 90]
    assert source.read(4) is None
    assert [source.seconds(frame) for frame in range(4)] == [0, 0.04, 0.08, 0.12]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animated_image_is_no_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    first, *others = [Image.fromarray(image) for image in IMAGES[:4]]
    first.save(path, save_all=True, append_images=others, duration=50)
    with pytest.raises(DataError, match="animated image, not a video.* with ffmpeg"):
        open_source(path)
    assert np.abs(load_image(path).astype(int) - IMAGES[0]).mean() < 4  # of 256 colors


@pytest.mark.parametrize("ending", [".avi", ".mp4", ".mkv"])
def test_tags_that_are_not_utf8_are_no_obstacle(ending: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path, name = tmp_path / f"clip{ending}", "Zoe at home"
    with av.open(str(path), "w") as out:
        out.metadata["title"] = name
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for gray in (10, 200):
            image = av.VideoFrame.from_ndarray(np.full((24, 32, 3), gray, np.uint8))
            out.mux(stream.encode(image))
        out.mux(stream.encode())
    data = path.read_bytes()
    assert name.encode() in data
    path.write_bytes(data.replace(name.encode(), "Zo\xeb at home".encode("latin-1")))
    source = open_source(path)
    try:
        for frame, gray in ((1, 200), (0, 10)):
            image = source.read(frame)
            assert abs(image.mean() - gray) < 9
    finally:
        source.close()


@pytest.mark.parametrize(
    "text",
    ["ffconcat version 1.0\nfile 'other.mp4'\n", "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n",
     '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>', "v=0\no=- 0 0\n"],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".mp4", ".m3u8"])
def test_playlists_are_refused(text: str, ending: str, tmp_path: Path) -> None:
    (tmp_path / f"a{ending}").write_text(text)
    with pytest.raises(DataError, match="is a playlist that refers to other files"):
        open_source(tmp_path / f"a{ending}")
