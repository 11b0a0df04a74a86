"""Bodies: the five poses of an animal and the four of a football player, around (0, 0), the ground below them."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

from explorer.scenes.heads import Look, bare, head
from explorer.scenes.pen import INK, WHITE, Colour, Pen, curve, mix

Held = tuple[str, Colour]
"""What the mouth shows ("tongue", "ball", "neither") and the colour of the ball."""


def _tail(pen: Pen, look: Look, x: float, y: float, degrees: float) -> None:
    """The tail of ``look`` from (x, y), turned clockwise from pointing backwards (rightwards)."""
    with pen.at(x, y, 1, degrees):
        if look.species == "dog":
            pen.silhouette([("limb", curve((-3, 0), (10, 1), (17, -8), 6), 5.2)], look.patch or look.base, look.edge)
        elif look.species == "cat":
            path = [*curve((-3, 0), (13, 4), (17, -7), 6), *curve((17, -7), (20, -16), (28, -12), 5)]
            pen.silhouette([("limb", path, 4.4)], look.base, look.edge)
            if look.striped or look.patch:
                pen.limb(path[-3:], 4.4, look.patch or look.shade)
        elif look.species == "fox":
            pen.silhouette([("oval", 13, -3, 16, 7.5, -14), ("limb", [(-3, 0), (6, -1)], 5)], look.base, look.edge)
            pen.oval(22, -5.4, 7, 5.4, mix(WHITE, look.edge, 0.06), -14)
        elif look.species in ("rabbit", "sheep"):
            pen.silhouette([("oval", 3, -1, 5.6, 5.2)], look.light, look.edge)
        else:
            pen.silhouette([("oval", 2, 0, 4, 3.6)], look.base, look.edge)


def _limbs(pen: Pen, look: Look, limbs: list[tuple], far: bool = False) -> None:
    """Legs in the coat's colour, a little darker on the ``far`` side; a sheep's are bare, like its face."""
    leg, edge = mix(look.base, look.edge, 0.12), look.edge
    if look.species == "sheep":
        leg = bare(look)
        edge = mix(leg, INK, 0.5)
    pen.silhouette(limbs, mix(leg, edge, 0.35) if far else leg, edge)


def _torso(pen: Pen, look: Look, x: float, y: float, rx: float, ry: float, limbs: list[tuple], degrees: float = 0):
    """A body oval with its limbs, wool, patches or stripes."""
    wool = []
    if look.species == "sheep":
        for step in range(12):
            angle = 2 * pi * step / 12
            wool.append(("oval", x + (rx - 2) * cos(angle), y + (ry - 2) * sin(angle), 6, 5.6))
    if limbs:
        _limbs(pen, look, limbs)
    pen.silhouette([("oval", x, y, rx, ry, degrees), *wool], look.base, look.edge)
    pen.soft(x, y - ry * 0.15, rx * 0.9, ry * 0.8, look.base, mix(look.base, look.light, 0.42), degrees)
    if look.patch:
        for dx, dy, size in ((-0.35, -0.35, 0.3), (0.4, -0.2, 0.36), (0.05, 0.45, 0.24)):
            pen.oval(x + rx * dx, y + ry * dy, rx * size, ry * size * 1.15, look.patch, degrees)
    if look.striped:
        for dx in (-0.2, 0.15, 0.5):
            pen.limb([(x + rx * dx, y - ry * 0.82), (x + rx * (dx - 0.05), y - ry * 0.25)], 2.2, look.shade)


def _paws(pen: Pen, look: Look, spots: list[tuple[float, float]], rx: float = 5.4) -> None:
    paw = mix(look.base, look.light, 0.5)
    if look.species == "sheep":
        paw = mix(bare(look), INK, 0.4)
    for x, y in spots:
        pen.silhouette([("oval", x, y, rx, 3.4)], paw, look.edge)


def sit(pen: Pen, look: Look, held: Held) -> None:
    wide = look.build
    _tail(pen, look, 15 * wide, -7, -14)
    _torso(pen, look, 0, -15, 19 * wide, 14.5, [])
    _torso(pen, look, 0, -25, 13.5 * wide, 20, [])
    _paws(pen, look, [(-17 * wide, -3.4), (17 * wide, -3.4)], 6.5)
    for side in (-1, 1):
        pen.silhouette([("limb", [(side * 6, -22), (side * 6.2, -4)], 7)], mix(look.base, look.light, 0.2), look.edge)
    pen.oval(0, -24, 8.5 * wide, 9, mix(look.base, look.light, 0.55))
    _paws(pen, look, [(-6.8, -3), (6.8, -3)])
    with pen.at(0, -51):
        head(pen, look, False, *held)


def run(pen: Pen, look: Look, held: Held) -> None:
    _tail(pen, look, 26, -30, -12)
    far = [("limb", [(-8, -22), (-22, -14), (-31, -13)], 6.4), ("limb", [(20, -22), (32, -14), (43, -15)], 6.8)]
    _limbs(pen, look, far, far=True)
    near = [("limb", [(-6, -20), (-18, -8), (-29, -4)], 7), ("limb", [(18, -20), (30, -10), (41, -3)], 7.6)]
    _torso(pen, look, 6, -26, 25, 11.5 * look.build, near, -3)
    with pen.at(-17, -44):
        head(pen, look, False, *held)


def jump(pen: Pen, look: Look, held: Held) -> None:
    with pen.at(2, -21, 1, 20):
        _tail(pen, look, 24, -24, -30)
        tucked = [
            ("limb", [(-7, -17), (-15, -5), (-6, -3)], 6.8),
            ("limb", [(1, -16), (-6, -3), (3, -1)], 6.8),
            ("limb", [(20, -18), (29, -7), (18, -2)], 7.6),
        ]
        _torso(pen, look, 6, -24, 23, 12 * look.build, tucked)
    with pen.at(-14, -58):
        head(pen, look, False, *held)


def sleep(pen: Pen, look: Look, held: Held) -> None:
    _torso(pen, look, 9, -17, 30, 17 * min(1.05, look.build), [])
    pen.limb(curve((18, -4), (20, -18), (34, -20), 6), 1, look.edge)
    if look.species in ("dog", "cat", "fox"):
        wide = 9 if look.species == "fox" else 5.2
        path = [*curve((37, -12), (36, -1), (20, -3), 6), (2, -3)]
        pen.silhouette([("limb", path, wide)], look.patch or mix(look.base, look.edge, 0.1), look.edge)
    else:
        _paws(pen, look, [(26, -3)], 7)
    _paws(pen, look, [(-28, -3), (-6, -3)], 6)
    with pen.at(-17, -18, 0.98):
        head(pen, look, True, *held)
    for x, y, size in ((10, -45, 1.0), (18, -54, 1.4)):
        _snore(pen, x, y, size)


def _snore(pen: Pen, x: float, y: float, size: float) -> None:
    """A letter z; part of the picture, not of the animal, hence outside its box."""
    names, pen.names = pen.names, []
    path = [
        (x - 2.4 * size, y - 2.6 * size),
        (x + 2.4 * size, y - 2.6 * size),
        (x - 2.4 * size, y + 2.6 * size),
        (x + 2.4 * size, y + 2.6 * size),
    ]
    pen.limb(path, 2.6, WHITE)
    pen.limb(path, 1.3, (84, 92, 150))
    pen.names = names


def eat(pen: Pen, look: Look, held: Held) -> None:
    _tail(pen, look, 34, -38, -30)
    far = [("limb", [(2, -26), (1, -6)], 6), ("limb", [(26, -26), (25, -6)], 6)]
    _limbs(pen, look, far, far=True)
    near = [("limb", [(-4, -26), (-5, -3)], 6.6), ("limb", [(31, -26), (33, -3)], 7)]
    _torso(pen, look, 14, -32, 24, 13 * look.build, near, -6)
    with pen.at(-20, -26, 0.98, -5):
        head(pen, look, False, *held)


def _legs(pen: Pen, look: Look, paths: list[list[tuple[float, float]]]) -> None:
    """Football legs: bare, with socks in the shirt's colour and dark boots at the last point."""
    skin_edge = mix(look.skin, (70, 30, 20), 0.55)
    for path in paths:
        pen.silhouette([("limb", path, 6.4)], look.skin, skin_edge)
        pen.silhouette([("limb", path[-2:], 6.4)], look.base, look.edge, 0.5)
        x, y = path[-1]
        pen.silhouette([("oval", x - 2.4, y, 5.8, 3.2)], (44, 42, 50), (20, 20, 24))


def _arms(pen: Pen, look: Look, paths: list[list[tuple[float, float]]]) -> None:
    skin_edge = mix(look.skin, (70, 30, 20), 0.55)
    for path in paths:
        pen.silhouette([("limb", path, 5)], look.skin, skin_edge)
        pen.silhouette([("limb", path[:2], 7)], look.base, look.edge)


def _shirt(pen: Pen, look: Look, shorts: list[tuple[float, float]]) -> None:
    pen.silhouette([("shape", shorts)], (244, 244, 246), (130, 130, 140))
    with pen.named("shirt"):
        body = [(-11, -40), (11, -40), (10, -18), (-10, -18)]
        pen.silhouette([("shape", body)], look.base, look.edge)
        pen.shape([(-8.5, -39), (3, -39), (2, -19), (-7.5, -19)], mix(look.base, look.light, 0.3))
        pen.limb([(0, -33), (0, -24)], 2.6, WHITE if sum(look.base) < 620 else (90, 90, 110))


def player_sit(pen: Pen, look: Look, held: Held) -> None:
    with pen.at(0, 12):
        _arms(pen, look, [[(-11, -37), (-15, -31), (-19, -16)], [(11, -37), (15, -31), (19, -16)]])
        _shirt(pen, look, [(-11, -20), (11, -20), (15, -12), (-15, -12)])
    _legs(pen, look, [[(-8, -4), (-20, -12), (-25, -2)], [(8, -4), (20, -12), (25, -2)]])
    with pen.at(0, -41):
        head(pen, look, False, *held)


def player_run(pen: Pen, look: Look, held: Held) -> None:
    _legs(pen, look, [[(5, -18), (17, -13), (29, -18)]])
    _arms(pen, look, [[(11, -39), (17, -34), (23, -42)]])
    _legs(pen, look, [[(-5, -18), (-15, -15), (-22, -3)]])
    with pen.at(-1, -2, 1, -6):
        _shirt(pen, look, [(-10, -20), (10, -20), (13, -10), (1, -12), (-12, -10)])
    _arms(pen, look, [[(-11, -39), (-18, -32), (-26, -38)]])
    with pen.at(-4, -58):
        head(pen, look, False, *held)


def player_jump(pen: Pen, look: Look, held: Held) -> None:
    with pen.at(0, -12):
        _legs(pen, look, [[(-5, -16), (-14, -12), (-10, -2)], [(5, -16), (14, -12), (18, -3)]])
        _arms(pen, look, [[(-11, -38), (-18, -42), (-25, -56)], [(11, -38), (18, -42), (25, -56)]])
        _shirt(pen, look, [(-10, -20), (10, -20), (12, -10), (0, -12), (-12, -10)])
        with pen.at(0, -56, 0.96):
            head(pen, look, False, *held)


Pose = Callable[[Pen, Look, Held], None]
POSES: dict[str, Pose] = {"sitting": sit, "running": run, "jumping": jump, "sleeping": sleep, "eating": eat}
PLAYER_POSES: dict[str, Pose] = {"sitting": player_sit, "running": player_run, "jumping": player_jump}
