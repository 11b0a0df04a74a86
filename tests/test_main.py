"""The command line as a person runs it: real processes, one sentence when something is wrong.

python -m pytest tests/test_main.py
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from explorer import __main__ as main
from explorer.train.run import Run
from explorer.workspace import Workspace

PROJECT = Path(__file__).parent.parent


def explorer(home: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "explorer", *words],
        cwd=PROJECT,
        env={**os.environ, "EXPLORER_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_finetune_compare_caption_and_flags_from_the_shell(tmp_path, blip, shapes):
    home = tmp_path / "home"
    tuned = explorer(
        home,
        "finetune",
        "--base",
        blip,
        "--data",
        str(shapes),
        "--epochs",
        "1",
        "--name",
        "n",
        "--method",
        "lora",
        "--batch-size",
        "8",
        "--lora-rank",
        "4",
        "--max-tokens",
        "6",
    )
    assert tuned.returncode == 0, tuned.stderr
    assert "saved epoch-1" in tuned.stdout and "epoch 1 step 3 loss" in tuned.stdout and "finished 1 epochs" in tuned.stdout
    run = Run(home / "n")
    assert run.status().state == "finished"

    out = tmp_path / "table.csv"
    compared = explorer(home, "compare", "--run", "n", "--out", str(out))
    assert (compared.returncode, compared.stdout) == (0, f"{out}: 12 images\n"), compared.stderr
    with open(out, newline="", encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == 12

    pictures = [example["path"] for example in run.examples("validation")[:2]]
    captioned = explorer(home, "caption", *pictures, "--run", "n", "--epoch", "1", "--max-tokens", "6")
    assert captioned.returncode == 0, captioned.stderr
    assert [line.split("\t")[0] for line in captioned.stdout.splitlines()] == pictures

    flags = tmp_path / "flags.csv"
    listed = explorer(home, "flags", "--out", str(flags))
    assert (listed.returncode, listed.stdout) == (0, f"{flags}: 0 flags\n"), listed.stderr
    with open(flags, newline="", encoding="utf-8-sig") as file:
        names, *rows = csv.reader(file)
    assert {"image_id", "caption", "reason"} <= set(names) and rows == []


def test_a_mistake_is_one_sentence_on_stderr_and_exit_code_1(tmp_path, blip):
    told = explorer(tmp_path, "finetune", "--base", blip, "--data", "nowhere", "--epochs", "1")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == "error: The data 'nowhere' was not found: name an image folder, a zip, or a Hub dataset such as owner/name.\n"


MISTAKES = {
    "no data": ["finetune", "--base", "BLIP"],
    "no such base": ["finetune", "--base", "/no/base", "--data", "SHAPES"],
    "a value out of range": ["finetune", "--base", "BLIP", "--data", "SHAPES", "--epochs", "0"],
    "a bad name": ["finetune", "--base", "BLIP", "--data", "SHAPES", "--name", "../n"],
    "no such run to resume": ["finetune", "--resume", "nobody"],
    "no such run to compare": ["compare", "--run", "nobody", "--out", "table.csv"],
    "no such run to caption": ["caption", "SHAPES/train/red-square-0.png", "--run", "nobody"],
    "no such picture": ["caption", "/no/picture.png", "--base", "BLIP"],
    "no picture at all": ["caption", "SHAPES/train/metadata.jsonl", "--base", "BLIP"],
    "an epoch that is no number": ["caption", "SHAPES/train/red-square-0.png", "--base", "BLIP", "--run", "nobody", "--epoch", "last"],
    "an epoch without a run": ["caption", "SHAPES/train/red-square-0.png", "--base", "BLIP", "--epoch", "2"],
    "no beams": ["caption", "SHAPES/train/red-square-0.png", "--base", "BLIP", "--beams", "0"],
    "no tokens": ["caption", "SHAPES/train/red-square-0.png", "--base", "BLIP", "--max-tokens", "0"],
    "nowhere to write": ["flags", "--out", "SHAPES/train/metadata.jsonl/flags.csv"],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_told_in_one_line(tmp_path, monkeypatch, capsys, blip, shapes, mistake):
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path))
    words = [word.replace("BLIP", blip).replace("SHAPES", str(shapes)) for word in MISTAKES[mistake]]
    assert main.main(words) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
    assert not list(tmp_path.glob("*/run.json"))


def test_resume_adds_epochs(tmp_path, monkeypatch, capsys, blip, shapes):
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path))
    assert main.main(["finetune", "--base", blip, "--data", str(shapes), "--epochs", "1", "--name", "n", "--method", "decoder"]) == 0
    assert main.main(["finetune", "--resume", "n", "--epochs", "2"]) == 0
    assert [c.epoch for c in Run(Workspace(tmp_path).run_folder("n")).checkpoints()] == [1, 2]
    assert "finished 2 epochs" in capsys.readouterr().out


def test_captions_of_a_base_need_no_run(tmp_path, monkeypatch, capsys, blip, shapes):
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path))
    picture = str(shapes / "train" / "red-square-0.png")
    assert main.main(["caption", picture, "--base", blip, "--epoch", "base", "--prompt", "a red", "--max-tokens", "3"]) == 0
    assert capsys.readouterr().out.startswith(f"{picture}\ta red")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main.main(["--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in ("finetune", "caption", "compare", "flags", "relabel", "score", "pretrain", "demo"))


def test_a_stop_that_a_killed_process_left_behind_does_not_stop_the_next(tmp_path, monkeypatch, blip, shapes):
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path))
    assert main.main(["finetune", "--base", blip, "--data", str(shapes), "--epochs", "1", "--name", "n", "--method", "decoder"]) == 0
    run = Run(Workspace(tmp_path).run_folder("n"))
    run.request_stop()
    assert main.main(["finetune", "--resume", "n", "--epochs", "2"]) == 0
    assert run.status().state == "finished" and len(run.checkpoints()) == 2


def test_fewer_epochs_than_a_run_has_are_refused(tmp_path, monkeypatch, capsys, blip, shapes):
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path))
    assert main.main(["finetune", "--base", blip, "--data", str(shapes), "--epochs", "2", "--name", "n", "--method", "decoder"]) == 0
    assert main.main(["finetune", "--resume", "n", "--epochs", "1"]) == 1
    assert "has 2 epochs already" in capsys.readouterr().err
