"""One public page for all of these tests: a Space of ana's, over a small workspace."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import models
from helpers_runs import example, make_images, make_run
from visitor import Provider, Visitor, serve


@dataclass
class Site:
    address: str
    home: Path
    place: Path
    log: Path
    provider: Provider
    pid: int

    def visitor(self, **more) -> Visitor:
        return Visitor(self.address, **more)

    def owner(self, name: str = "ana") -> Visitor:
        return self.visitor().sign_in(self.provider, name)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("public")
    home = place / "home"
    pictures = make_images(place / "pictures", 6)
    examples = [example(path, ["a red square", "=1+1"]) for path in pictures]
    make_run(home, examples, [["a dog"] * 6, ["a cat"] * 6, ["a red square"] * 6])
    models.draw_shapes(home / "datasets" / "secret-photos", train=4, validation=2)
    models.draw_shapes(home / "datasets" / "scenes", train=4, validation=2)  # in the place of a thousand drawn pets
    (home / "trash").mkdir()
    make_run(home / "trash", examples, [["a dog"] * 6], name="1700000000-old")
    provider = Provider()
    process, address, log = serve(home, place, provider)
    yield Site(address, home, place, log, provider, process.pid)
    process.terminate()
    process.wait(60)
    provider.server.shutdown()
