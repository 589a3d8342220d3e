"""ImageJ and Fiji: a ROI set (.zip) or one ROI (.roi) for each image.

Requires roifile (extra `science`) for the binary records. A ROI file contains neither size nor name
of the image: the image has the name of the file or of its folder, or is the only one in the folder.
Corners are pixel borders, as in this package, and shapes of several paths follow the even-odd rule.
Automatic names of the ROI Manager (0005-0010) are not labels.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError, Floats, check_members, need_packages
from anymask.formats.annotations import (
    AnnotatedImage,
    LossReport,
    attributes_of,
    report_unsupported_fields,
)
from anymask.formats.documents import (
    OutFile,
    find_files,
    find_image,
    output_paths,
    read_bytes,
    read_hw,
)
from anymask.formats.fields import as_corners, as_number, as_whole, other_keys
from anymask.formats.metadata import report_dataset_fields
from anymask.formats.outlines import Policy, box_ring, even_odd_to_rle, outline, with_area
from anymask.images import SUFFIXES, Pages, read_pages
from anymask.masks import Mask, Masks, Polygon, Ring, Rle, ellipse_ring

ROI, ROI_SET = ".roi", ".zip"
MAX_ROIS = 1_000_000  # maximum members of a set
_AUTOMATIC = re.compile(r"\d{4,}(-\d{4,}){1,3}(-\d+)?")
_NUMBERED_NAME = re.compile(r"(?P<name>.+)-\d+")
_NOT_IN_NAMES = re.compile("[\n\r\ud800-\udfff\U00010000-\U0010ffff]")  # as roifile counts them
_SET_ENDING = re.compile(r"[ _.-]*(roi|rois|roi[ _-]?set)$", re.IGNORECASE)
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0  # segment types of java.awt.geom.PathIterator
_OF_PROPERTIES = frozenset(["", "score", "id", "crowd", "label"])  # stored in fields of masks
_ARGB_COLOR = re.compile("#[0-9a-f]{8}")
_COLOR_KEYS = ("stroke_color", "fill_color")  # "#aarrggbb"
_HELD = (*_COLOR_KEYS, "roi_group", "attributes")
_LARGEST_WHOLE = 32767  # maximum corner of a record with whole numbers


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a file or a folder of files; lines, points and angles are reported.

    Raises DataError that names file, reason and the ROI; MissingExtra without roifile.
    """
    images: dict[str, AnnotatedImage] = {}
    for path in find_files(source, ROI_SET, ROI):
        with report.record(path):
            for image in _images(path, report, image_root):
                before = images.get(image.file_name)
                masks = [*before.masks, *image.masks] if before else image.masks
                images[image.file_name] = replace(image, masks=Masks(masks))
    return list(images.values())


def _images(path: Path, report: LossReport, image_root: Path | None) -> list[AnnotatedImage]:
    image, name = _image_of(path, image_root)
    hw, whole = read_hw(image), read_pages(image)
    rois, pages = _rois(path, report), dict[int, list[Mask]]()
    named = {roi.name for roi in rois}
    for roi in rois:
        with report.record(roi.name or "a ROI without a name"):
            page = _page_of(roi, whole)
            with _broken():
                rings = _rings(roi)
            if rings is None:
                report.skip(name, f"ROIs of type {roi.roitype.name.lower()!r} have no area")
                continue
            corners = [as_corners(ring, "coordinates") for ring in rings]
            rle = with_area(even_odd_to_rle(corners, hw))
            pages.setdefault(page, []).append(_mask(roi, rle, named, report))
    if set(pages) <= {0}:
        return [AnnotatedImage(file_name=name, hw=hw, masks=Masks(pages.get(0, ())))]
    return [
        AnnotatedImage(file_name=f"{name}.page{page}.png", hw=hw, masks=Masks(masks))
        for page, masks in sorted(pages.items())
    ]


def _image_of(path: Path, image_root: Path | None) -> tuple[Path, str]:
    """Return the image of a file, and its name in the image folder. Raises DataError."""
    places = (
        [image_root] if image_root else [path.parent, path.parent / "images", path.parent.parent]
    )
    stems = [path.stem, _SET_ENDING.sub("", path.stem), path.parent.name]
    inside = [Path(*path.parent.parts[-n:]) for n in range(3) if n < len(path.parent.parts)]
    for root in places:
        for folder in [Path(), *inside]:
            for stem in filter(None, stems):
                if (image := find_image(root, str(folder / stem))) is not None:
                    return image, image.relative_to(root).as_posix()
    for root in filter(Path.is_dir, places):
        only = [file for file in root.iterdir() if file.suffix.lower() in SUFFIXES]
        if len(only) == 1:
            return only[0], only[0].name
        if only:  # ambiguous; a lone image of a folder further up would be a guess
            break
    raise DataError(
        "The image of this ROI file is missing. ROI files do not store its size. Name it "
        f"{path.stem!r} (plus suffix), or pass --images DIR."
    )


def _rois(path: Path, report: LossReport) -> list[Any]:
    """Read the ROIs of a file; unnamed ROIs get the name of their member."""
    is_set = path.suffix.lower() == ROI_SET
    rois, roifile = list[Any](), _roifile()
    for name, data in _members(path) if is_set else [(path.name, read_bytes(path))]:
        with report.record(name), _broken():
            roi = roifile.ImagejRoi.frombytes(data)
            roi.name = roi.name or Path(name).stem
            rois.append(roi)
    return rois


def _members(path: Path) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive)
            listed = [info for info in archive.infolist() if info.filename.lower().endswith(ROI)]
            if len(listed) > MAX_ROIS:
                raise DataError(
                    f"The set contains {len(listed)} ROIs, but at most {MAX_ROIS} are supported."
                )
            return [(info.filename, archive.read(info)) for info in listed]
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(
            "The file is not a complete zip archive. Save the ROI set again."
        ) from error


def _roifile() -> Any:
    need_packages(("roifile",), "science", "an ImageJ ROI set")
    import roifile

    return roifile


@contextmanager
def _broken() -> Iterator[None]:
    """Convert exceptions of roifile on corrupted bytes to DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError("The file is not an ImageJ ROI, or is corrupted.") from error


def _page_of(roi: Any, pages: Pages) -> int:
    """Return the page of a ROI, by its position in the stack or along the axes."""
    if pages.count < 2:
        return 0
    page = max(roi.position - 1, 0)
    if not roi.position:
        at = {"C": roi.c_position, "Z": roi.z_position, "T": roi.t_position}
        for axis, length in pages.axes:
            page = page * length + max(at.get(axis, 1) - 1, 0)
    if page >= pages.count:
        raise DataError(
            f"The position of the ROI in the stack is out of range. It has {pages.count} pages."
        )
    return int(page)


def _mask(roi: Any, rle: Rle, named: set[str], report: LossReport) -> Mask:
    properties = dict(line.partition(":")[::2] for line in roi.props.splitlines())
    score, number = properties.get("score"), properties.get("id")
    rest = {key: text.strip() for key, text in properties.items() if key not in _OF_PROPERTIES}
    colors = {key: f"#{value.hex()}" for key in _COLOR_KEYS if any(value := getattr(roi, key))}
    return Mask(
        rle,
        _label(roi.name, named, report)
        if properties.get("label") is None
        else properties["label"].strip(),
        score=0.0 if score is None else as_number(score, "score"),
        id=None if number is None else as_whole(number, "id"),
        crowd=properties.get("crowd", "").strip() == "true",
        extra=other_keys(colors | {"roi_group": int(roi.group), "attributes": rest}, ()),
    )


def _label(name: str, named: set[str], report: LossReport) -> str | None:
    name = name.strip()
    if not name or _AUTOMATIC.fullmatch(name):
        return None
    match = _NUMBERED_NAME.fullmatch(name)
    if match is not None and match["name"] in named:
        report.note(f"ROIs with numbered names, such as {name!r}, are labeled {match['name']!r}.")
        return match["name"]
    return name


def _rings(roi: Any) -> list[Floats] | None:
    kind = roi.roitype.name
    if kind in ("RECT", "OVAL") and roi.multi_coordinates is None:
        box = [roi.left, roi.top, roi.right, roi.bottom]
        if roi.subpixelrect:
            box = [roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd]
        x0, y0, x1, y1 = map(float, box)
        if kind == "OVAL":
            return [ellipse_ring(((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2))]
        return [box_ring(x0, y0, x1, y1)]
    is_shape = roi.subtype.name not in ("TEXT", "ARROW", "IMAGE")
    if kind not in ("RECT", "POLYGON", "FREEHAND", "TRACED") or not is_shape:
        return None
    return [np.asarray(ring, np.float64) for ring in roi.coordinates(multi=True)]


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Write a ROI set for each image: a polygon for each mask, or a shape of several paths.

    Score, id and crowd are properties of the ROI, which ImageJ keeps and shows.
    """
    paths, roifile = output_paths(images, target, ROI_SET), _roifile()
    for image, path in zip(images, paths, strict=True):
        report_unsupported_fields(
            report, image, frozenset({"labels", "scores", "ids", "crowds"}), _HELD
        )
        yield path, _archive(roifile, image, report, policy)
    report_dataset_fields(report, images, policy)


def _archive(roifile: Any, image: AnnotatedImage, report: LossReport, policy: Policy) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, mask in enumerate(image.masks):
            if not (polygons := outline(image, number, report, policy)):
                report.add(
                    "empty", image.file_name, number, "an empty mask has no ROI; it was omitted"
                )
                continue
            label = re.sub(r"[^\w .()+-]+", "_", mask.label or "object")[:80]
            member = zipfile.ZipInfo(f"{number + 1:04}-{label}{ROI}")
            name = _NOT_IN_NAMES.sub("\N{REPLACEMENT CHARACTER}", mask.label or "")
            if name != (mask.label or ""):
                report.add(
                    "labels", image.file_name, number, "characters beyond 16 bits are replaced"
                )
            if not _OF_PROPERTIES.isdisjoint(attributes_of(mask)):
                names = ", ".join(sorted(_OF_PROPERTIES - {""}))
                reason = f"attributes with the names {names} are omitted"
                report.add("extras", image.file_name, number, reason, "attributes")
            roi = _roi(roifile, replace(mask, label=name or None), polygons, number)
            archive.writestr(member, roi.tobytes())
    return file.getvalue()


def _roi(roifile: Any, mask: Mask, polygons: list[Polygon], number: int) -> Any:
    rings = [ring for polygon in polygons for ring in (polygon.exterior, *polygon.holes)]
    if len(rings) == 1:
        whole = np.round(rings[0])  # which every version of ImageJ supports
        fits = (whole == rings[0]).all() and whole.max() <= _LARGEST_WHOLE
        roi = roifile.ImagejRoi.frompoints(whole.astype(np.int32) if fits else rings[0])
        roi.roitype = roifile.ROI_TYPE.POLYGON
    else:
        roi = _shape(roifile, rings)
    roi.name = mask.label or f"{number + 1:04}-0000-0000"
    fields: dict[str, Any] = {"score": mask.score or None, "id": mask.id}
    fields["crowd"] = "true" if mask.crowd else None
    rest = {
        name: json.dumps(value) if _NOT_IN_NAMES.search(name + value) else value
        for name, value in attributes_of(mask).items()
        if name not in _OF_PROPERTIES
    }
    if any(pattern.fullmatch(mask.label or "") for pattern in (_AUTOMATIC, _NUMBERED_NAME)):
        fields["label"] = mask.label
    roi.props = "".join(
        f"{key}: {value}\n" for key, value in (rest | fields).items() if value is not None
    )
    for key in _COLOR_KEYS:
        if _ARGB_COLOR.fullmatch(str(mask.extra.get(key))):
            setattr(roi, key, bytes.fromhex(mask.extra[key][1:]))
    group = mask.extra.get("roi_group")
    roi.group = group if type(group) is int and 0 <= group < 256 else 0
    return roi


def _shape(roifile: Any, rings: list[Ring]) -> Any:
    """Create a composite ROI with a path for each ring."""
    path: list[float] = []
    for ring in rings:
        for start, (x, y) in enumerate(ring.tolist()):
            path += [_LINE if start else _MOVE, x, y]
        path.append(_CLOSE)
    corners = np.concatenate(rings)
    roi = roifile.ImagejRoi()
    roi.roitype = roifile.ROI_TYPE.RECT
    roi.left, roi.top = np.floor(corners.min(axis=0)).astype(int).tolist()
    roi.right, roi.bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi
