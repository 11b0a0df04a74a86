"""Shapes on a picture of 100 by 100 units: ovals, limbs, outlined silhouettes, and the box of each named thing.

Everything is drawn SUPER times larger and averaged down, which gives soft edges, and every corner is a
whole pixel of the large picture, so that the same calls give the same bytes wherever they run.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL import Image, ImageDraw

SUPER = 3

Colour = tuple[int, int, int]
Point = tuple[float, float]
Box = tuple[int, int, int, int]

WHITE: Colour = (255, 255, 255)
INK: Colour = (38, 34, 40)


def _circle(count: int) -> list[complex]:
    return [cmath.exp(2j * math.pi * step / count) for step in range(count)]


CIRCLES = {count: _circle(count) for count in (14, 24, 40)}


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``first`` with ``share`` (0 to 1) of ``second`` in it."""
    a, b, c = (round(x + (y - x) * share) for x, y in zip(first, second, strict=True))
    return a, b, c


def curve(start: Point, middle: Point, end: Point, steps: int = 8) -> list[Point]:
    """Points of the quadratic Bezier curve from ``start`` to ``end``, pulled towards ``middle``."""
    points = []
    for step in range(steps + 1):
        t = step / steps
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
        points.append((a * start[0] + b * middle[0] + c * end[0], a * start[1] + b * middle[1] + c * end[1]))
    return points


class Pen:
    """Draws in local units onto one square picture and remembers where named things lie.

    Local coordinates are moved, scaled and turned by the innermost ``at`` block; x grows rightwards and y
    downwards, and at the outermost level the picture spans 0 to 100 both ways.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.side = size * SUPER
        self.image = Image.new("RGB", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.image)
        self.turn: complex = complex(self.side / 100, 0)
        self.origin: complex = 0j
        self.names: list[str] = []
        self.extents: dict[str, list[float]] = {}

    @contextmanager
    def at(self, x: float, y: float, scale: float = 1.0, degrees: float = 0.0) -> Iterator[None]:
        """Draw relative to (x, y), ``scale`` times larger, turned clockwise by ``degrees``."""
        before = self.turn, self.origin
        self.origin += complex(x, y) * self.turn
        self.turn *= scale * (cmath.exp(1j * math.radians(degrees)) if degrees else 1)
        yield
        self.turn, self.origin = before

    @contextmanager
    def named(self, name: str) -> Iterator[None]:
        """What is drawn inside belongs to the thing called ``name``."""
        self.names.append(name)
        yield
        self.names.pop()

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, degrees: float = 0.0, grow: float = 0.0):
        """A filled ellipse with centre (x, y) and radii rx, ry, each ``grow`` units longer."""
        centre = self.origin + complex(x, y) * self.turn
        wide, high = rx + grow, ry + grow
        if not degrees and not self.turn.imag:
            scale = self.turn.real
            corners = (
                round(centre.real - wide * scale),
                round(centre.imag - high * scale),
                round(centre.real + wide * scale),
                round(centre.imag + high * scale),
            )
            self.draw.ellipse(corners, fill=colour)
            if self.names:
                self._remember(corners[0::2], corners[1::2])
            return
        axis = self.turn * cmath.exp(1j * math.radians(degrees)) if degrees else self.turn
        reach = max(wide, high) * abs(axis)
        circle = CIRCLES[14 if reach < 8 else 24 if reach < 60 else 40]
        self._fill([centre + complex(p.real * wide, p.imag * high) * axis for p in circle], colour)

    def shape(self, points: Sequence[Point], colour: Colour, grow: float = 0.0) -> None:
        """A filled polygon, its border moved outwards by ``grow`` units."""
        self._fill([self.origin + complex(x, y) * self.turn for x, y in points], colour)
        if grow:
            self.limb([*points, points[0]], 2 * grow, colour)

    def limb(self, points: Sequence[Point], width: float, colour: Colour, grow: float = 0.0) -> None:
        """A thick line of ``width`` units through ``points``, with round ends and joints."""
        spots = [self.origin + complex(x, y) * self.turn for x, y in points]
        thick = max(1, round((width + 2 * grow) * abs(self.turn)))
        corners = [(round(z.real), round(z.imag)) for z in spots]
        self.draw.line(corners, fill=colour, width=thick, joint="curve" if len(corners) > 2 and thick > 4 else None)
        half = thick / 2
        if thick > 4:
            for x, y in (corners[0], corners[-1]):
                self.draw.ellipse((round(x - half), round(y - half), round(x + half), round(y + half)), fill=colour)
        if self.names:
            xs, ys = [x for x, _ in corners], [y for _, y in corners]
            self._remember((min(xs) - half, max(xs) + half), (min(ys) - half, max(ys) + half))

    def silhouette(self, parts: Sequence[tuple], fill: Colour, edge: Colour, width: float = 0.9) -> None:
        """Several shapes as one: a common outline of ``width`` units in ``edge``, filled with ``fill``.

        A part is ("oval", x, y, rx, ry[, degrees]), ("limb", points, width) or ("shape", points).
        """
        for grow, colour in ((width, edge), (0.0, fill)):
            for kind, *rest in parts:
                if kind == "oval":
                    x, y, rx, ry, *degrees = rest
                    self.oval(x, y, rx, ry, colour, degrees[0] if degrees else 0.0, grow)
                elif kind == "limb":
                    self.limb(rest[0], rest[1], colour, grow)
                else:
                    self.shape(rest[0], colour, grow)

    def soft(self, x: float, y: float, rx: float, ry: float, outer: Colour, inner: Colour, degrees: float = 0.0):
        """Nested ovals from ``outer`` at the border to ``inner`` in the upper middle: rounded-looking shading."""
        for step, share in ((1.0, 0.0), (0.8, 0.4), (0.58, 0.75), (0.36, 1.0)):
            lift = (1 - step) * 0.35
            self.oval(x - rx * lift, y - ry * lift, rx * step, ry * step, mix(outer, inner, share), degrees)

    def bands(self, top: float, bottom: float, first: Colour, last: Colour, steps: int = 20) -> None:
        """A vertical gradient over the picture's whole width, from ``top`` to ``bottom`` in units."""
        unit = self.side / 100
        for step in range(steps):
            upper = round((top + (bottom - top) * step / steps) * unit)
            lower = round((top + (bottom - top) * (step + 1) / steps) * unit)
            colour = mix(first, last, step / (steps - 1))
            self.draw.rectangle((0, upper, self.side, lower), fill=colour)
        if self.names:
            self._remember((0, self.side), (top * unit, bottom * unit))

    def finish(self, flip: bool) -> tuple[Image.Image, dict[str, Box]]:
        """The picture at its final size and the box (left, top, right, bottom), in pixels, of each named thing."""
        image = self.image.reduce(SUPER)
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        boxes = {}
        for name, (left, top, right, bottom) in self.extents.items():
            if flip:
                left, right = self.side - right, self.side - left
            low = [max(0, math.floor(value / SUPER)) for value in (left, top)]
            high = [min(self.size, math.ceil(value / SUPER)) for value in (right, bottom)]
            if low[0] < high[0] and low[1] < high[1]:
                boxes[name] = (low[0], low[1], high[0], high[1])
        return image, boxes

    def _fill(self, spots: Sequence[complex], colour: Colour) -> None:
        corners = [(round(z.real), round(z.imag)) for z in spots]
        self.draw.polygon(corners, fill=colour)
        if self.names:
            xs, ys = zip(*corners, strict=True)
            self._remember((min(xs), max(xs)), (min(ys), max(ys)))

    def _remember(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        for name in self.names:
            extent = self.extents.get(name)
            if extent is None:
                self.extents[name] = [xs[0], ys[0], xs[1], ys[1]]
                continue
            extent[0] = min(extent[0], xs[0])
            extent[1] = min(extent[1], ys[0])
            extent[2] = max(extent[2], xs[1])
            extent[3] = max(extent[3], ys[1])
