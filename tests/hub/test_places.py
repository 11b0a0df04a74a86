"""A workspace kept in a folder that outlives the machine, such as a mounted bucket: the same promises as on the Hub.

python -m pytest tests/hub/test_places.py
"""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_durable import content, ended_run, flag, flags, home, machine  # noqa: F401 - home is a fixture

from explorer import files
from explorer.flag.flags import FlagStore
from explorer.hub import durable
from explorer.hub.client import HubError
from explorer.hub.durable import Keep, Keeper
from explorer.hub.places import INDEX, MEANWHILE, Dataset, Folder, place_named
from explorer.train.run import Run


@pytest.fixture(autouse=True)
def no_token(monkeypatch, tmp_path):
    """What is kept in a folder asks nothing of the Hub."""
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def bucket(tmp_path) -> str:
    (tmp_path / "data").mkdir()
    return str(tmp_path / "data" / "kept")


def test_a_path_names_a_folder_and_owner_name_a_dataset():
    assert isinstance(place_named(" /data/kept "), Folder) and isinstance(place_named("owner/keep"), Dataset)
    for name in ("", "keep", "./kept", "a/b/c"):
        with pytest.raises(HubError, match="looks like owner/name"):
            place_named(name)


def test_an_empty_workspace_gets_back_flags_and_runs(home, bucket, tmp_path):  # noqa: F811
    ended_run(home)
    flag(home, 1)
    FlagStore(home).approve([("pets", "base", "0" * 16, "right as it is")], "ann")
    assert Keep(home, bucket).waiting() == 4 and Keep(home, bucket).sync()
    there = machine(tmp_path, "elsewhere")
    Keep(there, bucket).sync()
    assert flags(there) == flags(home) and FlagStore(there).found_right() == FlagStore(home).found_right()
    assert content(there.root / "pets").keys() == content(home.root / "pets").keys()
    assert Run(there.root / "pets").caption_file(1).read_bytes() == Run(home.root / "pets").caption_file(1).read_bytes()
    version = Path(bucket, "version").read_text()
    assert not Keep(there, bucket).sync() and not Keep(home, bucket).sync()
    assert Path(bucket, "version").read_text() == version and Keep(home, bucket).waiting() == Keep(there, bucket).waiting() == 0


def test_what_two_machines_did_is_merged(home, bucket, tmp_path):  # noqa: F811
    flag(home, 1)
    Keep(home, bucket).sync()
    there = machine(tmp_path, "elsewhere")
    Keep(there, bucket).sync()
    flag(home, 2)
    flag(there, 3)
    for workspace in (home, there, home):
        Keep(workspace, bucket).sync()
    assert len(flags(home)) == 3 and {f.flag_id for f in flags(home)} == {f.flag_id for f in flags(there)} | {f.flag_id for f in flags(home)}
    shutil.rmtree(there.root)
    there = machine(tmp_path, "elsewhere")
    Keep(there, bucket).sync()
    assert sorted(f.flag_id for f in flags(there)) == sorted(f.flag_id for f in flags(home))


def test_a_deleted_run_is_deleted_there(home, bucket):  # noqa: F811
    run = ended_run(home)
    Keep(home, bucket).sync()
    assert Path(bucket, "runs", "pets", "run.json").exists()
    shutil.rmtree(run.folder)
    Keep(home, bucket).sync()
    assert not Path(bucket, "runs", "pets").exists() and not files.read_json(Path(bucket, INDEX))["runs"]


def test_a_change_on_top_of_somebody_else_s_is_refused_and_made_again(bucket):
    place = Folder(bucket)
    place.connect()
    version, names = place.at()
    assert names == []
    after = place.change({"flags.csv": b"one"}, [], version)
    with pytest.raises(HubError, match=MEANWHILE):
        place.change({"flags.csv": b"two"}, [], version)
    assert place.at() == (after, ["flags.csv"]) and place.read("flags.csv", after, Path(bucket)) == b"one"


def test_a_folder_of_other_things_is_left_alone(home, bucket):  # noqa: F811
    Path(bucket).mkdir()
    Path(bucket, "thesis.txt").write_text("years of work")
    flag(home, 1)
    with pytest.raises(HubError, match="holds other things, such as thesis.txt"):
        Keep(home, bucket).sync()
    assert content(Path(bucket)) == {"thesis.txt": b"years of work"} and Keep(home, bucket).waiting() == 1


def test_of_changes_at_one_moment_one_is_made_and_the_others_are_told(bucket):
    folder = Folder(bucket)
    folder.connect()
    version, start = folder.at()[0], threading.Barrier(8)

    def change(number: int) -> str:
        start.wait()
        try:
            return Folder(bucket).change({"flags.csv": str(number).encode()}, [], version)
        except HubError as error:
            assert MEANWHILE in str(error)
            return ""

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(change, range(8)))
    assert sum(map(bool, made)) == 1 and folder.at() == (max(made), ["flags.csv"])
    assert Path(bucket, "flags.csv").read_text("utf-8") == str(made.index(max(made)))


def test_a_change_that_breaks_off_is_finished_by_the_next(home, bucket, tmp_path, monkeypatch):  # noqa: F811
    ended_run(home)
    flag(home, 1)
    whole, room = files.whole_file, [3]

    def full(path):
        if str(path).startswith(bucket):
            room[0] -= 1
            if room[0] < 0:
                raise OSError(28, "No space left on device")
        return whole(path)

    monkeypatch.setattr(files, "whole_file", full)
    with pytest.raises(HubError, match="No space left on device") as told:
        Keep(home, bucket).sync()
    assert told.value.away and Keep(home, bucket).waiting() == 3
    there = machine(tmp_path, "elsewhere")
    assert not Path(bucket, INDEX).exists()
    room[0] = 1000
    Keep(home, bucket).sync()
    Keep(there, bucket).sync()
    assert flags(there) == flags(home) and content(there.root / "pets").keys() == content(home.root / "pets").keys()


def test_a_bucket_that_is_not_mounted_yet_is_told_and_waited_for(home, bucket, tmp_path):  # noqa: F811
    (tmp_path / "data").rmdir()
    flag(home, 1)
    keeper = Keeper(Keep(home, bucket), quiet=0.05, gap=0.05)
    keeper.start(patience=5)
    told = durable.in_words(durable.status(home), time.time())
    assert "Is the bucket mounted there; 1 change waits" in told.replace("?", "") and "Hub" not in told
    (tmp_path / "data").mkdir()
    end = time.monotonic() + 10
    while durable.status(home)["state"] != "kept" and time.monotonic() < end:
        time.sleep(0.05)
    keeper.close()
    assert durable.in_words(durable.status(home), time.time()).startswith(f"Kept in {bucket}") and Path(bucket, INDEX).exists()


def test_the_last_change_is_kept_when_the_page_ends(home, bucket):  # noqa: F811
    keeper = Keeper(Keep(home, bucket), quiet=60, gap=60)
    keeper.start()
    flag(home, 1)
    time.sleep(0.2)
    keeper.close()
    assert "a cat 1" in Path(bucket, "flags.csv").read_text("utf-8")
