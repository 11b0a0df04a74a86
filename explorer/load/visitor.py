"""A simulated visitor: opens the page as a browser does, looks, walks, filters, searches, flags and undoes.

It speaks the protocol of Gradio's own page: an event joins the queue, its result comes over the session's stream. What is
pressed is read from the HTML the page sent, and between two presses a visitor looks for some seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

LOOKS = (2.0, 6.0)
"""Seconds between what is seen and the next press."""
PATIENCE = 60.0
KEPT_OPEN = 2.0
"""Seconds for which an idle connection is used again. The server closes one after 5; where a press meets that moment a
browser sends it once more by itself, which httpx does not."""
CELL = re.compile(r'data-act="choose"[^>]*?data-image="([^"]+)"[^>]*?data-column="([^"]+)"')
CONFIG = "window.gradio_config = "
"""What stands before the page's own description of itself, in the HTML a browser is given."""
REASON_KEYS = "12345678"


OPENS_ON = "Compare"
"""The tab a browser shows first. What is in the others comes to the screen, its timers with it, when they are opened."""


@dataclass(frozen=True)
class Answer:
    """One thing done. ``seconds``: from the press until the page has all it shows; ``error``: "" when it went well."""

    what: str
    seconds: float
    error: str = ""


class Visitor:
    def __init__(self, address: str, told: Callable[[Answer], None], seed: int):
        limits = httpx.Limits(max_keepalive_connections=2, keepalive_expiry=KEPT_OPEN)
        self.client = httpx.AsyncClient(base_url=str(address), timeout=PATIENCE, limits=limits)
        self.told, self.draw, self.session = told, random.Random(seed), secrets.token_hex(6)
        self.waiting: dict[str, asyncio.Future] = {}
        self.stream: asyncio.Task | None = None

    async def visit(self, until: float) -> None:
        """Come, do this and that until the clock (`time.monotonic`) says ``until``, and go."""
        try:
            if await self._timed("open the page", self._open):
                ticking = asyncio.create_task(self._tick(until))
                while time.monotonic() < until:
                    await asyncio.sleep(min(self.draw.uniform(*LOOKS), max(0, until - time.monotonic())))
                    name, act = self.draw.choice(ACTS)
                    await self._timed(name, lambda act=act: act(self))
                await ticking
        finally:
            await self.client.aclose()

    async def _timed(self, what: str, act) -> bool:
        began = time.monotonic()
        try:
            done = await act()
        except Exception as error:  # whatever went wrong is what is measured here
            self.told(Answer(what, time.monotonic() - began, f"{type(error).__name__}: {error}"))
            return False
        if done is not False:
            self.told(Answer(what, time.monotonic() - began))
        return True

    # -- what a browser does

    async def _open(self) -> None:
        page = (await self.client.get("/")).raise_for_status().text
        config = json.JSONDecoder().raw_decode(page, page.index(CONFIG) + len(CONFIG))[0]
        self.parts = {part["id"]: part for part in config["components"]}
        self.values = {part["id"]: part["props"].get("value") for part in config["components"]}
        self.events = config["dependencies"]
        self.timers = [part for part in self._on_screen(config["layout"]) if part["type"] == "timer"]
        self.named = {part["props"].get("elem_id"): part["id"] for part in config["components"] if part["props"].get("elem_id")}
        await asyncio.gather(*(self._send(event) for event in self._events(None, "load")))

    def _on_screen(self, layout: dict) -> Iterator[dict]:
        for child in layout.get("children", ()):
            part = self.parts[child["id"]]
            if part["type"] != "tabitem" or part["props"].get("label") == OPENS_ON:
                yield part
                yield from self._on_screen(child)

    def _events(self, part: int | None, name: str) -> list[dict]:
        """The events that are told when ``name`` happens to a part of the page; None: to the page itself."""
        return [e for e in self.events if any(t[1] == name and (part is None or t[0] == part) for t in e["targets"])]

    async def _happen(self, elem_id: str, name: str, **data) -> None:
        """Everything that follows when ``name`` happens to the part called ``elem_id``."""
        for event in self._events(self.named[elem_id], name):
            await self._send(event, data or None)

    async def _send(self, event: dict, data: dict | None = None) -> None:
        body = {
            "data": [None if self.parts[i]["type"] == "state" else self.values.get(i) for i in event["inputs"]],
            "event_data": data,
            "fn_index": event["id"],
            "session_hash": self.session,
            "trigger_id": event["targets"][0][0],
        }
        joined = await self.client.post("/gradio_api/queue/join", json=body)
        joined.raise_for_status()
        done = self.waiting.setdefault(joined.json()["event_id"], asyncio.get_running_loop().create_future())
        if self.stream is None or self.stream.done():
            self.stream = asyncio.create_task(self._listen())
        self._take(event, await asyncio.wait_for(done, PATIENCE))

    async def _listen(self) -> None:
        """Hear the session's stream while something is waited for; the server closes it when nothing is."""
        while any(not done.done() for done in self.waiting.values()):
            try:
                async with self.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
                    async for line in stream.aiter_lines():
                        if line.startswith("data: "):
                            self._hear(json.loads(line[6:]))
            except httpx.HTTPError as error:
                self._fail(error)
            await asyncio.sleep(0)

    def _hear(self, message: dict) -> None:
        if message["msg"] == "process_completed":
            done = self.waiting.setdefault(message["event_id"], asyncio.get_running_loop().create_future())
            done.done() or done.set_result(message)

    def _fail(self, error: Exception) -> None:
        for done in self.waiting.values():
            done.done() or done.set_exception(error)

    def _take(self, event: dict, message: dict) -> None:
        """Show what came: the values of the parts that changed. Raises RuntimeError for an error message."""
        self.waiting.pop(message["event_id"], None)
        if not message["success"]:
            raise RuntimeError(str(message["output"].get("error")))
        for part, value in zip(event["outputs"], message["output"].get("data", ()), strict=False):
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" in value:
                    self.values[part] = value["value"]
            else:
                self.values[part] = value

    async def _tick(self, until: float) -> None:
        """The timers of what is on the screen, as long as they run."""
        timers = self.timers
        while time.monotonic() < until:
            for timer in timers:
                if timer["props"].get("active", True):
                    for event in self._events(timer["id"], "tick"):
                        await self._timed("timer", lambda event=event: self._send(event))
            await asyncio.sleep(min((timer["props"].get("value", 1.0) for timer in timers), default=PATIENCE))

    # -- what a person does: each gives False when there is nothing to press

    def _cells(self) -> list[tuple[str, str]]:
        return CELL.findall(str(self.values.get(self.named["comparison"]) or ""))

    async def choose(self):
        cells = self._cells()
        if not cells:
            return False
        image, column = self.draw.choice(cells)
        await self._happen("comparison", "act", act="choose", image=image, column=column)
        return image, column

    async def flag(self):
        """Choose a caption and press a reason; what a filter has hidden meanwhile, for another's undo, is left alone."""
        if await self.choose() not in self._cells():
            return False
        await self._happen("comparison", "act", act="key", value=self.draw.choice(REASON_KEYS))

    async def undo(self):
        await self._happen("comparison", "act", act="key", value="u")

    async def walk(self):
        await self._happen("comparison", "act", act="key", value=self.draw.choice("jjjkhl"))

    async def turn(self):
        await self._happen("pager", "act", act="page", value=self.draw.choice(("next", "previous")))

    async def narrow(self):
        self.values[self.named["compare-filters"]] = self.draw.choice(([], [], ["changed"], ["wrong"], ["flagged"]))
        await self._happen("compare-filters", "input")

    async def sort(self):
        self.values[self.named["compare-order"]] = self.draw.choice(("as in the dataset", "worst first", "changed most"))
        await self._happen("compare-order", "input")

    async def search(self):
        self.values[self.named["compare-search"]] = self.draw.choice(("", "dog", "ball", "green", "tongue"))
        await self._happen("compare-search", "change")

    async def review(self):
        """Open the Flag tab and come back."""
        (tab,) = (part["id"] for part in self.parts.values() if part["type"] == "tabitem" and part["props"].get("label") == "Flag")
        for event in self._events(tab, "select"):
            await self._send(event)


ACTS = (
    *(("choose a caption", Visitor.choose),) * 6,
    *(("flag", Visitor.flag),) * 5,
    *(("walk by key", Visitor.walk),) * 4,
    *(("turn the page", Visitor.turn),) * 3,
    *(("filter", Visitor.narrow),) * 2,
    ("sort", Visitor.sort),
    ("search", Visitor.search),
    ("undo", Visitor.undo),
    ("open the Flag tab", Visitor.review),
)
"""(what it is called, what is done), each as often as people do it."""
