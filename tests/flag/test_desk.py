"""The queue of captions to judge, and a reviewer's desk: every action, and its undo."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers_runs import example, make_images, make_run

from explorer.errors import UserError
from explorer.flag import desk as desks
from explorer.flag import worklist
from explorer.flag.desk import Desk, Office
from explorer.flag.flags import REASONS, FlagStore
from explorer.model.captions import Caption
from explorer.train.run import Run

GOOD = [f"a {kind} sits on the {place}" for kind, place in (("dog", "grass"), ("cat", "sand"), ("fox", "snow"), ("bear", "street"))]
BASE = ["something else entirely", GOOD[1], "no", "a ball"]
LAST = [GOOD[0], "a dog dog runs", GOOD[2], "a bear with a ball on the"]


@pytest.fixture
def store(workspace):
    return FlagStore(workspace)


@pytest.fixture
def run(workspace, tmp_path) -> Run:
    paths = make_images(tmp_path / "photos", 5)
    rows = [example(path, [text, text.replace("sits", "is sitting")]) for path, text in zip(paths, GOOD, strict=False)]
    return make_run(workspace.root, [*rows, example(paths[4], ["a sheep"], "train")], [BASE, LAST])


@pytest.fixture
def office(workspace, store):
    return Office(workspace, store)


def texts(queue) -> list[str]:
    return [item.caption.text for item in queue.items]


def test_the_likeliest_mistakes_come_first_with_their_reasons(workspace, store, run):
    queue = worklist.queue(workspace, store, run, 1)
    assert texts(queue)[:2] == ["a dog dog runs", "a bear with a ball on the"] and queue.total == 4
    first, second = queue.items[:2]
    assert first.why == ("far from its references", "an earlier epoch was nearer", "a word comes twice")
    assert "stops in the middle" in second.why
    assert queue.items[-1].why == () and queue.missing == ()


def test_a_judged_caption_leaves_the_queue_and_counts(workspace, store, run):
    first, second = worklist.queue(workspace, store, run, 1).items[:2]
    store.flag("pets", "epoch-1", first.image["image_id"], "a", [], first.caption.text)
    store.approve([("pets", "epoch-1", second.image["image_id"], second.caption.text)])
    queue = worklist.queue(workspace, store, run, 1)
    assert (queue.judged, len(queue.items), queue.total) == (2, 2, 4)
    store.undo()
    assert worklist.queue(workspace, store, run, 1).judged == 1
    assert worklist.queue(workspace, store, run, 0).judged == 0, "another epoch's caption is another caption"


def test_a_word_that_flags_take_back_elsewhere_raises_a_caption(workspace, store, run):
    for number in range(2):
        store.flag("pets", "base", f"other{number}", "a", [], "a fox sits", corrected_caption="a wolf sits")
    item = next(i for i in worklist.queue(workspace, store, run, 1).items if i.caption.text == GOOD[2])
    assert item.why == ("says fox, flagged for wolf in 2 images",)


def test_images_without_a_caption_are_told_apart(workspace, store, run):
    queue = worklist.queue(workspace, store, run, 1, "all")
    assert len(queue.items) == 4 and [row["split"] for row in queue.missing] == ["train"]
    assert worklist.queue(workspace, store, run, 1, "training").total == 0


# --- the desk ---------------------------------------------------------------------------------------------


def press(office, desk, key, text="", who="anna"):
    return office.act(desk, *desks.KEYS[key], text, "", who)


def test_a_review_by_keys_flags_corrects_and_approves(office, store, run):
    desk = Desk(run="pets", epoch=1)
    desk, _ = press(office, desk, "j")
    desk, said = press(office, desk, "5")
    assert said == "Flagged as repeated words: “a dog dog runs”."
    desk, said = press(office, desk, "e")
    (flag,) = store.list()
    assert (flag.reason, flag.corrected_caption, flag.reviewer, flag.status) == ("repeated words", GOOD[1], "anna", "open")
    seen = office.seen(desk)
    assert office.entry(desk, seen).flag == flag and (seen.done, seen.of) == (1, 4), "the flagged one stays in sight"
    desk, _ = press(office, desk, "j")
    desk, _ = press(office, desk, "r")
    assert store.list()[1].corrected_caption == GOOD[3]
    desk, _ = press(office, desk, "j")
    desk, said = press(office, desk, "g")
    assert said.startswith("Right: ") and office.seen(desk).done == 3
    for _ in range(5):
        desk, said = press(office, desk, "u")
    assert store.list() == [] and office.seen(desk).done == 0 and said == "There is nothing left to undo."
    for _ in range(4):
        press(office, desk, "y")
    assert [f.corrected_caption for f in store.list()] == [GOOD[1], GOOD[3]] and office.seen(desk).done == 3


def test_several_are_changed_at_once_and_undone_at_once(office, store, run):
    desk, _ = press(office, Desk(run="pets", epoch=1), "a")
    assert len(desk.picked) == 4
    desk, said = press(office, desk, "3")
    assert said == "Flagged as hallucinated: 4 captions." and {f.reason for f in store.list()} == {"hallucinated"}
    before = store.list()
    desk, _ = press(office, Desk(), "a")
    desk, _ = press(office, desk, "r")
    assert all(f.corrected_caption in f.references for f in store.list())
    desk, _ = office.act(replace(desk, picked=tuple(f.flag_id for f in before[:3])), "status", "dismissed", "", "", "anna")
    assert office.seen(desk).done == 4 and sum(f.status == "dismissed" for f in store.list()) == 3
    press(office, desk, "u")
    press(office, desk, "u")
    assert store.list() == before
    press(office, desk, "u")
    assert store.list() == []


def test_a_correction_keeps_its_spelling_and_the_reviewer_who_typed_it(office, store, run):
    desk, _ = press(office, Desk(run="pets", epoch=1), "j")
    typed = " A DOG,  teh best 🐶 "
    office.act(desk, "save", "", typed, "typed", "ben")
    (flag,) = store.list()
    assert (flag.corrected_caption, flag.note, flag.reviewer) == (typed, "typed", "ben")
    assert [e.who for e in store.history(flag.flag_id)] == ["ben"]


def test_the_desk_is_narrowed_by_what_the_flags_say(office, store, run):
    for n, (caption, correction) in enumerate([("a cat", "a dog"), ("a cat sits", "a dog sits"), ("a fox", "")]):
        store.flag("pets", f"epoch-{n % 2}", f"i{n}", "a.png", ["a dog"], caption, REASONS[n % 2], correction)
    desk, _ = office.act(Desk(), "narrow", "confusion=dog is taken for a cat in 2 images", "", "", "")
    assert [e.caption for e in office.seen(desk).entries] == ["a cat sits", "a cat"]
    desk, _ = office.act(desk, "narrow", "checkpoint=epoch-0", "", "", "")
    assert [e.caption for e in office.seen(desk).entries] == ["a cat"]
    desk, _ = office.act(desk, "narrow", "checkpoint=epoch-0", "", "", "")
    assert office.seen(desk).total == 2, "pressed again, a bar lets go"
    desk, _ = office.act(Desk(), "narrow", "word=fox", "", "", "")
    assert [e.caption for e in office.seen(desk).entries] == ["a fox"]
    assert office.seen(Desk(search="SITS cat")).total == 1


def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(office, store, run):
    with pytest.raises(UserError, match="Choose a caption first"):
        press(office, Desk(), "1")
    gone = store.flag("no run", "base", "i", "photo.png", [], "a cat")
    desk = Desk(chosen=gone.flag_id)
    with pytest.raises(UserError, match="photo.png has no reference: type the correction"):
        press(office, desk, "r")
    with pytest.raises(UserError, match="No other epoch says anything better"):
        press(office, desk, "e")
    with pytest.raises(UserError, match="is flagged: dismiss"):
        press(office, desk, "g")
    with pytest.raises(UserError, match="no run 'gone' any more"):
        office.seen(Desk(run="gone"))
    assert store.list() == [gone]


def test_walking_stops_at_the_ends_and_turns_pages(office, store, monkeypatch):
    monkeypatch.setattr(desks, "PAGE", 2)
    flags = [store.flag("pets", "base", f"i{n}", "a", [], f"caption {n}") for n in range(3)][::-1]
    desk = Desk()
    seen = []
    for _ in range(4):
        desk, _ = press(office, desk, "j")
        seen.append((desk.chosen, desk.page))
    assert seen == [(flags[0].flag_id, 0), (flags[1].flag_id, 0), (flags[2].flag_id, 1), (flags[2].flag_id, 1)]
    desk, _ = press(office, desk, "k")
    assert (desk.chosen, desk.page) == (flags[1].flag_id, 0)


def test_the_least_sure_of_captions_alike_comes_first(workspace, store, tmp_path):
    paths = make_images(tmp_path / "more", 3)
    said = [Caption("a dog sits", ("a", "dog", "sits"), (0.9, chance, 0.9)) for chance in (0.8, 0.1, 0.5)]
    found = make_run(workspace.root, [example(path, ["a dog sits"]) for path in paths], [["a dog sits"] * 3, said], name="sure")
    queue = worklist.queue(workspace, store, found, 1)
    assert [item.caption.probabilities[1] for item in queue.items] == [0.1, 0.5, 0.8]
    assert queue.items[0].why == ("a word was a guess",)


def test_images_without_a_caption_are_captioned_and_join_the_queue(workspace, store, blip, shapes):
    from models import new_run

    from explorer.compare import columns
    from explorer.train import worker

    found = new_run(workspace, blip, shapes)
    list(worker.work(found, workspace))
    missing = worklist.queue(workspace, store, found, 1, "training").missing
    assert len(missing) == 24
    *_, last = worklist.fill(columns.Shelf(workspace), found, 1, missing)
    queue = worklist.queue(workspace, store, found, 1, "training")
    assert last == (24, 24) and queue.total == 24 and queue.missing == ()
