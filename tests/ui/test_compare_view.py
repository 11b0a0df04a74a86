"""What Compare shows of a run that goes on learning.

python -m pytest tests/ui/test_compare_view.py
"""

from __future__ import annotations

import shutil

import pytest
from helpers_runs import example, make_images, make_run

from explorer.model.captions import Decoding
from explorer.settings import Settings
from explorer.ui.compare_view import START, Chosen, Comparisons, Shown, has_choice
from explorer.ui.context import Context
from explorer.workspace import Workspace


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def learned(home, epochs: int) -> None:
    shutil.rmtree(home / "pets", ignore_errors=True)
    shown = [example(path, ["a dog"]) for path in make_images(home.parent / "photos", 2)]
    make_run(home, shown, [[f"epoch {epoch}", "b"] for epoch in range(epochs + 1)])


def test_a_caption_that_is_chosen_stays_in_its_column_whatever_epochs_come(home):
    learned(home, 3)
    context = Context(Settings(home=home), Workspace(home, shipped=home / "none"))
    known = Comparisons(context)
    image = Shown(context, known, chosen("pets")).table.images[0]["image_id"]
    state = chosen("pets").but(image=image, column="pets@3")
    for epochs in (7, 13, 40):
        learned(home, epochs)
        table = Shown(context, known, state).table
        assert has_choice(table, state.state) and table.keys == sorted(table.keys, key=lambda key: int(key.rpartition("@")[2]))
        assert "pets@3" not in Shown(context, known, chosen("pets")).table.keys  # nor would it be there if it were not chosen


def chosen(run: str) -> Chosen:
    how = Decoding()
    return Chosen(START, [run], [], "", "as in the dataset", "left", how.beams, how.max_tokens, how.prompt)
