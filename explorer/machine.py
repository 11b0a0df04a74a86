"""Where the explorer runs: on a CPU, on a GPU, or on a ZeroGPU Space, where a GPU is lent for one call at a time.

On ZeroGPU a function wrapped by `gpu` runs in a forked process that has the GPU, and its arguments and results are
pickled on the way. Everywhere else `gpu` gives the function back as it is, and the `spaces` package is not needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TypeVar

CPU, GPU, ZEROGPU = "CPU", "GPU", "ZeroGPU"

SAID = {
    CPU: "Runs on this machine's CPU; a fine-tune is a process of its own.",
    GPU: "Runs on this machine's GPU; a fine-tune is a process of its own.",
    ZEROGPU: "Runs on ZeroGPU: captions and fine-tunes borrow a GPU, a fine-tune in parts of under a minute each.",
}
"""What the page's footer says of each."""

Work = TypeVar("Work", bound=Callable)


def here(environment: Mapping[str, str] = os.environ, dev: Path = Path("/dev")) -> str:
    """CPU, GPU or ZEROGPU, told without loading torch: the page is built before torch is needed."""
    if environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):
        return ZEROGPU
    hidden = environment.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    return GPU if (dev / "nvidiactl").exists() and not hidden and not _torch_is_for_cpus() else CPU


def _torch_is_for_cpus() -> bool:
    try:
        return metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return True


def gpu(seconds: int) -> Callable[[Work], Work]:
    """A decorator for what needs the GPU, for at most ``seconds`` a call; functions of modules the page loads at its start."""
    if here() != ZEROGPU:
        return lambda work: work
    import spaces  # there on every ZeroGPU Space; it must come before torch touches a GPU

    return spaces.GPU(duration=seconds)
