"""Scenes: an endless drawn world of animals in five poses, with captions, attributes and boxes.

    python -m explorer.scenes FOLDER [--world pets|others] [--train 560] [--validation 100] [--size 192]

``pets`` holds cats and dogs; ``others`` holds rabbits, bears, foxes, sheep and football players and never a
dog, a cat or a tongue, so that a model trained on it takes a tongue for a ball until it is taught. The same
seed gives the same picture, captions and boxes: everything is drawn by code, without fonts or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from PIL import Image

from explorer.files import whole_folder, write_jsonl
from explorer.scenes import bodies, grammar, places
from explorer.scenes.heads import Look
from explorer.scenes.pen import INK, WHITE, Box, Colour, Pen, mix
from explorer.scoring.attributes import Attributes

TRAIN, VALIDATION = 560, 100
"""How many scenes the embedded dataset has: as many as three epochs learn in 90 seconds on two cores."""

COATS: dict[str, tuple[Colour, Colour, Colour]] = {
    # name: base, lighter parts, outline
    "black": ((54, 52, 60), (112, 108, 116), (18, 16, 22)),
    "white": ((246, 243, 236), (255, 255, 255), (126, 120, 124)),
    "brown": ((136, 86, 50), (206, 160, 112), (74, 44, 26)),
    "orange": ((238, 140, 48), (255, 222, 172), (146, 72, 18)),
    "gray": ((142, 148, 158), (206, 210, 216), (78, 82, 92)),
    "spotted": ((246, 243, 236), (255, 255, 255), (112, 100, 98)),
}
SHIRTS = ("red", "blue", "yellow", "green", "white", "black")
WORLDS: dict[str, dict[str, tuple[str, ...]]] = {
    "pets": {
        "dog": ("black", "white", "brown", "orange", "gray", "spotted"),
        "cat": ("black", "white", "brown", "orange", "gray", "spotted"),
    },
    "others": {
        "rabbit": ("black", "white", "brown", "orange", "gray", "spotted"),
        "bear": ("black", "white", "brown", "gray"),
        "fox": ("black", "white", "orange", "gray", "brown"),
        "sheep": ("black", "white", "brown", "gray"),
        "football player": SHIRTS,
    },
}
ACTIONS = {"sitting": 28, "running": 26, "jumping": 18, "sleeping": 14, "eating": 14}
OBJECTS = {"none": 30, "ball": 24, "bone": 16, "stick": 16, "yarn": 14}
MOUTHS = {"pets": {"tongue": 42, "ball": 26, "neither": 32}, "others": {"ball": 50, "neither": 50}}
"""How often an animal that neither sleeps nor eats shows what."""
BALL_COLOURS = tuple(places.COLOURS)
SPLITS = {"train": 0, "validation": 1}


@dataclass(frozen=True)
class Scene:
    """What is true of one picture: its attributes, five captions, and boxes (left, top, right, bottom) in pixels."""

    attributes: Attributes
    references: tuple[str, ...]
    boxes: dict[str, Box]


def _pick(rng: Random, weights: Mapping[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _facts(rng: Random, world: str) -> Attributes:
    """Draw what the picture is to show; an action decides which objects and mouths go with it."""
    kinds = WORLDS[world]
    species = rng.choice(list(kinds))
    coat = rng.choice(kinds[species])
    action, thing = _pick(rng, ACTIONS), _pick(rng, OBJECTS)
    place, mouth = rng.choice(list(places.PLACES)), "neither"
    if species == "football player":
        action = rng.choice(list(bodies.PLAYER_POSES))
        return Attributes(species, coat, action, rng.choice(["none", "ball", "ball"]), place, mouth)
    if action == "eating":
        return Attributes(species, coat, action, "bowl", place, mouth)
    if action in ("sleeping", "sitting") and rng.random() < {"sleeping": 0.4, "sitting": 0.12}[action]:
        thing = "bed"
    if action != "sleeping":
        mouth = _pick(rng, MOUTHS[world])
    if mouth == "ball":
        thing = "ball"
    return Attributes(species, coat, action, thing, place, mouth)


def _look(rng: Random, facts: Attributes) -> Look:
    """The colours and build of one animal or player."""
    if facts.species == "football player":
        colour = places.COLOURS.get(facts.coat) or COATS[facts.coat][0]
        trio = colour, mix(colour, WHITE, 0.5), mix(colour, INK, 0.6)
    else:
        trio = COATS[facts.coat]
    patch = rng.choice([(60, 54, 58), (130, 82, 50), (214, 128, 56)]) if facts.coat == "spotted" else None
    return Look(
        species=facts.species,
        base=places.shake(rng, trio[0], 6),
        light=trio[1],
        edge=trio[2],
        patch=patch,
        eye=rng.choice([(150, 206, 84), (240, 206, 70), (120, 196, 190)]),
        build=rng.uniform(0.9, 1.12),
        ears=rng.uniform(0.9, 1.1),
        striped=facts.species == "cat" and facts.coat in ("orange", "gray", "brown") and rng.random() < 0.6,
        skin=rng.choice([(244, 204, 168), (226, 172, 130), (176, 120, 82), (122, 80, 56)]),
        hair=rng.choice([(44, 32, 30), (96, 62, 36), (214, 166, 84), (150, 70, 36)]),
    )


def _shadow(pen: Pen, ground: Colour, facts: Attributes) -> None:
    wide = {"sitting": 24, "running": 36, "jumping": 24, "sleeping": 40, "eating": 36}[facts.action]
    if facts.species == "football player":
        wide *= 0.8
    pen.oval(3, 1, wide, 4.5, ground)


def _object(pen: Pen, facts: Attributes, colour: Colour, spot: tuple[float, float]) -> None:
    """The thing on the ground; bowls and beds are drawn around the animal instead."""
    if facts.mouth == "ball" or facts.object not in places.THINGS:
        return
    with pen.at(*spot), pen.named(facts.object):
        pen.oval(0, 0.5, 11, 2.4, mix(INK, (90, 100, 80), 0.5))
        if facts.species == "football player":
            places.football(pen, colour)
        else:
            places.THINGS[facts.object](pen, colour)


SPOTS = {"sitting": (34, 4), "running": (6, 9), "jumping": (4, 3), "sleeping": (16, 12), "eating": (0, 0)}
"""Where the thing on the ground lies, in units from the animal's own spot."""
SHADOWS: dict[str, Colour] = {
    "grass": (56, 116, 50),
    "snow": (178, 194, 218),
    "sand": (190, 152, 94),
    "floor": (128, 100, 78),
    "street": (62, 64, 70),
}


def _figure(pen: Pen, look: Look, facts: Attributes, colour: Colour) -> None:
    """The animal with its bowl or bed, around (0, 0)."""
    poses = bodies.PLAYER_POSES if facts.species == "football player" else bodies.POSES
    wide = 27 if facts.action == "sitting" else 46
    if facts.object == "bed":
        with pen.named("bed"), pen.at(2, 0):
            places.bed_back(pen, colour, wide)
    if facts.object == "bowl":
        with pen.named("bowl"), pen.at(-21, 2):
            places.bowl_back(pen, colour)
    with pen.named(facts.species):
        poses[facts.action](pen, look, (facts.mouth, colour))
    if facts.object == "bowl":
        with pen.named("bowl"), pen.at(-21, 2):
            places.bowl_front(pen, colour)
    if facts.object == "bed":
        with pen.named("bed"), pen.at(2, 0):
            places.bed_front(pen, colour, wide)


def _paint(rng: Random, facts: Attributes, colour: str, size: int) -> tuple[Image.Image, dict[str, Box]]:
    pen = Pen(size)
    horizon = rng.uniform(46, 58)
    places.PLACES[facts.place](pen, rng, horizon)
    tint = places.shake(rng, places.COLOURS[colour], 6)
    scale, look = rng.uniform(0.9, 1.04), _look(rng, facts)
    middle = {
        "sitting": 40 if facts.object in places.THINGS and facts.mouth != "ball" else rng.uniform(38, 62),
        "running": rng.uniform(45, 50),
    }.get(facts.action, rng.uniform(44, 52))
    ground = rng.uniform(84, 88) if facts.action in ("running", "sleeping") else rng.uniform(88, 93)
    if facts.species == "rabbit":
        scale = min(scale, 0.9 if facts.action == "jumping" else 0.96)  # room for the ears
    with pen.at(middle, ground, scale):
        _shadow(pen, SHADOWS[facts.place], facts)
        _figure(pen, look, facts, tint)
        _object(pen, facts, tint, SPOTS[facts.action])
    return pen.finish(rng.random() < 0.5)


def scene(seed: int, world: str = "pets", size: int = 256) -> tuple[Image.Image, Scene]:
    """The picture (RGB, ``size`` by ``size``) and the truth about scene ``seed`` of ``world``.

    The facts, captions and drawing depend on ``seed`` and ``world`` only; ``size`` scales the same picture.
    """
    rng = Random(f"{world} {seed}")
    facts = _facts(rng, world)
    colour = rng.choice(BALL_COLOURS)
    texts = grammar.references(
        rng,
        species=facts.species,
        coat=facts.coat,
        action=facts.action,
        kind=facts.object,
        place=facts.place,
        mouth=facts.mouth,
        colour=colour,
    )
    image, boxes = _paint(rng, facts, colour, size)
    return image, Scene(facts, texts, boxes)


def words() -> set[str]:
    """The complete vocabulary of the captions of both worlds."""
    species = tuple(name for kinds in WORLDS.values() for name in kinds)
    return grammar.words(species, tuple(COATS) + SHIRTS, BALL_COLOURS)


def write(folder: Path, train: int = TRAIN, validation: int = VALIDATION, seed: int = 0, world: str = "pets", size: int = 192) -> Path:
    """Write scenes as an ordinary image folder, ``train/`` and ``validation/``; returns ``folder``.

    Scenes of one split never occur in the other, whatever ``seed``: train takes even scene numbers and
    validation odd ones. Each split's metadata.jsonl is written after its images.
    """
    with whole_folder(Path(folder)) as staging:
        for split, count in (("train", train), ("validation", validation)):
            (staging / split).mkdir()
            rows = []
            for number in range(count):
                image, truth = scene(2 * (seed * 1_000_000 + number) + SPLITS[split], world, size)
                name = f"{world}-{number:05d}.png"
                image.save(staging / split / name, optimize=True)
                rows.append(
                    {
                        "file_name": name,
                        "text": truth.references[0],
                        "captions": list(truth.references),
                        "attributes": asdict(truth.attributes),
                        "boxes": truth.boxes,
                    }
                )
            write_jsonl(staging / split / "metadata.jsonl", rows)
    return Path(folder)
