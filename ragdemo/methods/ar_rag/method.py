"""AR-RAG as the registry and the page know it; importing it loads no model library."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from ragdemo.events import Draft, Event, Reference
from ragdemo.methods.ar_rag.events import Provenance
from ragdemo.methods.ar_rag.settings import Settings
from ragdemo.methods.base import Method, Tools
from ragdemo.methods.chapters import CANDIDATES, COMPARISON, DRAFT, RESULT, Chapter
from ragdemo.models.base import AUTOREGRESSIVE, ENCODER, Drawing
from ragdemo.request import Request

_TEMPLATES = Path(__file__).parent / "templates"
PROVENANCE = Chapter(
    name="provenance",
    title="Where every patch came from",
    ends=(Provenance,),
    template=_TEMPLATES / "provenance.html",
    script=_TEMPLATES / "provenance.js",
    place="below",
)
SOURCES = Chapter(
    name="sources",
    title="The sources",
    waiting="Pictures for the prompt are looked up in the library; their patches may be taken while decoding.",
    doing="Searching the library",
    ends=(Provenance,),
    template=_TEMPLATES / "sources.html",
    stages=("retrieval",),
)


class ARRAG(Method):
    """While a model decodes patch by patch, the patches of real pictures that fit what is drawn so far join in."""

    name = "ar_rag"
    title = "AR-RAG"
    sentence = "While a picture is decoded patch by patch, patches of real pictures that fit join in."
    Settings = Settings
    needs = (AUTOREGRESSIVE, ENCODER)
    generator = AUTOREGRESSIVE
    chapters = (DRAFT, SOURCES, RESULT, PROVENANCE, CANDIDATES, COMPARISON)

    def run(
        self, request: Request, tools: Tools, known: Sequence[Event] = ()
    ) -> Generator[Event, None, None]:
        """See `Method.run`."""
        from ragdemo.methods.ar_rag.flow import Run  # not before it is needed: it imports torch

        self.check(request)
        yield from Run(request, tools, known).events()

    def drawing(
        self, request: Request, tools: Tools, references: Sequence[Reference], events: Sequence[Event]
    ) -> Drawing[Any]:
        """See `Method.drawing`."""
        from ragdemo.methods.ar_rag.flow import Run

        return Run(request, tools).drawing(references)

    def still_known(self, request: Request, before: Request, events: Sequence[Event]) -> tuple[Event, ...]:
        """See `Method.still_known`; what retrieval does leaves the draft as it is."""
        plain = {"guidance_scale", "temperature"}
        asked = [{k: v for k, v in one.settings.items() if k in plain} for one in (request, before)]
        rest = {"settings": before.settings, "choices": before.choices}
        if asked[0] != asked[1] or request.changed(**rest) != before:
            return ()
        return tuple(event for event in events if isinstance(event, Draft))
