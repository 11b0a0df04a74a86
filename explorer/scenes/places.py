"""The five places of the drawn world and the six things that lie about in them.

A place fills the whole picture: everything above ``horizon`` (units from the top), then the ground. A thing
is drawn around (0, 0), the point where it touches the ground.
"""

from __future__ import annotations

from random import Random

from explorer.scenes.pen import INK, WHITE, Colour, Pen, curve, mix

COLOURS: dict[str, Colour] = {
    "red": (214, 44, 42),
    "blue": (44, 98, 214),
    "yellow": (248, 204, 40),
    "green": (40, 160, 76),
    "purple": (132, 66, 176),
}


def shake(rng: Random, colour: Colour, amount: int = 8) -> Colour:
    """``colour`` a little lighter or darker and a little off in hue."""
    common = rng.randint(-amount, amount)
    a, b, c = (min(255, max(0, value + common + rng.randint(-4, 4))) for value in colour)
    return a, b, c


def _sky(pen: Pen, rng: Random, horizon: float, top: Colour, low: Colour) -> None:
    pen.bands(0, horizon + 1, shake(rng, top), shake(rng, low))
    if rng.random() < 0.5:
        x, y = rng.uniform(8, 92), rng.uniform(8, 18)
        pen.oval(x, y, 8, 8, (255, 240, 180))
        pen.oval(x, y, 6, 6, (255, 222, 110))
    for _ in range(rng.randint(1, 3)):
        x, y, size = rng.uniform(0, 100), rng.uniform(5, horizon * 0.6), rng.uniform(0.6, 1.1)
        for dx, dy, r in ((-7, 1, 4), (0, -1.5, 5.5), (7, 1, 4.2)):
            pen.oval(x + dx * size, y + dy * size, r * size * 1.3, r * size * 0.8, mix(low, WHITE, 0.75))


def _tree(pen: Pen, rng: Random, x: float, y: float) -> None:
    size, leaf = rng.uniform(0.8, 1.3), shake(rng, (74, 140, 70), 14)
    with pen.at(x, y, size):
        pen.limb([(0, 0), (0, -14)], 3, (112, 82, 58))
        pen.oval(0, -20, 9, 10, mix(leaf, INK, 0.15))
        pen.oval(-2, -22, 6.5, 7, leaf)


def _fir(pen: Pen, rng: Random, x: float, y: float) -> None:
    green = shake(rng, (70, 112, 104), 10)
    with pen.at(x, y, rng.uniform(0.7, 1.2)):
        pen.limb([(0, 0), (0, -6)], 2.4, (96, 76, 64))
        for base, wide in ((-4, 10), (-12, 8), (-19, 6)):
            pen.shape([(-wide, base), (wide, base), (0, base - 13)], green)
            pen.shape([(-wide * 0.45, base - 7), (wide * 0.45, base - 7), (0, base - 13)], (240, 246, 250))


def _scatter(rng: Random, horizon: float, count: int) -> list[tuple[float, float, float]]:
    """(x, y, size) of ``count`` ground details, larger the nearer they are."""
    spots = []
    for _ in range(count):
        depth = rng.random()
        spots.append((rng.uniform(0, 100), horizon + 3 + depth * (96 - horizon), 0.5 + depth))
    return spots


def grass(pen: Pen, rng: Random, horizon: float) -> None:
    _sky(pen, rng, horizon, (112, 186, 238), (206, 234, 248))
    hill = shake(rng, (134, 190, 112))
    pen.oval(rng.uniform(0, 40), horizon + 6, 42, rng.uniform(12, 20), hill)
    pen.oval(rng.uniform(60, 100), horizon + 6, 40, rng.uniform(12, 18), mix(hill, (60, 130, 80), 0.25))
    for _ in range(rng.randint(1, 3)):
        _tree(pen, rng, rng.uniform(2, 98), horizon + rng.uniform(0, 3))
    with pen.named("grass"):
        pen.bands(horizon, 100, shake(rng, (118, 190, 84)), shake(rng, (70, 146, 56)))
    petal = rng.choice([(250, 240, 250), (250, 226, 120), (196, 170, 240)])
    for x, y, size in _scatter(rng, horizon, 16):
        for lean in (-1.6, 0, 1.6):
            pen.limb([(x, y), (x + lean * size, y - 3.2 * size)], 0.7 * size, (58, 128, 50))
    for x, y, size in _scatter(rng, horizon, 5):
        pen.oval(x, y, 1.3 * size, 1.3 * size, petal)
        pen.oval(x, y, 0.5 * size, 0.5 * size, (236, 180, 60))


def snow(pen: Pen, rng: Random, horizon: float) -> None:
    pen.bands(0, horizon + 1, shake(rng, (142, 168, 200)), shake(rng, (204, 218, 234)))
    pen.oval(rng.uniform(0, 40), horizon + 6, 44, rng.uniform(12, 22), (216, 226, 240))
    pen.oval(rng.uniform(60, 100), horizon + 6, 40, rng.uniform(12, 18), (204, 216, 234))
    for _ in range(rng.randint(2, 4)):
        _fir(pen, rng, rng.uniform(2, 98), horizon + rng.uniform(0, 3))
    with pen.named("snow"):
        pen.bands(horizon, 100, shake(rng, (238, 244, 250), 4), shake(rng, (206, 220, 238), 4))
    for x, y, size in _scatter(rng, horizon, 6):
        pen.oval(x, y, 7 * size, 1.2 * size, (220, 231, 244))
    for _ in range(24):
        r = rng.uniform(0.5, 1.1)
        pen.oval(rng.uniform(0, 100), rng.uniform(0, 100), r, r, WHITE)


def sand(pen: Pen, rng: Random, horizon: float) -> None:
    _sky(pen, rng, horizon, (120, 200, 240), (226, 242, 246))
    sea = shake(rng, (52, 150, 190))
    pen.bands(horizon - 12, horizon, sea, mix(sea, WHITE, 0.35), 8)
    for _ in range(5):
        x, y = rng.uniform(0, 95), rng.uniform(horizon - 10, horizon - 3)
        pen.limb([(x, y), (x + rng.uniform(4, 10), y)], 0.7, mix(sea, WHITE, 0.55))
    with pen.named("sand"):
        pen.bands(horizon, 100, shake(rng, (246, 222, 160)), shake(rng, (226, 188, 118)))
    pen.limb([(0, horizon), (30, horizon + 1), (65, horizon - 0.5), (100, horizon)], 1.6, (250, 250, 246))
    if rng.random() < 0.6:
        x, shade = rng.choice([rng.uniform(6, 20), rng.uniform(80, 94)]), COLOURS[rng.choice(["blue", "green"])]
        pen.limb([(x, horizon + 6), (x, horizon - 26)], 1.2, (250, 246, 236))
        for wide, colour in ((14, mix(shade, WHITE, 0.25)), (5, WHITE)):
            pen.shape(curve((x - wide, horizon - 18), (x, horizon - 42), (x + wide, horizon - 18)), colour)
    for x, y, size in _scatter(rng, horizon, 14):
        pen.oval(x, y, 0.9 * size, 0.5 * size, (196, 152, 92))
    for x, y, size in _scatter(rng, horizon, 4):
        pen.limb(curve((x - 6 * size, y), (x, y - 2 * size), (x + 6 * size, y), 4), 0.6, (214, 174, 108))


def floor(pen: Pen, rng: Random, horizon: float) -> None:
    wall = shake(rng, rng.choice([(232, 214, 190), (206, 222, 226), (226, 206, 214), (214, 222, 196)]))
    pen.bands(0, horizon, wall, mix(wall, INK, 0.08), 8)
    x = rng.uniform(8, 66)
    with pen.at(x, rng.uniform(4, 10)):
        if rng.random() < 0.6:
            pen.shape([(0, 0), (26, 0), (26, 28), (0, 28)], WHITE)
            pen.shape([(2, 2), (24, 2), (24, 26), (2, 26)], (168, 212, 240))
            pen.limb([(13, 1), (13, 27)], 1.4, WHITE)
            pen.limb([(1, 14), (25, 14)], 1.4, WHITE)
        else:
            pen.shape([(0, 0), (20, 0), (20, 24), (0, 24)], (150, 112, 78))
            pen.shape([(2, 2), (18, 2), (18, 22), (2, 22)], (240, 232, 214))
            pen.oval(10, 14, 6, 6, shake(rng, (150, 170, 140), 20))
    with pen.named("floor"):
        (_boards if rng.random() < 0.6 else _tiles)(pen, rng, horizon)
    pen.shape([(0, horizon - 4), (100, horizon - 4), (100, horizon), (0, horizon)], mix(wall, WHITE, 0.6))


def _boards(pen: Pen, rng: Random, horizon: float) -> None:
    wood = shake(rng, (190, 134, 84), 12)
    pen.bands(horizon, 100, mix(wood, INK, 0.12), mix(wood, WHITE, 0.1))
    line = mix(wood, INK, 0.35)
    for step in range(-3, 13):
        pen.limb([(25 + step * 5.5, horizon), (-40 + step * 20, 100)], 0.7, line)


def _tiles(pen: Pen, rng: Random, horizon: float) -> None:
    tile = shake(rng, rng.choice([(198, 190, 186), (176, 196, 198), (212, 190, 164)]))
    pen.bands(horizon, 100, mix(tile, INK, 0.1), tile)
    line = mix(tile, INK, 0.3)
    for step in range(-4, 14):
        pen.limb([(25 + step * 5.5, horizon), (-40 + step * 20, 100)], 0.7, line)
    for depth in (0.12, 0.3, 0.56, 0.9):
        pen.limb([(0, horizon + (100 - horizon) * depth), (100, horizon + (100 - horizon) * depth)], 0.7, line)


def street(pen: Pen, rng: Random, horizon: float) -> None:
    _sky(pen, rng, horizon, (150, 190, 224), (226, 232, 236))
    x = rng.uniform(-14, 0)
    while x < 100:
        x += _house(pen, rng, x, horizon)
    with pen.named("street"):
        pen.bands(horizon, 100, (112, 114, 122), shake(rng, (82, 84, 92)))
    pen.shape([(0, horizon - 1), (100, horizon - 1), (100, horizon + 4), (0, horizon + 4)], (192, 190, 186))
    pen.shape([(0, horizon + 4), (100, horizon + 4), (100, horizon + 5.2), (0, horizon + 5.2)], (146, 144, 142))
    offset, y = rng.uniform(-20, 0), rng.uniform(74, 82)
    for step in range(5):
        left = offset + step * 30
        pen.shape([(left + 2, y), (left + 17, y), (left + 16, y + 3.4), (left, y + 3.4)], (244, 238, 214))


def _house(pen: Pen, rng: Random, x: float, horizon: float) -> float:
    """One house standing at ``x``; returns its width in units."""
    wide, high = rng.uniform(22, 32), rng.uniform(24, horizon - 6)
    wall = shake(rng, rng.choice([(222, 188, 150), (200, 168, 160), (184, 196, 206), (226, 214, 178), (176, 190, 166)]))
    top = horizon - high
    pen.shape([(x, top), (x + wide, top), (x + wide, horizon), (x, horizon)], wall)
    pen.shape([(x - 1, top), (x + wide + 1, top), (x + wide / 2, top - 12)], shake(rng, (150, 92, 78), 16))
    glass = rng.choice([(120, 150, 176), (250, 232, 160)])
    for row in range(int(high // 13)):
        for column in (0.18, 0.62):
            left, upper = x + wide * column, top + 4 + row * 13
            pen.shape([(left, upper), (left + 5, upper), (left + 5, upper + 7), (left, upper + 7)], glass)
    return wide


PLACES = {"grass": grass, "snow": snow, "sand": sand, "floor": floor, "street": street}


def ball(pen: Pen, colour: Colour, radius: float = 8.5, y: float | None = None) -> None:
    """A striped ball resting on (0, 0); with ``y`` given, one whose centre is there."""
    y = -radius if y is None else y
    pen.oval(0, y, radius + 0.8, radius + 0.8, mix(colour, INK, 0.55))
    pen.oval(0, y, radius, radius, mix(colour, INK, 0.12))
    pen.oval(-radius * 0.08, y - radius * 0.08, radius * 0.86, radius * 0.86, colour)
    pen.limb(
        curve((-radius * 0.8, y + radius * 0.3), (0, y + radius * 0.75), (radius * 0.8, y + radius * 0.3), 6),
        radius * 0.16,
        mix(colour, WHITE, 0.75),
    )
    pen.oval(-radius * 0.35, y - radius * 0.4, radius * 0.26, radius * 0.2, mix(colour, WHITE, 0.8))


def football(pen: Pen, colour: Colour, radius: float = 9.0) -> None:
    pen.oval(0, -radius, radius + 0.8, radius + 0.8, INK)
    pen.oval(0, -radius, radius, radius, (246, 246, 244))
    for x, y in ((0, 0), (-0.7, -0.5), (0.7, -0.5), (-0.5, 0.72), (0.5, 0.72), (0, -0.95)):
        pen.oval(x * radius * 0.9, -radius + y * radius * 0.9, radius * 0.26, radius * 0.24, INK)


def bone(pen: Pen, colour: Colour) -> None:
    ends = [("oval", x, y, 3.6, 3.4) for x in (-9.5, 9.5) for y in (-6.4, -2.6)]
    pen.silhouette([("limb", [(-9, -4.5), (9, -4.5)], 4.6), *ends], (250, 244, 226), (140, 122, 96))
    pen.limb([(-7, -5.4), (7, -5.4)], 1, WHITE)


def stick(pen: Pen, colour: Colour) -> None:
    wood, edge = (124, 80, 44), (64, 40, 24)
    parts = [("limb", [(-15, -1.5), (-4, -3.5), (15, -6)], 3.4), ("limb", [(3, -4), (9, -10)], 2.4)]
    pen.silhouette(parts, wood, edge)
    pen.limb([(-12, -2.4), (11, -6)], 0.8, (170, 120, 74))


def yarn(pen: Pen, colour: Colour) -> None:
    dark, light = mix(colour, INK, 0.4), mix(colour, WHITE, 0.45)
    pen.limb([*curve((4, -1), (16, 3), (18, -2)), *curve((18, -2), (20, -6), (25, -1))], 1.3, dark)
    pen.oval(0, -9, 9.8, 9.8, dark)
    pen.oval(0, -9, 9, 9, colour)
    for start in (-6, -2.5, 1.5, 5):
        top, low = (start - 2, -16 + abs(start) * 0.6), (start - 1, -2 - abs(start) * 0.5)
        pen.limb(curve(top, (start + 4, -9), low, 5), 0.9, dark)
    for start in (-14, -9.5, -5):
        pen.limb(curve((-7, start + 2), (0, start - 4), (7, start + 1), 5), 0.9, light)


def bowl_back(pen: Pen, colour: Colour) -> None:
    pen.oval(0, -11, 16.8, 4.8, mix(colour, INK, 0.55))
    pen.oval(0, -11, 16, 4, mix(colour, INK, 0.3))
    for x, y in ((-9, -11), (-4, -12.5), (1, -11.5), (6, -12.5), (10, -11), (-1, -13.5)):
        pen.oval(x, y, 3, 2.2, (150, 96, 54))


def bowl_front(pen: Pen, colour: Colour) -> None:
    rim = curve((-16, -11), (0, -5.4), (16, -11), 8)
    sides = [*curve((16, -11), (14.5, 0), (8, 0), 5), *curve((-8, 0), (-14.5, 0), (-16, -11), 5)]
    pen.silhouette([("shape", rim + sides)], colour, mix(colour, INK, 0.55))
    pen.limb(rim, 1.5, mix(colour, WHITE, 0.45))
    pen.limb([(-7, -1.6), (7, -1.6)], 1.4, mix(colour, INK, 0.2))


def bed_back(pen: Pen, colour: Colour, wide: float) -> None:
    pen.oval(0, -7, wide + 1, 14, mix(colour, INK, 0.55))
    pen.oval(0, -7, wide, 13, mix(colour, INK, 0.1))
    pen.oval(0, -9, wide - 6, 9, mix(colour, WHITE, 0.6))


def bed_front(pen: Pen, colour: Colour, wide: float) -> None:
    rim = [*curve((-wide, -7), (-wide * 0.7, 6), (0, 6), 6), *curve((0, 6), (wide * 0.7, 6), (wide, -7), 6)]
    inner = [*curve((wide, -7), (wide * 0.7, -1), (0, -1), 6), *curve((0, -1), (-wide * 0.7, -1), (-wide, -7), 6)]
    pen.silhouette([("shape", rim + inner)], colour, mix(colour, INK, 0.55))
    pen.limb(curve((-wide * 0.7, 0.6), (0, 5), (wide * 0.7, 0.6), 8), 1, mix(colour, WHITE, 0.4))


THINGS = {"ball": ball, "bone": bone, "stick": stick, "yarn": yarn}
