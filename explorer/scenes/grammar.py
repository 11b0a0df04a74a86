"""Grammar: the captions of a drawn scene, in the plain style of photo captions.

A caption is a pattern whose braces are filled from small tables; `words()` walks the same tables, so it is
the complete vocabulary. Four of a scene's five references say everything, in different orders and words;
the last leaves things out, as people do. No table says left or right, since training may mirror pictures.
"""

from __future__ import annotations

import re
from random import Random

ACTIONS = {
    "sitting": ("sits", "is sitting", "sitting"),
    "running": ("runs", "is running", "running"),
    "jumping": ("jumps", "is jumping", "jumping"),
    "sleeping": ("sleeps", "is sleeping", "sleeping"),
    "eating": ("eats", "is eating", "eating"),
}
PLACES = {
    "grass": ("on the grass", "in the grass", "on a green lawn"),
    "snow": ("in the snow", "on the snow", "on the white snow"),
    "sand": ("on the sand", "in the sand", "on a sandy beach"),
    "floor": ("on the floor", "inside on the floor", "on the floor indoors"),
    "street": ("on the street", "in the street", "on the road"),
}
PATHS = {
    "grass": ("through the grass", "across the grass", "over a green lawn"),
    "snow": ("through the snow", "across the snow", "over the white snow"),
    "sand": ("across the sand", "through the sand", "along a sandy beach"),
    "floor": ("across the floor", "over the floor", "across the floor indoors"),
    "street": ("down the street", "along the street", "along the road"),
}
NEAR = {
    "sitting": ("next to", "beside", "near"),
    "running": ("past", "near", "by"),
    "jumping": ("over", "over", "above"),
    "sleeping": ("next to", "beside", "near"),
}
TONGUES = ("with its tongue out", "with its tongue hanging out", "sticking out its tongue")
MOUTHFULS = ("with {thing} in its mouth", "holding {thing} in its mouth", "carrying {thing} in its mouth")
THINGS = {
    "ball": ("a {colour} ball",),
    "bone": ("a bone", "a white bone"),
    "stick": ("a stick", "a wooden stick"),
    "yarn": ("a ball of {colour} yarn", "some {colour} yarn"),
    "bowl": ("a {colour} bowl",),
    "bed": ("a {colour} bed",),
    "football": ("a football", "a ball", "a white ball"),
}
YOUNG = {
    "dog": "puppy",
    "cat": "kitten",
    "rabbit": "bunny",
    "sheep": "lamb",
    "bear": "bear cub",
    "fox": "young fox",
    "football player": "man",
}
FULL = (
    "{who} {mouth} {acts} {where} {what}",
    "{who} {does} {where} {what} {mouth}",
    "{who} {does} {what} {where} {mouth}",
)
SHORT = ("{plain} {does} {where}", "{young} {does} {where}", "{plain} {mouth} {acts}", "{plain} {does} {what} {where}")


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _thing(rng: Random, kind: str, colour: str) -> str:
    return rng.choice(THINGS[kind]).format(colour=colour)


def _phrases(rng: Random, species: str, coat: str, action: str, kind: str, place: str, mouth: str, colour: str) -> dict:
    """One choice for every brace of a pattern; an empty string where the scene has nothing to say."""
    player = species == "football player"
    thing = "football" if player and kind == "ball" else kind
    what = "" if kind == "none" or mouth == "ball" else _thing(rng, thing, colour)
    if what:
        link = {"bowl": ("from", "out of"), "bed": ("in", "on")}.get(kind) or NEAR[action]
        what = f"{rng.choice(link)} {what}"
    held = {
        "tongue": rng.choice(TONGUES),
        "ball": rng.choice(MOUTHFULS).format(thing=f"a {colour} ball"),
        "neither": "",
    }[mouth]
    moving = action == "running" or (action == "jumping" and rng.random() < 0.3)
    return {
        "who": f"a football player in {_article(coat)} shirt" if player else _article(f"{coat} {species}"),
        "plain": _article(species),
        "young": _article(YOUNG[species]),
        "does": rng.choice(ACTIONS[action]),
        "acts": rng.choice(ACTIONS[action][:2]),
        "where": rng.choice((PATHS if moving else PLACES)[place]),
        "what": what,
        "mouth": held,
    }


def _fill(pattern: str, phrases: dict[str, str]) -> str:
    return re.sub(r" +", " ", pattern.format(**phrases)).strip()


def references(rng: Random, **facts: str) -> tuple[str, ...]:
    """Five captions true of ``facts`` (species, coat, action, kind, place, mouth, colour); the first says them all."""
    found: list[str] = []
    for patterns in (FULL[:1], FULL[1:2], FULL[2:], FULL, SHORT):
        text = ""
        while not text or text in found:
            text = _fill(rng.choice(patterns), _phrases(rng, **facts))
        found.append(text)
    return tuple(found)


def words(species: tuple[str, ...], coats: tuple[str, ...], colours: tuple[str, ...]) -> set[str]:
    """Every word a caption about these can contain."""
    tables = [
        *ACTIONS.values(),
        *PLACES.values(),
        *PATHS.values(),
        *NEAR.values(),
        TONGUES,
        MOUTHFULS,
        *THINGS.values(),
        YOUNG.values(),
        species,
        coats,
        colours,
        ("a an in shirt from out of on football player",),
    ]
    text = " ".join(phrase for table in tables for phrase in table)
    return set(re.sub(r"\{\w+\}", " ", text).split())
