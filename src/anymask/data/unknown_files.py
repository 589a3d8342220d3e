"""What to tell about a file that is not read as a picture: its first bytes in, an error text out.

Kinds are told by their published signatures. What a suffix promises is not looked at.
"""

from __future__ import annotations

from typing import Any

_WANTED = "wanted a picture (JPEG, PNG, WebP, TIFF, ...)"
_HEAD = 512  # bytes that are looked at
_RAW = ("a camera's raw file", "develop it to TIFF or JPEG first, with darktable for example")

# The first bytes of pictures that are read: such a file is damaged.
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"8BPS")

# The first bytes of other kinds: what they are, and the way to a picture.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x93NUMPY", "an array of NumPy", "in Python give numpy.load(FILE); else save it as TIFF"),
    (b"PK\x03\x04", "an archive", "unpack it, and name a picture in it"),
    (b"%PDF", "a PDF document", "make pictures of its pages: pdftoppm -png FILE page"),
    (b"ZISRAWFILE", "a CZI file of a Zeiss microscope", "export it as TIFF, from ZEN or Fiji"),
    (b"\x70\0\0\0", "a LIF file of a Leica microscope", "export it as TIFF, from LAS X or Fiji"),
    (b"\xda\xce\xbe\x0a", "an ND2 file of a Nikon microscope", "export it as TIFF, from Fiji"),
    (
        b"\x89HDF",
        "an HDF5 file",
        "in Python read its array with h5py; else export it as TIFF, from Fiji",
    ),
    (b"FUJIFILM", *_RAW),
    (b"IIRO", *_RAW),
    (b"IIU\0", *_RAW),
)
_BOXED = {  # the brand of an ISO base media file, behind "ftyp"
    **dict.fromkeys(
        (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"),
        ("a HEIC photo", "convert it to JPEG: heif-convert FILE photo.jpg"),
    ),
    b"crx ": _RAW,
}
_AVIF = (b"avif", b"avis")


def explain_unidentified(file: Any, name: str) -> str:
    """What to tell about a file that Pillow does not know."""
    try:
        file.seek(0)
        head = file.read(_HEAD)
    except (OSError, ValueError, AttributeError):
        head = b"?"
    if not head:
        return f"{name} is empty (0 bytes); copy or download the picture again"
    if not isinstance(head, bytes):
        return f"wanted a file of bytes, {name} gives text; open it with mode 'rb'"
    wanted = f"{_WANTED}, {name} is "
    if (kind := _kind_of(head)) is not None:
        return f"{wanted}{kind[0]}; {kind[1]}"
    if head.startswith(_PICTURES) or head[8:12] in _AVIF:
        return f"{name} is damaged or truncated; copy or download the picture again"
    return (
        f"{wanted}none, or its first bytes are damaged (it begins with {head[:8]!r}); convert it "
        "to PNG, or in Python pass the pixels as an array"
    )


def _kind_of(head: bytes) -> tuple[str, str] | None:
    """What a file is that is not read, and the way to a picture; None for anything else."""
    for begin, what, remedy in _KINDS:
        if head.startswith(begin):
            return what, remedy
    if head[4:8] == b"ftyp":
        return _BOXED.get(head[8:12])
    if head[128:132] == b"DICM":
        return "a DICOM file", "in Python give pydicom.dcmread(FILE).pixel_array"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page", "download the picture itself"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing", "make a picture of it: rsvg-convert FILE -o drawing.png"
    return None
