"""Heads: one face for each species, seen from the front in every pose, and what the mouth holds.

A head is drawn around (0, 0) and is about 40 units wide: a small model that sees the picture at 128 pixels
has to tell a dog's hanging ears from a cat's pointed ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from explorer.scenes.pen import INK, WHITE, Colour, Pen, curve, mix
from explorer.scenes.places import ball

TONGUE: Colour = (255, 92, 150)
PINK: Colour = (226, 170, 164)


@dataclass(frozen=True)
class Look:
    """How one animal is coloured and built."""

    species: str
    base: Colour
    light: Colour
    edge: Colour
    patch: Colour | None  # colour of the patches of a spotted coat
    eye: Colour
    build: float  # 0.9 slim to 1.12 stout
    ears: float  # 0.88 short to 1.12 long
    striped: bool = False  # a tabby's stripes; only decoration
    skin: Colour = (236, 188, 150)
    hair: Colour = (70, 46, 32)

    @property
    def shade(self) -> Colour:
        return mix(self.base, self.edge, 0.4)

    @property
    def muzzle(self) -> Colour:
        return mix(self.light, WHITE, 0.35)


def _eyes(pen: Pen, look: Look, x: float, y: float, radius: float, closed: bool, slit: bool = False) -> None:
    for side in (-x, x):
        if closed:
            dark = INK if sum(look.base) > 260 else (214, 206, 196)
            pen.limb(curve((side - radius, y), (side, y + radius * 1.5), (side + radius, y), 6), 1.5, dark)
            continue
        if slit:
            pen.oval(side, y, radius + 0.8, radius + 0.6, INK)
            pen.oval(side, y, radius, radius, look.eye)
            pen.oval(side, y, radius * 0.34, radius * 0.9, INK)
        else:
            pen.oval(side, y, radius + 0.9, radius + 0.9, mix(look.base, WHITE, 0.75))
            pen.oval(side, y, radius, radius * 1.05, (52, 32, 22))
        pen.oval(side - radius * 0.3, y - radius * 0.4, radius * 0.32, radius * 0.32, WHITE)


def _patch(pen: Pen, look: Look, x: float, y: float, rx: float, ry: float, degrees: float = 0) -> None:
    if look.patch:
        pen.oval(x, y, rx, ry, look.patch, degrees)


def _smile(pen: Pen, y: float, wide: float, colour: Colour) -> None:
    pen.limb([(0, y - 2.5), (0, y)], 1, colour)
    for side in (-wide, wide):
        pen.limb(curve((0, y), (side * 0.6, y + 2.6), (side, y - 0.4), 4), 1, colour)


def dog(pen: Pen, look: Look, closed: bool) -> None:
    ear = look.patch or mix(look.base, look.edge, 0.45)
    pen.silhouette([("oval", 0, -2, 17.5, 16.5), ("oval", 0, 8, 12.5, 10)], look.base, look.edge)
    pen.soft(0, -7, 14, 10, look.base, mix(look.base, look.light, 0.3))
    _patch(pen, look, 7.5, -6, 7, 8, 20)
    pen.oval(0, -4, 3.4, 13, look.muzzle)
    pen.oval(0, 8.5, 11.5, 9, look.muzzle)
    long = 16.5 * look.ears
    for side in (-1, 1):
        pen.silhouette([("oval", side * 18.5, long - 14, 6.8, long, -side * 9)], ear, look.edge)
        pen.oval(side * 18, long - 11, 4, long * 0.62, mix(ear, look.light, 0.14), -side * 9)
    _eyes(pen, look, 8, -5, 3.2, closed)
    pen.oval(0, 3.6, 5.8, 4.2, INK)
    pen.oval(-1.6, 2.2, 1.7, 1, (150, 144, 150))
    _smile(pen, 11.5, 6.5, (84, 60, 54))


def cat(pen: Pen, look: Look, closed: bool) -> None:
    tall = 24 * look.ears
    for side in (-1, 1):
        points = [(side * 18.5, -4), (side * 17, -tall - 3), (side * 3.5, -13)]
        pen.silhouette([("shape", points)], look.patch if look.patch and side > 0 else look.base, look.edge)
        pen.shape([(side * 15.8, -8), (side * 15.2, -tall + 3), (side * 7.5, -12.5)], PINK)
    pen.silhouette([("oval", 0, 0, 19, 16)], look.base, look.edge)
    pen.soft(0, -5, 15, 10, look.base, mix(look.base, look.light, 0.3))
    _patch(pen, look, 9, -7, 8, 7, -20)
    if look.striped:
        for x in (-5, 0, 5):
            pen.limb([(x, -15), (x * 0.8, -9)], 1.9, look.shade)
        for side in (-1, 1):
            pen.limb([(side * 18, 1), (side * 13, 2)], 1.6, look.shade)
            pen.limb([(side * 17, 6), (side * 12.5, 5.5)], 1.6, look.shade)
    _eyes(pen, look, 8.2, -2, 4.8, closed, slit=True)
    for side in (-1, 1):
        pen.oval(side * 4, 8, 5, 4.2, look.muzzle)
    pen.shape([(-2.6, 3.4), (2.6, 3.4), (0, 6.4)], (176, 98, 92))
    _smile(pen, 9, 4, (96, 70, 70))
    whisker = (250, 250, 250) if sum(look.base) < 330 else (90, 84, 90)
    for side in (-1, 1):
        for y, lean in ((5, 2.5), (7.5, 7.5), (10, 12)):
            pen.limb([(side * 8, y + 1), (side * 24, lean)], 0.6, whisker)


def fox(pen: Pen, look: Look, closed: bool) -> None:
    tall = 25 * look.ears
    dark = mix(look.edge, INK, 0.7)
    for side in (-1, 1):
        outer, tip, inner = (side * 18, -5), (side * 16.5, -tall - 3), (side * 3, -12)
        pen.silhouette([("shape", [outer, tip, inner])], look.base, look.edge)
        pen.shape([(side * 17, -tall * 0.62 - 2), tip, (side * 10.8, -tall * 0.66)], dark)
        pen.shape([(side * 14.5, -8), (side * 14, -tall * 0.55), (side * 7.5, -11)], look.muzzle)
    cheeks = [*curve((0, -16), (18, -16), (21, 4), 5), *curve((21, 4), (12, 11), (3, 19), 4)]
    face = cheeks + [(-x, y) for x, y in reversed(cheeks)]
    pen.silhouette([("shape", face)], look.base, look.edge)
    pen.soft(0, -6, 12, 8, look.base, mix(look.base, look.light, 0.3))
    for side in (-1, 1):
        lobe = [(side * 20, 4.2), *curve((side * 20, 4.2), (side * 7, -1), (side * 2, 9), 5), (0, 18), (side * 3, 18.4)]
        pen.shape(lobe, mix(WHITE, look.edge, 0.06 if look.base[2] < 200 else 0.2))
    _eyes(pen, look, 8, -3, 3, closed)
    pen.oval(0, 16, 4, 3.2, INK)
    pen.oval(-1.2, 15, 1.1, 0.7, (150, 144, 150))


def bear(pen: Pen, look: Look, closed: bool) -> None:
    for side in (-1, 1):
        pen.silhouette([("oval", side * 14.5, -14, 7 * look.ears, 7 * look.ears)], look.base, look.edge)
        pen.oval(side * 14.5, -13.5, 4, 4, mix(look.base, look.light, 0.6))
    pen.silhouette([("oval", 0, 0, 19.5, 18)], look.base, look.edge)
    pen.soft(0, -4, 15, 12, look.base, mix(look.base, look.light, 0.3))
    pen.oval(0, 8, 9.5, 7.6, look.muzzle)
    _eyes(pen, look, 7.2, -3.5, 2.5, closed)
    pen.oval(0, 4.6, 4.4, 3, INK)
    pen.oval(-1.2, 3.8, 1.2, 0.7, (150, 144, 150))
    _smile(pen, 10.5, 4, (84, 60, 54))


def rabbit(pen: Pen, look: Look, closed: bool) -> None:
    tall = 13.5 * look.ears
    for side in (-1, 1):
        colour = look.patch if look.patch and side > 0 else look.base
        pen.silhouette([("oval", side * 7.5, -13 - tall, 5.4, tall + 2, side * 9)], colour, look.edge)
        pen.oval(side * 7.5, -13 - tall, 2.8, tall - 1.5, PINK, side * 9)
    pen.silhouette([("oval", 0, 2, 17, 15.5)], look.base, look.edge)
    pen.soft(0, -2, 13, 10, look.base, mix(look.base, look.light, 0.3))
    _patch(pen, look, 8, -2, 6.5, 7.5)
    _eyes(pen, look, 9.5, -0.5, 3.3, closed)
    for side in (-1, 1):
        pen.oval(side * 4.4, 9.5, 5.4, 4.8, look.muzzle)
    pen.oval(0, 6, 2.5, 1.8, (176, 108, 104))
    pen.shape([(-2.2, 12), (2.2, 12), (2.2, 16.5), (-2.2, 16.5)], mix(look.edge, WHITE, 0.4))
    pen.shape([(-1.8, 11), (1.8, 11), (1.8, 16), (-1.8, 16)], WHITE)
    pen.limb([(0, 11.5), (0, 15.5)], 0.5, (150, 140, 140))


def bare(look: Look) -> Colour:
    """A sheep's face and legs: dark below light wool, light below dark wool."""
    return (66, 58, 62) if sum(look.base) > 420 else (206, 176, 146)


def sheep(pen: Pen, look: Look, closed: bool) -> None:
    face = bare(look)
    edge = mix(face, INK, 0.5)
    puffs = [(0, -14), (-10, -12), (10, -12), (-16, -4), (16, -4), (-16, 5), (16, 5)]
    pen.silhouette([("oval", x, y, 7, 6.6) for x, y in puffs] + [("oval", 0, -2, 15, 14)], look.base, look.edge)
    for x, y in puffs:
        pen.oval(x - 0.8, y - 1, 4.4, 4, mix(look.base, look.light, 0.5))
    for side in (-1, 1):
        pen.silhouette([("oval", side * 18, 2.5, 7.5 * look.ears, 3.4, side * 22)], face, edge)
    pen.silhouette([("oval", 0, 5, 11, 14)], face, edge)
    pen.soft(0, 4, 9, 11, face, mix(face, WHITE, 0.16))
    for x, y, r in ((-6, -9, 5), (0, -10.5, 5.6), (6, -9, 5)):
        pen.oval(x, y, r, r * 0.8, mix(look.base, look.light, 0.3))
    _eyes(pen, Look("sheep", face, face, edge, None, look.eye, 1, 1), 5, 1.5, 2.7, closed)
    pen.oval(0, 11, 3.4, 1.9, mix(face, INK, 0.65))
    _smile(pen, 15, 3, mix(face, INK, 0.65))


def player(pen: Pen, look: Look, closed: bool) -> None:
    edge = mix(look.skin, (70, 30, 20), 0.55)
    for side in (-1, 1):
        pen.silhouette([("oval", side * 14.5, 2, 3, 4)], look.skin, edge)
    pen.silhouette([("oval", 0, 0, 14.5, 16)], look.skin, edge)
    hair = [*curve((-15, -1), (-16, -19), (0, -18.5), 6), *curve((0, -18.5), (16, -19), (15, -1), 6)]
    pen.shape([*hair, (10.5, -7), (4, -9), (-5, -7.5), (-11, -5)], look.hair)
    for side in (-1, 1):
        pen.limb([(side * 7.5, -4.2), (side * 3.2, -4.4)], 1.1, look.hair)
        pen.oval(side * 5.4, 0, 2.2, 2.4, WHITE)
        pen.oval(side * 5.4, 0.2, 1.5, 1.8, (50, 34, 26))
    pen.limb([(0, 1), (1.2, 4.4), (-0.6, 4.8)], 0.8, edge)
    pen.limb(curve((-4.6, 8.2), (0, 12), (4.6, 8.2), 6), 1.2, mix(edge, INK, 0.35))


FACES = {"dog": dog, "cat": cat, "fox": fox, "bear": bear, "rabbit": rabbit, "sheep": sheep, "football player": player}
MOUTHS = {"dog": 13.0, "cat": 10.5, "fox": 18.0, "bear": 11.5, "rabbit": 12.0, "sheep": 16.0}
"""How far below the head's centre the mouth is."""
SIZES = {"rabbit": 0.98, "football player": 1.0}
LARGE = 1.09


def tongue(pen: Pen, y: float) -> None:
    """A long pink tongue hanging from a mouth at (0, y)."""
    edge = mix(TONGUE, (120, 0, 50), 0.55)
    pen.oval(0, y, 6.4, 2.8, (96, 30, 40))
    parts = [("limb", [(0, y + 2), (0, y + 12)], 10.4)]
    with pen.named("tongue"):
        pen.silhouette(parts, TONGUE, edge, 0.7)
        pen.limb([(-2.6, y + 4), (-2.6, y + 12)], 2, mix(TONGUE, WHITE, 0.3))
        pen.limb([(0, y + 2), (0, y + 11)], 1, mix(TONGUE, edge, 0.5))


def head(pen: Pen, look: Look, closed: bool, mouth: str, colour: Colour) -> None:
    """The face of ``look``, eyes ``closed`` or open, with a tongue, a ball of ``colour`` or nothing."""
    with pen.at(0, 0, SIZES.get(look.species, LARGE)):
        with pen.named("head"):
            FACES[look.species](pen, look, closed)
            if mouth == "tongue":
                tongue(pen, MOUTHS[look.species])
        if mouth == "ball":
            y = MOUTHS[look.species]
            with pen.named("ball"):
                ball(pen, colour, 8.2, y + 4)
            pen.limb(curve((-6, y - 2.6), (0, y - 5), (6, y - 2.6), 6), 2.2, look.muzzle)
