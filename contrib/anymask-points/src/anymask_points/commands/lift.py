"""`anymask lift`: convert masks to colored points of objects, with depth and cameras."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import BoolArray, Floats, InputError, say, whole_file, write_whole
from anymask.cli import MODEL, PROMPTS, Argument, Command, numbers, read_model, read_prompts
from anymask.formats import read, to_json
from anymask.images import load_image
from anymask_points.lift import Lifted, lift_masks, spread_mask
from anymask_points.ply import ply_bytes
from anymask_points.views import Camera, View, check_same_size, read_depth, read_views

INTRINSICS = "FX,FY,CX,CY"
WRITTEN = (".ply", ".npz", ".json")
Named = tuple[str, dict[int, BoolArray]]  # name of an object, and its masks by view


def run(args: argparse.Namespace) -> None:
    """Lift the masks, write the points and report. Raises AnymaskError for user errors."""
    if wrong := [one for one in args.outputs if one.suffix.lower() not in WRITTEN]:
        raise InputError(f"Cannot write {str(wrong[0])!r}. Use one of {', '.join(WRITTEN)}.")
    if bool(args.parts) == (args.labels is not None):
        raise InputError(
            "Objects are selected by --labels, or by prompts such as --point X,Y. Pass one of them."
        )
    views = open_views(args)
    objects = read_labels(args, views) if args.labels is not None else predicted(args, views)
    lifted = [(name, masks, lift_masks(views, masks)) for name, masks in objects]
    kept = [one for one in lifted if len(one[2].points)]
    for name, masks, one in lifted:
        if not len(one.points):
            say(f"{name}: skipped, because no pixel of its masks has a depth in enough views")
            continue
        x, y, z = (one.box[1] - one.box[0]).tolist()
        say(
            f"{name}: {len(one.points)} points from {len(masks)} of {len(views)} views, "
            f"{x:.3g} x {y:.3g} x {z:.3g} m"
        )
    if not kept:
        raise InputError("No object could be lifted. Check that the depth maps cover the masks.")
    for path in args.outputs:
        write_objects(path, [(name, one) for name, _, one in kept])
        say(f"wrote {path}")


def open_views(args: argparse.Namespace) -> list[View]:
    """Open the views of a command line. Raises AnymaskError."""
    if args.source.suffix.lower() == ".json":
        if args.depth is not None or args.intrinsics is not None:
            raise InputError(
                "--depth and --intrinsics belong to a single image; a transforms.json contains "
                "them. Remove these options."
            )
        return read_views(args.source, args.depth_scale)
    if args.depth is None or args.intrinsics is None:
        raise InputError(f"An image requires --depth FILE and --intrinsics {INTRINSICS}. Add them.")
    camera = Camera.of(tuple(numbers(args.intrinsics, f"--intrinsics {INTRINSICS}", 4)))
    depth = read_depth(args.depth, args.depth_scale)
    check_same_size(args.source, depth)
    return [View(args.source.name, camera, depth, lambda: load_image(args.source))]


def read_labels(args: argparse.Namespace, views: Sequence[View]) -> list[Named]:
    """Read the masks of annotations. Raises DataError or InputError."""
    numbered = {Path(view.name).stem: number for number, view in enumerate(views)}
    found: dict[str, dict[int, BoolArray]] = {}
    strange = 0
    for image in read(args.labels, images=args.source.parent):
        number = numbered.get(Path(image.file_name).stem)
        if number is None:
            strange += 1
            continue
        for place, mask in enumerate(image.masks, start=1):
            label = mask.label or "object"
            name = label if len(views) > 1 else f"{label} {place}"
            pixels = mask.mask
            if pixels.shape != views[number].depth.shape:
                raise InputError(
                    f"The masks and the depth map of {image.file_name} differ in size. Use "
                    "annotations of the images that the depth maps belong to."
                )
            known = found.setdefault(name, {})
            known[number] = known.get(number, False) | pixels
    if strange:
        say(f"skipped {strange} images of {args.labels} that are not among the views")
    if not found:
        raise InputError(f"{args.labels} has no mask for a view. Check the names of the images.")
    return list(found.items())


def predicted(args: argparse.Namespace, views: Sequence[View]) -> list[Named]:
    """Predict the masks of prompts in all views. Raises AnymaskError."""
    names = [view.name for view in views]
    if args.view is not None and args.view not in names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(f"Unknown view {args.view!r}. Choose one of: {shown}")
    start = 0 if args.view is None else names.index(args.view)
    model = read_model(args).load()
    prompts = read_prompts(args.parts)
    encoded: dict[int, Any] = {}

    def features(view: View) -> Any:
        if id(view) not in encoded:
            encoded[id(view)] = model.encode(view.image())
        return encoded[id(view)]

    def predict(view: View, points: Floats, box: Floats) -> BoolArray:
        return model.segment(features(view), points=points, box=box).best.mask

    found: list[Named] = []
    first = model.segment(features(views[start]), prompts=prompts)
    for number, answer in enumerate(first, start=1):
        mask = answer.best.mask
        found.append((f"object {number}", spread_mask(views, start, mask, predict)))
    return found


def write_objects(path: Path, objects: Sequence[tuple[str, Lifted]]) -> None:
    """Write the points of all objects, or their position and size."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        rows: list[Mapping[str, Any]] = [
            {
                "object": number, "label": name, "points": len(one.points),
                "center": one.box.mean(axis=0).tolist(),
                "size": (one.box[1] - one.box[0]).tolist(), "share": float(one.share.mean()),
            }
            for number, (name, one) in enumerate(objects, start=1)
        ]  # fmt: skip
        write_whole(path, to_json({"unit": "meters", "objects": rows}))
        return
    points = np.concatenate([one.points for _, one in objects])
    colors = np.concatenate([one.colors for _, one in objects])
    counts = [len(one.points) for _, one in objects]
    owner = np.repeat(np.arange(1, len(objects) + 1, dtype=np.uint16), counts)
    if suffix == ".ply":
        write_whole(path, ply_bytes(points, (colors / 255).astype(np.float32), owner, "object"))
        return
    with whole_file(path) as file:
        names = np.array([name for name, _ in objects])
        np.savez_compressed(file, points=points, colors=colors, object=owner, names=names)


# fmt: off
COMMAND = Command(
    run=run,
    arguments=(
        Argument("source", metavar="IMAGE|TRANSFORMS", type=Path,
            help="image, with --depth and --intrinsics, or a transforms.json of nerfstudio whose "
                 "frames have poses and depth maps"),
        Argument("--depth", metavar="FILE", type=Path,
            help="depth map of the image, along the optical axis: 16-bit PNG, TIFF or .npy"),
        Argument("--intrinsics", metavar=INTRINSICS,
            help="focal lengths and principal point of the camera in pixels"),
        Argument("--depth-scale", metavar="X", type=float,
            help="meters per unit of the depth maps (default: 0.001 for integers, else 1)"),
        Argument("--labels", metavar="LABELS", type=Path,
            help="annotations with the masks, in any format that anymask reads. With several "
                 "views, masks with the same label are one object (default: use prompts)"),
        Argument("--view", metavar="NAME",
            help="view that the prompts belong to; the masks of the other views are predicted "
                 "(default: the first view)"),
        Argument("-o --output", metavar="FILE", type=Path, dest="outputs", action="append",
            required=True,
            help="points with the number of their object (.ply, .npz), or the position and size "
                 "of each object (.json); repeatable"),
        PROMPTS,
        MODEL,
    ),
)
# fmt: on
