"""The bench measures what it says with the page's own engine, and its table is complete.

python -m pytest tests/bench
"""

from __future__ import annotations

import json
import math
import re
import shutil
from functools import partial

import pytest

from explorer import bench, scenes
from explorer.__main__ import main
from explorer.bench import jobs, opening
from explorer.bench.setting import Setting, machine
from explorer.errors import UserError


class Here(Setting):
    """The bench on a tiny model with its jobs in this process, which has loaded torch already."""

    def run(self, job: str, **given) -> dict:
        return json.loads(json.dumps(jobs.answer(job, json.loads(json.dumps(given)))))


@pytest.fixture
def tiny(blip):
    return Here(base=blip, images=4, epochs=2, steps=1, tokens=6, seeds=2, counts=(8, 16))


def measured(workspace, setting, *parts) -> tuple[list[bench.Row], list[str]]:
    said: list[str] = []
    return bench.bench(workspace, setting, parts, say=said.append), said


def test_every_row_of_the_speed_table_is_measured_and_said(workspace, tiny):
    rows, said = measured(workspace, tiny, "training", "full", "captions")
    assert [row.part for row in rows] == ["training"] * 4 + ["full"] * 2 + ["captions"] * 2
    assert all(math.isfinite(row.value) and row.value > 0 and row.goal and row.reached is not None for row in rows)
    assert said[0].startswith(machine()["processor"]) and said[1:] == [bench.line(row) for row in rows]
    assert {line.count("|") for line in said[1:]} == {bench.HEAD.splitlines()[0].count("|")}
    assert all("12 of 12 captions the same" in row.work for row in rows if row.part == "captions")
    assert not list(workspace.cache.glob("bench-*"))


def test_captions_that_differ_are_no_success_however_fast(workspace, tiny):
    class Deaf(Here):
        def run(self, job, **given):
            found = super().run(job, **given)
            return {**found, "captions": ["something else", *found["captions"][1:]], "seconds": 1e-9} if job == "captions_together" else found

    rows, _ = measured(workspace, Deaf(**vars(tiny)), "captions")
    assert [row.reached for row in rows] == [False, False]
    assert all("11 of 12 captions the same" in row.work for row in rows)


def test_growth_compares_each_size_with_the_first(workspace, tiny):
    rows, _ = measured(workspace, tiny, "growth")
    assert [row.work for row in rows] == ["8 images, lora", "16 images, lora: time", "16 images, lora: memory"]
    assert rows[0].goal == "" and rows[1].value > 0


@pytest.fixture
def few_scenes(monkeypatch):
    monkeypatch.setattr(scenes, "write", partial(scenes.write, train=12, validation=4, size=48))


def test_the_demo_s_fine_tune_is_timed_whole_and_a_photo_in_all_its_columns(workspace, tiny, few_scenes):
    rows, _ = measured(workspace, tiny, "demo")
    assert [row.goal for row in rows] == ["at most 90 s", "at most 0.5 s"]
    assert rows[0].work.startswith("3 epochs over 12 drawn scenes")
    assert rows[0].value > 1, "a process of its own starts in no less"
    assert rows[1].work.endswith("the slowest of 4") and 0 < rows[1].value < rows[0].value


def test_a_fine_tune_of_the_demo_that_fails_is_no_time(workspace, tiny, few_scenes, tmp_path):
    with pytest.raises(UserError, match="no-such-base"):
        measured(workspace, Here(**{**vars(tiny), "base": str(tmp_path / "no-such-base")}), "demo")


@pytest.mark.skipif(not any(map(shutil.which, opening.BROWSERS)), reason="no Chromium on this machine")
def test_opening_compares_the_page_with_an_empty_one(workspace, tiny):
    rows, _ = measured(workspace, tiny, "opening")
    assert [row.work.split(",")[0] for row in rows] == ["until the server answers", "first visit of a new workspace", "later visits"]
    for row in rows:
        full, empty = map(float, re.findall(r"([\d.]+) s", row.measured))
        assert min(full, empty) > 0 and row.value == pytest.approx(full - empty, abs=0.011)
        assert row.reached == (row.value <= opening.LATER)


def test_opening_without_a_browser_says_what_to_install(workspace, tiny, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="install chromium"):
        measured(workspace, tiny, "opening")


def test_quality_says_how_far_each_method_is_from_full(workspace, tiny, shapes):
    tiny = Here(**{**vars(tiny), "data": shapes})
    rows, _ = measured(workspace, tiny, "quality")
    assert [row.work.split(",")[0] for row in rows] == ["full", "decoder", "lora", "lora-vision"]
    assert all("2 seeds" in row.work and "±" in row.measured for row in rows)
    assert "+0.000 against full" in rows[0].work


def test_quality_without_photos_and_unknown_parts_are_told(workspace, tiny, capsys):
    with pytest.raises(UserError, match="add --data"):
        measured(workspace, tiny, "quality")
    assert main(["bench", "--only", "speed"]) == 1
    assert "The part 'speed' is not known: take one of training, full" in capsys.readouterr().err


def test_a_job_runs_alone_in_a_process_and_its_failure_is_a_sentence(blip, shapes):
    found = Setting().run("notebook", base=blip, data=str(shapes), steps=1)
    assert found["samples"] == 2 and found["seconds"] > 0 and found["peak"] > 50_000_000
    with pytest.raises(UserError, match="The bench's job notebook failed"):
        Setting().run("notebook", base="/no/such/base", data=str(shapes), steps=1)


def test_the_random_base_is_of_full_size_and_speaks_the_embedded_base_s_words(tmp_path, monkeypatch):
    import transformers

    from explorer.model.captioner import load

    kept = transformers.BlipConfig
    assert sum(math.prod(s) for s in sizes(kept())) > 220e6
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    monkeypatch.setattr(
        transformers,
        "BlipConfig",
        lambda: kept(text_config={**small, "encoder_hidden_size": 32}, vision_config={**small, "image_size": 32}),
    )
    captioner = load(jobs.random_blip(str(tmp_path / "base"))["folder"])
    assert captioner.token_count("a dog in the snow") == 7
    assert {captioner.start, captioner.end} <= set(captioner.tokenizer.all_special_ids)


def sizes(config) -> list:
    import torch
    from transformers import BlipForConditionalGeneration

    with torch.device("meta"):
        return [weight.shape for weight in BlipForConditionalGeneration(config).parameters()]
