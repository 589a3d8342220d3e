"""anymask in napari: see `_widget`."""

from anymask_napari._widget import AnymaskWidget

__all__ = ["AnymaskWidget"]
