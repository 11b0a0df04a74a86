"""A base and a dataset named by their Hub ids, from a small HTTP stand-in for the Hub and the real client."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Serves the folders of ``repos`` (owner/name -> folder) as the Hub serves repositories."""

    repos: dict[str, Path] = {}

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self.about("/".join(parts[2:4]), parts[4:])
        file = self.repos.get("/".join(parts[:2]), Path("/nonexistent")) / "/".join(parts[4:])
        if len(parts) < 5 or parts[2] != "resolve" or not file.is_file():
            code = "EntryNotFound" if "/".join(parts[:2]) in self.repos else "RepoNotFound"
            return self.reply(404, b"", {"X-Error-Code": code, "X-Error-Message": "not here"})
        data = file.read_bytes()
        self.reply(200, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}, body)

    def about(self, repo: str, rest: list[str]) -> None:
        if repo not in self.repos:
            return self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "not here"})
        files = [p.name for p in self.repos[repo].iterdir()]
        tree = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in files]
        value = tree if rest[:1] == ["tree"] else {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def reply(self, status: int, data: bytes, headers: dict, body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.command == "GET":
            self.wfile.write(data)


@pytest.fixture(scope="module")
def hub(bases, tmp_path_factory):
    """The address of a Hub that has three tiny models, and one whose weights are pickled."""
    import torch

    pickled = tmp_path_factory.mktemp("pickled")
    for path in Path(bases["blip"]).iterdir():
        if path.suffix != ".safetensors":
            (pickled / path.name).write_bytes(path.read_bytes())
    torch.save({"weight": torch.zeros(1)}, pickled / "pytorch_model.bin")
    repos = {"owner/blip": Path(bases["blip"]), "owner/git": Path(bases["git"]), "owner/pair": Path(bases["vision-encoder-decoder"])}
    Hub.repos = {**repos, "owner/pickled": pickled}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


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


def load_from(hub: str, base: str, cache: Path) -> str:
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
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
