"""A workspace that outlives its machine: flags, ended runs and their datasets kept in another place (see places.py).

    EXPLORER_KEEP=owner/name python app.py          a private dataset of the Hub
    EXPLORER_KEEP=/data/kept python app.py          a folder, such as one in a bucket that is mounted

One `sync` brings what others put there, then puts there what changed here: with the version it is based on named, since
`CommitScheduler` only appends and knows nothing of what is changed or deleted. Somebody else's change in between makes
ours fail, and we look again and merge (see merging.py). What waits needs no queue of its own: it is the difference
between the workspace and .kept/, where what was kept last is noted, so that neither a crash nor a Hub that is down
loses it.

<place>/ flags.csv, right.csv, kept.json (what is there, and who it is), datasets/<place>/, runs/<place>/
.kept/   state.json, flags.csv, right.csv (as kept last), status.json (what the page says)
"""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from explorer import files
from explorer.errors import UserError
from explorer.flag.flags import FlagStore
from explorer.hub import things
from explorer.hub.client import HubError
from explorer.hub.merging import flags_of, flags_text, merge, right_of, right_text
from explorer.hub.places import INDEX, MEANWHILE, place_named
from explorer.hub.things import KINDS, Thing
from explorer.workspace import NAME, RESERVED, Workspace, free_name

TRIES = 6


@dataclass
class There:
    """The other place as it is: its version, its files, what its index says is in it, and its flags."""

    version: str
    names: list[str]
    index: dict[str, dict]
    flags: str
    right: str


@dataclass
class Keep:
    """The keeping of one workspace in one other place. Cheap to make; every change of its notes is on disk."""

    workspace: Workspace
    repo: str
    store: FlagStore = field(init=False)

    def __post_init__(self):
        self.place = place_named(self.repo)
        self.repo = self.place.name
        self.store = FlagStore(self.workspace)

    @property
    def folder(self) -> Path:
        return self.workspace.root / ".kept"

    @property
    def state(self) -> dict:
        """What was kept last: the commit, and by kind and name the place and stamp of each thing."""
        state = files.read_json(self.folder / "state.json") or {}
        return state if state.get("repo") == self.repo else {"repo": self.repo, "sha": None, **{kind: {} for kind in KINDS}}

    def _note(self, state: dict) -> None:
        files.write_json(self.folder / "state.json", state)

    def _last(self, name: str) -> str:
        path = self.folder / name
        return _read(path) if self.state["sha"] and path.exists() else ""

    def here(self) -> tuple[dict, dict]:
        """The workspace's flags and captions found right, by flag id."""
        return {flag.flag_id: flag for flag in self.store.list()}, {row[0]: row for row in self.store.found_right()}

    def waiting(self) -> int:
        """How many changes wait to be kept: flags, captions found right, and things."""
        state, (flags, right) = self.state, self.here()
        last_flags, last_right = flags_of(self._last("flags.csv")), right_of(self._last("right.csv"))
        count = sum(flags.get(key) != last_flags.get(key) for key in flags.keys() | last_flags.keys())
        count += len(right.keys() ^ last_right.keys())
        found = list(things.find(self.workspace))
        count += sum(state[thing.kind].get(thing.name, {}).get("stamp") != thing.stamp for thing in found)
        return count + len(self._gone(state))

    def look(self) -> str:
        """Something that changes whenever there may be something new to keep; cheap."""
        stamps = [(thing.kind, thing.name, thing.stamp) for thing in things.find(self.workspace)]
        return json.dumps([self.store.version(), stamps, self._gone(self.state)])

    def _gone(self, state: dict) -> list[tuple[str, str]]:
        """What was kept and has been deleted here since."""
        return [(kind, name) for kind in KINDS for name in state[kind] if not things.folder_of(self.workspace, kind, name).exists()]

    # -- once to and fro

    def sync(self) -> bool:
        """Bring what is new there, keep what is new here; whether that took a commit. Raises HubError, and then nothing is
        lost on either side."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.place.connect()
            for _ in range(TRIES):
                try:
                    with self.place.telling():
                        return self._sync()
                except HubError as error:
                    if MEANWHILE not in str(error):
                        raise
            raise HubError(f"Could not keep this workspace in {self.repo}: others write there all the time. Try again later.", away=True)

    def _sync(self) -> bool:
        there = self._there()
        self._bring_things(there)
        texts = self._bring_flags(there)
        put, gone, state = self._changes(there, texts)
        if put or gone:
            there.version = self.place.change(put, gone, there.version)
        for name, text in texts.items():
            files.write_text(self.folder / name, text)
        self._note({**state, "sha": there.version})
        return bool(put or gone)

    def _there(self) -> There:
        """The other place now. Raises HubError when it holds other things."""
        version, names = self.place.at()
        if INDEX not in names:
            return There(version, names, {kind: {} for kind in KINDS}, "", "")
        with tempfile.TemporaryDirectory() as work:
            read = [self.place.read(name, version, Path(work)).decode("utf-8") for name in (INDEX, "flags.csv", "right.csv")]
        return There(version, names, json.loads(read[0]), *read[1:])

    def _bring_flags(self, there: There) -> dict[str, str]:
        """Merge the flags of both sides into the store; the two CSVs that both sides shall have."""
        flags, right = self.here()
        merged = merge(flags_of(self._last("flags.csv")), flags, flags_of(there.flags), lambda flag: flag.updated)
        both = merge(right_of(self._last("right.csv")), right, right_of(there.right), lambda row: row[-1])
        pairs = [(flags.get(key), merged.get(key)) for key in flags.keys() | merged.keys() if flags.get(key) != merged.get(key)]
        self.store.take_over(pairs, [both[key] for key in both.keys() - right.keys()], right.keys() - both.keys())
        return {"flags.csv": flags_text(merged), "right.csv": right_text(both)}

    def _bring_things(self, there: There) -> None:
        """Fetch what this workspace has never had; what it had and deleted is not fetched again."""
        state = self.state
        found = {(kind, name): Thing(kind, name, things.folder_of(self.workspace, kind, name)) for kind in KINDS for name in self._names(kind)}
        for kind in KINDS:
            known = {entry["place"] for entry in state[kind].values()}
            for place, entry in there.index[kind].items():
                if place in known or not NAME.fullmatch(place) or (kind == "runs" and place in RESERVED):
                    continue
                same = found.get((kind, place))
                if same is not None and same.identity == entry["id"]:
                    state[kind][place] = {"place": place, "stamp": None}
                    continue
                name = _free(place, self._names(kind))
                self._fetch(there, kind, place, things.folder_of(self.workspace, kind, name), self._moves(entry, state))
                state[kind][name] = {"place": place, "stamp": Thing(kind, name, things.folder_of(self.workspace, kind, name)).stamp}
                self._note(state)

    def _names(self, kind: str) -> set[str]:
        parent = things.folder_of(self.workspace, kind, "any").parent
        return {path.name for path in parent.glob("*") if path.is_dir() and not path.name.startswith(".")}

    def _moves(self, entry: dict, state: dict) -> list[tuple[str, str]]:
        """(folder where a thing was made, folder here): its dataset may have another name here."""
        named, place = entry.get("data", ("", ""))
        found = [name for name, kept in state["datasets"].items() if kept["place"] == place]
        data = [(f"{entry['root']}/datasets/{named}", str(self.workspace.datasets / name)) for name in found]
        return [*data, (entry["root"], str(self.workspace.root))]

    def _fetch(self, there: There, kind: str, place: str, final: Path, moves: list[tuple[str, str]]) -> None:
        """A thing of the other place as a folder of the workspace, whole or not at all."""
        self.workspace.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.workspace.cache) as part, files.whole_folder(final) as folder:
            for path in sorted(self.place.fetch(f"{kind}/{place}", there.version, Path(part)).iterdir()):
                shutil.move(path, folder / path.name)
            things.move_in(folder, moves)

    def _changes(self, there: There, texts: dict[str, str]) -> tuple[dict, list, dict]:
        """(files to put there by name, names to delete, the notes when that is done): things that are new, changed or gone
        here, and the flags."""
        state, index, put, gone = self.state, json.loads(json.dumps(there.index)), {}, []
        for kind, name in self._gone(state):
            place = state[kind].pop(name)["place"]
            if index[kind].pop(place, None):
                gone.append(f"{kind}/{place}/")
        for thing in things.find(self.workspace):
            known = state[thing.kind].get(thing.name)
            if known and known["stamp"] == thing.stamp and known["place"] in index[thing.kind]:
                continue
            place = known["place"] if known else _free(thing.name, set(index[thing.kind]))
            index[thing.kind][place] = {"id": thing.identity, "root": str(self.workspace.root)}
            data = things.dataset_of(thing.folder) if thing.kind == "runs" else ""
            if data in state["datasets"]:
                index[thing.kind][place]["data"] = [data, state["datasets"][data]["place"]]
            state[thing.kind][thing.name] = {"place": place, "stamp": thing.stamp}
            put |= {f"{thing.kind}/{place}/{name}": path for name, path in thing.files.items()}
            before = f"{thing.kind}/{place}/"
            old = {name for name in there.names if name.startswith(before)} - {before + name for name in thing.files}
            gone += sorted(old)
        wanted = {**texts, INDEX: json.dumps(index, indent=1, sort_keys=True)}
        now = {"flags.csv": there.flags, "right.csv": there.right, INDEX: json.dumps(there.index, indent=1, sort_keys=True)}
        fresh = INDEX not in there.names
        put |= {name: text.encode() for name, text in wanted.items() if fresh or text != now[name]}
        return put, gone, state


def _free(name: str, taken: set[str]) -> str:
    return free_name(name, taken) if name in taken else name


def _read(path: Path) -> str:
    """The file's text with its line ends as they are: a caption may hold any of them."""
    return path.read_bytes().decode("utf-8")


# --- all the time, beside the page ------------------------------------------------------------------------


class Keeper:
    """Keeps a workspace from a thread of its own: soon after a change, again and again while the Hub is down, and once
    more at the end. ``quiet``: seconds of rest after a change; ``gap``: least seconds between commits (the Hub counts
    them); ``last``: seconds the end may take."""

    def __init__(self, keep: Keep, quiet: float = 3, gap: float = 20, last: float = 25):
        self.keep, self.quiet, self.gap, self.last = keep, quiet, gap, last
        self.closing, self.first = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True, name="keeper")

    def start(self, patience: float = 20) -> None:
        """Begin; return when what is kept has come back, or after ``patience`` seconds."""
        self._tell("busy", "looking for what is kept")
        self.thread.start()
        self.first.wait(patience)

    def close(self) -> None:
        """The last push; returns after ``last`` seconds even if it is not done."""
        self.closing.set()
        self.thread.join(self.last)

    def _run(self) -> None:
        looked, waits, since, next_at, tries = None, 0, 0.0, 0.0, 0
        while True:
            over = self.closing.wait(min(1.0, self.quiet) if self.first.is_set() else 0)
            now = time.monotonic()
            with _calm():
                look = self.keep.look()
                if look != looked:
                    waits, looked = self.keep.waiting(), look
                    since = (since or now) if waits else 0.0
                    self._tell_waiting(waits)
                due = waits and now - since >= self.quiet and now >= next_at
                if due or not self.first.is_set() or (over and (waits or tries)):
                    committed = self._once()
                    tries = 0 if committed is not None else tries + 1
                    # What came in meanwhile is seen at the next look.
                    looked, since = None, since if tries else 0.0
                    rest = self.gap * 2 ** min(max(0, tries - 1), 4) if tries or committed else 0.0
                    next_at = time.monotonic() + min(300.0, rest)
                    waits = waits or tries  # a first look that failed is tried again as well
            self.first.set()
            if over:
                return

    def _once(self) -> bool | None:
        """Whether something was committed; None when that failed, which is told."""
        try:
            committed = self.keep.sync()
        except UserError as error:
            away = isinstance(error, HubError) and error.away
            self._tell("away" if away else "refused", str(error), self.keep.waiting())
            return None
        self._tell("kept")
        return committed

    def _tell_waiting(self, waits: int) -> None:
        before = status(self.keep.workspace) or {}
        if waits and before.get("state") in ("kept", "waiting"):
            self._tell("waiting", waits=waits)
        elif before.get("state") in ("away", "refused"):
            self._tell(before["state"], before["text"], waits)

    def _tell(self, state: str, text: str = "", waits: int = 0) -> None:
        before = status(self.keep.workspace) or {}
        at = time.time() if state == "kept" else before.get("at")
        files.write_json(self.keep.folder / "status.json", {"repo": self.keep.repo, "state": state, "at": at, "waits": waits, "text": text})


@contextmanager
def keeping(repo: str, workspace: Workspace) -> Iterator[None]:
    """Keep the workspace while the page is served; nothing when no ``repo`` is named.

    SIGTERM, by which a Space is stopped, would kill Gradio without a word: here it is an orderly end.
    """
    if not repo:
        yield
        return
    keeper = Keeper(Keep(workspace, repo))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        keeper.start()
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break off the last push
        keeper.close()


@contextmanager
def _calm() -> Iterator[None]:
    """Whatever goes wrong once, such as a file that is deleted as it is looked at, the next look may do."""
    with suppress(OSError, UserError, ValueError):
        yield


def status(workspace: Workspace) -> dict | None:
    """What the keeper told last; None where nothing is kept elsewhere."""
    return files.read_json(workspace.root / ".kept" / "status.json")


def in_words(told: dict, now: float) -> str:
    """The status as a sentence."""
    waits = f"{told['waits']} {'change waits' if told['waits'] == 1 else 'changes wait'}"
    when = f"{max(0, round(now - told['at']))} s ago" if told["at"] and now - told["at"] < 120 else None
    when = when or (f"{round((now - told['at']) / 60)} min ago" if told["at"] else "not yet")
    if told["state"] == "kept":
        return f"Kept in {told['repo']} {when}."
    if told["state"] == "waiting":
        return f"{waits[:1].upper()}{waits[1:]} to be kept in {told['repo']} in a moment."
    if told["state"] == "busy":
        return f"Looking for what is kept in {told['repo']}."
    away = told["state"] == "away" and not Path(told["repo"]).is_absolute()
    what = "The Hub does not answer" if away else told["text"].rstrip(".")
    return f"{what}; {waits} and will be tried again. Last kept: {when}."
