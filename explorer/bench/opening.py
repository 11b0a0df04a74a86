"""The page as it opens, beside an empty Gradio page: until the server answers, and until the first table is seen in a browser.

The browser is Chromium, driven by Playwright: `python -m pip install playwright`, and a chromium on the PATH.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from explorer.bench import Row, at_most
from explorer.bench.setting import PROJECT, Setting
from explorer.errors import UserError
from explorer.server import served

EMPTY = """import gradio as gr

with gr.Blocks() as page:
    gr.HTML("<p id='seen'>An empty page</p>")
page.launch()
"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TABLE = "#comparison [data-act=choose]"
LATER = 1.5
VISITS = 4


def rows(setting: Setting) -> Iterator[Row]:
    bare = setting.home / "bare"
    bare.mkdir()
    (bare / "app.py").write_text(EMPTY, "utf-8")
    theirs, ours = opened(bare, setting.home / "bare-home", "#seen"), opened(PROJECT, setting.home / "first-home", TABLE)
    for work, of in (
        ("until the server answers", lambda times: times[0]),
        ("first visit of a new workspace, until the table is seen", lambda times: times[1]),
        ("later visits, until the table is seen", lambda times: median(times[2:])),
    ):
        empty, full = of(theirs), of(ours)
        yield at_most("opening", work, f"{full:.2f} s, an empty page {empty:.2f} s", full - empty, LATER, "s more")


def opened(app: Path, home: Path, seen: str) -> list[float]:
    """Seconds until the server of ``app`` answers, then until ``seen`` is on the screen at each of `VISITS`."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("The bench opens the page in a browser: python -m pip install playwright.") from error
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not chromium:
        raise UserError("The bench opens the page in a browser: install chromium.")
    started = time.perf_counter()
    with served(app, home) as address, sync_playwright() as playwright:
        times = [time.perf_counter() - started]
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"])
        for _ in range(VISITS):
            context = browser.new_context()
            page, started = context.new_page(), time.perf_counter()
            page.goto(address, wait_until="commit")
            page.wait_for_selector(seen)
            times.append(time.perf_counter() - started)
            context.close()
        browser.close()
    return times
