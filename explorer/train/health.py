"""What looks wrong with a run, in plain words, read from its log alone. Each is said once.

Losses are means of noisy batches, so a difference counts only when it is larger than chance: see `_fall`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean, variance

from explorer.scoring.wording import plain
from explorer.train.run import by_kind

NEAR = 0.15
"""Nats a token from ln(vocabulary) within which a loss is that of a model that predicts nothing."""
WINDOW = 10
"""Steps to wait for, and to look back over, before a loss near ln(vocabulary) means something."""
PROBES = 3
"""Probes in a row that must show one caption for all images: models pass through such a moment while they learn."""

SMALLER = "Stop, and start again with a learning rate ten times smaller."
NOT_LOOKING = "the model does not look at the image. A smaller learning rate or more varied captions help."


@dataclass(frozen=True)
class Warning:
    """``code`` names the kind, so that it is said once; ``text`` is for the person."""

    code: str
    text: str


def check(rows: list[dict], vocabulary: int) -> list[Warning]:
    """Every warning that the log ``rows`` (see `run.Progress`) justify now. ``vocabulary``: tokens the model knows."""
    steps = list(by_kind(rows, "step"))
    # An epoch that was begun again after a crash is logged twice: the later row counts.
    epochs = sorted({row["epoch"]: row for row in by_kind(rows, "epoch")}.values(), key=lambda row: row["epoch"])
    lost = not_a_number(steps, epochs)
    if lost:
        return [lost]  # what follows from lost weights needs no words of its own
    planned = max((row["steps"] for row in by_kind(rows, "start")), default=0)
    nothing = predicts_nothing(steps, epochs, vocabulary)
    found = [
        nothing,
        nothing or rising(steps) or not_falling(steps, planned, math.log(vocabulary)),
        same_captions(list(by_kind(rows, "probe")), epochs),
        overfitting(epochs),
    ]
    return list(dict.fromkeys(warning for warning in found if warning))


def not_a_number(steps: list[dict], epochs: list[dict]) -> Warning | None:
    losses = [(row["step"], row["loss"]) for row in steps] + [(row["step"], row["validation_loss"]) for row in epochs]
    bad = min((step for step, loss in losses if not math.isfinite(loss)), default=None)
    if bad is None:
        return None
    return Warning("nan", f"The loss is no number since step {bad}: the weights are lost. {SMALLER}")


def predicts_nothing(steps: list[dict], epochs: list[dict], vocabulary: int) -> Warning | None:
    """A loss of ln(vocabulary) nats is that of a model which gives every token the same chance.

    Looked for in the last steps, unless they still fall, and in the validation loss of an epoch, which serves runs
    of a few steps. An untrained base starts there, so that its first epochs say nothing.
    """
    level = math.log(vocabulary)
    untrained = bool(epochs) and epochs[0]["epoch"] == 0 and epochs[0]["validation_loss"] > level - NEAR
    recent = [row["loss"] for row in steps[-WINDOW:]]
    loss = None
    if len(recent) == WINDOW and mean(recent) > level - NEAR and mean(recent[: WINDOW // 2]) - mean(recent[WINDOW // 2 :]) < 0.05:
        loss = mean(recent)
    elif epochs and epochs[-1]["epoch"] and not untrained and epochs[-1]["validation_loss"] > level - NEAR:
        loss = epochs[-1]["validation_loss"]
    if loss is None:
        return None
    remedy = "The base was like that from the start: take a trained base, or many more epochs." if untrained else SMALLER
    return Warning(
        "predicts-nothing",
        f"The loss is {loss:.2f}; ln({vocabulary:,}) = {level:.2f} is the loss of a model that predicts nothing, every word as likely "
        f"as any other. {remedy}",
    )


def rising(steps: list[dict]) -> Warning | None:
    found = _fall(steps)
    if found is None or found.by + 3 * found.error > -0.05 * found.first:
        return None
    return Warning(
        "rising", f"The training loss rises, from {found.first:.2f} to {found.last:.2f}: the learning rate is too high. Take a third of it."
    )


def not_falling(steps: list[dict], planned: int, nothing: float) -> Warning | None:
    """Said after half of the ``planned`` steps, when no change is seen and a fall by a twentieth would have been seen.

    Near ``nothing``, the loss of a model that predicts nothing, `predicts_nothing` has the better advice.
    """
    found = _fall(steps)
    if found is None or 2 * len(steps) < planned or found.last > nothing - 2 * NEAR:
        return None
    if not -found.error < found.by < 2 * found.error or found.by + 2 * found.error > 0.05 * found.first:
        return None
    return Warning(
        "not-falling",
        f"The training loss stays near {found.last:.2f}: nothing is learned. Try a learning rate three times higher, "
        "or a method that trains more weights.",
    )


@dataclass(frozen=True)
class Fall:
    """Mean loss of the first and of the last quarter of the steps; by how much it fell, and that fall's standard error."""

    first: float
    last: float
    by: float
    error: float


def _fall(steps: list[dict]) -> Fall | None:
    """None under 24 steps. The error is Welch's: sqrt(s1²/n + s2²/n)."""
    if len(steps) < 24:
        return None
    quarter = len(steps) // 4
    first, last = ([row["loss"] for row in part] for part in (steps[:quarter], steps[-quarter:]))
    error = math.sqrt((variance(first) + variance(last)) / quarter)
    return Fall(mean(first), mean(last), mean(first) - mean(last), error)


def same_captions(probes: list[dict], epochs: list[dict]) -> Warning | None:
    """One caption for all watched images, probe after probe, or for all validation images after an epoch."""
    last = [[plain(caption) for caption in row["captions"]] for row in probes[-PROBES:] if row["step"]]
    if len(last) == PROBES and all(len(said) >= 3 and len(set(said)) == 1 for said in last):
        shown = probes[-1]["captions"][0][:80]
        return Warning("same-captions", f"All {len(last[-1])} watched images get the same caption (“{shown}”): {NOT_LOOKING}")
    scores = epochs[-1]["scores"] if epochs and epochs[-1]["epoch"] else {}
    if scores.get("images", 0) >= 5 and scores.get("distinct") == 1:
        return Warning("same-captions", f"All {scores['images']} validation images get the same caption: {NOT_LOOKING}")
    return None


def overfitting(epochs: list[dict]) -> Warning | None:
    """Validation loss up for two epochs, by a hundredth in all, while the training loss falls. The base counts as an epoch."""
    if len(epochs) < 3:
        return None
    a, b, c = epochs[-3:]
    validation = [row["validation_loss"] for row in (a, b, c)]
    training = [row["loss"] for row in (a, b, c) if row.get("loss") is not None]
    rises = validation[0] < validation[1] < validation[2] and validation[2] > 1.01 * validation[0]
    if not rises or len(training) < 2 or training != sorted(training, reverse=True):
        return None
    best = min(epochs, key=lambda row: row["validation_loss"])["epoch"]
    advice = "The base was best: take a smaller learning rate, or more images."
    if best:
        advice = f"Epoch {best} was best: use that one, or train on more images."
    return Warning(
        "overfitting",
        f"The validation loss rises ({', '.join(f'{loss:.2f}' for loss in validation)}) while the training loss falls: "
        f"the model learns the training images by heart. {advice}",
    )
