"""A BLIP of full size, with random weights, goes through the command line and is opened outside the explorer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = Path(__file__).resolve().parents[3] / "shared" / "data" / "blip-base-without-weights"


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """The real config, tokenizer and image processor of BLIP base, with weights drawn at random."""
    if not CONFIG.is_dir():
        pytest.skip("no shared blip-base-without-weights on this machine: the full-size run is skipped")
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration

    folder = tmp_path_factory.mktemp("base") / "blip-base"
    shutil.copytree(CONFIG, folder)
    torch.manual_seed(0)
    BlipForConditionalGeneration(BlipConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder


def test_one_epoch_over_eight_images_leaves_a_checkpoint_that_opens_outside(full_size, shapes, tmp_path):
    environment = {**os.environ, "EXPLORER_HOME": str(tmp_path), "OMP_NUM_THREADS": "2"}
    command = ["finetune", "--base", str(full_size), "--data", str(shapes), "--images", "8", "--epochs", "1", "--name", "big"]
    done = subprocess.run(
        [sys.executable, "-m", "explorer", *command], capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr[-2000:]
    from peft import PeftModel
    from transformers import BlipForConditionalGeneration

    model = PeftModel.from_pretrained(BlipForConditionalGeneration.from_pretrained(full_size), tmp_path / "big" / "epoch-1")
    changed = [w.abs().max() for name, w in model.named_parameters() if "lora_B" in name]
    assert changed and all(float(w) > 0 for w in changed)
