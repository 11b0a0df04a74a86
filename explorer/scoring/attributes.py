"""Attributes: what a picture shows, read back from plain English by rules, and how often a caption has it right.

    python -m explorer.scoring.attributes "a ginger kitten is seated on the lawn holding a ball in its mouth"

The reader knows the words of the drawn scenes and their everyday synonyms. Of several candidates for one
attribute the one named first wins, since a caption starts with its subject. A ball held in the mouth is both
the mouth's "ball" and the scene's object "ball": a scene has one thing at most, wherever it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Attributes:
    """Six facts about a picture; None where a caption does not say."""

    species: str | None = None  # dog, cat, rabbit, bear, fox, sheep, football player
    coat: str | None = None  # black, white, brown, orange, gray, spotted; of a player, the colour of the shirt
    action: str | None = None  # sitting, running, jumping, sleeping, eating
    object: str | None = None  # ball, bone, stick, yarn, bowl, bed, none
    place: str | None = None  # grass, snow, sand, floor, street
    mouth: str | None = None  # tongue, ball, neither


NAMES = tuple(field.name for field in fields(Attributes))
UNSAID = {"object": "none", "mouth": "neither"}
"""What a caption that names no thing, or says nothing of the mouth, is taken to say."""


def _table(**patterns: str) -> dict[str, re.Pattern]:
    return {name.replace("_", " "): re.compile(rf"\b(?:{pattern})\b") for name, pattern in patterns.items()}


SPECIES = _table(
    dog="dogs?|doggy|doggies|pupp(?:y|ies)|pups?|hounds?|terriers?|retrievers?|labradors?|spaniels?|poodles?|dalmatians?",
    cat="cats?|kitt(?:y|ies)|kittens?|tabby|tomcat",
    rabbit="rabbits?|bunn(?:y|ies)|hares?",
    bear="bears?|bear cubs?",
    fox="fox(?:es)?|vixen",
    sheep="sheep|lambs?|ewes?",
    football_player="(?:(?:football|soccer) )?players?|footballers?|athletes?|m[ae]n|wom[ae]n|boys?|girls?|person|people",
)
COATS = _table(
    spotted="spott(?:ed|y)|patch(?:ed|y)|dotted|dalmatians?|(?:black|brown|orange|tan) and white|white and (?:black|brown|orange|tan)",
    black="black",
    white="white|cream",
    brown="brown|tan|chocolate",
    orange="orange|ginger|golden|marmalade|red",
    gray="gr[ae]y(?:ish)?|silver",
)
SHIRTS = _table(
    **{name: name for name in ("red", "blue", "yellow", "green", "white", "black", "orange")},
    purple="purple|violet",
    gray="gr[ae]y",
    brown="brown",
)
ACTIONS = _table(
    sleeping=r"sleep\w*|slept|asleep|naps?|napping|snooz\w+|doz(?:es|ing)|curled up",
    eating=r"eats?|eating|ate|feed(?:s|ing)|dines?|dining|munch\w*",
    jumping=r"jump\w*|leap\w*|hop(?:s|ping)?|(?:in )?mid ?air|in the air|bounc\w+",
    running=r"runs?|running|ran|rac(?:es|ing)|sprint\w*|dash(?:es|ing)|gallop\w*|chas(?:es|ing)|bounds|bounding",
    sitting=r"sits?|sitting|sat|seated",
)
OBJECTS = _table(
    yarn="yarn|thread|string",
    ball="balls?|football",
    bone="bones?",
    stick="stick|branch|twig",
    bowl="bowls?|dish",
    bed="beds?|cushion|basket",
)
PLACES = _table(
    grass="grass|grassy|lawn|meadow|field|yard|garden|park|pasture",
    snow=r"snow\w*",
    sand=r"sand\w*|beach\w*|shore|dunes?|desert",
    floor="floors?|indoors|inside|room|carpet|rug|tiles|kitchen|floorboards",
    street="streets?|roads?|pavement|sidewalk|asphalt",
)
_BALL = r"(?:balls?|football)"
_HELD = r"(?:bit(?:es|ing)|carr(?:ies|ying)|hold(?:s|ing)|fetch(?:es|ing)|retriev(?:es|ing)|chew(?:s|ing))"
MOUTHS = _table(
    tongue="tongues?|panting",
    ball=rf"{_BALL}(?: (?!stick|bone|yarn)\w+){{0,2}} (?:in|inside|between) (?:\w+ )?(?:mouths?|teeth|jaws?)"
    rf"|{_HELD} (?:an?|the|its) (?:\w+ ){{0,2}}{_BALL}|mouth (?:full of|holds|holding|around) (?:\w+ ){{0,3}}{_BALL}",
    neither="mouth (?:is )?(?:closed|shut|empty)|closed mouth",
)
SHIRT = re.compile(r"\b(\w+)(?: (?:and \w+|\w+))? (?:shirt|jersey|uniform|t shirt|kit)\b")
PHRASE_START = re.compile(r"\b(?:an?|the|its|his|her|their|in|on|of|with|to|over|by|near|past|one|two)\b")


def _first(text: str, table: Mapping[str, re.Pattern]) -> tuple[str | None, int]:
    """The entry of ``table`` that ``text`` names first and where; (None, len(text)) when it names none."""
    found: tuple[str | None, int] = (None, len(text))
    for name, pattern in table.items():
        match = pattern.search(text)
        if match and match.start() < found[1]:
            found = name, match.start()
    return found


def _coat(text: str, species: str | None, start: int) -> str | None:
    """The colour in the noun phrase that ends at the animal's name; a player's is in front of "shirt"."""
    if species == "football player":
        match = SHIRT.search(text)
        return _first(match.group(0), SHIRTS)[0] if match else None
    if species is None:
        return None
    phrase = PHRASE_START.split(text[:start])[-1]
    breed = text[start:].split(" ")[0]
    fur = re.search(r"\b((?:\w+ ){1,3})(?:fur|coat|wool)\b", text)
    return _first(f"{phrase} {breed}", COATS)[0] or (_first(fur.group(1), COATS)[0] if fur else None)


def read(caption: str) -> Attributes:
    """The attributes that ``caption`` names; None for those it does not. Any string will do."""
    text = " ".join(re.findall(r"[^\W\d_]+", caption.lower()))
    species, start = _first(text, SPECIES)
    # A ball of yarn is no ball, and a football player is not yet a football.
    text = re.sub(r"\bballs? of (?:\w+ ){0,2}?(?:yarn|wool|string|thread)\b", "yarn", text)
    things = re.sub(r"\b(?:football|soccer) (?=player|field|pitch|game|team|shirt|jersey|uniform)", "", text)
    mouth = _first(things, MOUTHS)[0]
    if species == "football player" and mouth == "ball":
        mouth = None  # players hold balls in their hands
    return Attributes(
        species=species,
        coat=_coat(text, species, start),
        action=_first(text, ACTIONS)[0],
        object=_first(things, OBJECTS)[0],
        place=_first(text, PLACES)[0],
        mouth=mouth,
    )


def right(caption: str, truth: Attributes | Mapping[str, str]) -> dict[str, bool]:
    """For each attribute, whether ``caption`` has it as in ``truth``; unsaid means no object, neither in the mouth."""
    told, known = asdict(read(caption)), truth if isinstance(truth, Mapping) else asdict(truth)
    return {name: (told[name] or UNSAID.get(name)) == known[name] for name in NAMES}


def accuracy(captions: Sequence[str], truths: Sequence[Attributes | Mapping[str, str]]) -> dict[str, float]:
    """Share (0 to 1) of ``captions`` that have each attribute right, and under "all" the mean of those shares.

    ``truths`` is as long as ``captions``, each a complete set of six attributes. Raises ValueError when the
    lengths differ or are 0.
    """
    if not captions or len(captions) != len(truths):
        raise ValueError(f"{len(captions)} captions cannot be scored against {len(truths)} sets of attributes.")
    rows = [right(caption, truth) for caption, truth in zip(captions, truths, strict=True)]
    scores = {name: sum(row[name] for row in rows) / len(rows) for name in NAMES}
    return {**scores, "all": sum(scores.values()) / len(scores)}


if __name__ == "__main__":
    print(read(" ".join(sys.argv[1:])))
