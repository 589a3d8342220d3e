"""Where the commands may write."""

from pathlib import Path

import pytest

from anymask.base import InputError
from anymask.cli.outputs import check_outputs


def test_the_photo_is_never_overwritten(tmp_path: Path) -> None:
    photo = tmp_path / "dog.png"
    photo.touch()
    with pytest.raises(InputError, match="is the input image. Choose another name"):
        check_outputs([tmp_path / "other.png", tmp_path / "." / "dog.png"], photo)
    with pytest.raises(InputError, match="is a folder, but an output file is required"):
        check_outputs([tmp_path], photo)
    check_outputs([tmp_path / "new.png"], photo)
