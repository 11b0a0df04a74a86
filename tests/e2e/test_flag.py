"""From flags to a better run, by hand in a real browser: review, correct, undo, bring a CSV back, relabel, fine-tune, look."""

from __future__ import annotations

import json
import time

import pandas as pd
import pytest
from conftest import few_scenes, serve

from explorer.flag import relabel
from explorer.flag.flags import FlagStore
from explorer.model import captions
from explorer.model.captions import Caption
from explorer.train import plan, worker
from explorer.train.run import Run, RunConfig
from explorer.workspace import Workspace

WRONG, RIGHT = "a red circle", "a red square"


@pytest.fixture(scope="module")
def planted_home(tmp_path_factory, blip, shapes):
    """A finished run of a tiny BLIP, and references that call some red squares of its data circles."""
    place = tmp_path_factory.mktemp("planted")
    home, data = Workspace(place / "home"), place / "shapes"
    for path in shapes.rglob("*"):
        if path.is_file():
            copy = data / path.relative_to(shapes)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    for table in data.rglob("metadata.jsonl"):
        rows = [json.loads(line) for line in table.read_text().splitlines()]
        for row in rows:
            row["captions"] = [WRONG if text == RIGHT else text for text in row["captions"]]
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = RunConfig("planted", blip, str(data), epochs=2, method="full", batch_size=8, learning_rate=5e-3, probes=2, augment=False)
    run = plan.make_run(home, config)
    for _ in worker.work(run, home):
        pass
    said = captions.read(run.caption_file(2))
    for row in run.examples("validation"):  # what a run long enough to learn its references would say
        text = row["references"][0]
        said[row["image_id"]] = Caption(text, tuple(text.split()), (0.9,) * len(text.split()))
    captions.write(run.caption_file(2), said)
    few_scenes(home)
    return home


@pytest.fixture(scope="module")
def planted_address(planted_home):
    process, where = serve(planted_home.root)
    yield where
    process.terminate()
    process.wait(20)


@pytest.fixture
def flag_page(chromium, planted_address):
    context = chromium.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(planted_address)
    page.get_by_role("tab", name="Flag", exact=True).click()
    page.wait_for_selector("#flag-list .x-item, #flag-list .x-empty")
    yield page
    context.close()
    assert wrong == []


def says(page, selector: str, text: str, seconds: float = 60) -> None:
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)", arg=[selector, text], timeout=seconds * 1000
    )


def press(page, key: str, said: str) -> None:
    page.keyboard.press(key)
    says(page, "#flags-said", said)


def choose(page, what: str) -> None:
    page.locator("#review-what input").click()
    page.get_by_role("option", name=what, exact=True).click()


def corrected(store: FlagStore) -> list[str]:
    return [flag.corrected_caption for flag in store.list() if flag.corrected_caption]


def test_a_few_wrong_captions_go_from_the_queue_to_a_better_run(flag_page, planted_home, tmp_path):
    page, store = flag_page, FlagStore(planted_home)
    page.locator("#flag-reviewer textarea, #flag-reviewer input").first.fill("anna")
    choose(page, "the worst captions of planted")
    says(page, "#flag-progress", "0 of 12 captions of planted reviewed")
    page.locator("#flag-search input, #flag-search textarea").first.wait_for(state="hidden")
    wrong = page.locator("#flag-list .x-open", has_text=WRONG)
    for count in range(3):
        wrong.first.click()
        says(page, "#flag-detail", WRONG)
        page.locator("#flag-progress").click()
        press(page, "1", "Flagged as wrong object")
        page.keyboard.press("c")
        page.locator("#flag-correction textarea").fill(RIGHT)
        page.click("#flag-save")
        says(page, "#flags-said", "Saved")
        says(page, "#flag-progress", f"{count + 1} of 12")
        page.wait_for_function("n => document.querySelectorAll('#flag-list .x-item').length === n", arg=11 - count)
    page.locator("#flag-list .x-open", has_text="blue circle").first.click()
    says(page, "#flag-detail", "a blue circle")
    page.locator("#flag-progress").click()
    press(page, "g", "Right")
    says(page, "#flag-progress", "4 of 12")
    assert corrected(store) == [RIGHT] * 3 and {f.reviewer for f in store.list()} == {"anna"}

    press(page, "u", "Undone: find a caption right")
    press(page, "u", "Undone: correct")
    assert corrected(store) == [RIGHT] * 2
    press(page, "y", "Done again: correct")
    assert corrected(store) == [RIGHT] * 3

    choose(page, "all flags")
    says(page, "#flag-says", "square is taken for a circle in 3 images")
    page.locator("#flag-says .x-sentence").first.click()
    page.wait_for_function("document.querySelectorAll('#flag-list .x-item').length === 3")
    the_csv_comes_back(page, store, tmp_path)
    the_version_and_its_run(page, store, planted_home)


def the_csv_comes_back(page, store: FlagStore, folder) -> None:
    with page.expect_download() as download:
        page.click("#download-flags")
    download.value.save_as(folder / "flags.csv")
    table = pd.read_csv(folder / "flags.csv", dtype=str, keep_default_na=False)
    assert list(table["corrected_caption"]) == [RIGHT] * 3
    table.loc[0, "note"] = "seen by ben"
    table.loc[1, "reason"] = "ugly"
    table.loc[2, "note"], table.loc[2, "updated"] = "theirs", "lost"
    table.to_csv(folder / "edited.csv", index=False)
    page.get_by_role("button", name="Bring an edited flags.csv back").click()
    page.set_input_files("#flags-upload input[type=file]", folder / "edited.csv")
    says(page, "#import-diff", "line 3: The reason 'ugly' is not known")
    page.click("#import-apply")
    page.wait_for_function("document.body.innerText.includes('choose whose note stays')")
    assert all(flag.note == "" for flag in store.list()), "nothing is applied by half"
    page.locator("#import-diff .conflict").get_by_role("button", name="Keep mine").click()
    page.wait_for_selector("#import-diff .conflict", state="detached")
    page.click("#import-apply")
    says(page, "#flags-said", "Applied the changes of 1 flags")
    assert sorted(flag.note for flag in store.list()) == ["", "", "seen by ben"]


def the_version_and_its_run(page, store: FlagStore, home: Workspace) -> None:
    page.get_by_role("button", name="Make the relabelled dataset, and fine-tune on it").click()
    says(page, "#relabel-preview", "3 images would get other references")
    page.click("#relabel-start")
    page.wait_for_function("document.querySelector('#live-status')?.offsetParent")  # the run is watched where runs are
    version = home.datasets / "shapes-relabelled"
    assert relabel.read_manifest(version)["changed"] == 3 and {f.status for f in store.list()} == {"relabelled"}
    run = Run(home.root / "planted-on-shapes-relabelled")
    deadline = time.monotonic() + 240
    while run.status().state in ("running", "waiting") and time.monotonic() < deadline:
        time.sleep(0.5)
    assert run.status().state == "finished", run.status().text
    page.wait_for_function("document.querySelector('#comparison')?.offsetParent")  # where a run ends that was watched
    page.get_by_role("tab", name="Flag", exact=True).click()
    page.get_by_role("button", name="Did it help?").click()
    says(page, "#helped-result", "newly broken")
    told = page.inner_text("#helped-result")
    assert "flagged, before" in told and "all others, after" in told and "references an image" in told.lower()


def test_keys_typed_into_a_field_do_nothing(flag_page, planted_home):
    page, store = flag_page, FlagStore(planted_home)
    choose(page, "the worst captions of planted")
    page.locator("#flag-list .x-open").first.click()
    page.wait_for_selector("#flag-edit", state="visible")
    before = store.list()
    page.locator("#flag-correction textarea").press_sequentially("1gdu")
    page.wait_for_timeout(800)
    assert page.input_value("#flag-correction textarea") == "1gdu" and store.list() == before


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_an_open_flag_fits_the_screen(chromium, planted_address, width, theme):
    page = chromium.new_context(viewport={"width": width, "height": 900}).new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{planted_address}/?__theme={theme}")
    page.get_by_role("tab", name="Flag", exact=True).click()
    page.wait_for_selector("#flag-list .x-item, #flag-list .x-empty")
    choose(page, "the worst captions of planted")
    page.locator("#flag-list .x-open").first.click()
    page.wait_for_selector("#flag-edit", state="visible")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
