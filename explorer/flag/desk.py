"""Desk: a reviewer's place of work. What lies on it (flags, or a run's captions to judge), and every action on it.

A Desk is plain data; `act` gives the next one and a sentence about what was done. Everything done can be undone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from explorer.errors import UserError
from explorer.flag import mistakes, worklist
from explorer.flag.flags import REASONS, Choice, Flag, FlagStore, check, flag_id, now
from explorer.flag.worklist import Queue
from explorer.scoring.wording import nearest
from explorer.train.run import Run
from explorer.workspace import Workspace

PAGE = 40
COUNTED = 2000
"""The newest flags that words and kinds of images are counted over."""


@dataclass(frozen=True)
class Desk:
    """What a reviewer has chosen. ``run``: the run whose captions are reviewed; None: the flags are.

    ``facets``: what the flags are narrowed to, by name: status, reason, checkpoint, word, kind, confusion.
    ``picked``: ids an action is for; the chosen one when there is none.
    """

    chosen: str | None = None
    picked: tuple[str, ...] = ()
    page: int = 0
    search: str = ""
    facets: dict = field(default_factory=dict)
    run: str | None = None
    epoch: int = 0
    images: str = "validation"

    @property
    def targets(self) -> tuple[str, ...]:
        return self.picked or ((self.chosen,) if self.chosen else ())


@dataclass(frozen=True)
class Entry:
    """One caption on the desk: flagged (``flag`` is set) or still to be judged. ``why``: what made it worth a look."""

    flag_id: str
    run: str
    checkpoint: str
    image_id: str
    file: str
    path: Path | None
    references: tuple[str, ...]
    caption: str
    why: tuple[str, ...] = ()
    flag: Flag | None = None


@dataclass(frozen=True)
class Seen:
    """One page of what lies on the desk. ``total``: entries in all; ``done`` of ``of`` are reviewed; ``missing``: images
    of the reviewed run that have no caption yet."""

    entries: tuple[Entry, ...]
    total: int
    done: int
    of: int
    missing: tuple[dict, ...] = ()

    def find(self, identity: str | None) -> Entry | None:
        return next((entry for entry in self.entries if entry.flag_id == identity), None)


class Office:
    """The workspace's flags, runs and captions as a desk needs them."""

    def __init__(self, workspace: Workspace, store: FlagStore):
        self.workspace, self.store = workspace, store

    def run(self, name: str) -> Run | None:
        try:
            run = Run(self.workspace.run_folder(name))
        except UserError:  # the flag of a CSV may name anything
            return None
        return run if (run.folder / "run.json").exists() else None

    # -- what lies on the desk

    def seen(self, desk: Desk) -> Seen:
        if desk.run:
            found = self.queue(desk)
            start = desk.page * PAGE
            entries = tuple(self._of_item(item) for item in found.items[start : start + PAGE])
            return Seen(entries, len(found.items), found.judged, found.total, found.missing)
        choice = self.choice(desk)
        flags = self.store.find(choice, PAGE, desk.page * PAGE, newest_first=True)
        done, of = self.store.reviewed()
        return Seen(self.of_flags(flags), sum(self.store.counts(choice)["status"].values()), done, of)

    def queue(self, desk: Desk) -> Queue:
        run = self.run(desk.run)
        if run is None:
            raise UserError(f"There is no run {desk.run!r} any more: choose another.")
        return worklist.queue(self.workspace, self.store, run, desk.epoch, desk.images)

    def choice(self, desk: Desk) -> Choice:
        """The flags a desk is narrowed to, as the store understands it."""
        plain = {name: desk.facets[name] for name in ("status", "reason", "checkpoint") if name in desk.facets}
        ids = None
        for name in ("word", "kind", "confusion"):
            if name in desk.facets:
                group = self.groups(name).get(desk.facets[name], frozenset())
                ids = group if ids is None else ids & group
        return Choice(search=desk.search, ids=ids, **plain)

    def groups(self, name: str) -> dict[str, frozenset[str]]:
        """Flag ids by what a facet (word, kind or confusion) says of the newest flags, the largest first."""
        return _grouped(self.store, self.store.version())[name]

    def entry(self, desk: Desk, seen: Seen) -> Entry | None:
        """The chosen caption, as it is now; a caption just judged stays in sight until another is chosen."""
        if not desk.chosen:
            return None
        flag = self.store.get(desk.chosen)
        return self.of_flags([flag])[0] if flag else seen.find(desk.chosen)

    def of_flags(self, flags: list[Flag]) -> tuple[Entry, ...]:
        """Flags with where their pictures are: in their runs, or among the photos somebody dropped."""
        paths: dict[tuple[str, str], Path] = {}
        for name in {flag.run for flag in flags}:
            if run := self.run(name):
                paths |= {(name, row["image_id"]): run.folder / row["path"] for row in run.examples()}
        photos = self.workspace.cache / "photos"
        return tuple(
            Entry(
                f.flag_id,
                f.run,
                f.checkpoint,
                f.image_id,
                f.image_file,
                paths.get((f.run, f.image_id)) or next(iter(photos.glob(f"{f.image_id}.*")), None),
                f.references,
                f.caption,
                flag=f,
            )
            for f in flags
        )

    def _of_item(self, item: worklist.Item) -> Entry:
        image = item.image
        place = (item.run, item.checkpoint, image["image_id"], image["file"], Path(image["path"]))
        return Entry(item.flag_id, *place, tuple(image["references"]), item.caption.text, item.why)

    # -- what is done at it

    def act(self, desk: Desk, what: str, value: str, text: str, note: str, who: str) -> tuple[Desk, str]:
        """The desk after an action, and what was done in a sentence ("" when nothing was). ``text``: the correction box.

        Raises UserError when the action needs a caption and none is chosen, or it cannot be done.
        """
        if what in WALKS:
            return WALKS[what](self, desk, value), ""
        if what in ("undo", "redo"):
            done = getattr(self.store, what)(who or None)
            word, none = ("Undone", "to undo") if what == "undo" else ("Done again", "to do again")
            return desk, f"{word}: {done}." if done else f"There is nothing left {none}."
        entries = self._targets(desk)
        self.check(what, entries, who)
        if what == "approve":
            return self._approve(desk, entries, who)
        if what == "remove":
            self.store.remove([e.flag_id for e in entries if e.flag], who)
            return replace(desk, picked=()), f"Removed {_named(entries)}. Undo brings {_it(entries)} back."
        flags = [self._changed(entry, what, value, text, note, who) for entry in entries]
        new = [flag for flag, entry in zip(flags, entries, strict=True) if flag != entry.flag]
        if new:
            self.store.put_all(new, f"{NAMES[what]} {_named(entries)}", who)
        return replace(desk, picked=()), f"{TOLD[what].format(value=value)}: {_named(entries)}."

    def check(self, what: str, entries: list[Entry], who: str) -> None:
        """Raises UserError when ``who`` may not do this to ``entries``. At one's own desk everything is allowed."""

    def _targets(self, desk: Desk) -> list[Entry]:
        wanted = frozenset(desk.targets)
        found = {entry.flag_id: entry for entry in self.of_flags(self.store.find(Choice(ids=wanted)))} if wanted else {}
        if desk.run and wanted - found.keys():
            found |= {item.flag_id: self._of_item(item) for item in self.queue(desk).items if item.flag_id in wanted - found.keys()}
        if not found:
            raise UserError("Choose a caption first: press it in the list.")
        return [found[identity] for identity in desk.targets if identity in found]

    def _changed(self, entry: Entry, what: str, value: str, text: str, note: str, who: str) -> Flag:
        """The flag of an entry after an action; an entry not yet flagged is flagged by it."""
        flag = entry.flag or self._fresh(entry, who)
        if what == "reason":
            changes = {"reason": value}
        elif what == "status":
            changes = {"status": value}
        elif what == "save":
            changes = {"corrected_caption": text, "note": note}
        else:
            changes = {"corrected_caption": self.suggestion(entry, what)}
        if all(getattr(flag, name) == value for name, value in changes.items()) and entry.flag:
            return flag
        return check(replace(flag, **changes, reviewer=who or flag.reviewer, updated=now()))

    def suggestion(self, entry: Entry, what: str) -> str:
        """The nearest reference, or the best caption of another epoch. Raises UserError when there is none."""
        if what == "reference":
            if not entry.references:
                raise UserError(f"{entry.file} has no reference: type the correction.")
            return entry.references[nearest(entry.caption, entry.references)]
        run = self.run(entry.run)
        best = worklist.best_caption(self.workspace, run, entry.image_id, entry.references, entry.caption) if run else ""
        if not best:
            raise UserError(f"No other epoch says anything better of {entry.file}: take a reference, or type the correction.")
        return best

    def _fresh(self, entry: Entry, who: str) -> Flag:
        stamp = now()
        place = (entry.run, entry.checkpoint, entry.image_id, entry.file, entry.references, entry.caption)
        return Flag(flag_id(entry.run, entry.checkpoint, entry.image_id, entry.caption), stamp, stamp, *place, "other", "", who, "open", "")

    def _approve(self, desk: Desk, entries: list[Entry], who: str) -> tuple[Desk, str]:
        if any(entry.flag for entry in entries):
            raise UserError("This caption is flagged: dismiss the flag instead.")
        on = self._step(desk, 1)
        self.store.approve([(e.run, e.checkpoint, e.image_id, e.caption) for e in entries], who)
        chosen = None if on.chosen in desk.targets else on.chosen
        return replace(on, picked=(), chosen=chosen), f"Right: {_named(entries)}."

    # -- walking

    def _step(self, desk: Desk, by: int) -> Desk:
        """The desk with the next or previous entry chosen; a judged one is followed by the first that is not."""
        ids = [entry.flag_id for entry in self.seen(desk).entries]
        if not ids:
            return replace(desk, chosen=None)
        if desk.chosen not in ids:
            return replace(desk, chosen=ids[0 if by > 0 else -1])
        at = ids.index(desk.chosen) + by
        if at >= len(ids) and self.seen(replace(desk, page=desk.page + 1)).entries:
            return self._step(replace(desk, page=desk.page + 1, chosen=None), 1)
        if at < 0 and desk.page:
            return self._step(replace(desk, page=desk.page - 1, chosen=None), -1)
        return replace(desk, chosen=ids[max(0, min(at, len(ids) - 1))])

    def _pick(self, desk: Desk, value: str) -> Desk:
        value = value or desk.chosen or ""
        picked = tuple(p for p in desk.picked if p != value) if value in desk.picked else (*desk.picked, value)
        return replace(desk, picked=tuple(filter(None, picked)))

    def _pick_all(self, desk: Desk, _: str) -> Desk:
        """Everything the desk is narrowed to, not only the page in sight; nothing when all of it is picked."""
        ids = [item.flag_id for item in self.queue(desk).items] if desk.run else self.store.ids(self.choice(desk))
        return replace(desk, picked=() if set(ids) <= set(desk.picked) else tuple(ids))

    def _narrow(self, desk: Desk, value: str) -> Desk:
        name, _, wanted = value.partition("=")
        facets = {k: v for k, v in desk.facets.items() if k != name}
        if desk.facets.get(name) != wanted and wanted:
            facets[name] = wanted
        return replace(desk, facets=facets, page=0, picked=())


@lru_cache(maxsize=4)
def _grouped(store: FlagStore, version: int) -> dict[str, dict[str, frozenset[str]]]:
    """What the newest flags say; kept until a flag changes, since every key asks for it again."""
    flags = store.find(limit=COUNTED, newest_first=True)
    return {
        "confusion": {sentence: frozenset(found.flags) for sentence, found in mistakes.sentences(flags)},
        "word": {word: mistakes.by_word(flags, word) for word, _ in mistakes.wrong_words(flags).most_common(8)},
        "kind": mistakes.by_subject(flags),
    }


WALKS = {
    "choose": lambda office, desk, value: replace(desk, chosen=value),
    "next": lambda office, desk, _: office._step(desk, 1),
    "previous": lambda office, desk, _: office._step(desk, -1),
    "page": lambda office, desk, value: replace(desk, page=max(0, int(value))),
    "pick": Office._pick,
    "pick-all": Office._pick_all,
    "narrow": Office._narrow,
}
NAMES = {"reason": "give a reason to", "status": "change the status of", "save": "correct", "reference": "correct", "epoch": "correct"}
TOLD = {
    "reason": "Flagged as {value}",
    "status": "Now {value}",
    "save": "Saved",
    "reference": "Corrected by a reference",
    "epoch": "Corrected by another epoch's caption",
}


def _named(entries: list[Entry]) -> str:
    return f"“{entries[0].caption}”" if len(entries) == 1 else f"{len(entries)} captions"


def _it(entries: list[Entry]) -> str:
    return "it" if len(entries) == 1 else "them"


KEYS = {str(number): ("reason", reason) for number, reason in enumerate(REASONS, 1)} | {
    "j": ("next", ""),
    "ArrowDown": ("next", ""),
    "k": ("previous", ""),
    "ArrowUp": ("previous", ""),
    "r": ("reference", ""),
    "e": ("epoch", ""),
    "g": ("approve", ""),
    "d": ("status", "dismissed"),
    "o": ("status", "open"),
    "x": ("pick", ""),
    "a": ("pick-all", ""),
    "u": ("undo", ""),
    "y": ("redo", ""),
}
"""What a key does: (action, value)."""
