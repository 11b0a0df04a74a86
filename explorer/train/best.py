"""Which epoch of a run is the best, by the score its config names, and when waiting for a better one has been long enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

from explorer.train.run import RunConfig, by_kind

NAMES = {"loss": "validation loss", "CIDEr": "CIDEr", "BLEU-4": "BLEU-4", "ROUGE-L": "ROUGE-L"}
"""The scores of `RunConfig.best_by`, as they are said."""


def value(row: dict, by: str) -> float | None:
    """The score ``by`` of an epoch's row of the log; None when it has none or it is no number."""
    found = row["validation_loss"] if by == "loss" else row["scores"].get(by)
    return found if found is not None and math.isfinite(found) else None


def epochs(log: Sequence[dict]) -> list[dict]:
    """The rows of trained epochs in order; of one that was done again after a crash, the later row."""
    return sorted({row["epoch"]: row for row in by_kind(log, "epoch") if row["epoch"]}.values(), key=lambda row: row["epoch"])


def best(log: Sequence[dict], by: str) -> dict | None:
    """The row of the best epoch, the earliest of equals; the base does not count. None before the first epoch."""
    rows = [row for row in epochs(log) if value(row, by) is not None]
    sign = 1 if by == "loss" else -1
    return min(rows, key=lambda row: sign * value(row, by), default=None)


def reason_to_end(log: Sequence[dict], config: RunConfig) -> str | None:
    """Why the run should end early: no better epoch for ``patience`` epochs. None while there is hope, or no patience is set."""
    top, rows = best(log, config.best_by), epochs(log)
    if not config.patience or top is None or rows[-1]["epoch"] - top["epoch"] < config.patience:
        return None
    count = rows[-1]["epoch"] - top["epoch"]
    text = (
        f"the {NAMES[config.best_by]} has not improved for {count} {'epoch' if count == 1 else 'epochs'}; epoch {top['epoch']} is the best"
    )
    return text + (", and the base was better still" if base_is_better(log, config.best_by) else "")


def base_is_better(log: Sequence[dict], by: str) -> bool:
    """Whether no trained epoch is as good as the base was."""
    before = next((value(row, by) for row in by_kind(log, "epoch") if not row["epoch"]), None)
    top = best(log, by)
    if before is None or top is None:
        return False
    return before < value(top, by) if by == "loss" else before > value(top, by)
