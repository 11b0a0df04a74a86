"""The load command on a small scale, and that it says so when a goal is missed.

python -m pytest tests/test_load.py
"""

from __future__ import annotations

import json

from explorer import load
from explorer.__main__ import main
from explorer.load.visitor import Answer


def test_three_visitors_compare_and_flag_while_a_fine_tune_runs(tmp_path, capsys):
    kept = tmp_path / "load.json"
    code = main(["load", "--visitors", "3", "--minutes", "0.15", "--json", str(kept)])
    told = capsys.readouterr()
    assert code == 0, told.err
    found = json.loads(kept.read_text())
    assert found["errors"] == [] and "0 of" in told.out
    assert found["by_action"]["open the page"]["count"] == 3 and found["actions"] >= 6
    assert found["memory_mb"]["end"] > 50


def goals(answers: list[Answer], memory: list[float]) -> list[str]:
    found = {**load.summary(answers, memory), "steps": 1, "flags_kept": 0}
    return [line for line in load.report(found) if "reached" in line]


def test_each_goal_that_is_missed_is_told():
    good = [Answer("choose a caption", 0.1)] * 99 + [Answer("flag", 2.0)]
    assert [line.endswith(": reached") for line in goals(good, [200.0] * 100)] == [True, True, True, True]
    slow = [Answer("choose a caption", 1.5)] * 10 + good
    assert [line.endswith(": reached") for line in goals(slow, [200.0] * 100)] == [True, True, False, True]
    growing = [200 + 2.0 * number for number in range(100)]
    assert [line.endswith(": reached") for line in goals(good, growing)] == [True, True, True, False]
    wrong = [*good, Answer("flag", 0.1, "RuntimeError: gone")]
    assert goals(wrong, [200.0] * 100)[1] == "no errors: 1 of 101 actions failed: NOT reached"


def test_a_load_of_nobody_is_refused_in_a_sentence(capsys):
    assert main(["load", "--visitors", "0"]) == 1
    assert "give --visitors and --minutes above 0" in capsys.readouterr().err
