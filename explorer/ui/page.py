"""Gradio's page, made fit for quick fingers and for many visitors."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

import gradio as gr


class Page(gr.Blocks):
    """A page that answers each visitor's presses one after the other and remembers of each visitor what it needs.

    Gradio runs a visitor's events side by side. Each takes what is chosen, works, and puts back what is chosen then: of two
    keys pressed in a hurry, or of a press while a timer ticks, one would be forgotten.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.turns: WeakKeyDictionary = WeakKeyDictionary()

    async def process_api(self, block_fn, inputs, state=None, *rest, **options):
        found = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        # A generator's steps are left alone: they take long, and what is pressed meanwhile must not wait.
        if state is None or found.types_generator or not any(part.stateful for part in found.outputs):
            return await super().process_api(block_fn, inputs, state, *rest, **options)
        async with self.turns.setdefault(state, asyncio.Lock()):
            return await super().process_api(block_fn, inputs, state, *rest, **options)

    async def postprocess_data(self, block_fn, predictions, state):
        data = await super().postprocess_data(block_fn, predictions, state)
        if state is not None:
            self.forget(block_fn, state)
        return data

    def forget(self, block_fn, state) -> None:
        """Drop what Gradio keeps of an answer for as long as a visitor is known, and never reads here.

        For each update, and for each part an answer skips, it makes the part anew with an id of its own, and keeps what
        comes for that part under every id it ever had. Of HTML it keeps the last value, for links into a state.
        """
        for kept in (state.blocks_config.blocks, state.config_values):
            for other in kept.keys() - self.blocks.keys():
                del kept[other]
        for part in block_fn.outputs:
            if isinstance(part, gr.HTML) and part._id in state.config_values:
                state.config_values[part._id]["props"].pop("value", None)
