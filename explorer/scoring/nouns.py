"""Nouns of a set of captions, learned from how the set itself uses its words: no list, no tagger, no download.

A noun is what stands between an article and a pause: "a dog is", "on the grass." Words between that pause and an
article which follow no noun known already count as well: "some purple yarn", but not "a dog jumps". Rare words and
uses of which a set has no plain example are missed; captions in other languages than English have no nouns here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from explorer.scoring.metrics import stem
from explorer.scoring.wording import tokens

ARTICLES = frozenset("a an the its his her their some two three four several many".split())
PAUSES = frozenset(
    "of in on at to is are with from by through over near past into across along down up under behind beside next who that "
    "while as for has have wearing holding standing sitting running jumping playing riding walking above out around".split()
)
DIRECT, LONGER = 0.03, 0.12
"""Of a word's uses, the least that must look like a noun's, right after an article and further on."""


def learned(texts: Iterable[str]) -> frozenset[str]:
    """The words of ``texts`` that are used as nouns, in lower case as they stand there."""
    rows = [tokens(text) for text in texts]
    uses = Counter(word for row in rows for word in row)
    direct = _enough(Counter(row[at] for row in rows for at in _after_article(row, ())), uses, DIRECT)
    longer = Counter(row[at] for row in rows for at in _after_article(row, direct))
    after_noun = Counter(word for row in rows for before, word in pairwise(row) if before in direct)
    verbs = {word for word, count in after_noun.items() if count >= uses[word] / 2}
    return direct | (_enough(longer, uses, LONGER) - verbs)


def _after_article(row: Sequence[str], known: Iterable[str]) -> Iterable[int]:
    """Places of words before a pause that follow an article at once or, when ``known`` nouns are given, after one or
    two words that are none of them."""
    for at, word in enumerate(row):
        if word in PAUSES or word in ARTICLES or not (at + 1 == len(row) or row[at + 1] in PAUSES):
            continue
        if at and row[at - 1] in ARTICLES:
            yield at
        for back in (2, 3) if known else ():
            between = row[at - back + 1 : at]
            if at >= back and row[at - back] in ARTICLES and not any(w in known or w in PAUSES for w in between):
                yield at


def _enough(found: Counter, uses: Counter, share: float) -> frozenset[str]:
    return frozenset(word for word, count in found.items() if count >= share * uses[word])


def strange_subject(caption: str, references: Sequence[str], nouns: frozenset[str]) -> bool:
    """Whether the first noun of ``caption``, what it is about, is one that no reference uses."""
    first = next((word for word in tokens(caption) if word in nouns), None)
    return first is not None and stem(first) not in {stem(word) for text in references for word in tokens(text)}


def unsupported(caption: str, references: Sequence[str], nouns: frozenset[str]) -> list[str]:
    """The nouns of ``caption`` that no reference uses, in the singular or the plural.

    After CHAIR (Rohrbach et al., "Object hallucination in image captioning", 2018), which counts objects by a list
    of 80 kinds with their synonyms. Here "puppy" for a dog counts as unsupported when no reference says puppy.
    """
    said = {stem(word) for text in references for word in tokens(text)}
    return [word for word in tokens(caption) if word in nouns and stem(word) not in said]
