"""Layouts of less used published data sets, for research from a checkout.

`register()` adds them to those that anymask reads by name; `python -m research.datasets WORDS` runs
`anymask WORDS` with them.
"""

from anymask.formats.layouts import LAYOUTS, DatasetLayout

DATASETS: dict[str, DatasetLayout] = {
    "open-images": DatasetLayout(
        package=__name__,
        module="open_images", split="validation",
        marks=(
            ("*-annotations-object-segmentation.csv",),
            ("annotations/*-annotations-object-segmentation.csv",),
        ),
        about="Open Images, masks with boxes",
    ),
    "bsds500": DatasetLayout(
        package=__name__,
        module="bsds", split="test",
        marks=(
            ("groundTruth", "images"), ("data/groundTruth",), ("BSDS500/data/groundTruth",),
            ("BSR/BSDS500/data/groundTruth",),
        ),
        about="BSDS500, regions and borders of several people",
    ),
    "phrase-cut": DatasetLayout(
        package=__name__,
        module="polygon_sets", read="read_phrase_cut", split="test",
        marks=(("refer_*.json",), ("*/refer_*.json",)),
        about="PhraseCut, a mask a phrase",
    ),
    "visor": DatasetLayout(
        package=__name__,
        module="polygon_sets", read="read_visor", split="val",
        marks=(
            ("GroundTruth-SparseAnnotations/annotations",), ("annotations/val", "rgb_frames"),
        ),
        about="VISOR, sparse frames",
    ),
    "ndd20": DatasetLayout(
        package=__name__,
        module="polygon_sets", read="read_ndd20", split="ABOVE",
        marks=(("*_LABELS.json", "ABOVE"), ("*_LABELS.json", "BELOW")),
        about="NDD20, dolphins above and below water",
    ),
    "egohos": DatasetLayout(
        package=__name__,
        module="mask_folders", read="read_egohos", split="val",
        marks=(("*/label", "*/contact"),),
        about="EgoHOS, hands and what they hold",
    ),
    "gtea": DatasetLayout(
        package=__name__,
        module="mask_folders", read="read_gtea", split="",
        marks=(("Images", "Masks"), ("*/Images", "*/Masks")), about="GTEA hand2K, hands",
    ),
    "doors": DatasetLayout(
        package=__name__,
        module="mask_folders", read="read_doors", split="",
        marks=(("img", "Rock_all"), ("*/img", "*/Rock_all")), about="DOORS, boulders",
    ),
    "ppdls": DatasetLayout(
        package=__name__,
        module="mask_folders", read="read_leaves", split="",
        marks=(("*_label.png",), ("*/*_label.png",), ("*/*/*_label.png",)),
        about="Plant Phenotyping, leaves",
    ),
    "bbbc038": DatasetLayout(
        package=__name__,
        module="mask_folders", read="read_nuclei", split="",
        marks=(("stage1_train",), ("*/images", "*/masks/*.png")),
        about="BBBC038v1 (data science bowl 2018), nuclei",
    ),
    "hypersim": DatasetLayout(
        package=__name__,
        module="mask_folders", read="read_hypersim", split="",
        marks=(("ai_*/images",),), about="Hypersim, objects of rendered rooms; needs h5py",
    ),
}  # fmt: skip


def register() -> None:
    """Add these layouts to the package's own; doing so twice changes nothing."""
    LAYOUTS.update(DATASETS)
