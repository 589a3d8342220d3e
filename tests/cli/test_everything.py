"""`anymask everything` on photos and folders."""

import json
from pathlib import Path

import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.jobs import records
from anymask.masks import Mask
from anymask.segment import Model
from tests.conftest import CommandLine
from tests.segment.fakes import ColorRuntime, Modest, discs, iou

IMAGE, MASKS = discs((90, 120), [(30, 45, 20), (90, 45, 22)])
GRID = ["--grid", "8", "--score", "0.3", "--stability", "0.3"]


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ColorRuntime:
    """A working folder with two photos, where the model is a fake."""
    runtime = ColorRuntime()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(runtime))
    Path("photos").mkdir()
    Image.fromarray(IMAGE).save("photos/one.png")
    Image.fromarray(IMAGE[:, ::-1].copy()).save("photos/two.png")
    return runtime


def test_a_photo_becomes_records_and_a_picture(runtime: ColorRuntime, cli: CommandLine) -> None:
    first, second = cli.err(["everything", "photos/one.png", "-o", "out", *GRID]).splitlines()[-2:]
    told = json.loads(Path("out/one.json").read_text())
    assert first.startswith(
        f"wrote {Path('out/one.json')}: {len(told['annotations'])} masks covering "
    )
    assert second == f"wrote {Path('out/one.png')}"
    assert told["image"] == {"image_id": 1, "width": 120, "height": 90, "file_name": "one.png"}
    assert [record["id"] for record in told["annotations"]] == list(
        range(1, len(told["annotations"]) + 1)
    )
    masks = [Mask.from_sa1b(record).mask for record in told["annotations"]]
    for truth in MASKS:
        assert max(iou(mask, truth) for mask in masks) > 0.7
    with Image.open("out/one.png") as image:
        assert image.size == (120, 90)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--tile", "big"], "--tile: Expected auto, none or a tile size in pixels, got 'big'"),
        (["--tile", "10"], "--tile: Expected auto, none or a tile size in pixels, got '10'"),
        (["--min-mask-area", "-1"], "--min-mask-area must be a number of pixels, 0 or more, got"),
        (["--grid", "0"], "grid must be a whole number of at least 1 and at most 1024, got 0"),
        (["--score", "70"], "0 or more and less than 2, got 70.0; for 70 % write 0.7."),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], error: str, runtime: ColorRuntime, cli: CommandLine
) -> None:
    assert error in cli.refused(["everything", "photos/one.png", "-o", "out", *options])
    assert not Path("out").exists()


def test_nothing_found_is_a_result(runtime: ColorRuntime, cli: CommandLine) -> None:
    assert "No mask passed the filters. Lower --score or" in cli.err(
        ["everything", "photos/one.png", "-o", "out", "--score", "1"]
    )
    assert json.loads(Path("out/one.json").read_text())["annotations"] == []


def test_where_nothing_passes_the_best_are_shown_as_in_python(
    runtime: ColorRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(Modest())
    monkeypatch.setattr(anymask, "load", lambda *_, **__: model)
    run = ["everything", "photos/one.png", "-o", "out/", "--grid", "8"]
    own = ["--score", "0.88"]  # the default, but said

    def found() -> int:
        return len(json.loads(Path("out/one.json").read_text())["annotations"])

    assert main(run) == 0
    assert found() == len(model.everything("photos/one.png", grid=8)) > 0
    assert main([*run, *own]) == 0
    assert found() == 0
    assert main(run) == 0  # the records were those of other settings
    assert found() > 0


def test_pictures_can_be_left_out_and_drawn_later_from_the_records(
    runtime: ColorRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["everything", "photos", "-o", "out", *GRID, "--no-overlay"])
    assert names("out") == ["one.json", "two.json"]
    main(["everything", "photos", "-o", "both", *GRID])
    decoded = len(runtime.calls)
    assert main(["everything", "photos", "-o", "out", *GRID]) == 0
    assert len(runtime.calls) == decoded
    for name in names("both"):
        assert (Path("out") / name).read_bytes() == (Path("both") / name).read_bytes()


def test_the_same_pixels_in_another_file_are_done_already(
    runtime: ColorRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["everything", "photos", "-o", "out", *GRID])
    Image.fromarray(IMAGE).save("photos/one.png", compress_level=0)
    Image.fromarray(IMAGE[::-1].copy()).save("photos/two.png")
    capsys.readouterr()
    main(["everything", "photos", "-o", "out", *GRID])
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("1 done, 1 skipped (done before), 0 failed")
    )


def test_a_picture_never_lies_beside_records_of_other_settings(
    runtime: ColorRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["everything", "photos/one.png", "-o", "out", *GRID])

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # after the picture, before the records
    monkeypatch.setattr(records, "write_json", stop)
    main(["everything", "photos/one.png", "-o", "out", *GRID, "--box-nms-thresh", "0.1"])
    assert names("out") == [".one.json.search", "one.png"]  # the search need not be repeated
