"""Minimal files of microscopes with one channel of 8 bits, written by hand.

Layouts: ZISRAW (CZI) 1.2.2; Leica's "LIF file format description" version 2; ND2 version 2 as the
reader `nd2` parses it. Each holds one uncompressed image.
"""

from __future__ import annotations

import struct
from typing import Any

from numpy.typing import NDArray

_CHUNK = 4096  # ND2 aligns its chunks


def czi_bytes(image: NDArray[Any]) -> bytes:  # (H, W) uint8
    """A CZI file: a header, one subblock and the directory of subblocks."""
    height, width = image.shape
    sides = [(b"X", width), (b"Y", height)]
    entry = struct.pack("<2siqiiBB4si", b"DV", 0, 112, 0, 0, 0, 0, bytes(4), len(sides))
    entry += b"".join(struct.pack("<4siifi", name, 0, side, 0.0, side) for name, side in sides)
    block = struct.pack("<iiq", 0, 0, image.size) + entry
    block += bytes(256 - len(block)) + image.tobytes()
    directory_at = 112 + 32 + len(block)
    header = struct.pack(
        "<iiii16s16siqqiq", 1, 0, 0, 0, bytes(16), bytes(16), 0, directory_at, 0, 0, 0
    )
    directory = struct.pack("<i124s", 1, b"") + entry
    parts = ((b"ZISRAWFILE", header), (b"ZISRAWSUBBLOCK", block), (b"ZISRAWDIRECTORY", directory))
    return b"".join(
        struct.pack("<16sqq", kind, len(part), len(part)) + part for kind, part in parts
    )


def lif_bytes(image: NDArray[Any]) -> bytes:  # (H, W) uint8
    """A LIF file: a description in XML and one block of memory."""
    height, width = image.shape
    sides = "".join(
        f'<DimensionDescription DimID="{number}" NumberOfElements="{side}" Origin="0" '
        f'Length="1e-6" Unit="m" BitInc="0" BytesInc="{step}"/>'
        for number, side, step in ((1, width, 1), (2, height, width))
    )
    channel = (
        '<ChannelDescription DataType="0" ChannelTag="0" Resolution="8" '
        'NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" LUTName="Gray" IsLUTInverted="0" '
        'BytesInc="0" BitInc="0"/>'
    )
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="made"><Children><Element Name="one">'
        f"<Data><Image><ImageDescription><Channels>{channel}</Channels>"
        f"<Dimensions>{sides}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{image.size}" MemoryBlockID="MemBlock_1"/>'
        "</Element></Children></Element></LMSDataContainerHeader>"
    )
    name = "MemBlock_1"
    return b"".join(
        (
            struct.pack("<IIBI", 0x70, 2 * len(text) + 5, 0x2A, len(text)),
            text.encode("utf-16-le"),
            struct.pack("<IIBQBI", 0x70, 2 * len(name) + 14, 0x2A, image.size, 0x2A, len(name)),
            name.encode("utf-16-le"),
            image.tobytes(),
        )
    )


def nd2_bytes(image: NDArray[Any]) -> bytes:  # (H, W) uint8
    """An ND2 file of version 2: attributes in XML, one frame, the map of the chunks."""
    height, width = image.shape
    numbers = {
        "uiWidth": width, "uiWidthBytes": width, "uiHeight": height, "uiComp": 1,
        "uiBpcInMemory": 8, "uiBpcSignificant": 8, "uiSequenceCount": 1, "uiTileWidth": width,
        "uiTileHeight": height, "eCompression": 2,
    }  # fmt: skip
    rows = "".join(f'<{name} runtype="lx_uint32" value="{n}"/>' for name, n in numbers.items())
    document = '<?xml version="1.0"?><variant version="1.0"><no_name>{}</no_name></variant>'
    chunks = {
        b"ImageAttributes!": document.format(rows).encode(),
        b"ImageMetadataSeq|0!": document.format("").encode(),
        b"ImageDataSeq|0!": struct.pack("<d", 0.0) + image.tobytes(),
    }
    file = _nd2_chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver2.0".ljust(64, b"\0"), 32)
    where = b""
    for name, data in chunks.items():
        file += bytes(-len(file) % _CHUNK)
        where += name + struct.pack("<QQ", len(file), len(data))
        file += _nd2_chunk(name, data, _CHUNK - 24)
    file += bytes(-len(file) % _CHUNK)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(file))
    return file + _nd2_chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", where + end, 32)


def _nd2_chunk(name: bytes, data: bytes, room: int) -> bytes:
    return struct.pack("<IIQ", 0x0ABECEDA, room, len(data)) + name.ljust(room, b"\0") + data


WRITERS = {"czi": czi_bytes, "lif": lif_bytes, "nd2": nd2_bytes}
