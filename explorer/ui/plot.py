"""The loss of a run as a small drawing: training dots, a smooth line, validation marks an epoch.

SVG rather than a charting component: it redraws every second without a flicker, follows the theme, and is
useful from the second step on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from explorer.ui.html import text


@dataclass(frozen=True)
class Frame:
    """Where the numbers fall on the drawing: x from 0 to ``steps``, y from ``low`` to ``high``."""

    steps: int
    low: float
    high: float
    width: int = 640
    height: int = 240
    left: int = 46
    right: int = 12
    top: int = 12
    bottom: int = 30

    def x(self, step: float) -> float:
        return self.left + (self.width - self.left - self.right) * step / max(1, self.steps)

    def y(self, loss: float) -> float:
        share = (loss - self.low) / ((self.high - self.low) or 1)
        return self.top + (self.height - self.top - self.bottom) * (1 - share)


def smooth(values: Sequence[float], weight: float = 0.9) -> list[float]:
    """Exponential moving average with the start corrected (Kingma & Ba, 2015)."""
    out, mean = [], 0.0
    for count, value in enumerate(values, 1):
        mean = weight * mean + (1 - weight) * value
        out.append(mean / (1 - weight**count))
    return out


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers between ``low`` and ``high``."""
    span = (high - low) or 1.0
    raw = span / most
    scale = 10 ** math.floor(math.log10(raw))
    step = next(scale * m for m in (1, 2, 5, 10) if scale * m >= raw)
    first = math.ceil(low / step) * step
    return [round(first + i * step, 10) for i in range(int((high - first) / step + 1e-9) + 1)]


def loss_plot(steps: Sequence[dict], epochs: Sequence[dict], total: int, best: int | None = None) -> str:
    """``steps``: rows of a log with step and loss; ``epochs``: rows with step and validation_loss; all finite or left out.
    ``best``: the step of the epoch to ring."""
    dots = [(row["step"], row["loss"]) for row in steps if math.isfinite(row["loss"])]
    marks = [(row["step"], row["validation_loss"]) for row in epochs if math.isfinite(row["validation_loss"])]
    if not dots and not marks:
        return ""
    values = [loss for _, loss in dots + marks]
    pad = 0.08 * ((max(values) - min(values)) or 1.0)
    frame = Frame(max(total, 1), max(0.0, min(values) - pad), max(values) + pad)
    parts = [_grid(frame), _dots(frame, _thin(dots)), _line(frame, dots), _marks(frame, marks, best)]
    return (
        f'<figure class="x-plot"><svg viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{text(_spoken(dots, marks))}">{"".join(parts)}</svg>'
        '<figcaption><span class="key-train">training loss a step</span>'
        '<span class="key-validation">validation loss an epoch</span>'
        f"{'<span>ringed: the best epoch</span>' if best in dict(marks) else ''}</figcaption></figure>"
    )


def _thin(dots: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    stride = max(1, len(dots) // most)
    return dots[::stride]


def _spoken(dots, marks) -> str:
    said = [f"training loss {dots[-1][1]:.2f} at step {dots[-1][0]}"] if dots else []
    said += [f"validation loss {loss:.2f} at step {step}" for step, loss in marks]
    return "Loss: " + ", ".join(said)


def _grid(frame: Frame) -> str:
    parts = []
    for value in ticks(frame.low, frame.high):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{frame.left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(0, frame.steps, 5):
        if value == int(value):
            parts.append(f'<text class="tick" x="{frame.x(value):.1f}" y="{frame.height - 10}" text-anchor="middle">{int(value)}</text>')
    parts.append(f'<text class="tick" x="{frame.width - frame.right}" y="{frame.height - 24}" text-anchor="end">step</text>')
    return "".join(parts)


def _dots(frame: Frame, dots) -> str:
    return "".join(f'<circle class="dot" cx="{frame.x(s):.1f}" cy="{frame.y(v):.1f}" r="2.2"/>' for s, v in dots)


def _line(frame: Frame, dots) -> str:
    if len(dots) < 2:
        return ""
    values = smooth([loss for _, loss in dots], weight=min(0.9, 1 - 2 / (len(dots) + 1)))
    points = " ".join(f"{frame.x(s):.1f},{frame.y(v):.1f}" for (s, _), v in zip(dots, values, strict=True))
    return f'<polyline class="line" points="{points}"/>'


def _marks(frame: Frame, marks, best: int | None) -> str:
    parts = []
    if len(marks) > 1:
        points = " ".join(f"{frame.x(s):.1f},{frame.y(v):.1f}" for s, v in marks)
        parts.append(f'<polyline class="marks" points="{points}"/>')
    for step, loss in marks:
        x, y = frame.x(step), frame.y(loss)
        parts.append(f'<path class="mark" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"><title>validation {loss:.3f}</title></path>')
        if step == best:
            parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="11"><title>the best epoch</title></circle>')
    return "".join(parts)


def thumbnail_curve(losses: Sequence[float]) -> str:
    """A run's training loss as a line the size of a word."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < 2:
        return ""
    frame = Frame(len(finite) - 1, min(finite), max(finite), 120, 32, 2, 2, 3, 3)
    values = smooth(finite, 0.7)
    points = " ".join(f"{frame.x(i):.1f},{min(30, max(2, frame.y(v))):.1f}" for i, v in enumerate(values))
    return f'<svg class="x-spark" viewBox="0 0 120 32" aria-hidden="true"><polyline class="line" points="{points}"/></svg>'
