"""The form of the Fine-tune tab as it stands when the page opens.

python -m pytest tests/ui/test_finetune_form.py
"""

from __future__ import annotations

from explorer import demo
from explorer.settings import Settings
from explorer.train import plan
from explorer.train.run import Run
from explorer.ui import build
from explorer.workspace import Workspace


def test_the_form_opens_with_what_is_advised_for_its_base_and_with_what_the_demo_was_made_with(tmp_path):
    page = build(Settings(home=tmp_path))
    values = {part["props"].get("label"): part["props"].get("value") for part in page.config["components"]}
    advice = plan.advise(Workspace(tmp_path), values["Base"])
    assert (values["What learns"], values["Batch size"], values["Learning rate"]) == (advice.method, advice.batch_size, advice.learning_rate)
    shown = Run(Workspace(tmp_path).run_folder(demo.NAME)).config
    assert (shown.base, shown.method, shown.epochs) == (values["Base"], values["What learns"], values["Epochs"])
    assert (shown.batch_size, shown.learning_rate) == (values["Batch size"], values["Learning rate"])
