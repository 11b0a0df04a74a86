"""Write drawn scenes as an image folder: python -m explorer.scenes FOLDER."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

from explorer import processes
from explorer.scenes import TRAIN, VALIDATION, WORLDS, write


def main() -> None:
    parser = argparse.ArgumentParser(description="Write drawn scenes as an image folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--world", choices=sorted(WORLDS), default="pets")
    for name, default in (("train", TRAIN), ("validation", VALIDATION), ("seed", 0), ("size", 192)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--for-parent", action="store_true", help="end, and leave nothing behind, when standard input ends")
    given = vars(parser.parse_args())
    if given.pop("for_parent"):
        processes.end_with_parent()
    with suppress(KeyboardInterrupt):
        print(write(**given))


if __name__ == "__main__":
    main()
