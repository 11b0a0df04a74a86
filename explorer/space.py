"""Whether this repository will run as a Hugging Face Space, found out before it is pushed.

python -m explorer space check              # asks the package index and the Hub
python -m explorer space check --offline    # only what needs no network

Each check gives a `Finding`: right, wrong with the remedy, or not checked with the reason.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from explorer.errors import UserError
from explorer.server import environment, served

PYTHONS = ("3.10", "3.12")
TORCHES = ("2.8.0", "2.9.1", "2.10.0", "2.11.0")
"""What ZeroGPU has (Hub documentation, Spaces ZeroGPU, August 2026)."""
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
SCOPES = (
    *("email", "read-billing", "read-repos", "gated-repos", "contribute-repos", "write-repos", "manage-repos"),
    *("inference-api", "jobs", "webhooks", "write-discussions", "read-mcp"),
)
"""What `hf_oauth_scopes` may ask for; openid and profile are always given (Hub documentation, OAuth)."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
FREE_DISK = 1024**3
"""Bytes a Space's repository may hold without paying for storage."""
PLAIN_GIT = 10 * 1024**2
"""Bytes above which the Hub refuses a file pushed by plain git."""


@dataclass(frozen=True)
class Finding:
    """``right``: True, False, or None where it was not checked. ``text``: what was found, or the remedy."""

    what: str
    right: bool | None
    text: str

    def __str__(self) -> str:
        return f"{ {True: 'ok', False: 'WRONG', None: 'not checked'}[self.right]:12}{self.what}: {self.text}"


def check(root: Path, offline: bool = False) -> Iterator[Finding]:
    """Everything worth knowing before ``root`` is pushed; each Finding as it is known."""
    values = front_matter(root)
    yield from check_front_matter(root, values)
    yield check_sizes(root)
    yield check_torch(root)
    yield check_start(root)
    if offline:
        yield Finding("versions", None, "left out by --offline")
        yield Finding("the Hub's own rules", None, "left out by --offline")
        return
    yield check_versions(root, values)
    yield check_hub_rules(root)


# --- front matter -----------------------------------------------------------------------------------------


def front_matter(root: Path) -> dict:
    """The values between the first two --- of README.md. Raises UserError when there are none."""
    import yaml

    try:
        text = (root / "README.md").read_text("utf-8")
    except OSError:
        raise UserError(f"{root} has no README.md: a Space is described by its first lines.") from None
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        values = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        raise UserError(f"The front matter of README.md is no YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(values, dict):
        raise UserError("README.md begins with no front matter: put title, sdk, sdk_version and app_file between two lines of ---.")
    return values


def check_front_matter(root: Path, values: dict) -> Iterator[Finding]:
    wrong = list(mistakes(root, values))
    if wrong:
        yield from (Finding("front matter", False, text) for text in wrong)
    else:
        shown = ("sdk_version", "python_version", "app_file", "suggested_hardware", "hf_oauth_scopes", "preload_from_hub")
        yield Finding("front matter", True, ", ".join(f"{name} {values[name]}" for name in shown if name in values))


def mistakes(root: Path, values: dict) -> Iterator[str]:
    """What is wrong with front matter, a sentence each."""
    for name in ("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "license"):
        if not isinstance(values.get(name), str):
            yield f"{name} is {values.get(name)!r}: give a text, in quotes where it looks like a number."
    if values.get("sdk") != "gradio":
        yield f"sdk is {values.get('sdk')!r}: this is a gradio app."
    for name in ("colorFrom", "colorTo"):
        if values.get(name) not in COLOURS:
            yield f"{name} is {values.get(name)!r}: take one of {', '.join(COLOURS)}."
    if ".".join(str(values.get("python_version")).split(".")[:2]) not in PYTHONS:
        yield f"python_version is {values.get('python_version')!r}: ZeroGPU has {' and '.join(PYTHONS)}."
    if not (root / str(values.get("app_file"))).is_file():
        yield f"app_file is {values.get('app_file')!r}, which is not in the repository."
    if len(str(values.get("short_description", ""))) > 60:
        yield f"short_description has {len(values['short_description'])} characters: at most 60 are shown."
    yield from _mistaken_hardware(values)
    yield from _mistaken_hub_names(values)
    yield from _mistaken_sdk(root, values)


def _mistaken_hardware(values: dict) -> Iterator[str]:
    from huggingface_hub import SpaceHardware

    known = {each.value for each in SpaceHardware}
    if "suggested_hardware" in values and values["suggested_hardware"] not in known:
        yield f"suggested_hardware is {values['suggested_hardware']!r}: take one of {', '.join(sorted(known))}."
    if not re.fullmatch(r"\d+[mh]", str(values.get("startup_duration_timeout", "30m"))):
        yield f"startup_duration_timeout is {values['startup_duration_timeout']!r}: say it as 30m or 1h."


def _mistaken_hub_names(values: dict) -> Iterator[str]:
    for name in ("models", "datasets", "preload_from_hub"):
        for each in values.get(name) or []:
            if not HUB_ID.fullmatch(str(each).split(" ")[0]):
                yield f"{name} names {each!r}: a Hub id looks like owner/name."
    if values.get("hf_oauth_scopes") and values.get("hf_oauth") is not True:
        yield "hf_oauth_scopes without hf_oauth: true: nobody can sign in."
    for scope in values.get("hf_oauth_scopes") or []:
        if scope not in SCOPES:
            yield f"hf_oauth_scopes asks for {scope!r}: known are {', '.join(SCOPES)}."


def _mistaken_sdk(root: Path, values: dict) -> Iterator[str]:
    wanted = requirements(root).get("gradio")
    if wanted is not None and not wanted.contains(str(values.get("sdk_version")), prereleases=True):
        yield f"sdk_version is {values.get('sdk_version')!r}, but requirements.txt wants gradio{wanted}."


def requirements(root: Path) -> dict:
    """The version bounds of requirements.txt by package."""
    from packaging.requirements import Requirement

    lines = [line.split("#")[0].strip() for line in (root / "requirements.txt").read_text("utf-8").splitlines()]
    parsed = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {each.name: each.specifier for each in parsed}


# --- what is pushed ---------------------------------------------------------------------------------------


def pushed_files(root: Path) -> list[Path]:
    """What git tracks in ``root``, relative to it. Raises UserError outside a repository."""
    done = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True)
    if done.returncode or not done.stdout:
        raise UserError(f"{root} is no git repository with files: what would be pushed is what git tracks.")
    return [Path(name) for name in done.stdout.split("\0") if name and (root / name).exists()]


def check_sizes(root: Path) -> Finding:
    sizes = {path: (root / path).stat().st_size for path in pushed_files(root)}
    total, large = sum(sizes.values()), [str(path) for path, size in sizes.items() if size > PLAIN_GIT]
    if total > FREE_DISK:
        return Finding("sizes", False, f"{total / 1e9:.2f} GB: a free Space holds 1 GB. The largest is {max(sizes, key=sizes.get)}.")
    note = f"; over 10 MB, so push with `hf upload` rather than plain git: {', '.join(large)}" if large else ""
    return Finding("sizes", True, f"{len(sizes)} files, {total / 1e6:.1f} MB{note}")


def check_torch(root: Path) -> Finding:
    """Whether requirements.txt lets ZeroGPU keep a torch it has: any other would not find the GPU."""
    bounds = requirements(root)
    if "torch" not in bounds:
        return Finding("torch", False, "requirements.txt does not name torch.")
    fits = [version for version in TORCHES if bounds["torch"].contains(version)]
    if not fits:
        return Finding("torch", False, f"torch{bounds['torch']} takes none of what ZeroGPU has: {', '.join(TORCHES)}.")
    return Finding("torch", True, f"of ZeroGPU's, torch{bounds['torch']} takes {', '.join(fits)}")


# --- whether it starts ------------------------------------------------------------------------------------


def check_start(root: Path) -> Finding:
    """Start the app from a copy of only what git tracks, open its page, and caption a photo by the demo's last epoch."""
    with tempfile.TemporaryDirectory(prefix="space-") as folder:
        copy = Path(folder) / "app"
        for path in pushed_files(root):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, copy / path)
        began = time.monotonic()
        try:
            with served(copy, Path(folder) / "home") as address:
                page = urllib.request.urlopen(f"{address}/config", timeout=60).read()
                seconds = time.monotonic() - began
            tabs = sum(part["type"] == "tabitem" for part in json.loads(page)["components"])
            said = _captioned(copy, Path(folder) / "home")
        except (UserError, OSError, KeyError, ValueError) as error:
            return Finding("start", False, f"from a copy of what git tracks: {error}")
    return Finding("start", True, f"from a copy of what git tracks the page of {tabs} tabs answers after {seconds:.1f} s; the demo says “{said}”")


def _captioned(copy: Path, home: Path) -> str:
    """What the demo's last epoch says of its first image: the base, the adapter and the tokenizer are all there."""
    picture = next(iter(sorted((copy / "checkpoints/demo/images").iterdir())), None)
    command = [sys.executable, "-m", "explorer", "caption", str(picture), "--run", "demo"]
    done = subprocess.run(command, cwd=copy, env=environment(home), capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise UserError(f"captioning by the demo failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip().split("\t")[-1]


# --- what needs a network ---------------------------------------------------------------------------------


def check_versions(root: Path, values: dict) -> Finding:
    """Whether pip finds every requirement together with what a Space adds, for its Python and its newest torch."""
    fits = [version for version in TORCHES if requirements(root)["torch"].contains(version)]
    python = ".".join(str(values["python_version"]).split(".")[:2])
    added = [f"gradio[oauth,mcp]=={values['sdk_version']}", "spaces", *([f"torch=={fits[-1]}"] if fits else [])]
    with tempfile.TemporaryDirectory(prefix="space-") as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--report", str(report)),
                *("--target", folder, "--python-version", python, "--only-binary", ":all:", "-r", str(root / "requirements.txt"), *added),
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return _unresolved(done.stderr)
        found = {each["metadata"]["name"]: each["metadata"]["version"] for each in json.loads(report.read_text())["install"]}
    shown = ", ".join(f"{name} {found[name]}" for name in ("torch", "gradio", "transformers", "datasets", "spaces") if name in found)
    return Finding("versions", True, f"{len(found)} packages resolve for Python {python}: {shown}")


def _unresolved(said: str) -> Finding:
    errors = [line for line in said.splitlines() if line.startswith("ERROR")] or said.strip().splitlines()[-1:] or ["pip said nothing"]
    if "Retrying (" in said and "from versions: none" in said:  # pip calls an index it cannot reach an empty one
        return Finding("versions", None, "the package index does not answer")
    return Finding("versions", False, errors[-1])


def check_hub_rules(root: Path) -> Finding:
    """What the Hub itself says of the front matter; it is asked as `huggingface_hub` asks before it pushes a card."""
    from huggingface_hub import SpaceCard

    try:
        SpaceCard.load(root / "README.md").validate()
    except ValueError as error:
        return Finding("the Hub's own rules", False, str(error).strip())
    except Exception as error:  # no connection, in any of the ways an HTTP client has of saying so
        return Finding("the Hub's own rules", None, f"the Hub does not answer ({type(error).__name__})")
    return Finding("the Hub's own rules", True, "the front matter is valid")
