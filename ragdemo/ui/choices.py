"""What a person's choices make of a request: other references, and the controls of "is it the retrieval?"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ragdemo.events import Draft, Event, References, Rephrased, Result
from ragdemo.types import MAX_SEED, Request
from ragdemo.ui.story import Story

if TYPE_CHECKING:
    from ragdemo.backend.base import Backend

OTHER_SEEDS = 2
OTHER_TRIES = 20


def changed(story: Story, act: str, image_id: str) -> Request | None:
    """The request after a click on a card; None where the click fits no card of the story.

    "use" pins an image in the place of what answered its concept; "reject" turns it down; "pin" and "unpin" say whether
    it stays when others change; "restore" takes every refusal back.
    """
    request, found = story.request, story.references
    if request is None or found is None or not story.can_change_references:
        return None
    if act == "restore":
        return replace(request, rejected=())
    concepts = {reference.id: reference.concept for reference in (*found.used, *found.others)}
    if image_id not in concepts:
        return None
    others = tuple(pinned for pinned in request.pinned if pinned != image_id)
    if act == "reject":
        return replace(request, rejected=(*request.rejected, image_id), pinned=others)
    if act == "use":
        elsewhere = tuple(i for i in others if concepts.get(i) != concepts[image_id])
        return replace(request, pinned=(*elsewhere, image_id))
    return replace(request, pinned=(*others, image_id) if act == "pin" else others)


def controls_of(story: Story, backend: Backend) -> Iterator[tuple[str, str, Iterator[Event]]]:
    """Title, explanation and events of each control, on the prompt and seed of a story that found references."""
    request, found = story.request, story.references
    if request is None or found is None or not found.used:
        return
    before = _until_references(story.events)
    found_there = [reference.id for reference in found.used if reference.id not in _own(request)]
    others = _others(found_there, request.seed, backend)
    plain = replace(request, pinned=(), rejected=(), own_images=())
    if others:
        # one round with exactly these, whatever the run's own mode was
        changing = ("mode", "max_rounds", "similarity_threshold")
        kept = {key: value for key, value in request.settings.items() if key not in changing}
        swapped = replace(plain, pinned=others, settings=kept)
        yield "Another reference", "of the same kind, drawn by chance", backend.run(swapped, before)
    drawing = {key: request.settings[key] for key in ("steps", "guidance_scale") if key in request.settings}
    rewritten = replace(plain, method="imagerag", settings={**drawing, "mode": "rephrase"})
    yield (
        "In words alone",
        "the critic's rewriting, no picture",
        _rewritten(backend.run(rewritten, before[:2])),
    )
    for seed in range(request.seed + 1, request.seed + 1 + OTHER_SEEDS):
        turned = seed % (MAX_SEED + 1)
        yield f"Seed {turned}", "the generator alone", backend.draw(request.prompt, turned, drawing)


def _rewritten(events: Iterator[Event]) -> Iterator[Event]:
    """A run's events, its pictures only once something was rewritten: a draft that stays as it is answers nothing."""
    told = False
    with closing(events):
        for event in events:
            told = told or isinstance(event, Rephrased)
            if told or not isinstance(event, Draft | Result):
                yield event


def _others(image_ids: list[str], seed: int, backend: Backend) -> tuple[str, ...]:
    """As many other pictures of the same kinds, none twice and none of these, where the library has so many."""
    chosen: list[str] = []
    for image_id in image_ids:
        tries = (backend.alike(image_id, seed + turn) for turn in range(OTHER_TRIES))
        chosen += [next((other for other in tries if other not in (*chosen, *image_ids)), "")]
    return tuple(filter(None, chosen))


def _own(request: Request) -> frozenset[str]:
    return frozenset(f"own:{Path(path).name}" for path in request.own_images)


def _until_references(events: tuple[Event, ...]) -> tuple[Event, ...]:
    for index, event in enumerate(events):
        if isinstance(event, References):
            return events[:index]
    return events
