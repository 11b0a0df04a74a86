"""Did it help? The flagged images before and after a fine-tune on the relabelled dataset, apart from all the others.

Before: what the flagged run says of an image (of a flagged image, the flagged caption itself). After: what the run on the
relabelled dataset says. A flagged image is fixed when its new caption makes none of its flagged mistakes and is near its
new references (`metrics.RIGHT`); an image nobody flagged is newly broken when its caption was near them and is no more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from explorer.compare import columns
from explorer.errors import UserError
from explorer.flag import relabel
from explorer.flag.mistakes import mistake
from explorer.model.captions import Caption
from explorer.scoring import metrics
from explorer.train.run import Run
from explorer.workspace import Workspace

FIXED, WRONG, BROKEN, KEPT = "fixed", "still wrong", "newly broken", "as before"


@dataclass(frozen=True)
class Outcome:
    """One image before and after. ``references``: the new ones. ``flagged``: it had a corrected flag."""

    image_id: str
    file: str
    path: Path
    references: tuple[str, ...]
    before: str
    after: str
    verdict: str
    flagged: bool


@dataclass(frozen=True)
class Help:
    """The outcomes, and the images that have no caption yet before or after, with whose is missing."""

    before: tuple[str, int]
    after: tuple[str, int]
    outcomes: tuple[Outcome, ...]
    missing_before: tuple[dict, ...]
    missing_after: tuple[dict, ...]

    @cached_property
    def counts(self) -> Counter:
        return Counter(outcome.verdict for outcome in self.outcomes)

    def part(self, flagged: bool) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.flagged == flagged]

    def scores(self, flagged: bool) -> tuple[dict, dict]:
        """`metrics.score` of the flagged images or of all others, (before, after), both against the new references."""
        part = self.part(flagged)
        references = [outcome.references for outcome in part]
        return metrics.score([o.before for o in part], references), metrics.score([o.after for o in part], references)


def dataset_of(run: Run) -> Path:
    return Path(run.config.dataset)


def runs_on_versions(runs: list[Run]) -> list[Run]:
    """The runs that learned from a relabelled version."""
    return [run for run in runs if relabel.read_manifest(dataset_of(run)) and run.checkpoints()]


def helped(workspace: Workspace, run: Run, epoch: int | None = None) -> Help:
    """Compare ``run`` at an epoch (its last when None) with the run its dataset's flags are of.

    Raises UserError when the run is not on a relabelled version, or the flagged run is gone.
    """
    found = relabel.read_manifest(dataset_of(run))
    if not found:
        raise UserError(f"The run {run.name!r} did not learn from a relabelled dataset: make one from flags first.")
    if not run.checkpoints():
        raise UserError(f"The run {run.name!r} has no finished epoch yet: wait for it.")
    epoch = run.checkpoints()[-1].epoch if epoch is None else epoch
    flags = {row["image_id"]: row["flags"] for row in found["examples"]}
    (name, checkpoint), _ = Counter((f["run"], f["checkpoint"]) for group in flags.values() for f in group).most_common(1)[0]
    old, old_epoch = _run(workspace, name), int(checkpoint.removeprefix("epoch-")) if checkpoint != "base" else 0
    was = columns.known(workspace, old, old_epoch, old.config.decoding) if old else {}
    now = columns.known(workspace, run, epoch, run.config.decoding)
    outcomes, missing_before, missing_after = [], [], []
    for row in run.examples():
        row = {**row, "path": str(run.folder / row["path"])}
        mine = flags.get(row["image_id"], [])
        before = mine[-1]["caption"] if mine else _text(was.get(row["image_id"]))
        after = _text(now.get(row["image_id"]))
        if mine or row["split"] == "validation":
            missing_before += [row] if before is None else []
            missing_after += [row] if after is None else []
        if before is not None and after is not None:
            outcomes.append(_outcome(row, mine, before, after))
    return Help((name, old_epoch), (run.name, epoch), tuple(outcomes), tuple(missing_before), tuple(missing_after))


def _outcome(row: dict, flags: list[dict], before: str, after: str) -> Outcome:
    references = tuple(row["references"])
    right = metrics.goodness(after, references) >= metrics.RIGHT
    if flags:
        again = any(mistake(f["caption"], f["corrected_caption"]).is_in(after) or after == f["caption"] for f in flags)
        verdict = FIXED if right and not again else WRONG
    else:
        verdict = BROKEN if not right and metrics.goodness(before, references) >= metrics.RIGHT else KEPT
    return Outcome(row["image_id"], row["file"], Path(row["path"]), references, before, after, verdict, bool(flags))


def _text(caption: Caption | None) -> str | None:
    return caption.text if caption else None


def _run(workspace: Workspace, name: str) -> Run | None:
    run = Run(workspace.run_folder(name))
    return run if (run.folder / "run.json").exists() else None
