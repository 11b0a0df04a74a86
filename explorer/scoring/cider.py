"""CIDEr-D of single captions, their words weighed by a set known beforehand.

The library weighs words by the captions being scored: of one caption, or of a step's few dozen, it says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pycocoevalcap.cider.cider_scorer import CiderScorer


class Cider(CiderScorer):
    """CIDEr-D (Vedantam et al., "CIDEr", 2015); words count more the fewer images of ``references`` use them."""

    def __init__(self, references: Sequence[Sequence[str]]):
        super().__init__()
        for group in references:
            self.cook_append(None, group)
        self.compute_doc_freq()
        self.images = math.log(max(1, len(references)))

    # The library takes the number of images from the captions being scored.
    ref_len = property(lambda self: self.images, lambda self, value: None)

    def __call__(self, captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        """The score of each of ``captions`` against the references of its own image; 1.0 where people write 100."""
        self.ctest, self.crefs = [], []
        for caption, group in zip(captions, references, strict=True):
            self.cook_append(caption, group)
        return [float(value) for value in self.compute_cider()]
