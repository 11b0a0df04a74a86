"""What is shipped is what it says it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer import demo
from explorer.compare.columns import Shelf
from explorer.data.images import image_id, open_image
from explorer.model import captions
from explorer.scoring.wording import likeness
from explorer.settings import SHIPPED
from explorer.train.run import Run, by_kind
from explorer.workspace import Workspace

RUN = Run(SHIPPED / "demo")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_shipped_files_are_small():
    assert size(SHIPPED / "blip-mini") <= 25_000_000
    assert size(SHIPPED / "demo") <= 10_000_000


def test_the_base_is_opened_by_plain_transformers():
    from transformers import AutoModelForImageTextToText, AutoProcessor, BlipForConditionalGeneration

    model = AutoModelForImageTextToText.from_pretrained(SHIPPED / "blip-mini")
    processor = AutoProcessor.from_pretrained(SHIPPED / "blip-mini", backend="pil")
    assert type(model) is BlipForConditionalGeneration
    row = RUN.examples("validation")[0]
    inputs = processor(images=open_image(RUN.folder / row["path"]), return_tensors="pt")
    said = processor.decode(model.float().generate(**inputs, max_new_tokens=30)[0], skip_special_tokens=True)
    kept = captions.read(RUN.caption_file(0))[row["image_id"]].text
    assert likeness(said, kept) > 0.7


def test_the_demo_run_is_whole_and_names_no_machine():
    assert RUN.status().state == "finished"
    assert [checkpoint.epoch for checkpoint in RUN.checkpoints()] == [1, 2, 3]
    rows = RUN.examples("validation")
    assert len(rows) == 100 and all(image_id(RUN.folder / row["path"]) == row["image_id"] for row in rows)
    for path in RUN.folder.rglob("*.json*"):
        assert "/home/" not in path.read_text("utf-8") and str(SHIPPED) not in path.read_text("utf-8"), path


def test_the_logged_attribute_scores_are_those_of_the_captions():
    for row in by_kind(RUN.log(), "epoch"):
        assert row["scores"]["attributes"] == demo.attribute_accuracy(RUN, row["epoch"])


def test_the_base_has_never_seen_what_the_demo_teaches():
    base, taught = demo.attribute_accuracy(RUN, 0), demo.attribute_accuracy(RUN, 3)
    assert base["species"] <= 0.2 and base["tongue"] <= 0.2
    assert taught["species"] >= 0.9 and taught["tongue"] >= 0.9 and taught["all"] >= 0.9


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_shipped_checkpoint_still_says_what_was_kept_of_it(tmp_path, epoch):
    """In full precision, on any machine; another kind of processor rounds otherwise, so a near tie may fall the other way."""
    kept = captions.read(RUN.caption_file(epoch))
    rows = RUN.examples("validation")[:20]
    captioner = Shelf(Workspace(tmp_path)).captioner(RUN, epoch)
    again = captioner.caption(captioner.encode([open_image(RUN.folder / row["path"]) for row in rows]), RUN.config.decoding)
    same = sum(kept[row["image_id"]].text == caption.text for row, caption in zip(rows, again, strict=True))
    assert same >= 19


def test_a_rebuilding_says_how_many_captions_are_those_of_before(tmp_path):
    before = demo.said(RUN)
    assert len(before) == 400 and demo.alike(before, before) == "400 of 400 captions are those of the run it replaces"
    other = {place: text if place[0] else "a fox" for place, text in before.items()}
    assert demo.alike(before, other) == "300 of 400 captions are those of the run it replaces"
    assert demo.said(Run(tmp_path / "demo")) == {}
    assert demo.alike({}, before) == "400 captions; there was no run before it"
