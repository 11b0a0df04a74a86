"""Each tab by itself, on a small run of a real tiny model: widths, errors, undo, hostile texts."""

from __future__ import annotations

import zipfile

import pytest
from conftest import open_page, serve
from hostile import HOSTILE

from explorer.train.run import Run


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_tab_is_wider_than_the_screen(chromium, tiny_address, width, theme):
    page = open_page(chromium, tiny_address, width, theme)
    for tab in ("Fine-tune", "Flag", "Compare"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(700)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab


def test_nothing_a_caption_holds_can_run(chromium, tiny_address, tiny_home):
    page = open_page(chromium, tiny_address)
    for text in HOSTILE[:3]:
        assert text in page.inner_text("#comparison")
    page.locator("#comparison .x-cell").last.click()
    page.wait_for_selector("#detail .x-words")
    page.locator("#comparison tbody tr").first.locator(".x-cell").last.click()
    page.wait_for_selector("#flag-form", state="visible")
    page.locator("#correction textarea").fill(HOSTILE[0])
    page.click("#flag-button")
    page.wait_for_selector("#flag-said .x-note")
    page.get_by_role("tab", name="Flag", exact=True).click()
    page.wait_for_selector("#flag-list .x-item")
    page.locator("#flag-list .x-item").first.click()
    page.wait_for_selector("#flag-detail .x-detail")
    assert HOSTILE[0] in page.inner_text("#flag-list")
    assert page.evaluate("window.hacked") is None
    page.click("#flags-undo")
    page.wait_for_selector("#flag-list .x-empty")


def test_a_broken_zip_is_told_in_a_sentence_and_changes_nothing(chromium, tiny_address, tmp_path):
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 not really")
    page = open_page(chromium, tiny_address)
    page.get_by_role("tab", name="Fine-tune").click()
    page.set_input_files("#upload input[type=file]", broken)
    page.wait_for_selector(".toast-body, .toast-wrap")
    page.wait_for_function("document.body.innerText.includes('broken.zip is not a readable zip')")
    assert "Traceback" not in page.inner_text("body")


def test_a_deleted_run_comes_back_with_undo(chromium, tiny_address, tiny_home):
    page = open_page(chromium, tiny_address)
    page.get_by_role("tab", name="Fine-tune").click()
    row = page.locator("#past-runs tr", has_text="tiny")
    row.get_by_role("button", name="Delete").click()
    page.wait_for_function("!document.querySelector('#past-runs table')?.innerText.includes('tiny')")
    assert not (tiny_home.root / "tiny").exists()
    page.get_by_role("button", name="Undo the last delete").click()
    page.wait_for_function("document.querySelector('#past-runs table')?.innerText.includes('tiny')")
    assert Run(tiny_home.root / "tiny").checkpoints()


def test_filters_search_and_order_choose_the_rows(chromium, tiny_address):
    page = open_page(chromium, tiny_address)
    everything = page.locator("#comparison tbody tr").count()
    page.locator("#compare-search input, #compare-search textarea").press_sequentially("onmouseover")
    page.wait_for_function("document.querySelectorAll('#comparison tbody tr').length === 1")
    page.locator("#compare-search input, #compare-search textarea").press_sequentially(" nobody says this")
    page.wait_for_selector("#comparison .x-empty")
    page.locator("#compare-search input, #compare-search textarea").press("Control+a")
    page.keyboard.press("Delete")
    page.wait_for_function(f"document.querySelectorAll('#comparison tbody tr').length === {everything}")
    page.locator("#compare-columns").get_by_role("button", name="epoch 1", exact=True).click()
    page.wait_for_function("document.querySelectorAll('#comparison thead th').length === 4")


def test_another_decoding_is_offered_and_filled_in(chromium, tiny_address):
    page = open_page(chromium, tiny_address)
    page.get_by_role("button", name="Decoding: how captions are generated").click()
    page.get_by_label("Longest caption in tokens").fill("4")
    page.get_by_label("Longest caption in tokens").press("Tab")
    page.get_by_role("button", name="Caption the missing ones").click()
    page.wait_for_function(
        "document.querySelector('#comparison') && !document.querySelector('#comparison').innerText.includes('not captioned yet')"
    )
    assert all(len(text.split()) <= 4 for text in page.locator("#comparison td:nth-child(3) .x-cell").all_inner_texts())


def test_a_zip_with_bad_files_is_shown_with_its_problems(chromium, tiny_address, shapes, tmp_path):
    good = sorted(shapes.rglob("*.png"))[:4]
    with zipfile.ZipFile(tmp_path / "mixed.zip", "w") as archive:
        for number, path in enumerate(good):
            archive.write(path, f"{number}.png")
            archive.writestr(f"{number}.txt", f"{HOSTILE[number]}\na shape")
        archive.writestr("torn.jpg", b"\xff\xd8\xff\xe0 torn")
    page = open_page(chromium, tiny_address)
    page.get_by_role("tab", name="Fine-tune").click()
    page.set_input_files("#upload input[type=file]", tmp_path / "mixed.zip")
    page.wait_for_function("document.querySelector('#data-report')?.innerText.includes('torn.jpg')")
    assert HOSTILE[0] in page.inner_text("#data-report")
    assert page.evaluate("window.hacked") is None


def test_one_click_flags_and_undo_takes_it_back(chromium, tiny_address, tiny_home):
    page = open_page(chromium, tiny_address)
    cell = page.locator("#comparison tbody tr").nth(2).locator("td").nth(3)
    cell.hover()
    cell.get_by_role("button", name="flag this caption of epoch 1").click()
    page.wait_for_function("document.querySelector('#flag-said')?.innerText.includes('epoch 1: other')")
    page.wait_for_selector("#comparison .x-mark.flagged")
    assert "epoch-1" in tiny_home.flags_csv.read_text("utf-8")
    page.click("#flag-undo")
    page.wait_for_function("!document.querySelector('#comparison .x-mark.flagged')")


def test_on_a_public_page_strangers_find_the_doors_closed_and_are_told_why(chromium, tiny_home):
    process, where = serve(tiny_home.root, EXPLORER_PUBLIC="1")
    try:
        page = open_page(chromium, where)
        page.get_by_role("tab", name="Fine-tune").click()
        page.wait_for_selector("#start:disabled")
        page.wait_for_selector(".x-door >> text=starting, stopping and resuming runs is done on a copy of your own")
        assert not page.locator("#upload").is_visible()
        assert not page.locator("#past-runs").get_by_role("button", name="Delete").count()
        page.get_by_role("tab", name="Compare").click()
        page.locator("#comparison .x-button.quick").first.click()  # flagging is open to all
        page.wait_for_selector("#flag-said .x-note")
    finally:
        process.terminate()
        process.wait(20)
