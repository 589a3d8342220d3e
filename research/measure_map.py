"""A made map, striped by tiles, searched by a model: seconds, memory, things.

python -m research.measure_map --side 20000 --grid 16 --folder /tmp/map
"""

import argparse
import functools
import json
import resource
import time
from pathlib import Path

import numpy as np

import anymask
from anymask.maps import TileProcessor, open_map, segment_tiles
from tests.maps.made import field, image_of

BLOCK = 2000  # pixels of a side of what is drawn at once; its things never reach the next
OBJECTS = 50  # of a block: 5,000 on 20,000 x 20,000 pixels


def make_map(path: Path, side: int) -> int:
    """Write turned boxes and ellipses on noise, `side` pixels square. Return their number."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8",
        "crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.5, 0.5), "tiled": True,
    }  # fmt: skip
    objects = 0
    with rasterio.open(path, "w", **profile) as file:
        for number, (y, x) in enumerate(np.ndindex(side // BLOCK, side // BLOCK)):
            numbers = field(BLOCK, OBJECTS, number, radius=(20, 60))
            objects += len(np.unique(numbers)) - 1
            window = Window(x * BLOCK, y * BLOCK, BLOCK, BLOCK)
            file.write(image_of(numbers, number).transpose(2, 0, 1), window=window)
    return objects


def main() -> None:
    """Make the map, search it once, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--side", type=int, default=20_000, help="pixels, a multiple of 2,000")
    parser.add_argument("--grid", type=int, default=16, help="clicks along a side of a tile")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    path = args.folder / f"map{args.side}.tif"
    objects = make_map(path, args.side)
    began, before = time.perf_counter(), time.process_time()
    model = anymask.load(args.model)
    with open_map([path]) as scene:
        processor = TileProcessor(scene, model, functools.partial(model.everything, grid=args.grid))
        report = segment_tiles(scene, processor, [args.folder / "things.gpkg"], progress=True)
    gib = 2**20  # ru_maxrss is in KiB on Linux
    print(
        json.dumps(
            {
                "pixels": args.side, "things made": objects, "found": report.objects,
                "windows": report.windows, "minutes": (time.perf_counter() - began) / 60,
                "processor minutes": (time.process_time() - before) / 60,
                "GiB peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / gib,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
