"""The fine-tune itself: a run in, a stream of Progress out.

    for progress in finetune(run, workspace):
        print(progress)

What is seen when is decided in `schedule`, learning is done by `engine`, what is kept is written by `saving`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from explorer import files
from explorer.train import best, health, saving
from explorer.train.engine import Engine, Stopped
from explorer.train.ranks import Ranks
from explorer.train.run import Progress, Run, by_kind
from explorer.workspace import Workspace


def finetune(run: Run, workspace: Workspace, stop: Callable[[], bool] = lambda: False, ranks: Ranks = Ranks()) -> Iterator[Progress]:
    """Run or resume ``run`` to its last epoch. ``stop`` is asked between steps; a stopped run resumes there.

    The last Progress is of kind "end". With several ``ranks`` all of them iterate, and the first one's Progress counts.
    Raises UserError for what the person can mend (base, images, memory).
    """
    engine = Engine(run, workspace, stop, ranks)
    yield engine.progress("loading")
    engine.load()
    resumed = saving.load_state(engine)
    ranks.agree(lambda: tidy(run, engine.step if resumed else 0, engine.epochs_done))
    watch = Watch(run, engine.captioner.vocabulary)
    try:
        for progress in _course(engine):
            yield progress
            yield from watch(progress, engine)
        yield engine.progress("end", engine.epochs_done, state="finished", text=_closing_words(run, engine.epochs_done))
    except Stopped:
        if ranks.first:
            saving.save_state(engine)
        yield engine.progress("end", engine.epochs_done, state="stopped", text=f"stopped at step {engine.step} of {engine.steps}")
    finally:
        engine.pool.shutdown(cancel_futures=True)


def _course(engine: Engine) -> Iterator[Progress]:
    """Everything between loading and the end."""
    learn = sum(weight.numel() for weight in engine.weights.values())
    yield engine.progress(
        "start",
        steps=engine.steps,
        train=len(engine.train_examples),
        validation=len(engine.validation),
        parameters=engine.size,
        trained=learn,
        vocabulary=engine.captioner.vocabulary,
        processes=engine.ranks.size,
    )
    yield from engine.fill_features()
    if not engine.epochs_done and not engine.step:
        yield engine.evaluate(0)
    for epoch in range(engine.epochs_done + 1, engine.config.epochs + 1):
        if engine.ranks.agree(lambda: best.reason_to_end(engine.run.log(), engine.config)):
            break
        yield from engine.train_epoch(epoch)
        yield from _end_epoch(engine, epoch)


def _end_epoch(engine: Engine, epoch: int) -> Iterator[Progress]:
    """Score the epoch and keep it. The state is saved before checkpoints are dropped: a run killed between goes on with both."""
    scored = engine.evaluate(epoch)
    if engine.ranks.first:
        yield saving.save_checkpoint(engine, epoch)
    engine.epochs_done, engine.loss_sum, engine.loss_tokens = epoch, 0.0, 0
    yield scored
    if engine.ranks.first:
        saving.save_state(engine)
        saving.drop_checkpoints(engine.run)


def _closing_words(run: Run, epochs: int) -> str:
    """How a finished run is told: how many epochs, and why no more."""
    reason = best.reason_to_end(run.log(), run.config) if epochs < run.config.epochs else None
    return f"finished early, after {epochs} of {run.config.epochs} epochs: {reason}" if reason else f"finished {epochs} epochs"


class Watch:
    """Looks at the run's log after each event and tells, once each, what looks wrong."""

    def __init__(self, run: Run, vocabulary: int):
        self.rows = run.log()
        self.told = {row["code"] for row in by_kind(self.rows, "warning")}
        self.vocabulary = vocabulary

    def __call__(self, progress: Progress, engine: Engine) -> Iterator[Progress]:
        self.rows.append(progress.row())
        warnings = [health.Warning(f"image:{image}", text) for image, text in list(engine.eyes.left_out.items())]
        warnings += [health.Warning(code, text) for code, text in engine.notes.items()]
        if self.due(progress):
            warnings += health.check(self.rows, self.vocabulary)
        for warning in warnings:
            if warning.code not in self.told:
                self.told.add(warning.code)
                yield replace(progress, kind="warning", values={"code": warning.code, "text": warning.text})

    def due(self, progress: Progress) -> bool:
        """Every step at first, every tenth later: a check reads the whole log."""
        if progress.kind == "step":
            return progress.step < 50 or progress.step % 10 == 0
        return progress.kind in ("probe", "epoch")


def tidy(run: Run, step: int, epochs_done: int) -> None:
    """Bring the folder to where the resumed state is: what a killed run left half done goes."""
    saving.sweep(run)
    trim_log(run, step, epochs_done)
    saving.drop_checkpoints(run)


def trim_log(run: Run, step: int, epochs_done: int) -> None:
    """Leave in the log what the resumed state has behind it: later steps will be done, and told, again."""
    rows = run.log()
    kept_rows = [
        row
        for row in rows
        if row["kind"] not in ("end", "loading", "features")
        and row["step"] <= step
        and not (row["kind"] in ("epoch", "saved") and row["epoch"] > epochs_done)
    ]
    if not step and not epochs_done:
        kept_rows = []
    files.write_jsonl(run.folder / "log.jsonl", kept_rows)  # always: a torn last line would swallow the next one
