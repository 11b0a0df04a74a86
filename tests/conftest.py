"""What every test shares: one thread, no network, a home of its own, tiny models made once."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

# Set before anything imports transformers or the explorer; child processes inherit it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["EXPLORER_HOME"] = tempfile.mkdtemp(prefix="explorer-home-")
os.environ["OMP_NUM_THREADS"] = "1"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import pytest

from explorer.workspace import Workspace


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny models are slower on two threads than on one, and sums over threads are not repeatable everywhere."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bases(tmp_path_factory) -> dict[str, str]:
    """Folders of one tiny random model of each family, by family name."""
    import models

    root = tmp_path_factory.mktemp("bases")
    return {name: str(make(root / name)) for name, make in models.MAKERS.items()}


@pytest.fixture(scope="session")
def blip(bases) -> str:
    return bases["blip"]


@pytest.fixture(scope="session")
def git(bases) -> str:
    return bases["git"]


@pytest.fixture(scope="session")
def pair(bases) -> str:
    return bases["vision-encoder-decoder"]


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A folder of drawn shapes with captions: 24 to learn from, 12 to validate on."""
    import models

    return models.draw_shapes(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "home", shipped=tmp_path / "shipped")
