"""Formats of V7, Encord, Supervisely, Cellpose and VIA, and the layout of HQSeg-44K, for anymask.

Each module contains the reader and the writer of one format. This module contains the records to
which the entry points refer, and imports none of them.
"""

from anymask.formats import DatasetLayout, Format

V7 = Format(
    package=__name__, module="v7", about="V7 Darwin JSON 2.0, one file per image",
    also=("darwin", "v7-darwin"), streamed=True,
)  # fmt: skip
ENCORD = Format(
    package=__name__, module="encord", about="Encord JSON with bitmasks, a single file",
    kind="file",
)  # fmt: skip
SUPERVISELY = Format(
    package=__name__, module="supervisely", about="Supervisely project with bitmaps",
    kind="folder", also=("sly",),
)  # fmt: skip
CELLPOSE = Format(
    package=__name__, module="cellpose", about="Cellpose _seg.npy, one file per image",
    suffixes=(".npy",),
)  # fmt: skip
VIA = Format(
    package=__name__, module="via",
    about="VGG Image Annotator 1 to 3, projects and exports; IN only", kind="file",
    suffixes=(".json", ".csv"), also=("vgg", "vgg-image-annotator"), writable=False,
)  # fmt: skip
HQSEG = DatasetLayout(
    package=__name__, module="hqseg", read="read_hqseg", split="val", report=True,
    about="HQSeg-44K: DIS5K, ThinObject5K, COIFT, HRSOD, FSS, DUTS, ECSSD, MSRA10K, DUT-OMRON",
)  # fmt: skip
