"""The whole loop by hand: data, fine-tune, watch, compare, flag, download."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from explorer.scenes import scene

PETS = Path(__file__).resolve().parents[3] / "shared" / "data" / "pets-photos"
CORRECTION = '=a "dog", its tongue out,\nnot a ball 🐶'


def drawn_zip(path: Path) -> Path:
    """40 drawn pets with their references."""
    with zipfile.ZipFile(path, "w") as archive:
        rows = []
        for number in range(40):
            picture, truth = scene(number, "pets", 128)
            picture.save(path.parent / "one.png")
            archive.write(path.parent / "one.png", f"pets/{number:02d}.png")
            rows.append({"file_name": f"{number:02d}.png", "captions": list(truth.references)})
        archive.writestr("pets/metadata.jsonl", "\n".join(map(json.dumps, rows)))
    return path


def photos_zip(path: Path) -> Path:
    """40 real photos of pets, where the reference data is at hand."""
    if not PETS.is_dir():
        pytest.skip("no shared pets-photos on this machine: the loop runs on drawn pets only")
    rows = [json.loads(line) for line in (PETS / "metadata.jsonl").read_text("utf-8").splitlines()][:40]
    with zipfile.ZipFile(path, "w") as archive:
        for row in rows:
            archive.write(PETS / row["file_name"], row["file_name"])
        archive.writestr("metadata.jsonl", "\n".join(json.dumps({k: row[k] for k in ("file_name", "captions")}) for row in rows))
    return path


def has_text(page, selector: str, text: str, seconds: float = 120) -> None:
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)", arg=[selector, text], timeout=seconds * 1000
    )


@pytest.mark.parametrize("make_zip", [drawn_zip, photos_zip])
def test_one_sitting_from_a_zip_to_a_csv_of_corrected_flags(page, home, tmp_path, make_zip):
    page.get_by_role("tab", name="Fine-tune").click()
    page.set_input_files("#upload input[type=file]", make_zip(tmp_path / "mine.zip"))
    has_text(page, "#data-report", "32 / 8")
    assert page.locator("#data-report .x-gallery img").count() == 12
    has_text(page, "#price", "--name")
    assert "python -m explorer finetune" in page.inner_text("#price")

    page.click("#start")
    page.wait_for_selector("#live-loss figure.x-plot")
    page.wait_for_selector("#live-probes .x-probe")
    page.reload()  # the run goes on; the page finds it again
    page.get_by_role("tab", name="Fine-tune").click()
    has_text(page, "#live-status", "mine")
    # when it has finished, Compare opens on it
    page.wait_for_function(
        "document.querySelector('#comparison')?.offsetParent && document.querySelector('#comparison thead')?.innerText.includes('epoch 3')",
        timeout=400_000,
    )
    page.get_by_role("tab", name="Fine-tune").click()
    has_text(page, "#live-status", "Finished 3 epochs")
    assert page.locator("#live-loss .dot").count() == 12  # 32 images, three epochs of them, in batches of 8
    assert page.locator("#live-loss .mark").count() == 4
    assert page.locator("#live-probes ins").count() > 0, "no watched caption changed"

    page.click("#go-compare")
    page.wait_for_selector("#comparison table tbody tr")
    heads = page.locator("#comparison thead th").all_inner_texts()
    assert heads == ["image", "references", "base", "epoch 1", "epoch 2", "epoch 3"]
    assert page.locator("#comparison tbody tr").count() == 8

    flag_with_mouse(page)
    flag_with_keys(page)
    rows = downloaded_flags(page, tmp_path)
    assert rows == pd.read_csv(home / "flags.csv", dtype=str, keep_default_na=False).to_dict("records")
    by_reason = {row["reason"]: row for row in rows}
    assert set(by_reason) == {"wrong object", "hallucinated"}
    assert by_reason["wrong object"]["corrected_caption"] == CORRECTION
    assert by_reason["wrong object"]["checkpoint"] == "base"
    assert by_reason["hallucinated"]["checkpoint"] == "epoch-1"


def flag_with_mouse(page) -> None:
    """Press the base's caption of the first image, choose a reason, type a correction, flag."""
    page.locator("#comparison tbody tr").first.locator(".x-cell").first.click()
    page.wait_for_selector("#flag-form", state="visible")
    page.locator("#reason-choice").get_by_label("wrong object").check()
    page.locator("#correction textarea").fill(CORRECTION)
    page.click("#flag-button")
    has_text(page, "#flag-said", "wrong object")


def flag_with_keys(page) -> None:
    """Next image, one column to the right, reason 3; keys typed into a field do nothing."""
    page.locator("#correction textarea").press("3")
    page.locator("#correction textarea").fill("")
    page.locator("#learning").click(position={"x": 2, "y": 2})
    page.keyboard.press("j")
    page.wait_for_selector("#comparison tbody tr:nth-child(2).chosen")
    page.keyboard.press("l")
    page.wait_for_selector("#comparison tbody tr:nth-child(2) td:nth-child(4) .x-cell[aria-pressed=true]")
    page.keyboard.press("3")
    has_text(page, "#flag-said", "hallucinated")


def downloaded_flags(page, folder: Path) -> list[dict]:
    page.get_by_role("tab", name="Flag", exact=True).click()
    page.wait_for_selector("#flag-list .x-item:nth-child(2)")
    time.sleep(1)  # the button gets its file with the list
    with page.expect_download() as download:
        page.click("#download-flags")
    download.value.save_as(folder / "downloaded.csv")
    return pd.read_csv(folder / "downloaded.csv", dtype=str, keep_default_na=False).to_dict("records")
