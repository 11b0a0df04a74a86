"""Compare walked by mouse, by keys and by an accessibility checker, on two runs of tiny models."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import open_page

THEMES = ("light", "dark")
TABS = ("Compare", "Fine-tune", "Flag")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


def heads(page) -> list[str]:
    return page.locator("#comparison thead th").all_inner_texts()[2:]


def wait_for_heads(page, *names: str) -> None:
    wanted = ["image", "references", *names]
    page.wait_for_function(
        "names => JSON.stringify([...document.querySelectorAll('#comparison thead th')].map(e => e.innerText)) === JSON.stringify(names)",
        arg=wanted,
    )


def wait_for(page, selector: str, text: str) -> None:
    page.wait_for_function("([at, text]) => document.querySelector(at)?.innerText.includes(text)", arg=[selector, text])


def choose(page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def focused(page) -> dict:
    return page.evaluate("({...document.activeElement.dataset})")


def test_columns_are_put_off_on_and_moved_and_keep_the_focus(chromium, tiny_address):
    page = open_page(chromium, tiny_address)
    chips = page.locator("#compare-columns")
    chips.get_by_role("button", name="move epoch 2 to the left").click()
    wait_for_heads(page, "base", "epoch 2", "epoch 1")
    chips.get_by_role("button", name="move epoch 2 to the left").focus()
    page.keyboard.press("Enter")
    wait_for_heads(page, "epoch 2", "base", "epoch 1")
    chips.get_by_role("button", name="base", exact=True).click()
    wait_for_heads(page, "epoch 2", "epoch 1")
    chips.get_by_role("button", name="base", exact=True).click()
    wait_for_heads(page, "base", "epoch 2", "epoch 1")
    page.wait_for_function("document.activeElement.dataset.value?.endsWith('@0')")
    chips.get_by_role("button", name="move base to the right").click()
    wait_for_heads(page, "epoch 2", "base", "epoch 1")
    page.wait_for_function("document.activeElement.dataset.by === '1'")


def test_words_can_be_marked_against_the_reference_or_any_column(chromium, tiny_address):
    page = open_page(chromium, f"{tiny_address}/?runs=other")  # "said by another base", then "a red circle", of a blue circle
    base, taught = (page.locator("#comparison tbody tr").first.locator("td").nth(place) for place in (2, 3))
    assert base.locator("ins, del").count() == 0
    choose(page, "Mark words against", "epoch 1")
    page.wait_for_selector("#comparison tbody tr:first-child td:nth-child(3) del")
    assert "red circle" in " ".join(base.locator("del").all_inner_texts())
    assert taught.locator("ins, del").count() == 0
    choose(page, "Mark words against", "the nearest reference")
    page.wait_for_selector("#comparison tbody tr:first-child td:nth-child(4) del")
    assert taught.locator("ins").all_inner_texts() == ["red"] and taught.locator("del").all_inner_texts() == ["blue"]


def test_a_link_opens_the_same_view(chromium, tiny_address):
    page = open_page(chromium, tiny_address)
    page.locator("#compare-columns").get_by_role("button", name="move epoch 2 to the left").click()
    wait_for_heads(page, "base", "epoch 2", "epoch 1")
    choose(page, "Order", "file name")
    page.locator("#compare-filters").get_by_label("changed").check()
    page.wait_for_function("location.search.includes('only=changed')")
    choose(page, "Mark words against", "the nearest reference")
    page.locator("#compare-search :is(input, textarea)").press_sequentially("a")
    page.wait_for_function("location.search.includes('search=a') && location.search.includes('against=reference')")
    page.locator("#comparison .x-cell").nth(4).click()
    page.wait_for_function("location.search.includes('image=')")
    page.locator("#share").get_by_role("button", name="Copy link").click()
    page.wait_for_selector("#share .x-small")
    link = page.url  # reading the clipboard would wait for a person's permission

    def seen(each) -> dict:
        each.wait_for_selector("#detail .x-detail")
        return {
            "heads": heads(each),
            "rows": each.locator("#comparison tbody").inner_html().replace(' style=""', ""),
            "search": each.locator("#compare-search :is(input, textarea)").input_value(),
            "order": each.get_by_label("Order", exact=True).input_value(),
            "against": each.get_by_label("Mark words against", exact=True).input_value(),
            "changed": each.locator("#compare-filters").get_by_label("changed").is_checked(),
            "chosen": each.inner_text("#detail"),
        }

    other = open_page(chromium, link)
    other.wait_for_selector("#flag-form", state="visible")
    assert seen(other) == seen(page)
    page.reload()
    page.wait_for_selector("#comparison .x-cell[aria-pressed=true]")
    assert seen(page) == seen(other)


def test_a_link_to_a_run_that_is_gone_says_so_and_shows_what_there_is(chromium, tiny_address):
    page = open_page(chromium, f"{tiny_address}/?runs=gone&at=7&learning=%3Cscript%3E&only=nonsense")
    wait_for(page, "#flag-said", "The link asks for gone, which is not here.")


def test_everything_in_compare_is_done_by_keys(chromium, tiny_address, tiny_home):
    page = open_page(chromium, tiny_address)
    page.locator("#learning").click(position={"x": 1, "y": 1})
    page.keyboard.press("j")
    page.wait_for_selector("#comparison tbody tr:nth-child(1).chosen")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#comparison tbody tr:nth-child(2).chosen")
    page.keyboard.press("h")
    page.wait_for_selector("#comparison tbody tr:nth-child(2) td:nth-child(4) .x-cell[aria-pressed=true]")
    page.wait_for_function("document.activeElement.matches('.x-cell[aria-pressed=true]')")
    wait_for(page, "#choice", "epoch 1")  # what a screen reader is told
    page.keyboard.press("H")
    wait_for_heads(page, "epoch 1", "base", "epoch 2")
    page.keyboard.press("L")
    wait_for_heads(page, "base", "epoch 1", "epoch 2")
    page.keyboard.press("c")
    page.wait_for_function("document.activeElement.closest('#correction')")
    page.keyboard.type("just 3 fjords?")  # keys are letters here
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.matches('.x-cell')")
    assert page.locator("#correction textarea").input_value() == "just 3 fjords?"
    page.keyboard.press("3")
    wait_for(page, "#flag-said", "epoch 1: hallucinated")
    page.wait_for_selector("#comparison tbody tr:nth-child(2) td:nth-child(4) .x-mark.flagged")
    assert "just 3 fjords?" in tiny_home.flags_csv.read_text("utf-8")
    page.keyboard.press("u")
    page.wait_for_function("!document.querySelector('#comparison .x-mark.flagged')")
    page.keyboard.press("/")
    page.wait_for_function("document.activeElement.closest('#compare-search')")
    page.locator("#compare-search :is(input, textarea)").blur()
    page.keyboard.press("?")
    page.wait_for_selector("#compare-help dialog[open]")
    page.keyboard.press("j")  # the help is open: the table stays
    page.keyboard.press("Escape")
    page.wait_for_selector("#compare-help dialog", state="hidden")
    assert page.locator("#comparison tbody tr:nth-child(2).chosen").count() == 1


def test_bars_of_the_learning_picture_are_pressed_by_key_and_show_their_images(chromium, tiny_address):
    page = open_page(chromium, tiny_address)
    everything = page.locator("#comparison tbody tr").count()
    bar = page.locator("#learning .x-history-bar").first
    count = int(bar.locator(".count").inner_text())
    bar.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#learning .x-history-bar[aria-pressed=true]")
    page.wait_for_function(f"document.querySelectorAll('#comparison tbody tr').length === {min(count, 12)}")
    page.keyboard.press("Enter")  # once more takes the choice off
    page.wait_for_selector("#learning .x-history-bar[aria-pressed=false]")
    page.wait_for_function(f"document.querySelectorAll('#comparison tbody tr').length === {everything}")


def test_two_runs_stand_beside_each_other_with_what_they_were_set_otherwise(chromium, tiny_address):
    page = open_page(chromium, f"{tiny_address}/?runs=tiny&columns=tiny%402")
    wait_for_heads(page, "epoch 2")
    page.get_by_label("Runs", exact=True).click()
    page.get_by_role("option", name="other", exact=True).click()
    wait_for_heads(page, "tiny · epoch 2", "other · epoch 1")
    page.keyboard.press("Escape")
    summary = page.locator("#compare-settings summary")
    summary.click()
    rows = page.locator("#compare-settings tbody tr").all_inner_texts()
    assert [re.split(r"\s+", row)[0] for row in rows][:2] == ["dataset", "epochs"]
    assert "not captioned yet" in page.inner_text("#comparison")  # the other run saw half of the images


def test_ones_own_photo_is_captioned_flagged_kept_taken_out_and_put_back(chromium, tiny_address, tiny_home, shapes, tmp_path):
    photo = tmp_path / "the cat's & dog's ${photo}.png"
    photo.write_bytes(next(shapes.rglob("*.png")).read_bytes() + b"another picture by its bytes")
    page = open_page(chromium, tiny_address)
    page.get_by_role("button", name="Your own photo, captioned by every column").click()
    page.set_input_files("#photo input[type=file]", photo)
    page.wait_for_function("document.querySelectorAll('#photo-captions .x-cell').length === 3")
    assert page.locator("#photo-captions dt").all_inner_texts() == ["base", "epoch 1", "epoch 2"]
    page.locator("#photo-captions .x-cell").last.click()
    page.wait_for_selector("#flag-form", state="visible")
    page.locator("#reason-choice").get_by_label("grammar").check()
    page.click("#flag-button")
    wait_for(page, "#flag-said", "epoch 2: grammar")
    page.click("#photo-keep")
    wait_for(page, "#photos-kept", "Kept: it is the last row")
    last = page.locator("#comparison tbody tr").last
    assert "no reference" in last.inner_text() and last.locator(".x-mark.flagged").count() == 1
    rows = page.locator("#comparison tbody tr").count()
    page.locator("#photos-kept").get_by_role("button", name="take").click()
    page.wait_for_function(f"document.querySelectorAll('#comparison tbody tr').length === {rows - 1 or 12}")
    page.locator("#photos-kept").get_by_role("button", name="Put it back").click()
    wait_for(page, "#photos-kept", "Take out")
    page.locator("#photos-kept").get_by_role("button", name="take").click()
    wait_for(page, "#photos-kept", "Taken out")
    page.click("#flag-undo")
    page.wait_for_selector("#flag-said .x-note")
    assert page.evaluate("window.hacked") is None


def exported(page, name: str, count: int = 1) -> list[Path]:
    ending = {"CSV": ".csv", "Parquet": ".parquet", "One HTML file": ".html", "Contact sheets, PNG": ".png", "Contact sheets, PDF": ".pdf"}[name]
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function(
        "([count, ending]) => { const links = [...document.querySelectorAll('#exported a[download]')];"
        " return links.length === count && links.every(link => link.href.endsWith(ending)); }",
        arg=[count, ending],
    )
    links = page.locator("#exported a[download]")
    found = []
    for place in range(count):
        with page.expect_download() as download:
            links.nth(place).click()
        found.append(Path(download.value.path()).rename(Path(download.value.path()).with_name(download.value.suggested_filename)))
    return found


def test_the_view_is_taken_along_in_every_format(chromium, tiny_address):
    page = open_page(chromium, tiny_address)
    page.locator("#compare-columns").get_by_role("button", name="epoch 1", exact=True).click()
    wait_for_heads(page, "base", "epoch 2")
    page.locator("#compare-search :is(input, textarea)").press_sequentially("a")
    page.wait_for_function("location.search.includes('search=a')")
    shown = int(re.match(r"[\d,]+", page.inner_text("#pager").strip()).group())
    page.get_by_role("button", name="Export this view").click()
    [csv] = exported(page, "CSV")
    table = pd.read_csv(csv, keep_default_na=False)
    assert list(table.columns) == ["image_id", "file", "references", "base", "epoch 2"] and len(table) == shown
    wait_for(page, "#making", "comparison.csv")
    [parquet] = exported(page, "Parquet")
    assert list(pd.read_parquet(parquet)["epoch 2"]) == list(table["epoch 2"])
    [still] = exported(page, "One HTML file")
    offline = chromium.new_context(offline=True, java_script_enabled=True).new_page()
    asked = []
    offline.on("request", lambda request: asked.append(request.url))
    offline.goto(still.as_uri())
    assert offline.locator("tbody tr").count() == shown
    assert offline.locator("tbody img").count() == shown == offline.evaluate("[...document.images].filter(i => i.naturalWidth).length")
    assert offline.evaluate("window.hacked") is None
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    sheets = exported(page, "Contact sheets, PNG", 2)
    assert all(sheet.read_bytes().startswith(b"\x89PNG") for sheet in sheets)
    [book] = exported(page, "Contact sheets, PDF")
    assert book.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("theme", THEMES)
def test_contrast_and_labels_pass_an_accessibility_check(chromium, tiny_address, theme):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(chromium, tiny_address, theme=theme)
    page.locator("#comparison .x-cell").first.click()
    page.wait_for_selector("#flag-form", state="visible")
    for tab in TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(900)
        found = Axe().run(page, options=RULES).response["violations"]
        told = [(each["id"], node["target"], node["html"][:120]) for each in found for node in each["nodes"]]
        assert told == [], tab
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator("#compare-help [data-open]").click()
    found = Axe().run(page, context="#compare-help", options=RULES).response["violations"]
    assert [(each["id"], node["html"]) for each in found for node in each["nodes"]] == []


def test_the_head_and_the_detail_stay_in_view_while_the_table_scrolls(chromium, tiny_address):
    page = open_page(chromium, tiny_address)
    page.locator("#comparison .x-cell").first.click()
    page.wait_for_selector("#flag-form", state="visible")
    page.locator("#comparison tbody tr").nth(6).scroll_into_view_if_needed()
    page.mouse.move(400, 500)
    page.mouse.wheel(0, 700)
    page.wait_for_timeout(300)
    head = page.locator("#comparison thead th").first.bounding_box()
    assert -1 <= head["y"] <= 2
    assert page.locator("#detail img.large").bounding_box()["y"] < 200
