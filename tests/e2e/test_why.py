"""Why did it say that: words, heat maps and scores in a real browser, on a run of a tiny model."""

from __future__ import annotations

import pytest
from conftest import few_scenes, open_page, serve

from explorer.train import plan, worker
from explorer.train.run import RunConfig
from explorer.workspace import Workspace


@pytest.fixture(scope="module")
def address(tmp_path_factory, blip, shapes):
    """The page over a run that learned to tell red squares from blue circles; its base says nothing at all."""
    home = Workspace(tmp_path_factory.mktemp("why") / "home")
    values = {"method": "full", "batch_size": 1, "learning_rate": 5e-3, "augment": False, "probes": 0}
    run = plan.make_run(home, RunConfig("tiny", blip, str(shapes), epochs=2, **values))
    for _ in worker.work(run, home):
        pass
    few_scenes(home)
    process, where = serve(home.root)
    yield where
    process.terminate()
    process.wait(20)


def opened(chromium, address: str, width: int = 1440):
    """The page with the last caption of the second row chosen."""
    page = open_page(chromium, address, width)
    page.locator("#comparison tbody tr").nth(1).locator(".x-cell").last.click()
    page.wait_for_selector("#detail .x-word")
    page.wait_for_selector("#flag-form", state="visible")
    return page


@pytest.mark.parametrize("width", [390, 1440])
def test_a_pressed_word_shows_where_every_column_looked(chromium, address, width):
    page = opened(chromium, address, width)
    word = page.locator("#detail .x-word").last
    word.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#looked .x-legend")
    assert page.locator("#looked figure").count() == 3
    assert f"“{word.inner_text()}”" in page.inner_text("#looked")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="close the heat maps").click()
    page.wait_for_function("!document.querySelector('#looked .x-look')")


def test_w_walks_from_word_to_word_and_another_caption_closes_the_maps(chromium, address):
    page = opened(chromium, address)
    words = page.locator("#detail .x-word").all_inner_texts()
    for word in (words + words)[: len(words) + 1]:  # after the last comes the first again
        page.keyboard.press("w")
        page.wait_for_function("word => document.querySelector('#looked')?.innerText.includes('“' + word + '”')", arg=word)
    page.keyboard.press("W")
    page.wait_for_function("word => document.querySelector('#looked')?.innerText.includes('“' + word + '”')", arg=words[-1])
    page.wait_for_selector("#looked .x-legend")
    page.keyboard.press("j")
    page.wait_for_function("!document.querySelector('#looked .x-look')")


def test_words_are_shaded_only_on_demand_and_scored_against_their_references(chromium, address):
    page = opened(chromium, address)
    shade = "getComputedStyle(document.querySelector('#detail .x-word')).backgroundColor"
    before = page.evaluate(shade)
    page.locator("#shade input").check()
    page.wait_for_function(f"{shade} !== '{before}'")
    said = page.inner_text("#detail")
    assert "on average" in said and "CIDEr" in said and "ROUGE-L" in said and "with 1 reference" in said


def test_scores_are_worked_out_on_demand_and_say_what_they_mean(chromium, address):
    page = open_page(chromium, address)
    assert not page.locator(".x-scores").count()
    page.get_by_role("button", name="Scores: accuracy, relevance").click()
    page.click("#scores-start")
    page.wait_for_function("document.querySelector('#scores-shown')?.innerText.includes('captions with one') && !document.querySelector('#scores-shown .x-bar')")
    said = page.inner_text("#scores-shown")
    assert "12 images, 1.0 references an image" in said and "95 %" in said
    assert page.locator(".x-scores details").count() == page.locator(".x-scores tbody tr:not(.x-group)").count()


def test_the_doubtful_come_first_when_asked(chromium, address):
    page = open_page(chromium, address)
    usual = page.locator("#comparison tbody tr").evaluate_all("rows => rows.map(row => row.dataset.image)")
    page.get_by_label("Order", exact=True).click()
    page.get_by_role("option", name="most doubtful first").click()
    page.wait_for_function("location.search.includes('doubtful')")
    now = page.locator("#comparison tbody tr").evaluate_all("rows => rows.map(row => row.dataset.image)")
    assert sorted(now) == sorted(usual) and now != usual
