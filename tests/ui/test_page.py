"""One visitor's presses are answered one after the other, and what Gradio keeps of a visitor stays small.

python -m pytest tests/ui/test_page.py
"""

from __future__ import annotations

import time

import gradio as gr
import pytest
from gradio_client import Client

from explorer.ui.page import Page

PRESSES = 12


def counting() -> Page:
    """A page that counts in a state, slowly, and shows the count as HTML on every other press."""
    with Page(analytics_enabled=False) as page:
        count, shown, name = gr.State(0), gr.HTML("none"), gr.Textbox()

        def add(before: int):
            time.sleep(0.05)
            return {count: before + 1, **({shown: f"<p>{before + 1}</p>", name: str(before)} if before % 2 else {})}

        def three(before: int):
            for step in range(3):
                yield before + step + 1

        gr.Button().click(add, count, [count, shown, name], concurrency_limit=PRESSES, api_name="add")
        gr.Button().click(three, count, count, concurrency_limit=PRESSES, api_name="three")
        gr.Button().click(lambda now: str(now), count, name, api_name="read")
    return page


@pytest.fixture(scope="module")
def served():
    page = counting().queue()
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", show_error=True)
    yield page, address
    page.close()


@pytest.fixture
def visitor(served):
    return Client(served[1], verbose=False)


def test_presses_in_a_hurry_all_count(visitor):
    for press in [visitor.submit(api_name="/add") for _ in range(PRESSES)]:
        press.result()
    assert visitor.predict(api_name="/read") == str(PRESSES)


def test_visitors_do_not_wait_for_one_another(served):
    visitors = [Client(served[1], verbose=False) for _ in range(3)]
    for press in [each.submit(api_name="/add") for each in visitors for _ in range(4)]:
        press.result()
    assert [each.predict(api_name="/read") for each in visitors] == ["4"] * 3


def test_steps_that_come_one_by_one_are_all_taken(visitor):
    visitor.submit(api_name="/three").result()
    assert visitor.predict(api_name="/read") == "3"


def test_what_is_kept_of_a_visitor_does_not_grow_with_presses(served, visitor):
    page, sizes = served[0], []
    for _ in range(3):
        for _ in range(4):
            visitor.predict(api_name="/add")
        state = page.state_holder[visitor.session_hash]
        sizes.append((len(state.config_values), len(state.blocks_config.blocks)))
    assert len(set(sizes)) == 1
    kept = [config["props"].get("value") for config in state.config_values.values()]
    assert not any(str(value).startswith("<p>") for value in kept)
    assert visitor.predict(api_name="/read") == "12"
