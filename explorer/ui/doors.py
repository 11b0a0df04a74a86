"""Doors: what of a public page is closed to whoever looks at it, each with one sentence why; and the way to sign in.

The page is built once for everybody, so doors are set when somebody opens it. On a laptop there are none. That a door looks
closed protects nothing: every handler asks `Context.allow`.
"""

from __future__ import annotations

import gradio as gr

from explorer.ui import html
from explorer.ui.context import Context, told

RELOAD = "() => setTimeout(() => location.reload(), 300)"


def notice(context: Context, act: str) -> None:
    """A place for the sentence that says why what stands around it is closed."""
    if context.settings.public:
        context.door(html.piece(elem_classes="x-door"), act)


def sign_in(context: Context) -> dict:
    """Who one is, and where owners work: for everybody to see, or in private. Nothing where nobody can sign in."""
    if not (context.settings.public and context.settings.rules.sign_in):
        return {}
    with gr.Row(elem_id="sign-in"):
        gr.LoginButton(size="sm", min_width=160, elem_id="login")
        private = gr.Button("Work in private", size="sm", visible=False, elem_id="private")
    return {"private": private}


def wire(context: Context, page: gr.Blocks, ui: dict) -> None:
    """Set the doors when the page is opened; ``ui``: of `sign_in`."""
    if not context.settings.public:
        return
    private = ui.get("private")

    def opened():
        return [*(_state(context, part, act) for part, act in context.doors), *([_way(context)] if private else [])]

    @told
    def change():
        context.work_in_private(not context.in_private)

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    page.load(opened, None, [*(part for part, _ in context.doors), *([private] if private else [])], **quiet)
    if private:
        private.click(change, None, None, **quiet).then(None, None, None, js=RELOAD)


def _state(context: Context, part, act: str):
    """How a part of the page looks to whoever opens it."""
    if act == "sign":
        return gr.update(value=context.person.signature, interactive=False)
    open_ = context.may(act)
    if isinstance(part, gr.HTML):
        return gr.update(value="" if open_ else html.note(context.why_not(act)), visible=not open_)
    if isinstance(part, gr.File):  # closed, it would be a large empty box
        return gr.update(visible=open_)
    return gr.update(interactive=open_)


def _way(context: Context):
    """The button that leads an owner to the other room; its words say where they are."""
    label = "You work in private: back to the public page" if context.in_private else "Work in private"
    return gr.update(value=label, visible=context.may("train"))
