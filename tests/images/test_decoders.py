"""Pictures are decoded by a list of Pillow's decoders, whatever a file is called."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from anymask.base import ImageError
from anymask.images import DECODERS, image_hw, load_image, load_mask, read_pages, read_planes

SCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n"
    b"(written) (w) file closefile\n20 20 scale showpage\n"
)
PREVIEWED = b"\xc5\xd0\xd3\xc6" + np.array([32, len(SCRIPT), 0, 0, 0, 0], "<u4").tobytes()
Image.init()
SAVED = sorted({*Image.SAVE} & {*Image.OPEN} - {"HDF5", "BUFR", "GRIB", "WMF", "HEIF"})


@pytest.mark.parametrize("script", [SCRIPT, PREVIEWED.ljust(32, b"\0") + SCRIPT])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.eps", "a.gif"])
@pytest.mark.parametrize("read", [load_image, load_mask, image_hw, read_pages, read_planes])
def test_postscript_is_refused_under_every_name(
    script: bytes, name: str, read: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        pytest.fail("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    (tmp_path / name).write_bytes(script)
    with pytest.raises(ImageError, match="is a PostScript document.* Export it as PNG"):
        read(tmp_path / name)  # type: ignore[operator]  # a reader


@pytest.mark.filterwarnings("ignore:.*deprecated")  # of Pillow, about formats that we refuse
@pytest.mark.parametrize("kind", SAVED)
def test_what_pillow_writes_is_read_by_the_decoders_of_the_list_alone(kind: str) -> None:
    file, mode = io.BytesIO(), {"XBM": "1", "MSP": "1", "SPIDER": "F", "BLP": "P"}.get(kind, "RGB")
    Image.new(mode, (16, 12)).save(file, kind)
    if kind in (*DECODERS, "MPO"):  # a JPEG with further pictures
        assert load_image(file.getvalue()).shape == (12, 16, 3)
    else:
        with pytest.raises(ImageError, match="not a supported image"):
            load_image(file.getvalue())
