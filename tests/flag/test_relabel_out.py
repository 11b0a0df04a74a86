"""A version leaves as a `datasets` folder, as a zip, or to the Hub by the real client and a small stand-in for the Hub."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pictures_helper import folder_of
from test_flags import flag

from explorer.data import dataset, sources
from explorer.data.images import image_id
from explorer.errors import UserError
from explorer.flag import relabel, relabel_out
from explorer.flag.flags import FlagStore

TONGUE = "a dog, its tongue out"


@pytest.fixture
def version(workspace, tmp_path) -> Path:
    root = folder_of(tmp_path / "pets", 4)
    flag(FlagStore(workspace), image=image_id(root / "good02.png"), caption="a ball", corrected_caption=TONGUE)
    return relabel.write(relabel.plan(dataset.read(root), FlagStore(workspace).list()), workspace)


def content(folder: Path) -> dict:
    return {e.image_id: e.references for e in dataset.read(folder).examples}


def test_the_saved_dataset_opens_with_datasets_and_comes_back_as_it_was(workspace, version, tmp_path):
    import datasets

    saved = relabel_out.save(version, tmp_path / "saved")
    rows = datasets.load_from_disk(str(saved))["train"].cast_column("image", datasets.Image(decode=False))
    assert [row["file_name"] for row in rows] == [f"good0{n}.png" for n in range(4)]
    assert all(row["image"]["bytes"] == (version / row["file_name"]).read_bytes() for row in rows)
    assert TONGUE in rows[2]["captions"] and relabel.read_manifest(saved) == relabel.read_manifest(version)
    assert content(sources.import_saved(saved, workspace, "again")) == content(version)
    with pytest.raises(UserError, match="something at .*saved already"):
        relabel_out.save(version, saved)


def test_the_zip_comes_back_as_it_was(workspace, version, tmp_path):
    archive = relabel_out.zipped(version, tmp_path / "version.zip")
    assert content(sources.import_zip(archive, workspace, "unzipped")) == content(version)


class Hub(BaseHTTPRequestHandler):
    """What the client asks of the Hub to make a dataset repository and commit files to it."""

    commits: list[dict] = []
    taken = True

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.reply({"sha": "0" * 40, "siblings": [], "id": "owner/pets"})

    def do_POST(self):
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not Hub.taken:
            return self.reply({"error": "no"}, 403)
        if self.path.endswith("/repos/create"):
            Hub.commits.append({"create": json.loads(data)})
            return self.reply({"url": f"http://{self.headers['Host']}/datasets/owner/pets"})
        if "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(data)["files"]]
            return self.reply({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        if "/commit/" in self.path:
            lines = [json.loads(line) for line in data.splitlines()]
            written = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"}
            Hub.commits.append(written)
            return self.reply({"commitUrl": f"http://{self.headers['Host']}/datasets/owner/pets/commit/1", "commitOid": "1" * 40, "pullRequestUrl": None})
        self.reply({}, 200)

    def reply(self, value: dict, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub():
    Hub.commits, Hub.taken = [], True
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


PUSH = """
import sys
from pathlib import Path
from explorer.flag import relabel_out
from explorer.errors import UserError
try:
    relabel_out.push(Path(sys.argv[1]), sys.argv[2])
    print("pushed")
except UserError as error:
    print("error:", error)
"""


def push(hub: str, version: Path, repo: str) -> str:
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_TOKEN": "hf_of_the_tests", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PUSH, str(version), repo], capture_output=True, text=True, timeout=120, env=environment, cwd=Path(__file__).parents[2]
    )
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-1500:]


def test_a_pushed_version_is_on_the_hub_byte_for_byte_with_a_card(hub, version):
    assert push(hub, version, "owner/pets") == "pushed"
    created, *commits = Hub.commits
    assert created["create"]["type"] == "dataset" and created["create"]["visibility"] == "private"
    sent = {name: data for commit in commits for name, data in commit.items()}
    local = {p.relative_to(version).as_posix(): p.read_bytes() for p in version.rglob("*") if p.is_file()}
    assert {name: data for name, data in sent.items() if name != "README.md"} == local
    assert b"1 flagged captions gave 1 images other references" in sent["README.md"]


def test_a_push_that_the_hub_refuses_is_a_sentence_with_a_remedy(hub, version):
    Hub.taken = False
    assert "log in with a token that may write there" in push(hub, version, "owner/pets")
    assert push(hub, version, "not an id") == "error: 'not an id' is not a Hub dataset id: it looks like owner/name."
    assert push("http://127.0.0.1:9", version, "owner/pets").startswith("error: The Hub")
