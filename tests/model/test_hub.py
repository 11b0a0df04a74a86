"""A base and a dataset named by their Hub ids, from a small HTTP stand-in for the Hub and the real client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer


@pytest.fixture(scope="module")
def hub(bases, tmp_path_factory):
    """A Hub that has three tiny models, and one whose weights are pickled."""
    import torch

    pickled = tmp_path_factory.mktemp("pickled")
    for path in Path(bases["blip"]).iterdir():
        if path.suffix != ".safetensors":
            (pickled / path.name).write_bytes(path.read_bytes())
    torch.save({"weight": torch.zeros(1)}, pickled / "pytorch_model.bin")
    folders = {"blip": bases["blip"], "git": bases["git"], "pair": bases["vision-encoder-decoder"], "pickled": pickled}
    with HubServer() as served:
        for name, folder in folders.items():
            served.add(f"owner/{name}", Path(folder))
        yield served


LOAD = """
import sys
from explorer.model.captioner import load
from explorer.errors import UserError
from PIL import Image
try:
    captioner = load(sys.argv[1])
    print(captioner.family.name, len(captioner.caption(captioner.encode([Image.new("RGB", (40, 30), "red")]))))
except UserError as error:
    print("error:", error)
"""


def load_from(hub: HubServer, base: str, cache: Path) -> str:
    environment = {**os.environ, **hub.environment(cache, token=None)}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, base], capture_output=True, text=True, timeout=120, env=environment, cwd=Path(__file__).parents[2]
    )
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-1500:]


@pytest.mark.parametrize("base,family", [("owner/blip", "blip"), ("owner/git", "git"), ("owner/pair", "vision-encoder-decoder")])
def test_a_base_is_fetched_by_its_hub_id(hub, tmp_path, base, family):
    assert load_from(hub, base, tmp_path) == f"{family} 1"


def test_pickled_weights_of_the_hub_are_refused_by_a_sentence(hub, tmp_path):
    assert load_from(hub, "owner/pickled", tmp_path).startswith("error: The base 'owner/pickled' cannot be opened")


def test_an_unknown_id_is_a_sentence(hub, tmp_path):
    said = load_from(hub, "owner/nothing", tmp_path)
    assert said.startswith("error: The base 'owner/nothing' cannot be opened") and "check the id" in said
