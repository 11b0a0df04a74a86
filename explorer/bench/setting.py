"""What a bench runs on: the sizes, the random base, the drawn images, and child processes for its jobs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from explorer import files
from explorer.errors import UserError
from explorer.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Setting:
    """``base``: a folder; None makes a BLIP of BLIP-base's size with random weights. ``steps``: of the notebook's loop."""

    base: str | None = None
    images: int = 24
    epochs: int = 3
    steps: int = 2
    tokens: int = 20
    seeds: int = 3
    counts: tuple[int, ...] = (100, 1000, 5000)
    data: Path | None = None
    home: Path = Path()

    def at(self, home: Path) -> Setting:
        return replace(self, home=home)

    def values(self) -> dict:
        return {name: value for name, value in vars(self).items() if isinstance(value, int | str | tuple)}

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.home)

    def run(self, job: str, **given) -> dict:
        """What a job of `jobs.py` gives, done in a process of its own; ``peak`` is its memory in bytes. Raises UserError."""
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        command = [sys.executable, "-m", "explorer.bench.jobs", job, json.dumps(given)]
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"The bench's job {job} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}.")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def model(self) -> str:
        """The base's folder, made when it is first asked for."""
        if self.base:
            return self.base
        folder = self.home / "blip-of-base-size"
        return str(folder if folder.is_dir() else self.run("random_blip", folder=str(folder))["folder"])

    def pictures(self, captions: int) -> Path:
        """Drawn scenes with ``captions`` references an image, the same pictures for any number."""
        from explorer import scenes

        folder = self.home / f"scenes-{captions}"
        if not folder.is_dir():
            scenes.write(folder, train=self.images, validation=2, size=256)
            for table in folder.glob("*/metadata.jsonl"):
                rows = [{"file_name": row["file_name"], "captions": row["captions"][:captions]} for row in files.read_jsonl(table)]
                files.write_jsonl(table, rows)
        return folder


def machine() -> dict:
    """Where it is measured: processor, cores, memory, load before the start, versions."""
    import psutil

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next((text.split(":")[1].strip() for text in lines if text.startswith("model name")), name)
    import torch

    found = {
        "processor": name,
        "cores": len(psutil.Process().cpu_affinity() if hasattr(psutil.Process(), "cpu_affinity") else range(os.cpu_count() or 1)),
        "memory": psutil.virtual_memory().total,
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    text = (
        f"{found['processor']}, {found['cores']} cores, {found['memory'] / 1e9:.0f} GB, {found['instructions']}; torch {found['torch']}; "
        f"load before the start {found['load']}"
    )
    return {**found, "text": text}
