"""Scores of a base over a captioned dataset, as the model card states them.

python -m explorer score --base blip-mini --data FOLDER --beams 3 --word dog
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from explorer.data import dataset
from explorer.data.dataset import Example
from explorer.data.images import open_image
from explorer.model.captions import Decoding
from explorer.scoring import metrics
from explorer.scoring.wording import tokens
from explorer.workspace import Workspace


def caption_all(workspace: Workspace, base: str, examples: Sequence[Example], decoding: Decoding, batch_size: int = 16) -> list[str]:
    """The caption a base gives each example, in order."""
    from explorer.model.captioner import load

    captioner = load(workspace.base_folder(base))
    found = []
    for start in range(0, len(examples), batch_size):
        pictures = [open_image(example.path) for example in examples[start : start + batch_size]]
        found += [caption.text for caption in captioner.caption(captioner.encode(pictures), decoding)]
    return found


def share_saying(word: str, captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, int]:
    """(share of captions with ``word``, number of images) over the images of which a reference uses it.

    The word counts in the singular and with an s; the share is nan when no reference uses it.
    """
    forms = {word, word + "s"}
    asked = [caption for caption, group in zip(captions, references, strict=True) if any(forms & set(tokens(text)) for text in group)]
    said = sum(bool(forms & set(tokens(caption))) for caption in asked)
    return (said / len(asked) if asked else float("nan")), len(asked)


def score_dataset(workspace: Workspace, base: str, data: Path, decoding: Decoding, word: str | None = None) -> Iterator[str]:
    """Lines to print: the scores with the number of references, distinct captions, and the share that says ``word``."""
    examples = dataset.read(data, cache=workspace.cache).captioned
    yield f"{base} on {data.name}: {len(examples)} images, {decoding.beams} beams, at most {decoding.max_tokens} tokens"
    captions = caption_all(workspace, base, examples, decoding)
    references = [example.references for example in examples]
    scores = metrics.score(captions, references)
    cider = "too few images" if scores["CIDEr"] is None else f"{scores['CIDEr']:.3f}"
    yield f"CIDEr {cider}, BLEU-4 {scores['BLEU-4']:.3f}, ROUGE-L {scores['ROUGE-L']:.3f}, {scores['references']:.2f} references an image"
    yield f"distinct captions: {scores['distinct']} of {scores['images']}"
    if word:
        share, count = share_saying(word, captions, references)
        yield f"captions that say {word}: {share:.1%} of the {count} images of which a reference does"
    for example, caption in list(zip(examples, captions, strict=True))[:: max(1, len(examples) // 6)][:6]:
        yield f"  {example.file_name}: {caption}"
