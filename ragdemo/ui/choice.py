"""The choice of a profile and a method, and what follows it on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from ragdemo.request import OWN_LIBRARY
from ragdemo.ui.markup import render

if TYPE_CHECKING:
    from ragdemo.library.catalogue import Catalogue
    from ragdemo.library.session import SessionLibrary
    from ragdemo.run.offers import Offer

Key = tuple[str, str]
"""The names of a profile and of a method."""


def methods_of(offer: Offer, chosen: str = "") -> dict[str, Any]:
    """A profile's methods as a radio holds them, at the chosen one, or at the first if that is not among them."""
    names = [method.name for method in offer.methods]
    choices = [(method.title, method.name) for method in offer.methods]
    return {"choices": choices, "value": chosen if chosen in names else names[0]}


def sentence_of(offer: Offer, method: str) -> Markup:
    """What a method does; nothing if the profile does not offer it."""
    text = next((row.sentence for row in offer.methods if row.name == method), "")
    return render("sentence.html", text=text)


def libraries_of(catalogue: Catalogue, own: SessionLibrary, chosen: str) -> dict[str, Any]:
    """The libraries as a dropdown holds them, at the chosen one if it is there; one's own if it has pictures."""
    choices = [(name, name) for name in catalogue.names()]
    if len(own):
        choices.append((f"{OWN_LIBRARY} · {len(own)} pictures", OWN_LIBRARY))
    values = [value for _, value in choices]
    return {
        "choices": choices,
        "value": chosen if chosen in values else values[0],
        "visible": len(choices) > 1,
    }


def follow_choice(
    offers: Sequence[Offer],
    profile: gr.Dropdown,
    method: gr.Radio,
    sentence: gr.HTML,
    columns: Sequence[tuple[Key, gr.Column]],
    quiet: dict[str, Any],
) -> None:
    """Let the methods follow the profile, and sentence and controls both."""

    def offer_of(name: str) -> Offer:
        return next((offer for offer in offers if offer.profile.name == name), offers[0])

    def shown(name: str, chosen: str) -> list[Any]:
        visible = [gr.Column(visible=key == (name, chosen)) for key, _ in columns]
        return [sentence_of(offer_of(name), chosen), *visible]

    def offered(name: str, chosen: str) -> list[Any]:
        radio = methods_of(offer_of(name), chosen)
        return [gr.Radio(**radio), *shown(name, radio["value"])]

    outputs = [sentence, *(column for _, column in columns)]
    # as they come: the radio may still hold what another profile offered
    profile.change(offered, [profile, method], [method, *outputs], preprocess=False, **quiet)
    method.change(shown, [profile, method], outputs, preprocess=False, **quiet)
