"""What is fuzzed: small sound files of every kind that a reader takes, and what reads them."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import anymask
from anymask.base import file_sha256
from anymask.formats import (
    find_format,
    load_clips,
    load_dataset,
    read,
    read_annotations,
    write_annotations,
)
from anymask.formats.registry import FORMATS
from anymask.images import load_image, load_mask
from anymask.masks import Features, Mask, mask_to_rle
from anymask.models.rules import DEFAULT_VIDEO_MODEL
from anymask.runtime import ASSETS
from anymask.training.recipe import read_recipe
from tests.formats.annotated import rings
from tests.formats.published import WRITERS
from tests.images.test_instruments import fits, mrc

TEXTS = (".json", ".jsonl", ".geojson", ".svg", ".xml", ".txt", ".yaml", ".csv", ".toml", ".kml")
RECIPE = """model = "nano_tiny"
sets = ["a", "b"]
rate = 1e-3
workers = 2
seed = 20260
synthetic = 0.35

[weights]
a = 4.0

[[stage]]
steps = 6000
side = 256
images = 8
masks = 6
cool = true
"""


@dataclass(frozen=True)
class Target:
    """Files and their reader.

    Attributes:
        name: Name of the target.
        root: Folder of the files.
        files: Files that are damaged, one at a time.
        use: Function that reads the folder; it gets the damaged file.
    """

    name: str
    root: Path
    files: tuple[Path, ...]
    use: Callable[[Path], object]


Maker = Callable[[Path], list[Target]]


def all_targets(root: Path) -> list[Target]:
    """Write every kind of file below a folder."""
    return [target for name, maker in makers_of().items() for target in maker(root / name)]


def makers_of() -> dict[str, Maker]:
    """What writes the files of each kind, by its name."""
    from tests.fuzz import command_targets as command
    from tests.fuzz import exchange_targets as other
    from tests.fuzz import more_targets as more

    makers = (
        images, masks, annotations, sets, embeddings, bundles, checkpoints, tables, projects,
        more.volumes, more.series, more.zarrs, more.videos, more.rasters, more.layers,
        more.sessions, other.tools, other.beside, other.scores, other.archives, other.placemarks,
        command.commands, command.jobs, command.runs,
    )  # fmt: skip
    return {maker.__name__: maker for maker in makers}


def images(root: Path) -> list[Target]:
    """Pictures of each format and mode that decoders differ in, read as photo and as mask."""
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (9, 14, 3)).astype(np.uint8)
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tif", "a.ppm", "a.jp2"):
        image.save(root / name, **({"exif": exif} if name == "a.jpg" else {}))
    image.save(root / "a.avif")
    image.convert("CMYK").save(root / "cmyk.tif")
    image.convert("P").save(root / "palette.png")
    image.convert("LA").save(root / "see_through.png")
    Image.fromarray(rgb[..., 0].astype(np.uint16) << 8).save(root / "deep.png")
    _write_tiffs(root, rng)
    (root / "a.fits").write_bytes(fits(rgb[..., 0].astype(">i2"), "BZERO   = 32768", "BLANK   = 3"))
    (root / "cube.fits").write_bytes(fits(rgb.astype(">f4")))
    (root / "a.mrc").write_bytes(mrc(rgb.astype("<f4"), cell=26.8))

    def use(path: Path) -> None:
        for door in (load_image, load_mask, _page, _hw):
            attempt(lambda door=door: door(path))

    return [Target("pictures", root, tuple(sorted(root.iterdir())), use)]


def _write_tiffs(root: Path, rng: np.random.Generator) -> None:
    import cv2
    import tifffile

    deep = rng.integers(0, 65536, (9, 14, 3)).astype(np.uint16)
    cv2.imwrite(str(root / "deep_colours.png"), deep)
    tifffile.imwrite(root / "deep_colours.tif", deep, photometric="rgb")
    tifffile.imwrite(root / "floats.tif", rng.random((5, 9, 14), np.float32), planarconfig=2)


def _page(path: Path) -> object:
    return load_image(path, page=1, bands=(1, 1, 1), stretch=(2, 98))


def _hw(path: Path) -> object:
    from anymask.formats import read_hw

    return read_hw(path)


def masks(root: Path) -> list[Target]:
    """Array files."""
    root.mkdir(parents=True)
    np.save(root / "bool.npy", rings_mask())
    np.save(root / "logits.npy", np.linspace(-3, 3, 64, dtype=np.float32).reshape(8, 8))
    return [Target("masks", root, tuple(sorted(root.iterdir())), load_mask)]


def rings_mask() -> np.ndarray:
    """A mask of two parts."""
    mask = np.zeros((9, 12), np.bool_)
    mask[1:8, 1:7] = mask[2, 9:11] = True
    return mask


def annotations(root: Path, names: Iterable[str] = FORMATS) -> list[Target]:
    """Every format, written by ourselves; what can be read is written as run-lengths again."""
    image = rings()
    labeled = tuple(Mask(mask.rle, mask.label) for mask in image.masks)
    image = type(image)(file_name="a.png", hw=image.hw, masks=labeled)
    targets = []
    for name in names:
        folder, ending = root / name, find_format(name).ending
        (folder / "images").mkdir(parents=True)
        Image.new("RGB", (12, 9)).save(folder / "images" / "a.png")
        write_annotations([image], folder / f"a{ending}" if ending else folder, name)
        files = tuple(sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "a.png"))
        pngs = tuple(sorted(p for p in folder.rglob("*.png") if p.parent.name != "images"))

        def use(path: Path, name: str = name, folder: Path = folder) -> None:
            images, _ = read_annotations(folder, name, folder / "images")
            write_annotations(images, root / "out.json", "coco")
            attempt(lambda: read_annotations(path))
            for split in read(folder, name).splits:
                read_annotations(folder, name, split=split)

        targets.append(Target(f"annotations {name}", folder, files + pngs, use))
    return targets


def sets(root: Path, writers: Mapping[str, tuple[str, Any]] = WRITERS) -> list[Target]:
    """Published data sets; the pictures are opened, too."""
    targets = []
    for name, (_, write) in writers.items():
        folder = root / name
        folder.mkdir(parents=True)
        write(folder)
        files = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))

        def use(_: Path, folder: Path = folder) -> None:
            _, samples = load_dataset(folder)
            for sample in samples:
                attempt(sample.image)
            attempt(lambda: [clip.frame(0) for clip in load_clips(folder)])

        targets.append(Target(f"sets {name}", folder, files, use))
    return targets


def embeddings(root: Path) -> list[Target]:
    """A saved embedding, asked for a mask."""
    root.mkdir(parents=True)
    model = anymask.load()
    model.encode(np.zeros((9, 12, 3), np.uint8)).save(root / "a.embedding", precision="fp16")

    def use(path: Path) -> None:
        model.segment(Features.load(path), points=[(3, 3)])

    return [Target("embeddings", root, (root / "a.embedding",), use)]


def bundles(root: Path) -> list[Target]:
    """Manifest and tables of a bundle whose graphs are sound, with their hashes made anew."""
    shutil.copytree(ASSETS / DEFAULT_VIDEO_MODEL, root)
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    stated = root / "manifest.json"

    def use(_: Path) -> None:
        damaged = stated.read_bytes()
        with contextlib.suppress(
            ValueError, TypeError, LookupError, AttributeError, OSError, RecursionError
        ):
            record = json.loads(damaged)
            for name in record["sha256"]:
                record["sha256"][name] = file_sha256(root / name)
            stated.write_text(json.dumps(record))
        try:
            model = anymask.load(str(root))
            model.segment(image, points=[(3, 3)])
            model.everything(image, grid=8)
        finally:
            stated.write_bytes(damaged)

    return [Target("bundles", root, (root / "manifest.json", root / "tables.json"), use)]


def checkpoints(root: Path) -> list[Target]:
    """Files of weights: torch's archive, one around it, safetensors."""
    import zipfile

    import torch
    from safetensors.torch import save_file

    from anymask.runtime import read_checkpoint

    root.mkdir(parents=True)
    weights = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
    torch.save({"model": weights}, root / "a.pt")
    torch.save(weights, root / "old.pt", _use_new_zipfile_serialization=False)
    save_file(weights, root / "a.safetensors")
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    with zipfile.ZipFile(root / "wrapped.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.pth", buffer.getvalue())
    return [Target("checkpoints", root, tuple(sorted(root.iterdir())), read_checkpoint)]


def tables(root: Path) -> list[Target]:
    """Recipes."""
    root.mkdir(parents=True)
    (root / "recipe.toml").write_text(RECIPE)
    return [Target("toml", root, (root / "recipe.toml",), read_recipe)]


def projects(root: Path) -> list[Target]:
    """A project of the data engine: its report is made."""
    from anymask.studio import Draft, create_project
    from anymask.studio.project import Project

    (root / "address" / ".anymask").mkdir(parents=True)
    (root / "own").mkdir()
    Image.new("RGB", (12, 9)).save(root / "own" / "a.png")
    project = create_project(root / "own", labels=["cat"], clock=lambda: 1.0)
    drafts = [Draft(rle=mask_to_rle(rings_mask()), label="cat", seconds=2.0)]
    project.store.add_records(1, drafts, "me")
    project.store.database.dispose()
    database = root / "own" / ".anymask" / "project.db"
    address = root / "address" / ".anymask" / "project.json"
    address.write_text(json.dumps({"database": f"sqlite:///{database}"}))

    def use(path: Path) -> None:
        with contextlib.chdir(root):  # a damaged address may name a file beside us
            _report(path.parent.parent)

    def _report(folder: Path) -> None:
        opened = Project(folder)
        try:
            opened.describe("me")
            opened.figures()
            opened.records(1)
            opened.current_model()
        finally:
            opened.store.database.dispose()
            for name in ("project.db-wal", "project.db-shm"):
                database.with_name(name).unlink(missing_ok=True)

    return [Target("projects", root, (database, address), use)]


def attempt(work: Callable[[], object]) -> None:
    """What one reader refuses may not keep the next one from looking."""
    try:
        work()
    except anymask.errors.AnymaskError:
        return
