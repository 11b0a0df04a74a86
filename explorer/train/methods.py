"""The ways to fine-tune: which weights learn, what an epoch's checkpoint holds, and which way suits a machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from explorer.model.captioner import Captioner
    from explorer.model.families import Family

SMALL = 60e6
"""Parameters below which training every layer is cheap on two cores."""

OUTPUTS = ("lm_head", "decoder", "output")
"""Names under which the models keep the layer that scores the vocabulary; some are whole modules, which do no harm."""

DECODER_TARGETS = {"query", "value", "q_proj", "v_proj", "c_attn", "q_attn"}


@dataclass(frozen=True)
class Advice:
    """Sensible values for a base on this machine, and why."""

    method: str
    reason: str
    batch_size: int
    learning_rate: float


RATES = {"full": 3e-5, "decoder": 5e-5, "lora": 5e-4, "lora-vision": 5e-4}
SMALL_RATES = {"full": 5e-4, "decoder": 5e-4, "lora": 3e-3, "lora-vision": 3e-3}


def rate_for(method: str, size: int) -> float:
    """A learning rate that works for ``method`` on a model of ``size`` parameters: small models take larger steps."""
    return (SMALL_RATES if size < SMALL else RATES)[method]


def advise(size: int, cuda: bool) -> Advice:
    """The default method for a model of ``size`` parameters, with the reason in one line."""
    millions = f"{size / 1e6:.0f} M weights"
    if size < SMALL:
        method, reason = "lora-vision", f"{millions} are few: every layer can learn, and LoRA keeps an epoch at a few MB"
    elif cuda:
        method, reason = "lora-vision", f"{millions} on a GPU: LoRA on every layer fits and keeps checkpoints small"
    else:
        method, reason = "lora", f"{millions} without a GPU: the vision tower runs once an image, LoRA learns over its kept features"
    return Advice(method, reason, 8, rate_for(method, size))


def freezes_vision(method: str) -> bool:
    return method in ("decoder", "lora")


def is_adapter(method: str) -> bool:
    return method in ("lora", "lora-vision")


def prepare(captioner: Captioner, method: str, rank: int, base_name: str) -> dict[str, nn.Parameter]:
    """Freeze and extend ``captioner.model`` for ``method``; the weights that will learn, by name."""
    if is_adapter(method):
        _inject(captioner, method, rank, base_name)
    elif freezes_vision(method):
        captioner.family.vision(captioner.model).requires_grad_(False)
    return {name: weight for name, weight in captioner.model.named_parameters() if weight.requires_grad}


def _inject(captioner: Captioner, method: str, rank: int, base_name: str) -> None:
    """Put LoRA matrices into the model in place (Hu et al., 2021); B starts at zero, so nothing changes yet."""
    from peft import LoraConfig, get_peft_model

    names = target_names(captioner.model, captioner.family, method)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, lora_dropout=0.0)
    captioner.peft = get_peft_model(captioner.model, config)
    # An adapter must name its base as a person would, not as a folder of this machine.
    captioner.peft.peft_config["default"].base_model_name_or_path = base_name


def target_names(model: nn.Module, family: Family, method: str) -> list[str]:
    """The layers that get LoRA matrices: query and value of the decoder, or every linear layer but the output."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    vision = {id(module) for module in family.vision(model).modules()}
    output = {id(getattr(part, name)) for part in model.modules() for name in OUTPUTS if hasattr(part, name)}
    names = []
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, Conv1D)) or id(module) in output:
            continue
        if method == "lora-vision" or (id(module) not in vision and name.rsplit(".", 1)[-1] in DECODER_TARGETS):
            names.append(name)
    return names


def lora_size(model: nn.Module, names: list[str], rank: int) -> int:
    """How many weights LoRA of ``rank`` adds to the named layers."""
    return sum(rank * sum(model.get_submodule(name).weight.shape) for name in names)


def save_weights(captioner: Captioner, method: str, folder: Path) -> None:
    """What an epoch leaves behind: an adapter that peft opens, or a whole model that transformers opens."""
    if is_adapter(method):
        # LoRA leaves embeddings alone; peft, left to find that out, would ask the Hub for the base at every save.
        captioner.peft.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # an empty model card, which says less than run.json
        _sort_targets(folder / "adapter_config.json")
    else:
        captioner.model.save_pretrained(folder)
        captioner.tokenizer.save_pretrained(folder)
        captioner.processor.save_pretrained(folder)


def _sort_targets(path: Path) -> None:
    """peft writes its set of layers in any order; the same run must leave the same bytes."""
    config = json.loads(path.read_text("utf-8"))
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")


def decay_groups(weights: dict[str, nn.Parameter], decay: float) -> list[dict]:
    """Optimizer groups: weight decay spares norms and biases, which have one dimension."""
    return [
        {"params": [w for w in weights.values() if w.ndim >= 2], "weight_decay": decay},
        {"params": [w for w in weights.values() if w.ndim < 2], "weight_decay": 0.0},
    ]


def optimizer_for(weights: dict[str, nn.Parameter], rate: float, decay: float) -> torch.optim.AdamW:
    import torch

    return torch.optim.AdamW(decay_groups(weights, decay), lr=rate, betas=(0.9, 0.98), fused=True)
