"""RealRAG's flow: draft, reflection, retrieval, generation with references.

    1) draw the prompt                                              Draft
    2) find the real picture nearest to it: drawn anyway            ReflectiveNegative
    3) ask every retriever the same query                           Rankings
    4) take the chosen retriever's nearest images                   References
    5) draw again, same seed, with those images                     Result

The paper draws at once with what its retriever finds; draft and reflection are here to be compared with. How a
reference is injected is the generator's matter (`ImageGenerator.draw`): by IP-Adapter in the pocket profile.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

from PIL import Image

from ragdemo.errors import UserError
from ragdemo.events import Event, Progress, Reference, References, Result, RetrievalCaptions
from ragdemo.methods.base import Hit, Searcher, Tools
from ragdemo.methods.evidence import Evidence, reference_of
from ragdemo.methods.realrag.events import Ranking, Rankings, ReflectiveNegative
from ragdemo.methods.realrag.settings import Settings
from ragdemo.methods.running import Known, draft_of, draw
from ragdemo.models.base import GENERATOR
from ragdemo.request import Request

MINING_SPLIT = "train"
SHOWN_RANKS = 4


class Run:
    """One run; its methods are generators that yield events and return what they found."""

    def __init__(self, request: Request, settings: Settings, tools: Tools, known: Sequence[Event]) -> None:
        self._start = time.perf_counter()
        self._tools, self._request, self._settings = tools, request, settings
        self._searcher = tools.retriever(settings.retriever)
        self._known = Known(known)

    def events(self) -> Generator[Event, None, None]:
        """The steps in their order."""
        generator, prompt, seed = self._tools.models.get(GENERATOR), self._request.prompt, self._request.seed
        draft = yield from draft_of(self._known, generator, self._settings.drawing(prompt, seed))
        if self._known.take(ReflectiveNegative) is None:
            yield self._reflect(draft)
        if self._known.take(Rankings) is None:
            yield self._rank()
        yield Progress("retrieval", 0, 1)
        references = self._retrieve()
        yield references
        image = draft
        if references.used:
            drawing = self._settings.drawing(prompt, seed, references.used)
            image = yield from draw(generator, drawing, "generation")
        recipe = self._tools.recipe(self._request, references.used, self._searcher)
        yield Result(image, recipe, time.perf_counter() - self._start)

    def _reflect(self, draft: Image.Image) -> ReflectiveNegative:
        """Among the pictures that the retriever was trained on, if it was trained, else among all."""
        start = time.perf_counter()
        split = MINING_SPLIT if MINING_SPLIT in self._tools.library.splits else self._tools.split
        hit = self._tools.searcher.search_image(draft, 1, split)[0]
        return ReflectiveNegative(self._reference(hit), time.perf_counter() - start)

    def _rank(self) -> Rankings:
        start = time.perf_counter()
        trained = {k: v for k, v in self._tools.retrievers.items() if not isinstance(v, UserError)}
        searchers = {"zero": self._tools.searcher, **trained}
        rankings = [Ranking(name, self._first(searcher)) for name, searcher in searchers.items()]
        return Rankings(self._request.prompt, tuple(rankings), time.perf_counter() - start)

    def _first(self, searcher: Searcher) -> tuple[Reference, ...]:
        hits = searcher.search_text(self._request.prompt, SHOWN_RANKS, self._tools.split)
        return tuple(map(self._reference, hits))

    def _retrieve(self) -> References:
        prompt = self._request.prompt
        evidence = Evidence(self._tools, self._searcher, self._request, self._settings.references)
        query = RetrievalCaptions((prompt,), (prompt,), "", 0.0)
        return evidence.gather(query, own=evidence.own((prompt,)))

    def _reference(self, hit: Hit) -> Reference:
        return reference_of(hit, self._request.prompt, self._tools.library)
