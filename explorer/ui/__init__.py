"""The page: three tabs over one workspace. Tabs assemble and never compute; they never import each other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from explorer import machine
from explorer.hub import durable
from explorer.hub.client import HubError
from explorer.quotas import QUEUE
from explorer.settings import Settings
from explorer.train import plan
from explorer.ui import compare, doors, finetune, flag, html, hub_doors, service
from explorer.ui.context import Context
from explorer.ui.gate import Gate
from explorer.ui.page import Page
from explorer.workspace import Workspace

TITLE = "Caption explorer"
INTRO = """<div class="x-title"><h1>Caption explorer</h1><p>Fine-tune a captioning model on your own photos, see what every
epoch says of them, and flag what is wrong.</p></div>"""


def build(settings: Settings) -> Page:
    """The page over the workspace of ``settings``."""
    workspace = Workspace(settings.home)
    workspace.root.mkdir(parents=True, exist_ok=True)
    context = Context(settings, workspace)
    with Page(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as page:
        with gr.Row(elem_id="head", equal_height=False):
            html.piece(INTRO, elem_id="intro")
            with gr.Row(elem_id="doors"):
                to_finetune = gr.Button("Fine-tune on your own photos", variant="primary", size="sm")
                to_photo = gr.Button("Drop a photo here", size="sm")
        signing = doors.sign_in(context)
        with gr.Tabs(selected="compare") as tabs:
            with gr.Tab("Fine-tune", id="finetune") as finetune_tab:
                finetune_ui = finetune.build(context, [finetune_tab.select, to_finetune.click])
            with gr.Tab("Compare", id="compare") as compare_tab:
                compare_ui = compare.build(context)
            with gr.Tab("Flag", id="flag") as flag_tab:
                flag_ui = flag.build(context)
        html.piece(f'<footer class="x-small">{html.text(machine.SAID[machine.here()])}</footer>', elem_id="footer")
        hub_doors.build_kept(context)
        service.build(context, compare_ui["known"])
        doors.wire(context, page, signing)
        _wire(context, page, tabs, (finetune_tab, compare_tab, flag_tab), finetune_ui, compare_ui, flag_ui, (to_finetune, to_photo))
    page.queue(api_open=False, default_concurrency_limit=8, max_size=QUEUE if settings.public else None)
    page.context = context
    return page


def _wire(context: Context, page, tabs, tab, finetune_ui: dict, compare_ui: dict, flag_ui: dict, doors) -> None:
    """What happens when a tab is opened, and the ways from one to another."""
    _, compare_tab, flag_tab = tab
    page.load(*finetune_ui["brought"], show_progress="hidden", api_visibility="private")
    doors[0].click(lambda: gr.update(selected="finetune"), None, tabs, show_progress="hidden", api_visibility="private")
    compare.wire_opening(context, compare_ui, page.load, compare_tab.select)
    flag_tab.select(*flag_ui["opened"], show_progress="hidden", api_visibility="private")
    flag_ui["started"].change(
        lambda name: (gr.update(selected="finetune"), name),
        flag_ui["started"],
        [tabs, finetune_ui["watched"]],
        show_progress="hidden",
        api_visibility="private",
    )

    def go_compare(name):
        return gr.update(selected="compare"), gr.update(choices=[run.name for run in context.runs() if run.checkpoints()], value=[name])

    def from_past(event: gr.EventData):
        return go_compare(event.run) if event.act == "compare" else (gr.skip(), gr.skip())

    target = [tabs, compare_ui["runs"]]
    # A run that finishes before one's eyes opens Compare on itself.
    finetune_ui["finished"].change(go_compare, finetune_ui["finished"], target, show_progress="hidden", api_visibility="private")
    finetune_ui["compare"].click(go_compare, finetune_ui["watched"], target, show_progress="hidden", api_visibility="private")
    finetune_ui["past"].act(from_past, None, target, show_progress="hidden", api_visibility="private")
    doors[1].click(
        lambda: gr.update(selected="compare"),
        None,
        tabs,
        show_progress="hidden",
        api_visibility="private",
        js="() => setTimeout(() => { const p = document.querySelector('#own-photo'); if (p && !p.querySelector('#photo')?.offsetParent) "
        "p.querySelector('button')?.click(); p?.scrollIntoView({behavior: 'smooth'}); }, 150)",
    )


def launch(settings: Settings, **options) -> None:
    """Build the page and serve it until it is interrupted."""
    try:
        with durable.keeping(settings.keep, Workspace(settings.home)):
            serve(build(settings), settings, options)
    except HubError as error:
        sys.exit(f"error: {error}")


def serve(page: Page, settings: Settings, options: dict) -> None:
    plan.draw_ahead(page.context.workspace)
    gate = {"rules": settings.rules, "quotas": page.context.quotas, "disk": page.context.disk, "max_upload": settings.max_upload_bytes}
    page.launch(
        theme=gr.themes.Default(
            primary_hue=gr.themes.colors.teal,
            neutral_hue=gr.themes.colors.stone,
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        css_paths=Path(__file__).parent / "style.css",
        max_file_size=settings.max_upload_bytes,
        allowed_paths=[str(settings.home / "cache" / "exports")],
        footer_links=[],
        enable_monitoring=False,
        run_history=False,
        show_error=False,
        pwa=False,
        mcp_server=service.mcp_is_installed(),
        app_kwargs={"middleware": [Middleware(Gate, **gate)]},
        server_name=os.environ.get("GRADIO_SERVER_NAME"),
        **options,
    )
