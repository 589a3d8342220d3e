"""`anymask volume`: a scan and prompts in, labels out; what cannot be is said before the work."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import anymask
from anymask.base import InputError
from anymask.cli.main import main
from anymask.masks import Prompt
from anymask.segment import Model
from anymask.volumes import VolumeFiles, read_volume, track_volume_file
from anymask.volumes.files import depth_text, volume_text
from anymask.volumes.volume import scaled_affine
from tests.segment.fakes import ColorRuntime
from tests.volumes.test_following import dice, made

nibabel = pytest.importorskip("nibabel")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    image = nibabel.Nifti1Image(made()[0].transpose(2, 1, 0), scaled_affine((3.0, 1.0, 1.0)))
    nibabel.save(image, path)
    return path


def asked(scan: Path, *outputs: str, **changes: object) -> VolumeFiles:
    disc = {"box": [16, 13, 39, 36], "frame": 7, "object_id": 1}
    other = {"points": [[64, 50]], "labels": [1], "frame": 7, "object_id": 2}
    prompts = [Prompt.from_json(disc), Prompt.from_json(other)]
    paths = [scan.parent / name for name in outputs]
    names = {1: "disc"}
    return VolumeFiles(scan=scan, prompts=prompts, outputs=paths, names=names, **changes)  # type: ignore[arg-type]


def test_labels_are_written_on_their_scan_and_told(scan: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    notes = track_volume_file(
        lambda: Model(ColorRuntime()), asked(scan, "a.nii.gz", "a.seg.nrrd"), "m",
        lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    for name in ("a.nii.gz", "a.seg.nrrd"):
        read = read_volume(scan.parent / name)
        assert dice(read.array == 1, made()[1]) > 0.9
        assert np.allclose(read.affine, read_volume(scan).affine)
    assert read.names == {1: "disc", 2: "Segment_2"}
    assert any(note.startswith("disc: ") and "z slices 4 to 10 (21.0 mm)" in note for note in notes)
    assert seen[-1] == (16, 16)
    written = {one.name for one in scan.parent.iterdir()}
    assert written == {"scan.nii.gz", "a.nii.gz", "a.seg.nrrd"}
    for names, told in ((["a.nii.gz"], "also an input"), (["b.nii", "./b.nii"], "Duplicate")):
        with pytest.raises(InputError, match=told):
            VolumeFiles(
                scan=scan, outputs=[scan.parent / name for name in names],
                prompts=[Prompt(box=(1, 1, 9, 9), source=str(scan.parent / "a.nii.gz"))],
            )  # fmt: skip


def test_an_interrupted_run_goes_on_and_another_one_begins_anew(scan: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int | None) -> None:
        if done == 6:
            raise Stopped

    model = Model(ColorRuntime())
    with pytest.raises(Stopped):
        track_volume_file(lambda: model, asked(scan, "a.nii.gz"), "m", stop)
    kept = scan.parent / ".a.nii.gz.session"
    assert kept.exists()
    decoded = len(model.runtime.calls)  # type: ignore[attr-defined]
    track_volume_file(lambda: model, asked(scan, "a.nii.gz"), "m")
    again = len(model.runtime.calls) - decoded  # type: ignore[attr-defined]
    assert not kept.exists()
    before = gzip.decompress((scan.parent / "a.nii.gz").read_bytes())

    whole = Model(ColorRuntime())
    track_volume_file(lambda: whole, asked(scan, "b.nii.gz"), "m")
    assert gzip.decompress((scan.parent / "b.nii.gz").read_bytes()) == before
    assert again < len(whole.runtime.calls)  # type: ignore[attr-defined]

    with pytest.raises(Stopped):
        track_volume_file(lambda: model, asked(scan, "a.nii.gz"), "m", stop)
    other = asked(scan, "a.nii.gz", settings={"window": (300.0, 600.0)})
    assert track_volume_file(lambda: model, other, "m")[0].startswith("wrote")


def test_a_session_that_is_named_is_corrected_later(scan: Path) -> None:
    kept, model = scan.parent / "x.session", Model(ColorRuntime())
    first = asked(scan, "a.nii.gz", settings={"session": kept})
    track_volume_file(lambda: model, first, "m")
    mask = np.zeros((64, 80), np.uint8)
    mask[20:30, 20:30] = 255
    later = VolumeFiles(
        scan=scan, prompts=[Prompt(mask=mask, frame=8, object_id=1)],
        outputs=[scan.parent / "b.nii.gz"], settings={"session": kept},
    )  # fmt: skip
    track_volume_file(lambda: model, later, "m")
    before, after = (read_volume(scan.parent / name).array for name in ("a.nii.gz", "b.nii.gz"))
    assert (after[8] == (mask > 0)).sum() >= (mask > 0).sum()
    assert (before[:8] == after[:8]).all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--box", "1,1,5,5", "-o", "x.png"], "ends in .nii, .nii.gz, .seg.nrrd"),
        (["--box", "1,1,5,5", "-o", "x.dcm"], "comes from"),
        (["-o", "x.nii"], "or the FILE that a previous run wrote with --session"),
        (["--box", "40:1,1,5,5", "-o", "x.nii"], "SLICE:OBJECT:X0,Y0,X1,Y1"),
        (["--box", "40:1,1,5,5", "-o", "x.nii"], "0:40:1,1,5,5 for object 40 on slice 0"),
        (["--box", "1,1,5,5", "--box", "1,1,5,5", "-o", "x.nii"], "object 1 on slice 0 has two"),
        (["--box", "99:1:1,1,5,5", "-o", "x.nii"], "Slice 99 is out of range"),
        (["--slice", "16", "--box", "1,1,5,5", "-o", "x.nii"], "slices 0 to 15 across z"),
        (
            ["--axis", "y", "--slice", "99", "--box", "1,1,5,5", "-o", "x.nii"],
            f"slices 0 to {made()[0].shape[1] - 1} across y",
        ),
        (["--frame", "3", "--box", "1,1,5,5", "-o", "x.nii"], "--frame accepts 0 to 0"),
        (["--box", "1,1,5,5", "--window", "40", "-o", "x.nii"], "LEVEL,WIDTH"),
        (["--box", "1,1,5,5", "--axis", "w", "-o", "x.nii"], "Choose from: z, y, x"),
    ],
)
def test_what_is_wrong_is_one_error(
    words: list[str], told: str, scan: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(scan.parent)
    assert main(["volume", "scan.nii.gz", *words]) == 2
    assert told in capsys.readouterr().err
    assert [one.name for one in scan.parent.glob("x.*")] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (volume_text(23.456), "23.46 ml"),
        (volume_text(0.1), "0.10 ml"),
        (volume_text(0.05), "50.00 mm³"),
        (volume_text(1.2e-4), "0.12 mm³"),
        (volume_text(65e-12), "65 µm³"),  # a nucleus of 5 um: pi / 6 * 125 um3
        (volume_text(5.23e-8), "52,300 µm³"),
        (depth_text(21.0), "21.0 mm"),
        (depth_text(0.1), "0.1 mm"),
        (depth_text(0.005), "5 µm"),
    ],
)
def test_small_volumes_and_depths_keep_their_digits(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.slow
def test_the_command_follows_with_the_bundled_model(
    scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scan.parent / "disc.seg.nrrd"
    words = ["--slice", "7", "--box", "16,13,39,36", "--label", "disc", "-o", str(out)]
    assert main(["volume", str(scan), *words]) == 0
    assert "disc: " in capsys.readouterr().out
    assert dice(anymask.read_volume(out).array == 1, made()[1]) > 0.9
