"""A local stand-in for the Hub, spoken to by the real client: repositories in memory, Jobs as processes of this machine.

python tests/hub_server.py      serves one until interrupted, and prints the environment that points a client at it

It knows what the explorer asks of the Hub: who am I, make a repository, preupload, LFS and regular uploads, commit (with
its parent), info, tree and files at any commit, and Jobs with their hardware, state, log and end. It can be told to
refuse, to fail, to be slow, and to die.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_of_the_tests_that_nobody_may_see"
READER = "hf_of_a_reader_that_nobody_may_see"
LFS_SUFFIXES = {".safetensors", ".png", ".jpg", ".gz", ".tar", ".pt", ".parquet"}
HARDWARE = [
    {"name": "cpu-basic", "prettyName": "CPU Basic", "cpu": "2 vCPU", "ram": "16 GB", "accelerator": None, "unitCostUSD": 0.000167},
    {
        "name": "t4-small",
        "prettyName": "Nvidia T4 - small",
        "cpu": "4 vCPU",
        "ram": "15 GB",
        "accelerator": {"type": "gpu", "model": "T4", "quantity": "1", "vram": "16 GB", "manufacturer": "Nvidia"},
        "unitCostUSD": 0.00667,
    },
    {
        "name": "a10g-largex2",
        "prettyName": "2x Nvidia A10G - large",
        "cpu": "24 vCPU",
        "ram": "92 GB",
        "accelerator": {"type": "gpu", "model": "A10G", "quantity": "2", "vram": "48 GB", "manufacturer": "Nvidia"},
        "unitCostUSD": 0.05,
    },
]


@dataclass
class Repo:
    """A repository: its commits, each with all its files."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b""})
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def __post_init__(self):
        self.commit(self.files)

    @property
    def head(self) -> str:
        return self.commits[-1][0]

    def commit(self, files: dict[str, bytes]) -> str:
        stamp = f"{len(self.commits)}{sorted(files)}{[hashlib.sha1(files[name]).hexdigest() for name in sorted(files)]}"
        self.commits.append((hashlib.sha1(stamp.encode()).hexdigest(), dict(files)))
        self.files = dict(files)
        return self.head

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        return self.commits[-1] if revision == "main" else next((c for c in self.commits if c[0] == revision), None)


class Job:
    """A job as a process of this machine, in a folder of its own."""

    def __init__(self, identity: str, spec: dict, hub: HubServer):
        self.id, self.spec, self.lines, self.cancelled = identity, spec, [], False
        self.made = datetime.now(UTC)
        self.place = tempfile.TemporaryDirectory(prefix="job-")
        given = {**spec.get("environment", {}), **spec.get("secrets", {})}
        plain = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME", "TMPDIR")}
        plain["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{plain['PATH']}"
        environment = {**plain, **hub.environment(Path(self.place.name)), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        environment.pop("HF_TOKEN")
        self.process = subprocess.Popen(
            spec["command"],
            cwd=self.place.name,
            env={**environment, **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        for line in self.process.stdout:
            self.lines.append({"timestamp": stamp(datetime.now(UTC)), "data": line.rstrip("\n")})
        self.process.wait()

    @property
    def stage(self) -> str:
        if self.process.poll() is None or self.reader.is_alive():
            return "RUNNING"
        return "CANCELED" if self.cancelled else "COMPLETED" if self.process.returncode == 0 else "ERROR"

    def end(self) -> None:
        self.cancelled = True
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def about(self) -> dict:
        return {
            "id": self.id,
            "createdAt": stamp(self.made),
            "dockerImage": self.spec.get("dockerImage"),
            "command": self.spec["command"],
            "environment": self.spec.get("environment", {}),
            "flavor": self.spec.get("flavor"),
            "status": {"stage": self.stage, "message": None},
            "owner": {"id": "1", "name": "owner", "type": "user"},
        }


def stamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class HubServer:
    """The stand-in as a context: ``with HubServer() as hub: ... hub.url``."""

    def __init__(self, port: int = 0):
        self.repos: dict[tuple[str, str], Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.jobs: dict[str, Job] = {}
        self.asked: list[tuple[str, str, bytes]] = []
        self.rules: list[list] = []
        self.lock = threading.RLock()
        self.port = port

    def __enter__(self) -> HubServer:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        for job in self.jobs.values():
            job.end()
        self.die()

    def start(self) -> None:
        handler = type("Handler", (Answer,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def die(self) -> None:
        """Answer nobody any more; `start` comes back at the same address with everything kept."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, home: Path, token: str | None = TOKEN) -> dict[str, str]:
        """What points a client at this Hub, with its cache in ``home``."""
        given = {"HF_ENDPOINT": self.url, "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token or ""}
        return {**given, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}

    def point(self, monkeypatch, home: Path, token: str | None = TOKEN) -> None:
        """Point the client of this process at this Hub."""
        from huggingface_hub import constants

        for name, value in {
            "ENDPOINT": self.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
            "HF_HUB_CACHE": str(home / "hf" / "hub"),
            "HF_TOKEN_PATH": str(home / "hf" / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        for name, value in self.environment(home, token).items():
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)

    def repo(self, name: str, kind: str = "model") -> Repo:
        return self.repos[(kind, name)]

    def add(self, name: str, folder: Path, kind: str = "model") -> Repo:
        """A repository with the files of ``folder``."""
        repo = self.repos[(kind, name)] = Repo()
        repo.commit({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
        return repo

    def fail(self, part: str, status: int, times: int = 10**6) -> None:
        """Answer requests whose method and path match ``part`` (a pattern) by ``status``, so many times."""
        self.rules.append([re.compile(part), status, times])

    def slow(self, part: str, seconds: float, times: int = 10**6) -> None:
        self.rules.append([re.compile(part), seconds, times])

    def said(self) -> str:
        """Everything clients have sent but their Authorization headers: where a token must not be, but as a Job's secret."""
        return "\n".join(f"{method} {path} {body.decode('utf-8', 'replace')}" for method, path, body in self.asked)


KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


class Answer(BaseHTTPRequestHandler):
    """One request. Paths are those of the Hub's API."""

    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def answer(self) -> None:
        self.body = self.read_body()
        if self.hub.server is None:  # dead: connections that were left open hear nothing either
            self.close_connection = True
            return
        self.parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.hub.asked.append((self.command, self.path, self.body))
        try:
            for rule in self.hub.rules:
                pattern, what, times = rule
                if times and pattern.search(f"{self.command} {self.path}"):
                    rule[2] -= 1
                    if isinstance(what, int):
                        return self.reply({"error": "told to fail"}, what)
                    time.sleep(what)
            self.route()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def who(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return {TOKEN: "owner", READER: "reader"}.get(token)

    def may_write(self, namespace: str) -> bool:
        """False after the refusal is sent: a token that is none, or of somebody without the right."""
        if self.who() is None:
            self.reply({"error": "Invalid username or password."}, 401)
        elif self.who() != namespace:
            self.reply({"error": f"You don't have the rights to write there, token of {self.who()}"}, 403)
        return self.who() == namespace

    def route(self) -> None:
        parts = self.parts
        if parts[:2] == ["api", "whoami-v2"]:
            return self.reply({"name": self.who(), "type": "user"}) if self.who() else self.reply({"error": "Invalid token"}, 401)
        if parts[:2] == ["api", "validate-yaml"]:
            return self.reply({"warnings": [], "errors": []})
        if parts[:3] == ["api", "repos", "create"]:
            return self.create()
        if parts[:2] == ["api", "jobs"]:
            return self.jobs(parts[2:])
        if parts[0] == "lfs":
            self.hub.blobs[parts[1]] = self.body
            return self.reply({})
        if self.path.endswith("/info/lfs/objects/batch"):
            return self.lfs_batch()
        if parts[0] == "api" and parts[1] in KINDS:
            return self.about(KINDS[parts[1]], "/".join(parts[2:4]), parts[4:])
        kind = KINDS.get(parts[0], "model")
        parts = parts[1:] if parts[0] in KINDS else parts
        if len(parts) > 4 and parts[2] == "resolve":
            return self.file(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        self.reply({"error": "not found"}, 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "not found"})

    def found(self, kind: str, name: str) -> Repo | None:
        """The repository; None after the refusal is sent. A private one is not there for others."""
        repo = self.hub.repos.get((kind, name))
        if repo is None or (repo.private and self.who() != name.split("/")[0]):
            self.reply({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        return repo

    def create(self) -> None:
        wish = json.loads(self.body)
        namespace = wish.get("organization") or self.who() or ""
        name, kind = f"{namespace}/{wish['name']}", wish.get("type", "model")
        if not self.may_write(namespace):
            return
        url = f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        with self.hub.lock:
            if (kind, name) in self.hub.repos:
                return self.reply({"error": "You already created this repo", "url": url}, 409)
            self.hub.repos[(kind, name)] = Repo(wish.get("visibility") == "private")
        self.reply({"url": url, "name": name})

    def about(self, kind: str, name: str, rest: list[str]) -> None:
        repo = self.found(kind, name)
        if repo is None:
            return
        if rest[:1] == ["preupload"]:
            return self.preupload(repo, name)
        if rest[:1] == ["commit"]:
            return self.commit(repo, name)
        revision = rest[1] if len(rest) > 1 else "main"
        found = repo.at(revision)
        if found is None:
            return self.reply({"error": "no such revision"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if rest[:1] == ["paths-info"]:
            wanted = parse_qs(self.body.decode()).get("paths") or json.loads(self.body)["paths"]
            return self.reply([entry(path, found[1][path]) for path in wanted if path in found[1]])
        if rest[:1] == ["tree"]:
            return self.reply([entry(path, data) for path, data in sorted(found[1].items())])
        siblings = [{"rfilename": path} for path in sorted(found[1])]
        self.reply({"id": name, "_id": "1", "sha": found[0], "tags": [], "private": repo.private, "siblings": siblings})

    def preupload(self, repo: Repo, name: str) -> None:
        if not self.may_write(name.split("/")[0]):
            return
        told = []
        for file in json.loads(self.body)["files"]:
            mode = "lfs" if Path(file["path"]).suffix in LFS_SUFFIXES else "regular"
            old = repo.files.get(file["path"])
            told.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid(old, mode) if old is not None else None})
        self.reply({"files": told})

    def lfs_batch(self) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}}
            objects.append({**wanted, **({} if wanted["oid"] in self.hub.blobs else {"actions": upload})})
        self.reply({"transfer": "basic", "objects": objects})

    def commit(self, repo: Repo, name: str) -> None:
        if not self.may_write(name.split("/")[0]):
            return
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        with self.hub.lock:
            parent = lines[0]["value"].get("parentCommit")
            if parent and parent != repo.head:
                return self.reply({"error": "A commit has happened since. Please refresh and try again."}, 412)
            files = dict(repo.files)
            for line in lines[1:]:
                key, value = line["key"], line["value"]
                if key == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif key == "lfsFile":
                    files[value["path"]] = self.hub.blobs[value["oid"]]
                elif key == "deletedFile":
                    files.pop(value["path"])
                elif key == "deletedFolder":
                    files = {path: data for path, data in files.items() if not path.startswith(value["path"].rstrip("/") + "/")}
            made = repo.commit(files)
        self.reply({"commitUrl": f"{self.hub.url}/{name}/commit/{made}", "commitOid": made, "success": True})

    def file(self, kind: str, name: str, revision: str, path: str) -> None:
        repo = self.found(kind, name)
        if repo is None:
            return
        found = repo.at(revision)
        if found is None or path not in found[1]:
            head = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found", "X-Repo-Commit": found[0] if found else ""}
            return self.reply({"error": "not here"}, 404, head)
        data = found[1][path]
        head = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": found[0], "Content-Type": "application/octet-stream"}
        self.reply(data, 200, head)

    # -- Jobs

    def jobs(self, rest: list[str]) -> None:
        if rest == ["hardware"]:
            return self.reply([{**one, "unitCostMicroUSD": int(one["unitCostUSD"] * 1e6), "unitLabel": "minute"} for one in HARDWARE])
        if not self.may_write(rest[0]):
            return
        if len(rest) == 1:
            identity = f"job{len(self.hub.jobs)}{os.urandom(4).hex()}"
            self.hub.jobs[identity] = Job(identity, json.loads(self.body), self.hub)
            return self.reply(self.hub.jobs[identity].about())
        job = self.hub.jobs.get(rest[1])
        if job is None:
            return self.reply({"error": "no such job"}, 404)
        if rest[2:] == ["cancel"]:
            job.end()
            return self.reply({})
        self.stream(job) if rest[2:] == ["logs"] else self.reply(job.about())

    def stream(self, job: Job) -> None:
        """The log as server-sent events, from its beginning to the job's end."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        told = 0
        while True:
            over = job.stage != "RUNNING"
            for event in job.lines[told:]:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                told += 1
            self.wfile.flush()
            if over or self.hub.server is None:
                return
            time.sleep(0.05)

    def reply(self, value: object, status: int = 200, headers: dict | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def oid(data: bytes, mode: str) -> str:
    """A file's id as the Hub has it: the sha256 of a large file, git's own of a regular one."""
    return hashlib.sha256(data).hexdigest() if mode == "lfs" else hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def entry(path: str, data: bytes) -> dict:
    row = {"type": "file", "path": path, "size": len(data), "oid": oid(data, "regular")}
    if Path(path).suffix in LFS_SUFFIXES:
        row["lfs"] = {"oid": oid(data, "lfs"), "size": len(data), "pointerSize": 134}
    return row


if __name__ == "__main__":
    with HubServer(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as served:
        print("\n".join(f"export {name}={value}" for name, value in served.environment(Path(tempfile.mkdtemp())).items()), flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass
