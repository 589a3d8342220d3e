"""`python -m research.nano refiner|memory`: trains one of the networks beside a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from research.nano import train_edge, train_memory

TRAININGS = {one.NAME: one for one in (train_edge, train_memory)}


def main() -> None:
    """Read the words and run the training that they name."""
    parser = argparse.ArgumentParser(prog="python -m research.nano", description=__doc__)
    parser.add_argument("network", choices=tuple(TRAININGS))
    parser.add_argument("--data", type=Path, required=True, help="folder of training sets")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--model", default="nano", help="bundle that gets the network")
    parser.add_argument("--weights", type=Path, help="file of the model's weights")
    parser.add_argument("--samples", type=int, help="photos that are asked, or clips that are made")
    parser.add_argument("--max-minutes", type=float, help="length of the training (60)")
    parser.add_argument("--bundle", type=Path, help="write the bundle with the network there")
    for one in TRAININGS.values():
        one.configure(parser)
    args = parser.parse_args()
    TRAININGS[args.network].run(args)


if __name__ == "__main__":
    main()
