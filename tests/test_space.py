"""Before a Space is pushed: what would keep it from running is told, and what is right is not held against it.

python -m pytest tests/test_space.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer

from explorer import machine, space
from explorer.__main__ import main
from explorer.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture
def good() -> dict:
    return space.front_matter(PROJECT)


@pytest.fixture
def repository(tmp_path) -> Path:
    """A small git repository with the project's README and requirements, and an app.py that ends at once."""
    root = tmp_path / "repository"
    root.mkdir()
    for name in ("README.md", "requirements.txt"):
        shutil.copy(PROJECT / name, root)
    (root / "app.py").write_text("import nothing_of_this_name\n")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return track(root)


def track(root: Path) -> Path:
    subprocess.run(["git", "-C", str(root), "add", "-A"], check=True)
    return root


def test_this_repository_starts_from_what_git_tracks_and_its_front_matter_is_right(capsys):
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout: what would be pushed is not known")
    code = main(["space", "check", "--offline"])
    told = capsys.readouterr()
    assert code == 0, told.out + told.err
    assert [line.split()[0] for line in told.out.splitlines()] == ["ok", "ok", "ok", "ok", "not", "not"]
    assert "the page of 3 tabs answers" in told.out


def test_the_commands_of_the_readme_push_what_git_tracks_and_nothing_else(tmp_path):
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout: what would be pushed is not known")
    tracked = {path.as_posix(): (PROJECT / path).read_bytes() for path in space.pushed_files(PROJECT) if (PROJECT / path).exists()}
    for name, data in tracked.items():
        path = tmp_path / "clone" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    steps = re.search(r"^2\. (.*?)^3\. ", (PROJECT / "README.md").read_text("utf-8"), re.M | re.S).group(1)
    commands = [" ".join(step.split()).replace("you/", "owner/") for step in re.findall(r"`(hf [^`]+)`", steps)]
    assert [command.split()[1] for command in commands] == ["auth", "repos", "upload"]
    with HubServer() as hub:
        environment = {**os.environ, **hub.environment(tmp_path)}
        for command in commands[1:]:  # a token is there already
            program = Path(sys.executable).parent / "hf"
            done = subprocess.run([program, *command.split()[1:]], cwd=tmp_path / "clone", env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        pushed = hub.repo("owner/captions", "space").files
    assert {name: data for name, data in pushed.items() if name != ".gitattributes"} == tracked


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("title", None, "title is None"),
        ("sdk", "docker", "this is a gradio app"),
        ("sdk_version", "5.1.0", "requirements.txt wants gradio"),
        ("sdk_version", 6.31, "in quotes"),
        ("python_version", "3.9", "ZeroGPU has 3.10 and 3.12"),
        ("app_file", "main.py", "not in the repository"),
        ("colorFrom", "teal", "take one of red"),
        ("suggested_hardware", "h100", "zero-a10g"),
        ("startup_duration_timeout", 30, "say it as 30m"),
        ("short_description", "a" * 61, "at most 60"),
        ("models", ["blip"], "owner/name"),
        ("preload_from_hub", ["a b c"], "owner/name"),
        ("hf_oauth", False, "nobody can sign in"),
        ("hf_oauth_scopes", ["everything"], "hf_oauth_scopes asks for 'everything'"),
    ],
)
def test_each_mistake_in_the_front_matter_is_named(good, name, value, told):
    assert list(space.mistakes(PROJECT, good)) == []
    assert any(told in text for text in space.mistakes(PROJECT, {**good, name: value}))


@pytest.mark.parametrize("text", ["# No front matter\n", "---\ntitle: [\n---\n", "---\njust words\n---\n"])
def test_a_readme_without_front_matter_is_told_in_a_sentence(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(UserError, match="front matter"):
        space.front_matter(tmp_path)


def test_sizes_count_what_git_tracks_and_name_what_plain_git_cannot_push(repository):
    (repository / "weights.safetensors").write_bytes(bytes(11 * 1024**2))
    track(repository)
    (repository / "untracked.bin").write_bytes(bytes(12 * 1024**2))
    found = space.check_sizes(repository)
    assert found.right and found.text.startswith("4 files, 11.5 MB") and found.text.endswith("plain git: weights.safetensors")


@pytest.mark.parametrize(("wants", "right"), [("torch>=2.8,<=2.13.0", True), ("torch>=2.12", False), ("torchvision", False)])
def test_a_torch_that_zerogpu_does_not_have_is_told(repository, wants, right):
    (repository / "requirements.txt").write_text(f"gradio>=6\n{wants}\n")
    assert space.check_torch(repository).right is right


def test_an_app_that_needs_what_is_not_pushed_does_not_pass(repository):
    (repository / "nothing_of_this_name.py").write_text("")  # there on this machine, but git does not track it
    found = space.check_start(repository)
    assert found.right is False and "No module named 'nothing_of_this_name'" in found.text


def test_requirements_that_no_index_has_are_told_and_an_absent_index_is_not_held_against_them(repository, good, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = space.check_versions(repository, good)
    assert found.right is False and "No matching distribution" in found.text
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    assert space.check_versions(repository, good).right is None


def test_where_the_explorer_runs_is_told_without_torch(tmp_path, monkeypatch):
    assert machine.here({"SPACES_ZERO_GPU": "true"}, tmp_path) == machine.ZEROGPU
    assert machine.here({}, tmp_path) == machine.CPU
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(machine.metadata, "version", lambda name: "2.11.0")
    assert machine.here({}, tmp_path) == machine.GPU
    assert machine.here({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == machine.CPU
    monkeypatch.setattr(machine.metadata, "version", lambda name: "2.11.0+cpu")
    assert machine.here({}, tmp_path) == machine.CPU


def test_off_zerogpu_the_decorator_gives_the_function_back():
    assert machine.gpu(60)(test_off_zerogpu_the_decorator_gives_the_function_back) is test_off_zerogpu_the_decorator_gives_the_function_back
