"""Photos redacted by labels or after a review: what is hidden, what is left behind, what stays."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymask import jobs
from anymask.base import DataError, InputError
from anymask.formats import AnnotatedImage, write_annotations
from anymask.jobs import ImageItem, ImageSettings, Redaction, redact_images
from anymask.jobs.records import MaskWork
from anymask.jobs.settings import LazyImageFile
from anymask.masks import Mask, Masks, mask_to_rle
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime

SKIN, GROUND = (220, 170, 140), (40, 120, 60)
FACE = np.zeros((60, 90), bool)
FACE[20:40, 30:50] = True


def portrait() -> np.ndarray:
    return np.where(FACE[..., None], SKIN, GROUND).astype(np.uint8)


def save_with_secrets(path: Path, pixels: np.ndarray) -> None:
    """A JPEG whose EXIF, GPS, XMP and comment say SECRET."""
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x010F] = "SECRET maker"
    exif.get_ifd(0x8825)[1] = "SECRET north"
    image.save(path, exif=exif, xmp=b"SECRET xmp", comment=b"SECRET comment", quality=95)


@pytest.fixture(autouse=True)
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos/trip").mkdir(parents=True)
    save_with_secrets(Path("photos/a.jpg"), portrait())
    Image.fromarray(portrait()).save("photos/trip/a.png")
    Image.fromarray(np.full((60, 90, 3), GROUND, np.uint8)).save("photos/wall.png")


def labels(*names: str, mask: np.ndarray = FACE, label: str = "face") -> str:
    """COCO of these photos with the face in each but the wall."""
    rows = []
    for name in names:
        masks = [] if "wall" in name else [Mask(mask_to_rle(mask), label)]
        hw = (mask.shape[0], mask.shape[1])
        rows.append(AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks, image_hw=hw)))
    write_annotations(rows, Path("labels.json"), "coco")
    return "labels.json"


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def rows_of(path: str) -> list[list[str]]:
    with Path(path).open(newline="") as file:
        return list(csv.reader(file))


def test_a_face_is_hidden_and_metadata_stays_behind() -> None:
    before = {path: path.read_bytes() for path in Path("photos").rglob("*.*")}
    assert b"SECRET" in before[Path("photos/a.jpg")]
    asked = Redaction(
        source="photos", out=Path("out"), labels=labels("a.jpg", "trip/a.png", "wall.png")
    )
    report = redact_images(asked)
    assert (report.written, report.images, report.objects) == (3, 3, 2)
    assert not pixels("out/trip/a.png")[FACE].any()
    assert pixels("out/a.jpg")[FACE].max() < 40  # JPEG
    far = np.s_[:12, :12]
    np.testing.assert_array_equal(pixels("out/trip/a.png")[far], portrait()[far])
    for path in Path("out").rglob("*.*"):
        if path.is_file():
            assert b"SECRET" not in path.read_bytes()
    assert rows_of("out-without.csv") == [["photo", "reason"], ["wall.png", "no mask"]]
    assert {path: path.read_bytes() for path in Path("photos").rglob("*.*")} == before


@pytest.mark.parametrize("how", ["pixels", "blur"])
def test_other_ways_leave_no_detail(how: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3)).astype(np.uint8)
    Image.fromarray(noise).save("photos/trip/a.png")
    jobs.run("redact", "photos", "out", labels=labels("trip/a.png"), how=how)
    assert pixels("out/trip/a.png")[FACE].std() < 0.35 * noise[FACE].std()


def test_photos_that_the_labels_do_not_know_are_not_written_unless_forced() -> None:
    known = labels("a.jpg")
    report = redact_images(Redaction(source="photos", out=Path("out"), labels=known))
    assert (report.written, len(report.without)) == (1, 2)
    assert not Path("out/wall.png").exists()
    assert {reason for _, reason in report.without} == {"not in the labels, so no copy was written"}
    forced = Redaction(source="photos", out=Path("all"), labels=known, force=True)
    assert redact_images(forced).written == 3
    np.testing.assert_array_equal(pixels("all/trip/a.png"), portrait())


def test_what_is_there_is_not_written_again_and_other_labels_write_anew() -> None:
    def done(**more: Any) -> tuple[int, int]:
        summary = jobs.run("redact", "photos", "out", labels=more.pop("labels"), **more)
        return summary.done, summary.skipped

    names = ("a.jpg", "trip/a.png", "wall.png")
    assert done(labels=labels(*names)) == (3, 0)
    Path("out/.a.jpg.redacted").write_text("begun")  # killed while it was written
    Path("out/wall.png").unlink()
    assert done(labels=labels(*names)) == (2, 1)
    assert done(labels=labels(*names), color="red") == (3, 0)
    assert done(labels=labels(*names, mask=FACE[:, ::-1]), color="red") == (2, 1)


def test_a_file_that_is_no_copy_of_ours_is_never_overwritten() -> None:
    Path("out").mkdir()
    Path("out/wall.png").write_bytes(b"mine")
    summary = jobs.run("redact", "photos", "out", labels=labels("a.jpg", "wall.png"))
    assert (summary.done, summary.failed) == (2, 1)
    assert "is no result of redact" in summary.failures[0].reason
    assert Path("out/wall.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("source", "out"),
    [("photos", "photos"), ("photos", "photos/out"), ("photos", "."),
     (["photos/a.jpg", "photos/wall.png"], "photos"), ("photos/a.jpg", "photos")],
)  # fmt: skip
def test_copies_do_not_lie_among_the_photos(source: Any, out: str) -> None:
    known, before = labels("a.jpg"), sorted(Path("photos").rglob("*"))
    with pytest.raises(InputError, match="inside the input folder|contains the images"):
        redact_images(Redaction(source=source, out=Path(out), labels=known))
    assert sorted(Path("photos").rglob("*")) == before


def test_names_choose_masks_and_unknown_ones_are_told() -> None:
    known = labels("trip/a.png")
    chosen = Redaction(source="photos", out=Path("out"), labels=known, words="Face")
    assert redact_images(chosen).objects == 1
    with pytest.raises(InputError, match="The names in the labels: face"):
        redact_images(Redaction(source="photos", out=Path("x"), labels=known, words="plate"))


def test_one_photo_takes_the_picture_of_a_mask() -> None:
    Image.fromarray(FACE).save("mask.png")
    asked = Redaction(source="photos/trip/a.png", out=Path("hidden.webp"), labels="mask.png")
    assert redact_images(asked).written == 1
    assert not pixels("hidden.webp")[FACE].any()


def test_labels_of_another_size_fail_and_of_other_photos_are_refused() -> None:
    summary = jobs.run("redact", "photos", "out", labels=labels("a.jpg", mask=FACE[:30]))
    assert "this image has (60, 90)" in summary.failures[0].reason
    with pytest.raises(DataError, match="None of these labels"):
        jobs.run("redact", "photos", "out", labels=labels("absent.jpg"))
    for missing in ({}, {"how": "smear", "labels": "x"}, {"color": "bluish", "labels": "x"}):
        with pytest.raises(InputError):
            Redaction(source="photos", out=Path("out"), **missing)  # type: ignore[arg-type]


@dataclass(frozen=True)
class FindSkin:
    """Stands for `FindTask`: everything of the colour of skin is a face."""

    def open(self) -> MaskWork:
        return SkinWork(Model(ColorRuntime()), ImageSettings(), True)


class SkinWork(MaskWork):
    def find(self, image: LazyImageFile, item: ImageItem, on_step: Any) -> Sequence[Mask]:
        found = (np.abs(image.pixels.astype(int) - SKIN) < 30).all(axis=2)
        return [Mask(mask_to_rle(found), "face")] if found.any() else []


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.FindTask, "plan", lambda source, given: (source, FindSkin()))


@pytest.mark.usefixtures("finds")
def test_what_was_found_is_written_once_it_was_looked_at() -> None:
    words = Redaction(source="photos", out=Path("out"), words="face")
    report = redact_images(words)
    assert (report.written, report.objects) == (0, 2)
    assert not Path("out").exists()
    assert Path("out-review/a.png").is_file()  # to be looked at
    assert rows_of("out-without.csv")[1:] == [["wall.png", "nothing found"]]

    # Somebody looks, and takes a find back.
    document = json.loads(Path("out-review/a.json").read_text())
    Path("out-review/a.json").write_text(json.dumps(document | {"annotations": []}))
    report = redact_images(Redaction(source="photos", out=Path("out"), labels="out-review"))
    assert (report.written, report.objects) == (3, 1)
    assert not pixels("out/trip/a.png")[FACE].any()
    assert abs(int(pixels("out/a.jpg")[30, 40, 0]) - SKIN[0]) < 10


@pytest.mark.usefixtures("finds")
def test_force_writes_without_a_review_and_lists_as_json() -> None:
    asked = Redaction(
        source="photos", out=Path("out"), words="face", force=True, list_to=Path("list.json")
    )
    assert redact_images(asked).written == 3
    assert json.loads(Path("list.json").read_text()) == [
        {"photo": "wall.png", "reason": "nothing found"}
    ]
