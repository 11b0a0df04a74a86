"""What looks wrong with a run, in plain words, read from its log alone. Each is said once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean

from explorer.run import by_kind
from explorer.wording import plain


@dataclass(frozen=True)
class Warning:
    """``code`` names the kind, so that it is said once; ``text`` is for the person."""

    code: str
    text: str


def check(rows: list[dict], vocabulary: int) -> list[Warning]:
    """Every warning that the log ``rows`` (see `run.Progress`) justify now. ``vocabulary``: tokens the model knows."""
    steps = list(by_kind(rows, "step"))
    epochs = list(by_kind(rows, "epoch"))
    probes = list(by_kind(rows, "probe"))
    found = [
        not_a_number(steps, epochs),
        predicts_nothing(steps, vocabulary),
        not_falling(steps),
        same_captions(probes, epochs),
        overfitting(epochs),
    ]
    return [warning for warning in found if warning]


def not_a_number(steps: list[dict], epochs: list[dict]) -> Warning | None:
    bad = next((row for row in steps if not math.isfinite(row["loss"])), None)
    bad = bad or next((row for row in epochs if not math.isfinite(row["validation_loss"])), None)
    if bad:
        return Warning("nan", f"The loss is no number since step {bad['step']}: the weights are lost. Stop, and start again with a learning rate ten times smaller.")
    return None


def predicts_nothing(steps: list[dict], vocabulary: int) -> Warning | None:
    """A loss of ln(vocabulary) is that of a model which gives every token the same chance."""
    level = math.log(vocabulary)
    last = [row["loss"] for row in steps[-10:]]
    if len(steps) < 10 or not all(math.isfinite(loss) for loss in last):
        return None
    if abs(mean(last) - level) < 0.15 or mean(last) > level:
        return Warning(
            "predicts-nothing",
            f"The loss is {mean(last):.2f}, as high as ln({vocabulary:,}) = {level:.2f}: the model predicts nothing, every word is as "
            "likely as any other. Stop, and start again with a learning rate ten times smaller.",
        )
    return None


def not_falling(steps: list[dict]) -> Warning | None:
    """Compares the last quarter of the steps with the first, once there are enough to tell."""
    losses = [row["loss"] for row in steps]
    if len(losses) < 24 or not all(math.isfinite(loss) for loss in losses):
        return None
    quarter = len(losses) // 4
    first, last = losses[:quarter], losses[-quarter:]
    noise = (max(first) - min(first)) / 4
    if mean(last) > mean(first) + noise:
        return Warning("rising", f"The training loss rises, from {mean(first):.2f} to {mean(last):.2f}: the learning rate is too high. Take a third of it.")
    if mean(last) > 0.98 * mean(first) and len(losses) >= 40:
        return Warning("not-falling", f"The training loss stays near {mean(last):.2f}: nothing is learned. Try a learning rate three times higher, or a method that trains more.")
    return None


def same_captions(probes: list[dict], epochs: list[dict]) -> Warning | None:
    said = [plain(caption) for caption in probes[-1]["captions"]] if probes else []
    if len(said) >= 3 and len(set(said)) == 1:
        return Warning("same-captions", f"Every watched image gets the same caption ({said[0][:80]!r}): the model no longer looks at the image. A smaller learning rate or more varied captions help.")
    scores = epochs[-1]["scores"] if epochs and epochs[-1]["epoch"] else {}
    if scores.get("images", 0) >= 5 and scores.get("distinct") == 1:
        return Warning("same-captions", f"All {scores['images']} validation images get the same caption: the model no longer looks at the image. A smaller learning rate or more varied captions help.")
    return None


def overfitting(epochs: list[dict]) -> Warning | None:
    """Validation loss up for two epochs while training loss goes down."""
    trained = [row for row in epochs if row["epoch"] and "loss" in row]
    if len(trained) < 3:
        return None
    a, b, c = trained[-3:]
    rising = a["validation_loss"] < b["validation_loss"] < c["validation_loss"]
    if rising and a["loss"] > b["loss"] > c["loss"]:
        best = min(trained, key=lambda row: row["validation_loss"])
        return Warning(
            "overfitting",
            f"The validation loss rises ({a['validation_loss']:.2f}, {b['validation_loss']:.2f}, {c['validation_loss']:.2f}) while the training "
            f"loss falls: the model learns the training images by heart. Epoch {best['epoch']} was best; use that one, or more images.",
        )
    return None
