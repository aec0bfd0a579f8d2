"""The whole page: a header with the models' state, and one tab per view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ragdemo.library.session import SessionLibrary
from ragdemo.sessions import STATE_HOURS
from ragdemo.ui.api import build_api
from ragdemo.ui.blocks import Services
from ragdemo.ui.cards import EXPLORE, wire_cards
from ragdemo.ui.explore import Explore
from ragdemo.ui.library import LibraryTab
from ragdemo.ui.line import Lines
from ragdemo.ui.markup import render
from ragdemo.ui.scripts import OPENED
from ragdemo.ui.style import html, quiet_options

if TYPE_CHECKING:
    from ragdemo.run.base import Runner

TITLE = "Seen, missed, found"
SUBTITLE = "what retrieval does to an image generator"
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 5.0  # a failed load is tried again by the next run


def build_page(services: Services) -> gr.Blocks:
    """The page as Blocks, ready for `launch(**launch_options())`."""
    runner, lines = services.runner, Lines()
    with gr.Blocks(title=f"{TITLE}: {SUBTITLE}", fill_width=True, delete_cache=(3600, 3600)) as page:
        with gr.Row(elem_id="masthead"):
            html(render("title.html", title=TITLE, subtitle=SUBTITLE), elem_id="title")
            status = runner.status(services.profile(""))
            pill = html(render("pill.html", status=status), elem_id="pill")
        quiet = quiet_options(pill)
        own = gr.State(
            SessionLibrary(), delete_callback=SessionLibrary.delete, time_to_live=3600 * STATE_HOURS
        )
        with gr.Tabs(elem_id="views") as views:
            with gr.Tab("Explore", id=EXPLORE):
                explore = Explore(services, pill, own, quiet, lines)
            with gr.Tab("Library", id="library"):
                library = LibraryTab(services, explore.blocks.ask, own, quiet, lines)
        wire_cards(library, explore, services.catalogue, views, quiet)
        _watch_models(page, runner, explore.blocks.ask.profile, pill, quiet)
        page.load(library.show_first, [library.library, own], library.outputs, **quiet)
        if explore.invented is not None:
            explore.invented.then(library.show_own, own, library.all_outputs, **quiet)
        opened = page.load(explore.open_link, None, explore.link_outputs, **quiet)
        blocks, actions = explore.blocks, explore.blocks.ask.actions
        shown = [actions, blocks.row, blocks.below]
        opened.then(None, [actions, explore.looked, *shown[1:]], shown, js=OPENED, api_visibility="private")
        page.unload(explore.runs.stop)
        build_api(services, lines)
    # nobody waits in Gradio's queue, whose limits know no addresses; nothing runs past it either
    page.queue(max_size=64, api_open=False)
    return page


def _watch_models(
    page: gr.Blocks, runner: Runner, profile: gr.Dropdown, pill: gr.HTML, quiet: dict[str, Any]
) -> None:
    """Show how the chosen profile's models stand until they are ready; a change of profile loads others."""
    timer = gr.Timer(_POLL_SECONDS)

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
