"""Commands on damaged files, and the state from which runs and jobs resume."""

import contextlib
import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

import anymask
from anymask.base import AnymaskError
from anymask.cli.main import main
from anymask.formats import AnnotatedImage, write_annotations
from anymask.masks import Mask, mask_to_rle
from anymask.segment import Model
from tests.fuzz import exchange_targets as exchange
from tests.fuzz import more_targets as more
from tests.fuzz.targets import RECIPE, Target, attempt
from tests.segment.fakes import ColorRuntime
from tests.training.small_data import small_recipe, write_sets

COMMANDS = {  # file -> commands that read it as {}; {root} is its folder
    "a.png": (
        "segment {} --point 5,8 -o {out}/a.json", "everything {} --grid 2 -o {out}/all",
        "cutout {} --box 1,1,8,8 -o {out}/a.webp", "encode {} -o {out}/a.npz",
        "convert {} {out}/a.json --from label-png", "redact {} --labels {mask} -o {out}/r.png",
    ),
    "deep.tif": ("everything {} --grid 2 --page all -o {out}/all",),
    "mask.png": ("segment {root}/a.png --mask {} -o {out}/a.svg", "convert {} {out}/a.json"),
    "mask.npy": ("segment {root}/a.png --mask {} -o {out}/a.overlay.png",),
    "a.npz": ("segment {} --point 5,8 -o {out}/a.json",),
    "coco.json": (
        "convert {} {out}/yolo --to yolo", "stats {}", "boxes {} --images {photos} -o {out}/boxes",
        "redact {photos} --labels {} -o {out}/redacted", "project import {project} {}",
        "evaluate images {} --images {photos} --workers 1 --clicks 1 --json {out}/a.json",
    ),
    "yolo/labels/a.txt": ("convert {root}/yolo {out}/a.json --images {photos}",),
    "yolo/data.yaml": ("convert {root}/yolo {out}/a.xml --images {photos}",),
    "a.svg": ("convert {} {out}/a.csv", "stats {}"),
    "a.xml": ("convert {} {out}/a.geojson", "stats {}"),
    "classes.txt": ("convert {root}/coco.json {out}/yolo --to yolo --classes {}",),
    "a.mp4": ("track {} --point 4,8 -o {out}/t.json", "cutout {} --point 4,8 -o {out}/a.webm"),
    "track.jsonl": (
        "redact {root}/a.mp4 --labels {} -o {out}/r.mp4", "convert {} {out}/t.json",
        "track {root}/a.mp4 --from {} -o {out}/u.json",
    ),
    "a.session": ("track {root}/a.mp4 --point 4,8 --session {} -o {out}/again.json",),
    "a.nii.gz": ("volume {} --point 0:1:3,3 -o {out}/v.nii.gz", "evaluate score volume {} {}"),
    "a.nrrd": ("volume {} --point 0:1:3,3 -o {out}/v.seg.nrrd",),
    "map.tif": ("everything {} --grid 2 -o {out}/m.geojson", "change {} {} -o {out}/m.gpkg"),
    "a.geojson": ("segment {root}/map.tif --prompts {} -o {out}/p.geojson",),
    "a.kml": ("segment {root}/map.tif --prompts {} -o {out}/p.gpkg",),
    "masks.json": ("evaluate score masks {} {root}/masks.found.json --html {out}/a.html",),
    "masks.found.json": ("evaluate score masks {root}/masks.json {}",),
    "video.concepts.json": ("evaluate score concepts {} {root}/video.concepts.found.json",),
    "recipe.toml": ("train {} --data {root}/sets --shards {out}/shards",),
    "answers.csv": ("project concepts {project} --answers {}",),
    "groups.csv": ("project init {root}/new --groups {}",),
    "project/.anymask/project.db": (
        "project report {project}", "project export {project} -o {out}/p.json --proposals",
        "project review {project}", "project clips {project} -o {out}/tracks --proposals",
        "project import {project} {root}/coco.json --proposals",
    ),
}  # fmt: skip
JOBS = {  # name of the outputs -> command that writes them, and resumes
    "all": "everything {photos} --grid 4 -o {now}/all",
    "copies": "redact {photos} --labels {root}/coco.json -o {now}/copies",
    "audit": "audit {root}/coco.json --images {photos} -o {now}/audit --grid 2",
    "report": "evaluate images {root}/coco.json --images {photos} --workers 1 --clicks 1 --resume "
    "--json {now}/report.json",
    "session": "track {root}/a.mp4 --everything --session {now}/session -o {now}/session.json",
    "film": "redact {root}/a.mp4 --labels {root}/track.jsonl -o {now}/film.mp4",
    "map": "everything {root}/map.tif --grid 4 -o {now}/map.fgb",  # killed before its end
    "search": "everything {root}/b.png --grid 4 -o {now}/search",  # the same
}


def write_inputs(root: Path) -> None:
    """A file of each kind."""
    pixels = np.random.default_rng(0).integers(0, 90, (24, 32, 3)).astype(np.uint8)
    pixels[6:16, 4:20] = 240
    mask = pixels[..., 0] == 240
    for folder in ("photos", "new", "project"):
        (root / folder).mkdir(parents=True)
    for name in ("a.png", "b.png", *(f"{one}/a.png" for one in ("photos", "new", "project"))):
        Image.fromarray(pixels).save(root / name)
    Image.fromarray(pixels[::-1]).save(root / "photos" / "b.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(root / "deep.tif")
    Image.fromarray(mask).save(root / "mask.png")
    np.save(root / "mask.npy", mask)
    image = AnnotatedImage(file_name="a.png", hw=(24, 32), masks=[Mask(mask_to_rle(mask), "cat")])
    for name, form in {
        "coco.json": "coco",
        "yolo": "yolo",
        "a.svg": "svg",
        "a.xml": "cvat",
    }.items():
        write_annotations([image], root / name, form)
    more.videos(root / "films"), more.volumes(root / "scans"), more.layers(root / "layers")
    exchange.scores(root / "scores"), more.base_map(root / "map.tif"), write_sets(root / "sets")
    for name in ("films/a.mp4", "scans/a.nii.gz", "scans/raw.nrrd", "layers/a.geojson"):
        shutil.copy(root / name, root / f"a.{name.partition('.')[2]}")
    shutil.copytree(root / "scores", root, dirs_exist_ok=True)
    one = {"object": 1, "score": 0.5, "segmentation": {"size": [24, 32], "counts": [0, 9, 759]}}
    for name, text in {
        "recipe.toml": RECIPE.replace('"a", "b"', '"round", "square"').replace("a =", "round ="),
        "classes.txt": "dog\ncat\n", "answers.csv": "image,phrase,answer\na.png,cat,complete\n",
        "a.kml": exchange.KML, "groups.csv": "image,group\na.png,x\n",
        "track.jsonl": "\n".join(json.dumps({"frame": n, "objects": [one]}) for n in range(6)),
    }.items():  # fmt: skip
        (root / name).write_text(text)
    shutil.copy(root / "a.mp4", root / "project")
    for words in (
        "encode {root}/a.png -o {root}/a.npz", "project init {project} --label cat",
        "project import {project} {root}/coco.json --proposals",
        "track {root}/a.mp4 --point 4,8 --session {root}/a.session -o {root}/out/t.json",
        "project clips {project} --take a.mp4 --session {root}/a.session",
    ):  # fmt: skip
        perform(root, words)


def perform(root: Path, words: str, path: Path | None = None) -> None:
    """Run a command line in this process; its error message as AnymaskError."""
    places = {name: str(root / name) for name in ("out", "photos", "project", "now")}
    places["mask"] = str(root / "mask.png")
    asked = [word.replace("{}", str(path)).format(root=root, **places) for word in words.split(" ")]
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(said),
        patch.object(anymask, "load", lambda *_, **__: Model(ColorRuntime())),
    ):
        code, text = main(asked), said.getvalue()
    assert code in (0, 2), (words, code)
    assert text.count("anymask: error: ") == (code == 2), (words, text)
    assert "Traceback" not in text, (words, text)
    if code:
        raise AnymaskError(text[text.index("anymask: error: ") :])


def commands(root: Path) -> list[Target]:
    """Commands on their files."""
    write_inputs(root)

    def use(path: Path) -> None:
        for words in COMMANDS[path.relative_to(root).as_posix()]:
            shutil.rmtree(root / "out", ignore_errors=True)
            attempt(lambda words=words: perform(root, words, path))

    return [Target("commands", root, tuple(root / name for name in COMMANDS), use)]


@contextlib.contextmanager
def killed() -> Iterator[None]:
    """Interrupt maps and searches before their last step."""
    with (
        patch("anymask.maps.segment_map._finish", side_effect=KeyboardInterrupt),
        patch("anymask.jobs.records.save_result", side_effect=KeyboardInterrupt),
        contextlib.suppress(AssertionError),  # exit code 130
    ):
        yield


def jobs(root: Path) -> list[Target]:
    """Outputs and logs from which a job resumes."""
    write_inputs(root)
    for name, words in JOBS.items():
        with killed() if name in ("map", "search") else contextlib.nullcontext():
            perform(root, words)
    (root / "now").rename(root / "state")

    def name_of(path: Path) -> str:
        return path.relative_to(root / "state").parts[0].lstrip(".").partition(".")[0]

    def use(path: Path) -> None:
        shutil.copytree(root / "state", root / "now")
        try:
            perform(root, JOBS[name_of(path)])
        finally:
            shutil.rmtree(root / "now")

    kinds = ("", ".json", ".jsonl", ".work", ".redacted", ".search")
    files = (path for path in sorted((root / "state").rglob("*")) if path.is_file())
    files = (path for path in files if path.suffix in kinds and name_of(path) in JOBS)
    return [Target("jobs", root, tuple(files), use)]


def runs(root: Path) -> list[Target]:
    """Checkpoints, options, data and metrics in run folders; an index of shards; adapters."""
    import torch
    from safetensors.torch import save_file

    from anymask import models
    from anymask.runtime import adapters
    from anymask.training import (
        distillation,
        finetune_recipe,
        held_out,
        loop,
        memory_tuning,
        options,
        reports,
        run_folder,
        shards,
        trainee,
        tuning_data,
    )
    from anymask.training.presets import run_options

    sets, folder, recipe = write_sets(root / "sets"), root / "run", small_recipe(2)
    worker = loop.TrainingWorker(0, recipe, loop.TrainingRun(sets, folder))
    folder.mkdir()
    worker.save()
    told = options.TuningOptions(data=sets / "round", output=folder)
    finetune_recipe.stored_recipe(told, lambda: recipe)
    tuning_data.prepare(anymask.read(told.data), None, folder / "data")
    shards.write_shards(anymask.read(told.data), root / "tar", 10**6)
    shards.index_shards(root / "tar", folder)
    kept = {"keys": ["round/0.jpg"], "teacher": [["PP1"]], "before": {"one_click": 0.5}}
    config = {"base_model_name_or_path": "nano_tiny", "r": 2, "lora_alpha": 4.0}
    for name, document in (
        ("clips.json", {"sha256": "x"}), ("kept.json", kept), (adapters.CONFIG, config),
        ("before.json", {"ious": [[0.5, 0.6, 0.7]], "places": [[0, 0]]}),
        ("log.jsonl", {"step": 1, "held_out": 0.5}),
    ):  # fmt: skip
        (folder / name).write_text(json.dumps(document))
    name = next(n for n, one in worker.model.named_modules() if isinstance(one, torch.nn.Linear))
    rows, columns = worker.model.get_submodule(name).weight.shape
    pairs = {
        f"{adapters.PEFT_PREFIX}{name}.lora_{letter}.weight": torch.ones(hw)
        for letter, hw in (("A", (2, columns)), ("B", (rows, 2)))
    }
    save_file(pairs, folder / adapters.TENSORS)

    def of_checkpoint() -> None:
        found = run_folder.newest_state(folder)
        assert found is not None
        run_folder.is_done(folder, 2), trainee.trained_module(found[1])
        run_folder.license_of_run(dataclasses.replace(recipe, init=str(found[0])))
        run_folder.copy_run(folder, root / "copy", dataclasses.asdict(recipe))
        worker.resume()

    def of_shards() -> None:
        shards.index_shards(root / "tar", folder)
        opened = shards.ShardImages.open(root / "tar", folder, 1)
        for key in opened.keys():  # noqa: SIM118 - not a mapping
            opened.of_key(key)

    def of_adapters() -> None:
        adapters.merge_files(models.build("nano_tiny"), adapters.read_adapters(folder))

    doors = {
        "last.pt": of_checkpoint, "shards.json": of_shards, "shards.npy": of_shards,
        adapters.CONFIG: of_adapters, adapters.TENSORS: of_adapters,
        "recipe.json": lambda: finetune_recipe.stored_recipe(told, lambda: recipe),
        "options.json": lambda: options.refuse_other_options(folder, run_options(told)),
        "data.json": lambda: tuning_data.prepare(
            anymask.read(told.data), None, folder / "data").lines(),
        "names.json": lambda: sorted(tuning_data.own_names(folder / "data").items()),
        "clips.json": lambda: memory_tuning.check_same(folder / "clips.json", {"sha256": "x"}),
        "before.json": lambda: held_out.measured_once(
            folder / "before.json", 3, lambda: None).means(),
        "kept.json": lambda: sum(distillation.read_kept(folder / "kept.json")[2].values()),
        "log.jsonl": lambda: reports.curve(folder, "held_out", "IoU"),
    }  # fmt: skip
    files = (path for path in sorted(folder.rglob("*")) if path.name in doors)
    return [Target("runs", root, tuple(files), lambda path: doors[path.name]())]
