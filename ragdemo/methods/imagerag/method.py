"""ImageRAG as the registry and the page know it; importing it loads no model library."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from ragdemo.errors import UserError
from ragdemo.events import Event, References, Rephrased, RetrievalCaptions
from ragdemo.methods.base import Method, Tools
from ragdemo.methods.chapters import CANDIDATES, COMPARISON, DRAFT, REFERENCE, RESULT, Chapter
from ragdemo.methods.imagerag.flow import Run
from ragdemo.methods.imagerag.settings import Settings
from ragdemo.models.base import CRITIC, ENCODER, GENERATOR
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

    def still_known(self, request: Request, before: Request, events: Sequence[Event]) -> tuple[Event, ...]:
        """See `Method.still_known`; where every drawing shows the person's own pictures, new ones change the draft."""
        own_changed = request.choices.own != before.choices.own
        if own_changed and request.settings.get("mode") == "personalization":
            return ()
        return super().still_known(request, before, events)
