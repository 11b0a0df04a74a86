"""A workspace kept in a dataset of the Hub comes back after a restart, whatever happened in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_runs import example, make_images, make_run
from hub_server import READER, TOKEN, HubServer
from pictures_helper import folder_of

from explorer import files, processes
from explorer.compare import comparison
from explorer.data import dataset
from explorer.flag import relabel
from explorer.flag.flags import FlagStore
from explorer.hub import durable
from explorer.hub.durable import Keep, Keeper
from explorer.hub.merging import flags_of, flags_text, merge
from explorer.train.run import Run
from explorer.workspace import Workspace

REPO = "owner/keep"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as served:
        served.point(monkeypatch, tmp_path)
        yield served


@pytest.fixture
def home(tmp_path) -> Workspace:
    return machine(tmp_path, "one")


def machine(tmp_path: Path, name: str) -> Workspace:
    """A workspace on a machine of its own, empty at first."""
    workspace = Workspace(tmp_path / name, shipped=tmp_path / "shipped")
    workspace.root.mkdir()
    return workspace


def flag(workspace: Workspace, number: int, **values) -> str:
    given = {"reason": "other", "corrected_caption": 'a dog,\r\n"its" tongue', **values}
    return FlagStore(workspace).flag("pets", "base", f"{number:016}", f"{number}.png", ["a dog", "ein Hündchen"], f"a cat {number}", **given).flag_id


def flags(workspace: Workspace) -> list:
    return FlagStore(workspace).list()


def ended_run(workspace: Workspace, name: str = "pets", data: Path | None = None) -> Run:
    pictures = make_images(data or workspace.datasets / "photos", 3)
    rows = [example(path, ["a dog"]) for path in pictures]
    run = make_run(workspace.root, rows, [["a cat"] * 3, ["a dog"] * 3], name=name)
    values = files.read_json(run.folder / "run.json")
    files.write_json(run.folder / "run.json", {**values, "config": {**values["config"], "dataset": str(pictures[0].parent)}})
    files.write_json(run.folder / "status.json", {"state": "finished"})
    return Run(run.folder)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")}


# --- to and fro -------------------------------------------------------------------------------------------


def test_an_empty_workspace_gets_back_flags_datasets_and_runs(hub, home, tmp_path):
    ended_run(home)
    root = folder_of(home.datasets / "pets", 4)
    flag(home, 1)
    picture = dataset.read(root).examples[2]
    FlagStore(home).flag("r", "base", picture.image_id, "x.png", ["a"], "a ball", "other", "a dog, its tongue out")
    FlagStore(home).approve([("pets", "base", "0" * 16, "right as it is")], "ann")
    version = relabel.write(relabel.plan(dataset.read(root), flags(home)), home)
    Keep(home, REPO).sync()
    assert hub.repo(REPO, "dataset").private
    there = machine(tmp_path, "elsewhere")
    Keep(there, REPO).sync()
    assert flags(there) == flags(home) and FlagStore(there).found_right() == FlagStore(home).found_right()
    assert content(there.datasets / version.name).keys() == content(version).keys()
    shown = comparison.build([Run(there.root / "pets")], there)
    assert [Path(image["path"]).parent for image in shown.images] == [there.datasets / "photos"] * 3
    assert all(Path(image["path"]).exists() for image in shown.images) and Run(there.root / "pets").config.dataset == str(there.datasets / "photos")
    commits = len(hub.repo(REPO, "dataset").commits)
    Keep(there, REPO).sync()
    Keep(home, REPO).sync()
    assert len(hub.repo(REPO, "dataset").commits) == commits and Keep(home, REPO).waiting() == Keep(there, REPO).waiting() == 0


def test_runs_that_train_or_have_learned_nothing_yet_are_not_kept(hub, home):
    for name, state in (("live", "running"), ("new", None)):
        run = ended_run(home, name, home.datasets / name)
        me = {"pid": os.getpid(), "born": processes.born(os.getpid())}
        files.write_json(run.folder / "status.json", {"state": state, **me}) if state else (run.folder / "status.json").unlink()
    Keep(home, REPO).sync()
    assert not [name for name in hub.repo(REPO, "dataset").files if name.startswith("runs/")]


def test_a_deleted_run_is_deleted_there_and_restored_with_undo(hub, home, tmp_path):
    run = ended_run(home)
    Keep(home, REPO).sync()
    os.rename(run.folder, tmp_path / "aside")
    assert Keep(home, REPO).waiting() == 1
    Keep(home, REPO).sync()
    assert not [name for name in hub.repo(REPO, "dataset").files if name.startswith("runs/")] and not run.folder.exists()
    os.rename(tmp_path / "aside", run.folder)
    Keep(home, REPO).sync()
    assert "runs/pets/run.json" in hub.repo(REPO, "dataset").files


def test_two_machines_with_a_run_of_the_same_name_keep_both(hub, home, tmp_path):
    other = machine(tmp_path, "two")
    mine, theirs = ended_run(home), ended_run(other)
    Keep(home, REPO).sync()
    Keep(other, REPO).sync()
    Keep(home, REPO).sync()
    created = {name: files.read_json(home.root / name / "run.json")["created"] for name in ("pets", "pets-2")}
    assert created == {"pets": files.read_json(mine.folder / "run.json")["created"], "pets-2": files.read_json(theirs.folder / "run.json")["created"]}


def test_a_run_finds_its_pictures_though_two_machines_have_other_datasets_of_one_name(hub, home, tmp_path):
    other, third = machine(tmp_path, "two"), machine(tmp_path, "three")
    ended_run(home, "mine", home.datasets / "own")
    ended_run(other, "theirs", other.datasets / "own")
    make_images(other.datasets / "own" / "more", 5)
    for workspace in (home, other, third):
        Keep(workspace, REPO).sync()
    for name, folder in (("mine", "own"), ("theirs", "own-2")):
        images = comparison.build([Run(third.root / name)], third).images
        assert {Path(image["path"]).parent for image in images} == {third.datasets / folder} and Path(images[0]["path"]).exists()


# --- flags of several machines ----------------------------------------------------------------------------


def test_flags_of_two_machines_are_merged_by_id_and_none_is_lost(hub, home, tmp_path):
    other = machine(tmp_path, "two")
    shared = [flag(home, number) for number in range(4)]
    Keep(home, REPO).sync()
    Keep(other, REPO).sync()
    here, there = FlagStore(home), FlagStore(other)
    here.edit(shared[0], note="mine")
    there.edit(shared[1], note="theirs")
    here.edit(shared[2], note="earlier")
    there.edit(shared[2], note="later")
    here.remove([shared[3]])
    flag(home, 10), flag(other, 11)
    for workspace in (home, other, home):
        Keep(workspace, REPO).sync()
    assert flags(home) == flags(other)
    notes = {f.flag_id: f.note for f in flags(home)}
    assert [notes.get(key) for key in shared] == ["mine", "theirs", "later", None] and len(notes) == 5


def test_a_flag_removed_here_and_changed_there_stays():
    pets = {"a": 1, "b": 1, "c": 1}
    assert merge(pets, {"b": 1, "c": 2}, {"a": 2, "b": 1}, str) == {"a": 2, "b": 1, "c": 2}
    assert merge({}, {"a": 1}, {"a": 2, "b": 1}, str) == {"a": 2, "b": 1} and merge(pets, {}, pets, str) == {}


def test_flags_survive_the_table_they_are_kept_in(home):
    flag(home, 1, corrected_caption=' -a "cat"\r\n,\ta\n', note="=1+1")
    found = {each.flag_id: each for each in flags(home)}
    assert flags_of(flags_text(found)) == found


def test_what_two_machines_keep_at_once_is_all_kept(hub, home, tmp_path):
    """The slower commit finds another one before it, and is made anew."""
    machines = [home, *(machine(tmp_path, f"m{n}") for n in range(2))]
    ids = [flag(workspace, number) for number, workspace in enumerate(machines)]
    Keep(machines[0], REPO).sync()
    hub.slow("/preupload/", 0.2)
    threads = [threading.Thread(target=Keep(workspace, REPO).sync) for workspace in machines]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    kept = flags_of(hub.repo(REPO, "dataset").files["flags.csv"].decode())
    assert kept.keys() == set(ids)


def test_bringing_flags_is_no_step_of_undo_and_a_change_made_meanwhile_wins(home):
    store, identity = FlagStore(home), flag(home, 1)
    old = store.get(identity)
    now = store.edit(identity, note="typed meanwhile")
    store.take_over([(old, replace(old, note="from elsewhere")), (None, replace(old, flag_id="b" * 12))], [], [])
    assert store.get(identity) == now and store.get("b" * 12)
    store.undo()
    assert store.get(identity) == old and store.get("b" * 12)


# --- the Hub down, the wrong place ------------------------------------------------------------------------


def until(check, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_while_the_hub_is_down_changes_wait_and_are_kept_when_it_is_back(hub, home):
    keeper = Keeper(Keep(home, REPO), quiet=0.05, gap=0.1)
    keeper.start()
    try:
        assert durable.in_words(durable.status(home), time.time() + 12).startswith(f"Kept in {REPO} 12 s ago")
        hub.die()
        for number in range(3):
            flag(home, number)
        until(lambda: durable.status(home)["state"] == "away" and durable.status(home)["waits"] == 3)
        said = durable.in_words(durable.status(home), time.time())
        assert said.startswith("The Hub does not answer; 3 changes wait and will be tried again. Last kept: ")
        hub.start()
        until(lambda: durable.status(home)["state"] == "kept")
    finally:
        keeper.close()
    assert len(flags_of(hub.repo(REPO, "dataset").files["flags.csv"].decode())) == 3


def test_a_hub_that_is_down_at_the_start_gives_back_what_is_kept_later(hub, home, tmp_path):
    flag(home, 1)
    Keep(home, REPO).sync()
    hub.die()
    there = machine(tmp_path, "two")
    keeper = Keeper(Keep(there, REPO), quiet=0.05, gap=0.1)
    keeper.start()
    try:
        flag(there, 2)
        hub.start()
        until(lambda: len(flags(there)) == 2)
    finally:
        keeper.close()
    assert len(flags_of(hub.repo(REPO, "dataset").files["flags.csv"].decode())) == 2


def test_a_commit_that_fails_halfway_changes_nothing_and_is_made_later(hub, home):
    flag(home, 1)
    ended_run(home)
    hub.fail("POST .*/commit/", 500)
    with pytest.raises(durable.HubError, match="the Hub does not answer"):
        Keep(home, REPO).sync()
    assert set(hub.repo(REPO, "dataset").files) == {".gitattributes"} and Keep(home, REPO).waiting() == 3
    hub.rules.clear()
    Keep(home, REPO).sync()
    assert Keep(home, REPO).waiting() == 0


def test_refusals_are_told_and_other_things_are_left_alone(hub, home, monkeypatch, tmp_path):
    flag(home, 1)
    hub.add("owner/photos", make_images(tmp_path / "x", 1)[0].parent, "dataset")
    for repo, token, said in (
        ("owner/photos", TOKEN, "owner/photos holds other things, such as photo-000.png: name another place in EXPLORER_KEEP"),
        (REPO, READER, "this token has no right to write to owner"),
        (REPO, None, "There is no Hugging Face token here"),
    ):
        hub.point(monkeypatch, tmp_path, token)
        keeper = Keeper(Keep(home, repo), quiet=0.05)
        keeper.start()
        keeper.close()
        told = durable.status(home)
        assert told["state"] == "refused" and said in told["text"] and told["waits"] == 1
        assert not any(secret in str(told) for secret in (TOKEN, READER))
    with pytest.raises(durable.HubError, match="is not a Hub dataset id"):
        Keep(home, "nonsense")


# --- the page is stopped ----------------------------------------------------------------------------------

SERVE = """
import sys, time
from pathlib import Path
from explorer.flag.flags import FlagStore
from explorer.hub import durable
from explorer.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]), shipped=Path(sys.argv[1]).parent / "shipped")
with durable.keeping(sys.argv[2], workspace):
    for number in range(int(sys.argv[3])):
        FlagStore(workspace).flag("pets", "base", f"{number:016}", "x.png", [], f"caption {number}")
    print("flagged", flush=True)
    while True:
        time.sleep(0.1)  # as Gradio waits: a signal that another thread is handed is heeded soon
"""


def served(hub, workspace: Workspace, count: int) -> subprocess.Popen:
    environment = {**os.environ, **hub.environment(workspace.root.parent)}
    command = [sys.executable, "-c", SERVE, str(workspace.root), REPO, str(count)]
    child = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "flagged\n"
    return child


def test_sigterm_becomes_a_last_push(hub, home, tmp_path):
    child = served(hub, home, 5)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0
    there = machine(tmp_path, "again")
    Keep(there, REPO).sync()
    assert len(flags(there)) == 5


def test_sigterm_in_the_middle_of_a_push_lets_it_end_and_pushes_the_rest(hub, home, tmp_path):
    Keep(home, REPO).sync()
    hub.slow("POST .*/commit/", 1.0, times=1)
    child = served(hub, home, 5)
    until(lambda: len([path for _, path, _ in hub.asked if "/commit/" in path]) > 1)  # it is being answered, slowly
    FlagStore(home).flag("pets", "base", "9" * 16, "x.png", [], "while it was being pushed")
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0
    there = machine(tmp_path, "again")
    Keep(there, REPO).sync()
    assert len(flags(there)) == 6


def test_no_token_is_in_the_notes_or_in_what_is_sent(hub, home):
    flag(home, 1)
    ended_run(home)
    Keep(home, REPO).sync()
    left = b"".join(path.read_bytes() for path in home.root.rglob("*") if path.is_file())
    assert TOKEN.encode() not in left and TOKEN not in hub.said()
