"""From a card of the library to a run: what it shows is drawn, or it is a reference of what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ragdemo.errors import UserError
from ragdemo.library.catalogue import group_of
from ragdemo.request import Request
from ragdemo.ui.blocks import Updates, carried
from ragdemo.ui.choice import libraries_of
from ragdemo.ui.story import Story

if TYPE_CHECKING:
    from ragdemo.library.catalogue import Catalogue
    from ragdemo.library.store import Row
    from ragdemo.ui.explore import Explore
    from ragdemo.ui.library import LibraryTab

EXPLORE = "explore"
_BUSY = "A run goes on: stop it or let it end, then ask for this picture."


def wire_cards(
    tab: LibraryTab, explore: Explore, catalogue: Catalogue, views: gr.Tabs, quiet: dict[str, Any]
) -> None:
    """Let the buttons of the tab's cards start runs on the first tab."""
    blocks, ask = explore.blocks, explore.blocks.ask

    def start(data: dict[Any, Any], event: gr.EventData, visit: gr.Request) -> Updates:
        act, image_id = carried(event, "act"), carried(event, "id")
        if act not in ("draw", "reference"):
            return {views: gr.skip()}
        shown: Updates = {views: gr.Tabs(selected=EXPLORE)}
        if explore.runs.line.holds(visit.session_hash or ""):
            return shown | blocks.say(_BUSY, "running", busy=True)
        library = data[tab.library]
        try:
            row = tab.opened(library, data[blocks.own]).row(image_id)
            request = _asked(data, row, act, tab, explore)
        except UserError as error:
            return shown | blocks.say(str(error))
        return {
            **shown,
            ask.prompt: request.prompt,
            ask.library: gr.update(**libraries_of(catalogue, data[blocks.own], library)),
            blocks.story: Story(request=request),
            **blocks.say("Starting …", "opened"),
        }

    inputs = {*ask.inputs, blocks.story, blocks.shelf, blocks.own, tab.library}
    outputs = [views, ask.prompt, ask.library, blocks.story, ask.actions]
    # as they come, as for a press of Run
    tab.cards.click(start, inputs, outputs, preprocess=False, **quiet)


def _asked(data: dict[Any, Any], row: Row, act: str, tab: LibraryTab, explore: Explore) -> Request:
    """What the column says, of the picture's own prompt or with the picture as a reference."""
    blocks = explore.blocks
    written = str(data[blocks.ask.prompt] or "").strip()
    prompt = prompt_of(row) if act == "draw" or not written else written
    asking = {**data, blocks.ask.prompt: prompt, blocks.ask.library: data[tab.library]}
    request = explore.runs.request(asking, blocks.outline_in(data).request)
    if act == "draw":
        return request
    choices = request.choices
    rejected = tuple(one for one in choices.rejected if one != row.id)
    pinned = dict.fromkeys((*choices.pinned, row.id))
    return request.changed(choices=choices.changed(pinned=tuple(pinned), rejected=rejected))


def prompt_of(row: Row) -> str:
    """What asks for the thing in a picture: its name in its scene, or its caption."""
    if "species" not in row.extra or "scene" not in row.extra:
        return row.caption
    name = group_of(row)
    return f"{'an' if name[0] in 'aeio' else 'a'} {name} in the {row.extra['scene']}"
