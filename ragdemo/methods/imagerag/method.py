"""ImageRAG as the registry and the page know it; importing it loads no model library."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from ragdemo.errors import UserError
from ragdemo.events import Event, Reference, References, Rephrased, RetrievalCaptions
from ragdemo.methods.base import Method, Tools
from ragdemo.methods.chapters import CANDIDATES, COMPARISON, DRAFT, REFERENCE, RESULT, Chapter
from ragdemo.methods.evidence import prompt_beside_references, used_references
from ragdemo.methods.imagerag.flow import Run
from ragdemo.methods.imagerag.settings import Settings
from ragdemo.models.base import CRITIC, ENCODER, GENERATOR, Drawing
from ragdemo.request import Request

MISSING = Chapter(
    name="missing",
    title="What is missing",
    waiting="A vision-language model looks at the draft and names what does not match the prompt.",
    doing="Asking what is missing",
    ends=(RetrievalCaptions, References, Rephrased),
    template=Path(__file__).parent / "templates" / "missing.html",
    stages=("critic",),
)


class ImageRAG(Method):
    """A critic names what the draft lacks; references for it guide a second drawing."""

    name = "imagerag"
    title = "ImageRAG"
    sentence = "A critic names what the draft lacks; references for it guide a second drawing."
    Settings = Settings
    needs = (GENERATOR, CRITIC, ENCODER)
    chapters = (DRAFT, MISSING, REFERENCE, RESULT, CANDIDATES, COMPARISON)

    def check(self, request: Request) -> None:
        """See `Method.check`."""
        settings = Settings.parse(request.settings)
        if settings.mode == "personalization" and not request.choices.own:
            raise UserError(
                "The personalization mode needs an image of yours; add one or choose another mode."
            )

    def run(
        self, request: Request, tools: Tools, known: Sequence[Event] = ()
    ) -> Generator[Event, None, None]:
        """See `Method.run`."""
        self.check(request)
        yield from Run(request, Settings.parse(request.settings), tools, known).events()

    def drawing(
        self, request: Request, tools: Tools, references: Sequence[Reference], events: Sequence[Event]
    ) -> Drawing[Any]:
        """See `Method.drawing`; beside references the prompt has the form that it had in the run."""
        prompt, captions = request.prompt, _captions(events)
        if references and captions:
            prompt = prompt_beside_references(tools, prompt, captions)
        return Settings.parse(request.settings).drawing(prompt, request.seed, references)

    def still_known(self, request: Request, before: Request, events: Sequence[Event]) -> tuple[Event, ...]:
        """See `Method.still_known`; where every drawing shows the person's own pictures, new ones change the draft."""
        own_changed = request.choices.own != before.choices.own
        if own_changed and request.settings.get("mode") == "personalization":
            return ()
        return super().still_known(request, before, events)


def _captions(events: Sequence[Event]) -> tuple[str, ...]:
    """The captions that the run's own drawing was prompted with, one per reference."""
    used, said, captions = used_references(events), dict[str, str](), tuple[str, ...]()
    for event in events:
        if isinstance(event, RetrievalCaptions):
            said |= dict(zip(event.concepts, event.captions, strict=True))
        elif isinstance(event, References) and said and tuple(one.id for one in event.used) == used:
            captions = tuple(said.get(one.concept, one.caption) for one in event.used)
    return captions
