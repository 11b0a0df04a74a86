"""What is true of every caption of a comparison, as one array a column.

Each is reckoned when a filter or an order first asks for it and kept, so that putting columns on, off and in another
order costs nothing. Arrays run over images; -1, nan or False stand where there is no caption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from explorer.model.captions import Caption
from explorer.scoring import metrics, nouns, wording


class Findings:
    """``captions``: for each column key one caption an image, None where there is none yet."""

    def __init__(self, images: Sequence[dict], captions: dict[str, list[Caption | None]]):
        self.images, self.captions = images, captions
        self.kept: dict[tuple, object] = {}
        self.numbers: dict[str, int] = {}

    def _once(self, key: tuple, make: Callable):
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def _each(self, name: str, column: str, value: Callable[[Caption], object], missing: object, kind: type) -> np.ndarray:
        return self._once((name, column), lambda: np.array([missing if c is None else value(c) for c in self.captions[column]], dtype=kind))

    def lacking(self, columns: Sequence[str]) -> int:
        """How many of the columns have no goodness yet."""
        return sum(("goodness", column) not in self.kept for column in columns)

    def goodness(self, columns: Sequence[str], tell: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """[images, columns]: `metrics.goodness`; nan where there is no caption or no reference. ``tell``: images done so far."""
        lacking = [column for column in columns if ("goodness", column) not in self.kept]
        for column, values in zip(lacking, self._goodness(lacking, tell).T, strict=True):
            self.kept["goodness", column] = values
        if not columns:
            return np.full((len(self.images), 1), np.nan)
        return np.stack([self.kept["goodness", column] for column in columns], axis=1)

    def _goodness(self, columns: Sequence[str], tell: Callable[[int], None]) -> np.ndarray:
        out = np.full((len(self.images), len(columns)), np.nan)
        captions = [self.captions[column] for column in columns]
        for place, image in enumerate(self.images if columns else ()):
            if place % 500 == 0:
                tell(place)
            if not image["references"]:
                continue
            known: dict[str, float] = {}  # epochs often say the same of an image
            for at, said in enumerate(captions):
                if (caption := said[place]) is not None:
                    if caption.text not in known:
                        known[caption.text] = metrics.goodness(caption.text, image["references"])
                    out[place, at] = known[caption.text]
        return out

    def nouns(self) -> frozenset[str]:
        """The nouns of all captions and references, as `nouns.learned` finds them."""

        def learn():
            said = [caption.text for column in self.captions.values() for caption in column if caption]
            return nouns.learned([*said, *(text for image in self.images for text in image["references"])])

        return self._once(("nouns",), learn)

    def strange(self, column: str) -> np.ndarray:
        """Whether each caption is about a thing that none of its image's references names."""

        def find():
            known = self.nouns()
            pairs = zip(self.images, self.captions[column], strict=True)
            return np.array([bool(c and i["references"]) and nouns.strange_subject(c.text, i["references"], known) for i, c in pairs], bool)

        return self._once(("strange", column), find)

    def wording(self, column: str) -> np.ndarray:
        """A number a caption, the same for the same words whatever the case and punctuation; -1 for none."""
        return self._each("wording", column, lambda c: self.numbers.setdefault(wording.plain(c.text), len(self.numbers)), -1, int)

    def common(self, column: str) -> frozenset[str]:
        """Captions, as plain words, that the column gives to many images."""
        return self._once(("common", column), lambda: frozenset(metrics.common([c.text for c in self.captions[column] if c and c.text])))

    def is_repeated(self, column: str, caption: Caption) -> bool:
        """Whether it says a word twice in a row, or is what the column says of many images."""
        return metrics.repeats_words(caption.text) or wording.plain(caption.text) in self.common(column)

    def repeated(self, column: str) -> np.ndarray:
        return self._each("repeated", column, lambda c: self.is_repeated(column, c), False, bool)

    def unfinished(self, column: str) -> np.ndarray:
        return self._each("unfinished", column, lambda c: metrics.is_unfinished(c.text, c.finished), False, bool)

    def lowest(self, column: str) -> np.ndarray:
        """The lowest word probability of each caption; 1 where there is none."""
        return self._each("lowest", column, lambda c: min(c.probabilities, default=1.0), 1.0, float)

    def likeness(self, first: str, second: str) -> np.ndarray:
        """How like the captions of two columns are, 0 to 1; 1 where either is missing."""
        pairs = zip(self.captions[first], self.captions[second], strict=True)
        return self._once(
            ("likeness", first, second),
            lambda: np.array([wording.likeness(a.text, b.text) if a and b and a.text != b.text else 1.0 for a, b in pairs], float),
        )

    def holds(self, word: str, columns: Sequence[str]) -> np.ndarray:
        """Whether ``word``, in lower case, is in an image's file name, a reference or a caption of ``columns``."""
        told = self._once(("told",), lambda: ["\n".join([i["file"], *i["references"]]).lower() for i in self.images])
        keep = np.array([word in text for text in told], bool)
        for column in columns:
            said = self._once(("said", column), lambda c=column: [each.text.lower() if each else "" for each in self.captions[c]])
            keep |= np.array([word in text for text in said], bool)
        return keep

    def file_order(self) -> np.ndarray:
        """The rank of each image by file name; equal names share the order of the dataset."""
        names = [image["file"] for image in self.images]

        def ranks():
            out = np.empty(len(names), int)
            out[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
            return out

        return self._once(("file order",), ranks)
