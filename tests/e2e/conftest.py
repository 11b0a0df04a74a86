"""A real browser on the real page, served by the command of the README."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from helpers_runs import make_run
from hostile import HOSTILE

from explorer import scenes
from explorer.model import captions
from explorer.model.captions import Caption
from explorer.train import plan, worker
from explorer.train.run import RunConfig
from explorer.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[2]
CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium; without one the browser tests are skipped, but not in CI.

    One a module: Playwright keeps an event loop running for as long, and tests after these begin loops of their own.
    """
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have a Chromium for the browser tests")
        pytest.skip("no Chromium on this machine: the browser tests are skipped")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def no_page_is_left_open(request):
    """A page goes on asking its server, also one that is gone: pages left open slow every test after them."""
    browser = request.getfixturevalue("chromium") if "chromium" in request.fixturenames else None
    yield
    for context in browser.contexts if browser else ():
        context.close()


def serve(home: Path, **more: str):
    """(process, address) of `python app.py` over the workspace ``home``, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "EXPLORER_HOME": str(home), "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "0", **more}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=2)
            return process, address
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.25)
    process.kill()
    raise RuntimeError(f"app.py did not answer: {process.stdout.read().decode()[-2000:]}")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def address(home):
    """The page over a fresh workspace."""
    process, where = serve(home)
    yield where
    process.terminate()
    process.wait(20)


@pytest.fixture
def page(chromium, address):
    """A page of 1440 x 900 whose errors fail the test."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#comparison table, #comparison .x-empty")
    yield page
    context.close()
    assert wrong == []


def few_scenes(home: Workspace) -> None:
    """A few drawn pets in the place of the nine hundred that the page would draw in a fresh workspace, half a minute's work."""
    scenes.write(home.datasets / "scenes", train=12, validation=4)


@pytest.fixture(scope="module")
def tiny_home(tmp_path_factory, blip, shapes):
    """A workspace with one finished run of a tiny BLIP, hostile texts among its captions and references."""
    home = Workspace(tmp_path_factory.mktemp("page") / "home")
    config = RunConfig("tiny", blip, str(shapes), epochs=2, method="lora", batch_size=8, learning_rate=1e-3, probes=3)
    run = plan.make_run(home, config)
    for _ in worker.work(run, home):
        pass
    known = captions.read(run.caption_file(2))
    for image, text in zip(known, HOSTILE, strict=False):
        known[image] = Caption(text, tuple(text.split()), tuple(0.1 for _ in text.split()))
    captions.write(run.caption_file(2), known)
    half = run.examples("validation")[::2]
    examples = [{**each, "path": str(run.folder / each["path"])} for each in half]
    other = make_run(home.root, examples, [["said by another base"] * len(half), ["a red circle"] * len(half)], "other", base=blip)
    few_scenes(home)
    os.utime(other.folder / "run.json", (1, 1))  # the older run: the page opens on the trained one
    return home


@pytest.fixture(scope="module")
def tiny_address(tiny_home):
    process, where = serve(tiny_home.root)
    yield where
    process.terminate()
    process.wait(20)


def open_page(chromium, address: str, width: int = 1440, theme: str = "light"):
    """Compare at ``address``, which may be a link to a view."""
    page = chromium.new_context(viewport={"width": width, "height": 900}).new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}{'&' if '?' in address else '/?'}__theme={theme}")
    page.wait_for_selector("#comparison table")
    return page
