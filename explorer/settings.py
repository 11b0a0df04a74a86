"""Settings: the environment, read once and passed on as an argument.

EXPLORER_HOME    the workspace folder (default: checkpoints/ beside app.py)
EXPLORER_PUBLIC  1 on a page that strangers can open: they compare and flag, only owners start runs
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints"
"""The folder that travels with the project: the embedded base and the demo run."""


@dataclass(frozen=True)
class Settings:
    home: Path = SHIPPED
    public: bool = False
    max_upload_bytes: int = 1024**3
    max_images: int = 20_000

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
        home = environment.get("EXPLORER_HOME", "").strip()
        return Settings(
            home=Path(home).expanduser().resolve() if home else SHIPPED,
            public=environment.get("EXPLORER_PUBLIC", "").strip().lower() in {"1", "true", "yes"},
        )
