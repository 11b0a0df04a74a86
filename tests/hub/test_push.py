"""A checkpoint or a dataset goes to the Hub with its card and opens again by id, by the real client and a stand-in for the Hub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import models
import pytest
from hub_server import READER, TOKEN, HubServer
from pictures_helper import folder_of
from PIL import Image

from explorer.compare import columns
from explorer.data import dataset, sources
from explorer.flag import relabel
from explorer.flag.flags import FlagStore
from explorer.hub import card, client, push
from explorer.hub.client import HubError
from explorer.model import captioner
from explorer.train import worker
from explorer.workspace import Workspace

PICTURE = Image.new("RGB", (40, 30), "red")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("push")


@pytest.fixture(scope="module")
def hub(bases):
    with HubServer() as served:
        served.add("owner/blip", Path(bases["blip"]))
        yield served


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as given:
        yield given


@pytest.fixture(scope="module")
def work(home, hub, patch, shapes, bases) -> Workspace:
    """A workspace with a run on a base of the Hub, `adapter`, one that goes on from it, `further`, and one of all weights, `whole`."""
    hub.point(patch, home)
    workspace = Workspace(home / "home", shipped=home / "shipped")
    for name, base, method in (("adapter", "owner/blip", "lora-vision"), ("further", "adapter@2", "lora"), ("whole", bases["blip"], "full")):
        run = models.new_run(workspace, base, shapes, name=name, method=method, epochs=2 if name == "adapter" else 1)
        for _ in worker.work(run, workspace):
            pass
    return workspace


@pytest.fixture(autouse=True)
def calm(hub):
    hub.rules.clear()


def pushed(work: Workspace, name: str, repo: str, **options) -> str:
    run, made = push.chosen(work, name)
    return [*push.checkpoint(work, run, made.epoch, repo, **options)][-1].address


def said(base: str) -> str:
    opened = captioner.load(base)
    return opened.caption(opened.encode([PICTURE]))[0].text


def test_an_adapter_names_its_base_and_opens_again_by_id(work, hub):
    address = pushed(work, "adapter@2", "owner/pets")
    repo = hub.repo("owner/pets")
    assert address == f"{hub.url}/owner/pets" and repo.private
    assert json.loads(repo.files["adapter_config.json"])["base_model_name_or_path"] == "owner/blip"
    assert "model.safetensors" not in repo.files and repo.files[push.MARK]
    here = str(work.root / "adapter" / "epoch-2")
    assert said("owner/pets") == said(here) and captioner.load_config("owner/pets").model_type == "blip"


def test_a_stranger_opens_an_adapter_with_peft_and_a_whole_model_with_transformers(work, hub, home):
    pushed(work, "adapter@1", "owner/theirs")
    pushed(work, "whole", "owner/whole")
    code = (
        "from transformers import AutoModelForImageTextToText as Auto; from peft import PeftModel\n"
        "PeftModel.from_pretrained(Auto.from_pretrained('owner/blip'), 'owner/theirs')\n"
        "_, told = Auto.from_pretrained('owner/whole', output_loading_info=True)\n"
        "print(sorted(k for k in told['missing_keys'] if 'pooler' not in k), sorted(told['unexpected_keys']))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **hub.environment(home / "x")}, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[] []", done.stderr[-1500:]
    assert said("owner/whole") == said(str(work.root / "whole" / "epoch-1"))


def test_an_adapter_over_another_is_worked_into_a_whole_model_and_says_the_same(work, hub):
    pushed(work, "further", "owner/further")
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= hub.repo("owner/further").files.keys()
    assert "adapter_config.json" not in hub.repo("owner/further").files
    assert said("owner/further") == said(str(work.root / "further" / "epoch-1"))
    assert "worked into the weights here" in hub.repo("owner/further").files["README.md"].decode()


def test_a_run_begins_from_an_adapter_of_the_hub(work, shapes, hub):
    pushed(work, "adapter@2", "owner/begin")
    run = models.new_run(work, "owner/begin", shapes, name="begun", method="lora")
    for _ in worker.work(run, work):
        pass
    assert said(str(run.folder / "epoch-1")) and run.status().state == "finished"
    shelf = columns.Shelf(work)
    base, epoch = (one[1].text for one in columns.caption_picture(shelf, [(run, 0), (run, 1)], PICTURE, run.config.decoding))
    assert base == said("owner/begin")


def test_an_adapter_of_the_hub_that_names_a_folder_of_this_machine_is_not_followed(work, hub, bases):
    pushed(work, "adapter@2", "owner/hostile")
    for name in (bases["blip"], "/etc", "../up", "owner/hostile"):
        repo = hub.repo("owner/hostile")
        config = {**json.loads(repo.files["adapter_config.json"]), "base_model_name_or_path": name}
        repo.commit({**repo.files, "adapter_config.json": json.dumps(config).encode()})
        captioner.at_hand.cache_clear()
        captioner.origin._fetched.cache_clear()
        with pytest.raises(captioner.UserError, match="names no base that is on the Hub"):
            captioner.load("owner/hostile")


# --- the card ---------------------------------------------------------------------------------------------


def test_the_card_has_config_scores_with_references_and_intervals_six_images_and_credits(work, hub):
    pushed(work, "adapter@2", "owner/card")
    files = hub.repo("owner/card").files
    text = files["README.md"].decode()
    assert text.startswith("---\nlibrary_name: peft\n") and "base_model: owner/blip" in text
    assert "| learning rate | 0.005 |" in text and "| train images | 24 |" in text
    assert re.search(r"\| ROUGE-L \| \d\.\d+ \(\d\.\d+ to \d\.\d+\) \|", text)
    assert "Over 12 of 12 validation images with 1.00 references an image" in text
    assert [f"samples/{n}.webp" in files for n in range(1, 8)] == [True] * 6 + [False]
    rows = [line for line in text.splitlines() if line.startswith("| ![sample]")]
    assert len(rows) == 6 and all(row.count("|") == 6 for row in rows) and "| image | a reference | base | epoch 1 | epoch 2 |" in text
    assert "https://huggingface.co/owner/blip" in text and "shapes; the licence is that of its pictures" in text


def test_nothing_of_this_machine_is_in_what_is_pushed(work, hub, home, shapes):
    pushed(work, "whole@1", "owner/clean")
    for name, data in hub.repo("owner/clean").files.items():
        assert str(home).encode() not in data and str(shapes.parent).encode() not in data, name
    assert "checkpoint.json" not in hub.repo("owner/clean").files


@pytest.mark.parametrize("hostile", ["| a | b", "<script>x</script>", "![x](http://t/a.png)", "[a](javascript:b)", "`a`\n# b", "https://t.co www.t.co a@b.c"])
def test_a_hostile_caption_stays_text_in_the_card(hostile):
    shown = card.text(hostile)
    assert "\n" not in shown and not re.search(r"(?<!\\)[|<>`\[\]]|(?<!\\)!\[|(?<!\\)://|www\.|(?<!\\)@", shown.replace("&lt;", "").replace("&gt;", ""))


# --- refusals ---------------------------------------------------------------------------------------------


def refused(work: Workspace, repo: str = "owner/none", name: str = "adapter@1") -> str:
    with pytest.raises(HubError) as error:
        pushed(work, name, repo)
    assert TOKEN not in str(error.value) and READER not in str(error.value)
    return str(error.value)


def test_every_refusal_is_a_sentence_and_changes_nothing(work, hub, home, patch):
    before = set(hub.repos)
    assert refused(work, "not an id") == "'not an id' is not a Hub model id: it looks like owner/name."
    assert "this token has no right to write to other" in refused(work, "other/pets")
    hub.point(patch, home, READER)
    assert "no right to write to owner" in refused(work)
    hub.point(patch, home, "hf_unknown_token_of_nobody")
    assert "does not know this token" in refused(work)
    hub.point(patch, home, None)
    assert "There is no Hugging Face token here: log in with `hf auth login`" in refused(work)
    hub.point(patch, home)
    hub.fail("repos/create", 500)
    assert "the Hub does not answer (it says 500)" in refused(work)
    hub.die()
    try:
        assert "the Hub does not answer" in refused(work)
    finally:
        hub.start()
    assert set(hub.repos) == before


def test_a_repository_with_other_things_is_left_alone(work, hub, shapes):
    before = dict(hub.add("owner/taken", shapes / "train").files)
    assert re.match("owner/taken holds other things already, such as .*: nothing was pushed. Choose another name.", refused(work, "owner/taken"))
    assert hub.repo("owner/taken").files == before


def test_a_second_push_replaces_the_first_in_one_commit_and_leaves_nothing_over(work, hub):
    pushed(work, "whole", "owner/twice")
    commits = len(hub.repo("owner/twice").commits)
    pushed(work, "adapter@1", "owner/twice", private=False)
    assert len(hub.repo("owner/twice").commits) == commits + 1
    assert "model.safetensors" not in hub.repo("owner/twice").files and "adapter_model.safetensors" in hub.repo("owner/twice").files


def test_a_push_that_breaks_off_leaves_nothing_half_made(work, hub):
    hub.fail("/commit/", 500)
    assert "does not answer" in refused(work, "owner/broken")
    assert set(hub.repo("owner/broken").files) == {".gitattributes"}
    hub.rules.clear()
    assert pushed(work, "adapter@1", "owner/broken")


# --- datasets, and the command line -----------------------------------------------------------------------


def test_a_relabelled_version_opens_again_by_id_as_it_was(work, hub, tmp_path, home):
    root = folder_of(tmp_path / "pets", 4)
    store = FlagStore(work)
    store.flag("r", "base", dataset.read(root).examples[2].image_id, "x.png", ["a"], "a ball", "other", "a dog, its tongue out")
    version = relabel.write(relabel.plan(dataset.read(root), store.list()), work)
    assert [*push.dataset(version, "owner/pets-data")][-1].address.endswith("/datasets/owner/pets-data")
    files = hub.repo("owner/pets-data", "dataset").files
    assert "1 flagged captions gave 1 images other references" in files["README.md"].decode()
    assert json.loads(files[relabel.MANIFEST])["examples"] and str(tmp_path).encode() not in files[relabel.MANIFEST]
    again = sources.import_hub("owner/pets-data", work)
    assert {e.image_id: e.references for e in dataset.read(again).examples} == {e.image_id: e.references for e in dataset.read(version).examples}


def test_the_command_pushes_and_prints_no_token(work, hub, home, tmp_path):
    environment = {**os.environ, **hub.environment(home), "EXPLORER_HOME": str(work.root), "HF_DEBUG": "0"}

    def run(*words):
        command = [sys.executable, "-m", "explorer", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[2])

    done = run("push", "adapter", "--to", "owner/command")
    assert done.returncode == 0 and f"pushed adapter, epoch {push.chosen(work, 'adapter')[1].epoch} to {hub.url}/owner/command" in done.stdout
    failed = run("push", "adapter@9", "--to", "owner/command")
    assert failed.returncode == 1 and failed.stderr.startswith("error: The run 'adapter' has no checkpoint of epoch 9")
    left = "".join(path.read_text("utf-8", "replace") for path in work.root.rglob("*.json*"))
    for text in (done.stdout, done.stderr, failed.stderr, left, hub.said()):
        assert TOKEN not in text


def test_tokens_are_scrubbed_from_what_others_say(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret without a prefix")
    assert client.scrubbed("with hf_abcdefghijk and secret without a prefix.") == "with hf_*** and hf_***."
