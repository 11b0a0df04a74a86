"""Write drawn scenes as an image folder: python -m explorer.scenes FOLDER."""

from __future__ import annotations

import argparse
from pathlib import Path

from explorer.scenes import TRAIN, VALIDATION, WORLDS, write


def main() -> None:
    parser = argparse.ArgumentParser(description="Write drawn scenes as an image folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--world", choices=sorted(WORLDS), default="pets")
    for name, default in (("train", TRAIN), ("validation", VALIDATION), ("seed", 0), ("size", 192)):
        parser.add_argument(f"--{name}", type=int, default=default)
    print(write(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
