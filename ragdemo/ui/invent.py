"""Invent one: a form for a species that no model can know, and what becomes of it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from ragdemo.errors import UserError
from ragdemo.library.session import SessionLibrary
from ragdemo.request import OWN_LIBRARY
from ragdemo.ui.blocks import Blocks, Updates, value_in
from ragdemo.ui.choice import libraries_of
from ragdemo.ui.doors import caller_of
from ragdemo.ui.markup import render
from ragdemo.ui.story import Story
from ragdemo.ui.style import html

if TYPE_CHECKING:
    from ragdemo.invention import Invention, Inventor
    from ragdemo.ui.line import Desk
    from ragdemo.ui.runs import Runs

TITLE = "✦ Invent one: a thing that no model has ever seen"
_BUSY = "A run goes on: stop it or let it end, then invent the next."
_SCRIPT = Path(__file__).with_name("invent.js").read_text(encoding="utf-8")
_FIRST = {
    "kind": "butterfly",
    "shape": "round",
    "pattern": "eyespots",
    "main": "gold",
    "second": "violet",
    "third": "teal",
    "name": "zorby",
}


@dataclass(frozen=True)
class InventPanel:
    """The panel's components: what folds, the picture of the choice, the form, and what was invented last."""

    inventor: Inventor
    place: gr.Accordion
    preview: gr.HTML
    form: gr.HTML
    result: gr.HTML

    def sentence(self, text: str) -> Markup:
        """What is wrong, in the place of a result."""
        return render("invented.html", sentence=text)

    def shown(self, made: Invention) -> Markup:
        """What was drawn into the visitor's library."""
        return render("invented.html", made=made, images=[image.image for image in made.images])


def build_invent(inventor: Inventor, quiet: dict[str, Any]) -> InventPanel:
    """The panel inside the current Blocks context; its form's `submit` is left to whoever makes runs."""
    with gr.Accordion(TITLE, open=False, elem_id="invent") as place, gr.Row(elem_id="invent-row"):
        preview = html(_preview(inventor, _FIRST), elem_id="invent-preview")
        form = html(_form(inventor, _FIRST), js_on_load=_SCRIPT, elem_id="invent-form")
    result = html("", elem_id="invent-result")
    panel = InventPanel(inventor, place, preview, form, result)

    def look(event: gr.EventData) -> Markup:
        return _preview(inventor, choice_of(event))

    def roll() -> tuple[Markup, Markup]:
        choice = inventor.surprise(random.Random())
        return _form(inventor, choice), _preview(inventor, choice)

    form.input(look, None, preview, trigger_mode="always_last", **quiet)
    form.click(roll, None, [form, preview], **quiet)
    return panel


def wire_invent(panel: InventPanel, runs: Runs, blocks: Blocks, desk: Desk, quiet: dict[str, Any]) -> Any:
    """Draw what is invented into the visitor's library, and let the browser ask for it; returns the event.

    Who draws waits at the `desk`.
    """
    ask, catalogue = blocks.ask, blocks.services.catalogue

    def drawn(data: Mapping[Any, Any], choice: Mapping[str, str]) -> Updates:
        own: SessionLibrary = data[blocks.own]
        made = panel.inventor.invent(choice, choice.get("name", ""))
        request = runs.request({**data, ask.prompt: made.prompt, ask.library: OWN_LIBRARY}, None)
        own.add_drawn(made.images, made.name)
        return {
            ask.prompt: made.prompt,
            ask.library: gr.update(**libraries_of(catalogue, own, OWN_LIBRARY)),
            blocks.story: Story(request=request),
            blocks.own: own,
            panel.result: panel.shown(made),
            panel.place: gr.update(open=False),
            **blocks.say("Starting …", "opened"),
        }

    async def invent(data: dict[Any, Any], event: gr.EventData, visit: gr.Request) -> Updates:
        if runs.line.holds(visit.session_hash or ""):
            return {panel.result: panel.sentence(_BUSY)}
        try:
            return await desk.do(caller_of(visit)[0], drawn, data, choice_of(event))
        except UserError as error:
            return {panel.result: panel.sentence(str(error))}

    inputs = {*ask.inputs, blocks.story, blocks.shelf, blocks.own}
    outputs = [ask.prompt, ask.library, blocks.story, blocks.own, panel.result, panel.place, ask.actions]
    return panel.form.submit(invent, inputs, outputs, preprocess=False, **quiet)


def choice_of(event: gr.EventData) -> dict[str, str]:
    """What a form's event says is chosen, and under `name` what was typed."""
    said = value_in(event, "choice")
    return {str(key): str(value) for key, value in said.items()} if isinstance(said, Mapping) else {}


def _preview(inventor: Inventor, choice: Mapping[str, str]) -> Markup:
    try:
        return render("invent_preview.html", image=inventor.preview(choice))
    except UserError as error:
        return render("invent_preview.html", image=None, sentence=str(error))


def _form(inventor: Inventor, choice: Mapping[str, str]) -> Markup:
    return render("invent.html", inventor=inventor, choice=choice)
