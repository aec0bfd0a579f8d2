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
from collections.abc import Generator, Iterator, Sequence

from PIL import Image

from ragdemo.events import (
    Draft,
    Event,
    Progress,
    Rankings,
    References,
    ReflectiveNegative,
    Result,
    RetrievalCaptions,
)
from ragdemo.methods.base import Hit, Toolbox
from ragdemo.methods.evidence import Evidence, check_own_images
from ragdemo.methods.realrag.settings import Settings
from ragdemo.methods.running import Replay, told_drawing
from ragdemo.models.interfaces import Drawing
from ragdemo.recipe import Recipe
from ragdemo.types import Ranking, Reference, Request, UserError

MINING_SPLIT = "train"
SHOWN_RANKS = 4


class RealRAG:
    """The method, built once from its toolbox; each `run` is independent of the others."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    @staticmethod
    def check(request: Request) -> None:
        """Raise `UserError` where settings are wrong or one of the person's images cannot be read."""
        Settings.parse(request.settings)
        check_own_images(request.own_images)

    def run(self, request: Request, replay: Sequence[Event] = ()) -> Iterator[Event]:
        """See `Method.run`."""
        self.check(request)
        yield from _Run(self._toolbox, request, replay).events()


class _Run:
    """One run; its methods are generators that yield events and return what they found."""

    def __init__(self, toolbox: Toolbox, request: Request, replay: Sequence[Event]) -> None:
        self._start = time.perf_counter()
        self._toolbox, self._request = toolbox, request
        self._settings = Settings.parse(request.settings)
        self._searcher = toolbox.retriever(self._settings.retriever)
        self._replay = Replay(e for e in replay if isinstance(e, Draft | ReflectiveNegative | Rankings))

    def events(self) -> Iterator[Event]:
        """The steps in their order."""
        draft = yield from self._draft()
        yield self._replay.next(ReflectiveNegative) or self._reflect(draft)
        yield self._replay.next(Rankings) or self._rank()
        yield Progress("retrieval", 0, 1)
        references = self._retrieve()
        yield references
        image = draft
        if references.used:
            image = yield from self._draw("generation", tuple(ref.image for ref in references.used))
        recipe = Recipe(
            self._request,
            tuple(reference.id for reference in references.used),
            self._searcher.fingerprint,
            self._toolbox.versions,
        )
        yield Result(image, recipe, time.perf_counter() - self._start)

    def _draft(self) -> Generator[Event, None, Image.Image]:
        draft = self._replay.next(Draft)
        if draft is None:
            start = time.perf_counter()
            image = yield from self._draw("draft", ())
            draft = Draft(image, time.perf_counter() - start)
        yield draft
        return draft.image

    def _reflect(self, draft: Image.Image) -> ReflectiveNegative:
        """Among the pictures that the retriever was trained on, as its negatives were; among all where it was not."""
        start = time.perf_counter()
        split = MINING_SPLIT if MINING_SPLIT in self._toolbox.library.splits else self._toolbox.split
        hit = self._toolbox.searcher.search_image(draft, 1, split)[0]
        return ReflectiveNegative(self._reference(hit), time.perf_counter() - start)

    def _rank(self) -> Rankings:
        start = time.perf_counter()
        trained = {k: v for k, v in self._toolbox.retrievers.items() if not isinstance(v, UserError)}
        searchers = {"zero": self._toolbox.searcher, **trained}
        rankings = [
            Ranking(
                name,
                tuple(
                    map(
                        self._reference,
                        searcher.search_text(self._request.prompt, SHOWN_RANKS, self._toolbox.split),
                    )
                ),
            )
            for name, searcher in searchers.items()
        ]
        return Rankings(self._request.prompt, tuple(rankings), time.perf_counter() - start)

    def _retrieve(self) -> References:
        prompt = self._request.prompt
        evidence = Evidence(
            self._searcher,
            self._toolbox.library,
            self._toolbox.split,
            self._request,
            self._settings.references,
        )
        query = RetrievalCaptions((prompt,), (prompt,), "", 0.0)
        return evidence.gather(query, own=evidence.own((prompt,)))

    def _draw(self, stage: str, references: tuple[Image.Image, ...]) -> Generator[Event, None, Image.Image]:
        settings = self._settings
        drawing = Drawing(
            self._request.prompt,
            self._request.seed,
            references,
            settings.steps,
            settings.guidance_scale,
            settings.reference_scale,
        )
        return (yield from told_drawing(self._toolbox.generator, drawing, stage))

    def _reference(self, hit: Hit) -> Reference:
        image = self._toolbox.library.image(hit.id)
        return Reference(hit.id, hit.caption, hit.score, self._request.prompt, image, hit.keyword_score)
