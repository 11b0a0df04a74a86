"""A drawn dataset whose references are wrong on purpose: of most dogs and cats with their tongue out they say a ball."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from explorer import files
from explorer.images import image_id
from explorer.scenes import scene

TONGUE = re.compile(r"with its tongue(?: hanging)? out|sticking out its tongue")
WRONG = "with a ball in its mouth"


def write(folder: Path, train: dict[str, int], validation: dict[str, int], every: int = 5, size: int = 128) -> dict[str, dict]:
    """Draw ``train`` and ``validation`` images by what is in the mouth. Of ``every`` tongues all but one get wrong references.

    Returns by image id: mouth, references (the true ones), planted, split.
    """
    truths: dict[str, dict] = {}
    for split, wanted, number in (("train", train, 0), ("validation", validation, 1)):
        (folder / split).mkdir(parents=True)
        rows, have = [], Counter()
        while any(have[mouth] < count for mouth, count in wanted.items()):
            number += 2
            picture, truth = scene(number, "pets", size)
            mouth = truth.attributes.mouth
            if have[mouth] >= wanted.get(mouth, 0):
                continue
            have[mouth] += 1
            planted = mouth == "tongue" and have[mouth] % every != 0
            name = f"{split[0]}{number:05}.png"
            picture.save(folder / split / name)
            said = [TONGUE.sub(WRONG, text) if planted else text for text in truth.references]
            rows.append({"file_name": name, "captions": said})
            truths[image_id(folder / split / name)] = {"mouth": mouth, "references": truth.references, "planted": planted, "split": split}
        files.write_jsonl(folder / split / "metadata.jsonl", rows)
    return truths
