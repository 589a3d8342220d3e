"""`anymask encode` over a folder: what is done stays, what fails does not stop the rest."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import InputError
from anymask.cli.main import main
from anymask.masks import Features
from anymask.segment import Model
from tests.conftest import CommandLine
from tests.segment.fakes import ColorRuntime, discs

IMAGE, _ = discs((60, 90), [(30, 30, 20)])


class Counting(ColorRuntime):
    """Counts how many pictures were really seen."""

    seen = 0

    def encode_images(self, images: np.ndarray) -> list:
        type(self).seen += len(images)
        return super().encode_images(images)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    """A working folder with photos, where the model is a fake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(Counting()))
    monkeypatch.setattr(Counting, "seen", 0)
    for index, name in enumerate(["a.png", "b.jpg", "sub/c.png", "twin.png", "twin.jpg"]):
        path = Path("photos") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(IMAGE, index, axis=1)).save(path)
    return Counting


def made() -> list[str]:
    return sorted(path.as_posix() for path in Path("out").rglob("*") if path.is_file())


def test_the_embedding_of_a_map_is_one_of_a_map(runtime: type[Counting], cli: CommandLine) -> None:
    for made in (5, 6):  # again after a world file came
        main(["encode", "photos", "-o", "out"])
        assert runtime.seen == made
        Path("photos/a.pgw").touch()
    assert "a is georeferenced, but" in cli.refused(
        ["segment", "out/a.npz", "--point", "9,9", "-o", "a.geojson", "-o", "a.svg"]
    )
    found = Model(Counting()).segment(Features.load("out/a.npz"), points=[(9, 9)])
    with pytest.raises(InputError, match="is georeferenced"):
        found.save("a.geojson")
    with pytest.raises(InputError, match="predicted from an embedding"):
        found.draw()
    assert not Path("a.geojson").exists()


def test_changed_photos_damaged_files_and_other_weights_are_done_again(
    runtime: type[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["encode", "photos", "-o", "out"])
    Image.fromarray(IMAGE[::-1]).save("photos/a.png")
    Path("out/b.npz").write_bytes(Path("out/b.npz").read_bytes()[:99])
    main(["encode", "photos", "-o", "out"])
    assert runtime.seen == 7
    other = Model(Counting(weights_hash="other"))
    monkeypatch.setattr(anymask, "load", lambda *_, **__: other)
    main(["encode", "photos", "-o", "out"])
    assert runtime.seen == 12
