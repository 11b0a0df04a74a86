"""Settings: the environment, read once and passed on as an argument.

EXPLORER_HOME    the workspace folder (default: checkpoints/ beside app.py)
EXPLORER_PUBLIC  1 on a page that strangers can open (a Space is one unless this is 0): they compare and flag, only owners start runs
EXPLORER_OWNERS  Hub names of the owners, separated by commas; on a Space its author is one as well
EXPLORER_KEEP    a dataset of the Hub, owner/name, or a folder such as a mounted bucket: flags, relabelled datasets and ended runs are kept there
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from explorer import rights

SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints"
"""The folder that travels with the project: the embedded base and the demo run."""


@dataclass(frozen=True)
class Settings:
    home: Path = SHIPPED
    rules: rights.Rules = rights.Rules()
    keep: str = ""
    max_upload_bytes: int = 1024**3
    max_images: int = 20_000
    max_disk_bytes: int = 20 * 10**9
    """What a public page may keep on its disk, uploads on their way in included."""
    max_room_bytes: int = 5 * 10**9
    """What one owner's private room may hold of it."""

    @property
    def public(self) -> bool:
        return self.rules.public

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
        home = environment.get("EXPLORER_HOME", "").strip()
        return Settings(
            home=Path(home).expanduser().resolve() if home else SHIPPED,
            rules=rights.from_environment(environment),
            keep=environment.get("EXPLORER_KEEP", "").strip(),
        )
