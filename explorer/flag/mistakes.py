"""What flags say was wrong: the words a correction takes back, which word is taken for which, and what kind of image it is.

python -m explorer.flag.mistakes "a dog with a ball in its mouth" "a dog with its tongue out"
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePosixPath

from explorer.data.folder import SPLITS
from explorer.flag.flags import Flag
from explorer.scoring import attributes
from explorer.scoring.metrics import FUNCTION_WORDS, stem
from explorer.scoring.wording import tokens

ALIKE = 0.9
"""The share of the commonest pair's count from which another pair counts as about as common."""

OWNERS = frozenset(("its", "his", "her", "their"))


@dataclass(frozen=True)
class Mistake:
    """The content words only the caption says (``wrong``) and only its correction says (``right``), in their order."""

    wrong: tuple[str, ...]
    right: tuple[str, ...]

    def is_in(self, text: str) -> bool:
        """Whether ``text`` makes this mistake: it says a wrong word and none of the right ones.

        A text that says neither leaves the matter open and is not wrong. A correction that only adds words, or only
        moves them, names no wrong word: nothing else makes its mistake.
        """
        said = {stem(word) for word in tokens(text)}
        return bool(said & {stem(w) for w in self.wrong}) and not said & {stem(w) for w in self.right}


def content(text: str) -> list[str]:
    return [word for word in tokens(text) if word not in FUNCTION_WORDS]


def mistake(caption: str, correction: str) -> Mistake:
    said, meant = content(caption), content(correction)
    only = lambda words, others: tuple(dict.fromkeys(w for w in words if stem(w) not in {stem(o) for o in others}))  # noqa: E731
    return Mistake(only(said, meant), only(meant, said))


# --- over many flags --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Confusion:
    """One word taken for another in several images. "" for ``right``: made up; "" for ``wrong``: left out."""

    right: str
    wrong: str
    flags: tuple[str, ...]
    images: int

    def sentence(self, article: str = "") -> str:
        count = f"{self.images} image{'s' if self.images != 1 else ''}"
        if not self.right:
            return f"{self.wrong} is made up in {count}"
        if not self.wrong:
            return f"{self.right} is left out in {count}"
        return f"{self.right} is taken for {article}{self.wrong} in {count}"


def confusions(flags: Iterable[Flag], at_least: int = 2) -> list[Confusion]:
    """Which word is taken for which, the commonest first; each flag is told once, under its commonest pair.

    Of pairs about as common as each other ("a ball in its mouth" for a tongue: ball, mouth) the one said first wins.
    """
    corrected = [flag for flag in flags if flag.corrected_caption]
    left = {flag.flag_id: _pairs(flag.caption, flag.corrected_caption) for flag in corrected}
    image_of = {flag.flag_id: flag.image_id for flag in corrected}
    owned = _owned(tokens(flag.caption) for flag in corrected)
    found = []
    while left:
        counts, ranks = Counter(), Counter()
        for options in left.values():
            counts.update(options)
            ranks.update({pair: rank for rank, pair in enumerate(options)})
        most = max(counts.values(), default=0)
        if most < at_least:
            break
        near = [pair for pair in counts if counts[pair] >= ALIKE * most]
        best = max(near, key=lambda pair: (all(pair), -ranks[pair] / counts[pair], counts[pair]))
        best = _thing_of(best, counts, owned)
        mine = tuple(identity for identity, options in left.items() if best in options)
        images = len({image_of[identity] for identity in mine})
        if images >= at_least:
            found.append(Confusion(*best, mine, images))
        left = {identity: options for identity, options in left.items() if best not in options}
    return sorted(found, key=lambda confusion: -confusion.images)


def _thing_of(pair: tuple[str, str], counts: Counter, owned: frozenset[str]) -> tuple[str, str]:
    """The pair, but when its wrong word is only where the wrong thing is ("a bone in its mouth", "a ball in its mouth"), the
    commonest such thing in at least half as many flags."""
    right, wrong = pair
    if wrong not in owned:
        return pair
    things = [(r, w) for r, w in counts if r == right and w and w not in owned and counts[r, w] >= counts[pair] / 2]
    return max(things, key=counts.__getitem__, default=pair)


def _owned(captions: Iterable[Sequence[str]]) -> frozenset[str]:
    """The words that captions mostly say as somebody's part: its mouth, their heads."""
    uses = Counter((word, before in OWNERS) for words in captions for before, word in pairwise(words))
    return frozenset(word for word, is_owned in uses if is_owned and uses[word, True] > uses[word, False])


def shared(flags: Iterable[Flag]) -> dict[str, Mistake]:
    """By flag id the one confusion a flag shares with others: what is wrong with it, where its correction says all else in
    other words, too ("road" for "street")."""
    return {identity: Mistake((c.wrong,), (c.right,)) for c in confusions(flags) if c.wrong and c.right for identity in c.flags}


def _pairs(caption: str, correction: str) -> list[tuple[str, str]]:
    """(right word, wrong word) of a flag, those said first first; "" where one side only adds or only takes away.

    A word said twice and corrected once is wrong once ("near a ball with a ball in its mouth").
    """
    said, meant = content(caption), content(correction)
    before, after = (Counter(map(stem, words)) for words in (said, meant))
    wrong = dict.fromkeys(word for word in said if before[stem(word)] > after[stem(word)])
    right = dict.fromkeys(word for word in meant if after[stem(word)] > before[stem(word)])
    return [(r, w) for w in wrong or ("",) for r in right or ("",) if r or w]


def sentences(flags: Sequence[Flag], most: int = 5) -> list[tuple[str, Confusion]]:
    """(sentence, confusion) such as "tongue is taken for a ball in 14 images"."""
    texts = [text for flag in flags for text in (flag.caption, *flag.references)]
    return [(c.sentence(_article(c.wrong, texts)), c) for c in confusions(flags)[:most]]


def _article(word: str, texts: Iterable[str]) -> str:
    """ "a " or "an " when people say it before ``word`` as a thing of its own ("a ball in", not "a black dog")."""
    for text in texts:
        words = tokens(text)
        for at, said in enumerate(words):
            ends = at + 1 == len(words) or words[at + 1] in FUNCTION_WORDS
            if said == word and ends and at and (words[at - 1] in ("a", "an") or (at > 1 and words[at - 2] in ("a", "an"))):
                return "an " if word[0] in "aeiou" else "a "
    return ""


def wrong_words(flags: Iterable[Flag]) -> Counter:
    """How many flagged captions say each word that their correction, or for want of one every reference, does not say."""
    found: Counter = Counter()
    for flag in flags:
        told = [flag.corrected_caption] if flag.corrected_caption else flag.references
        if told:
            known = {stem(word) for text in told for word in tokens(text)}
            found.update({word for word in content(flag.caption) if stem(word) not in known})
    return found


def subject(flag: Flag) -> str:
    """The kind of image: the folder it is in, when that names no split, else what its references are about; "" if unknown."""
    folders = [part for part in PurePosixPath(flag.image_file).parts[:-1] if part.lower() not in SPLITS]
    if folders:
        return folders[-1]
    told = Counter(filter(None, map(_species, flag.references)))
    return told.most_common(1)[0][0] if told else ""


@lru_cache(maxsize=20_000)
def _species(text: str) -> str | None:
    return attributes.read(text).species


def by_word(flags: Iterable[Flag], word: str) -> frozenset[str]:
    return frozenset(flag.flag_id for flag in flags if wrong_words([flag])[word])


def by_subject(flags: Iterable[Flag]) -> dict[str, frozenset[str]]:
    """Flag ids by the kind of image, the commonest first; those of no known kind are left out."""
    found = defaultdict(set)
    for flag in flags:
        if kind := subject(flag):
            found[kind].add(flag.flag_id)
    return {kind: frozenset(ids) for kind, ids in sorted(found.items(), key=lambda item: -len(item[1]))}


if __name__ == "__main__":
    print(mistake(*sys.argv[1:3]), _pairs(*sys.argv[1:3]))
