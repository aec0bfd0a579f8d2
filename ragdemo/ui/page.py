"""The whole page: a header with the models' state, and one tab per view."""

from __future__ import annotations

import gradio as gr

from ragdemo.ui.api import build_api
from ragdemo.ui.blocks import Services
from ragdemo.ui.explore import OPENED, Explore
from ragdemo.ui.library import LibraryTab
from ragdemo.ui.markup import render
from ragdemo.ui.style import html, quiet_options

TITLE = "Seen, missed, found"
SUBTITLE = "what retrieval does to an image generator"
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 5.0  # a failed load is tried again by the next run


def build_page(services: Services) -> gr.Blocks:
    """The page as Blocks, ready for `launch(**launch_options())`."""
    runner = services.runner
    with gr.Blocks(title=f"{TITLE}: {SUBTITLE}", fill_width=True, delete_cache=(3600, 3600)) as page:
        with gr.Row(elem_id="masthead"):
            html(render("title.html", title=TITLE, subtitle=SUBTITLE), elem_id="title")
            status = runner.status(services.profile(""))
            pill = html(render("pill.html", status=status), elem_id="pill")
        quiet = quiet_options(pill)
        with gr.Tabs(elem_id="views"):
            with gr.Tab("Explore"):
                explore = Explore(services, pill, quiet)
            with gr.Tab("Library"):
                library = LibraryTab(runner, services.catalogue, explore.blocks.ask.profile, quiet)
        timer, profile = gr.Timer(_POLL_SECONDS), explore.blocks.ask.profile

        def poll(name: str) -> tuple[str, gr.Timer]:
            status = runner.status(name)
            seconds = _RETRY_SECONDS if status.state == "failed" else _POLL_SECONDS
            return render("pill.html", status=status), gr.Timer(seconds, active=status.state != "ready")

        def load(name: str) -> tuple[str, gr.Timer]:
            runner.start(name)
            return poll(name)

        timer.tick(poll, profile, [pill, timer], **quiet)
        page.load(poll, profile, [pill, timer], **quiet)
        profile.change(load, profile, [pill, timer], **quiet)
        page.load(library.show_first, library.library, library.outputs, **quiet)
        opened = page.load(explore.open_link, None, explore.link_outputs, **quiet)
        blocks = explore.blocks
        shown = [blocks.row, blocks.below]
        opened.then(
            None,
            [blocks.ask.actions, explore.looked, *shown],
            [blocks.ask.actions, *shown],
            js=OPENED,
            api_visibility="private",
        )
        page.unload(explore.runs.stop)
        build_api(runner, services.methods)
    page.queue(max_size=64)
    return page
