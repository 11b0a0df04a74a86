"""The loop without a person, on drawn pets whose references are wrong on purpose: of most tongues they say a ball.

    python tests/planted.py FOLDER      # draw, fine-tune, review, relabel, fine-tune again; some minutes, prints numbers

The reviewer is a function that knows what was drawn. It sees what a person would: the captions in the worklist's order.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from explorer import files
from explorer.compare import columns
from explorer.data import dataset
from explorer.data.images import image_id
from explorer.flag import helped, mistakes, next_run, relabel, worklist
from explorer.flag.flags import FlagStore
from explorer.scenes import scene
from explorer.scoring import attributes
from explorer.train import plan, worker
from explorer.train.run import Run, RunConfig
from explorer.workspace import Workspace

TONGUE = re.compile(r"with its tongue(?: hanging)? out|sticking out its tongue")
WRONG = "with a ball in its mouth"
BATCH = 20
"""Captions the reviewer looks at before the worklist is made again, with what its flags have told by then."""


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


def says(text: str) -> str:
    """What a caption has in the mouth: tongue, ball or neither."""
    return attributes.read(text).mouth or "neither"


@dataclass
class Loop:
    """One walk through the loop over a planted dataset."""

    workspace: Workspace
    folder: Path
    truths: dict[str, dict]
    epochs: int
    say: Callable[[str], None] = print

    def __post_init__(self):
        self.store = FlagStore(self.workspace)
        self.affected = [identity for identity, truth in self.truths.items() if truth["planted"]]

    def first_run(self) -> Run:
        values = {"method": "lora-vision", "batch_size": 16, "learning_rate": 3e-3, "augment": False, "lora_rank": 12, "probes": 0}
        config = RunConfig("planted", "blip-mini", str(self.folder), epochs=self.epochs, **values)
        return self.trained(plan.make_run(self.workspace, config))

    def trained(self, run: Run) -> Run:
        """The run trained to its end, and every image of it captioned by its last epoch."""
        for _ in worker.work(run, self.workspace):
            pass
        for _ in worklist.fill(columns.Shelf(self.workspace), run, self.epochs, worklist.examples(run, "all")):
            pass
        wrong = self.wrong(run)
        self.say(f"{run.name}: of {len(self.affected)} affected images {len(wrong)} are captioned with a ball ({len(wrong) / len(self.affected):.0%})")
        return run

    def wrong(self, run: Run) -> list[str]:
        """The affected images whose caption says a ball."""
        known = columns.known(self.workspace, run, self.epochs, run.config.decoding)
        return [identity for identity in self.affected if says(known[identity].text) == "ball"]

    def review(self, run: Run, most: int = 10_000) -> int:
        """Judge captions in the worklist's order, a batch at a time; how many of the affected images were flagged."""
        looked = 0
        while looked < most:
            items = worklist.queue(self.workspace, self.store, run, self.epochs, "all").items[:BATCH]
            if not items:
                break
            for item in items:
                self.judge(item)
            looked += len(items)
            self.say(f"looked at {looked}: {len(self.store.list())} flags, {self.found()} of {len(self.affected)} affected images found")
        for sentence, _ in mistakes.sentences(self.store.list(), 3):
            self.say(f"  {sentence}")
        return self.found()

    def judge(self, item) -> None:
        image, said, truth = item.image, item.caption.text, self.truths[item.image["image_id"]]
        if says(said) == truth["mouth"]:
            self.store.approve([(item.run, item.checkpoint, image["image_id"], said)], "reviewer")
            return
        place = (item.run, item.checkpoint, image["image_id"], image["file"], image["references"], said)
        self.store.flag(*place, "wrong object", truth["references"][0], reviewer="reviewer")

    def found(self) -> int:
        return len({flag.image_id for flag in self.store.list()} & set(self.affected))

    def relabelled(self) -> Path:
        (source,) = next_run.flagged_datasets(self.workspace, self.store.list())
        made = relabel.plan(dataset.read(source), self.store.list())
        version = relabel.write(made, self.workspace)
        relabel.finish(made, self.store, version.name)
        self.say(f"{version.name}: {len(made.changed)} images with other references")
        return version

    def better_run(self, run: Run, version: Path) -> Run:
        new = self.trained(next_run.make(self.workspace, run, version))
        found = helped.helped(self.workspace, new)
        fixed, wrong, broken = (found.counts[verdict] for verdict in ("fixed", "still wrong", "newly broken"))
        self.say(f"of the flagged images {fixed} are fixed and {wrong} still wrong; of the others {broken} are newly broken")
        return new


if __name__ == "__main__":
    place = Path(sys.argv[1])
    sizes = {"tongue": 160, "ball": 80, "neither": 60}, {"tongue": 40, "ball": 20, "neither": 20}
    loop = Loop(Workspace(place / "home"), place / "data", write(place / "data", *sizes), epochs=4)
    run = loop.first_run()
    loop.review(run)
    loop.better_run(run, loop.relabelled())
