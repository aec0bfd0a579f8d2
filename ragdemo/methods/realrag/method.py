"""RealRAG as the registry and the page know it; importing it loads no model library."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from ragdemo.events import Event
from ragdemo.methods.base import RETRIEVERS, Method, Tools
from ragdemo.methods.chapters import CANDIDATES, COMPARISON, DRAFT, REFERENCE, RESULT, Chapter
from ragdemo.methods.realrag.events import Rankings, ReflectiveNegative
from ragdemo.methods.realrag.flow import Run
from ragdemo.methods.realrag.settings import Settings
from ragdemo.models.base import ENCODER, GENERATOR
from ragdemo.request import Request

_TEMPLATES = Path(__file__).parent / "templates"
ANYWAY = Chapter(
    name="anyway",
    title="Drawn anyway",
    waiting="The real picture nearest to the draft is looked up: what the generator draws by itself.",
    doing="Looking at what it draws anyway",
    ends=(ReflectiveNegative,),
    template=_TEMPLATES / "anyway.html",
)
RANKINGS = Chapter(
    name="rankings",
    title="Three retrievers",
    ends=(Rankings,),
    template=_TEMPLATES / "rankings.html",
    place="below",
)


class RealRAG(Method):
    """A retriever trained to find what the generator would not draw by itself."""

    name = "realrag"
    title = "RealRAG"
    sentence = "A retriever trained to find what the generator would not draw by itself."
    Settings = Settings
    needs = (GENERATOR, ENCODER, RETRIEVERS)
    chapters = (DRAFT, ANYWAY, REFERENCE, RESULT, RANKINGS, CANDIDATES, COMPARISON)

    def run(
        self, request: Request, tools: Tools, known: Sequence[Event] = ()
    ) -> Generator[Event, None, None]:
        """See `Method.run`."""
        self.check(request)
        yield from Run(request, Settings.parse(request.settings), tools, known).events()
