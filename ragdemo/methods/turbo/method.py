"""ImageRAGTurbo as the registry and the page know it; importing it loads no model library."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from ragdemo.events import Draft, Event, Reference, References
from ragdemo.methods.base import Method, Tools
from ragdemo.methods.chapters import CANDIDATES, COMPARISON, DRAFT, REFERENCE, RESULT, Chapter
from ragdemo.methods.turbo.events import Blended, Strip
from ragdemo.methods.turbo.settings import Settings
from ragdemo.models.base import ONE_STEP, Drawing
from ragdemo.request import Request

_TEMPLATES = Path(__file__).parent / "templates"
ALONE = replace(DRAFT, title="One step", waiting="The model draws the prompt in one step, with no help.")
PAIR = replace(
    REFERENCE,
    title="The pair",
    waiting="The caption that is nearest to the prompt is looked up; its picture comes along.",
)
TOGETHER = replace(
    RESULT,
    title="One step with the pair",
    waiting="The same step once more, with the pair's features deep inside.",
    doing="Drawing again with the pair",
    ends=(Blended,),
    template=_TEMPLATES / "together.html",
)
TIMES = Chapter(
    name="times",
    title="Where the milliseconds go",
    ends=(Blended,),
    template=_TEMPLATES / "times.html",
    place="below",
)
STRIP = Chapter(
    name="strip",
    title="From the pair to the prompt",
    ends=(Strip,),
    template=_TEMPLATES / "strip.html",
    place="below",
)


class ImageRAGTurbo(Method):
    """One step of a distilled model, with the features of a retrieved pair blended into its deepest ones."""

    name = "turbo"
    title = "ImageRAGTurbo"
    sentence = "One step, with a retrieved pair blended in deep inside: the picture follows while you type."
    Settings = Settings
    needs = (ONE_STEP,)
    generator = ONE_STEP
    follows_typing = True
    chapters = (ALONE, PAIR, TOGETHER, STRIP, TIMES, CANDIDATES, COMPARISON)

    def run(
        self, request: Request, tools: Tools, known: Sequence[Event] = ()
    ) -> Generator[Event, None, None]:
        """See `Method.run`."""
        from ragdemo.methods.turbo.flow import Run  # not before it is needed: it imports torch

        self.check(request)
        yield from Run(request, tools, known).events()

    def drawing(
        self, request: Request, tools: Tools, references: Sequence[Reference], events: Sequence[Event]
    ) -> Drawing[Any]:
        """See `Method.drawing`."""
        from ragdemo.methods.turbo.flow import Run

        return Run(request, tools).drawing(references)

    def still_known(self, request: Request, before: Request, events: Sequence[Event]) -> tuple[Event, ...]:
        """See `Method.still_known`; another blend leaves the draft and the pair, other choices the draft."""
        if request.changed(settings=before.settings, choices=before.choices) != before:
            return ()
        search = [one.settings.get("search") for one in (request, before)]
        same_pair = request.choices == before.choices and search[0] == search[1]
        kinds = (Draft, References) if same_pair else (Draft,)
        return tuple(takewhile(lambda event: isinstance(event, kinds), events))
