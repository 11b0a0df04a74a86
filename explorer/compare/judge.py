"""One caption held against the references of its image: what the detail says beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.compare.comparison import Comparison
from explorer.compare.relevance import sample
from explorer.scoring import metrics, nouns
from explorer.scoring.wording import plain

SET = 1000
"""Images, at most, that words are weighed by and nouns are learned from."""


@dataclass(frozen=True)
class Judgement:
    """``cider``: None where the set is too small to weigh words by. ``unsupported``: nouns that no reference uses."""

    cider: float | None
    bleu: float
    rouge: float
    references: int
    unsupported: tuple[str, ...]


class Judge:
    """The scores of single captions of one comparison; word weights and nouns are those of the whole set."""

    def __init__(self, comparison: Comparison):
        from explorer.scoring.cider import Cider

        images = sample([image for image in comparison.images if image["references"]], SET)
        places = [comparison.places[image["image_id"]] for image in images]
        said = [comparison.text(column, place) or "" for column in comparison.columns for place in places]
        told = [text for image in images for text in image["references"]]
        self.nouns = nouns.learned(said + told)
        enough = len(images) >= metrics.FEW
        self.cider = Cider([[plain(text) for text in image["references"]] for image in images]) if enough else None

    def __call__(self, caption: str, references: Sequence[str]) -> Judgement | None:
        """None for an image without references: there is nothing to hold the caption against."""
        if not references:
            return None
        (row,) = metrics.per_image([caption], [references])
        said, told = plain(caption) or "<empty>", [plain(text) for text in references]
        cider = self.cider([said], [told])[0] if self.cider else None
        wrong = nouns.unsupported(caption, references, self.nouns)
        return Judgement(cider, row["BLEU-4"], row["ROUGE-L"], len(references), tuple(dict.fromkeys(wrong)))


def judge(comparison: Comparison) -> Judge:
    """The judge of a comparison, made once; the order of its columns makes no difference."""
    kept, key = comparison.findings.kept, ("judge", *sorted(comparison.keys))
    if key not in kept:
        kept[key] = Judge(comparison)
    return kept[key]
