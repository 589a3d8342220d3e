"""Videos whose true masks are known: discs that move over a ground, as arrays or as a file."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.segment.fakes import discs

HW = (96, 128)
RED, GREEN = 0, 1  # the discs in order


def moving_discs(
    frames: int, hidden: Sequence[int] = (), hw: tuple[int, int] = HW
) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Pictures of two discs that drift apart, and their masks; `hidden`: frames without the first.

    The first moves right by 2 pixels a frame, the second one left by 1.
    """
    images, masks = [], []
    for step in range(frames):
        gone = step in hidden
        circles = [(30.0 + 2 * step, 30.0, 0.0 if gone else 14.0), (100.0 - step, 70.0, 15.0)]
        image, truth = discs(hw, circles)
        if gone:
            truth[0] = np.zeros(hw, np.bool_)
            image, _ = discs(hw, [(-99.0, -99.0, 1.0), circles[1]])
        images.append(image)
        masks.append(truth)
    return images, masks


def write_video(
    path: Path,
    images: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    codec: str = "ffv1",
    pix_fmt: str = "bgr0",
    index_first: bool = False,
    **options: Any,
) -> Path:
    """A video file of pictures; `times` in thousandths of a second, 40 apart when left out."""
    moved = {"movflags": "faststart"} if index_first else {}
    with av.open(str(path), "w", options=moved) as container:
        stream = container.add_stream(
            codec, rate=25, options={k: str(v) for k, v in options.items()}
        )
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        for place, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = 40 * place if times is None else times[place]
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def damage_packet(path: Path, number: int, seed: int | None = None) -> Path:
    """The same file with one packet of its video overwritten: by zeros, or by noise."""
    with av.open(str(path)) as container:
        packets = [bytes(one) for one in container.demux(video=0) if one.size]
    data, packet = bytearray(path.read_bytes()), packets[number]
    place = -1
    for one in packets[: number + 1]:  # equal packets: the one in its turn
        place = data.find(one, place + 1)
    assert place >= 0
    noise = bytes(len(packet)) if seed is None else np.random.default_rng(seed).bytes(len(packet))
    data[place : place + len(packet)] = noise
    path.write_bytes(data)
    return path


def decodable(path: Path) -> list[float]:
    """The times of the frames that PyAV decodes where errors are passed over, in seconds."""
    times = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                times += [round(float(one.time), 3) for one in packet.decode()]
            except av.error.FFmpegError:
                continue
    return sorted(times)
