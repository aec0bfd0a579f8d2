"""AR-RAG's flow: decode the prompt, find pictures for it, decode again with their patches.

    1) decode the prompt                                            Draft
    2) find pictures for the prompt (scope "prompt")                References
    3) decode again, same seed, with the nearest patches            Provenance
    4) the picture                                                  Result

A picture that a person rejects after the fact is taken out from the first patch on that it gave: what was drawn before
stays. Several are taken out one after the other in their order, so that a request alone says what is drawn.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from ragdemo.events import Draft, Event, Progress, Reference, References, Result, RetrievalCaptions
from ragdemo.library.recent import Recent
from ragdemo.library.store import Library
from ragdemo.methods.ar_rag.condition import PatchRetrieval, PatchSource
from ragdemo.methods.ar_rag.datastore import codes_folder, open_datastore
from ragdemo.methods.ar_rag.events import Provenance, Trace
from ragdemo.methods.ar_rag.faid import BLENDERS
from ragdemo.methods.ar_rag.index import open_search
from ragdemo.methods.ar_rag.patches import Patches
from ragdemo.methods.ar_rag.settings import Settings
from ragdemo.methods.base import Tools
from ragdemo.methods.evidence import Evidence
from ragdemo.methods.running import Known, draw_with_extras
from ragdemo.models.base import AUTOREGRESSIVE, Drawing, Drawn, NoReference, Sampling
from ragdemo.request import Request

MOST_SOURCES = 24
"""Pictures of a whole library that are shown beside their patches."""
_DRAWN: Recent[tuple[object, ...], Drawn] = Recent(8)
"""The last drawings, so that taking pictures out one by one begins where the last one ended."""


class Run:
    """One run; its methods are generators that yield events and return what they found."""

    def __init__(self, request: Request, tools: Tools, known: Sequence[Event] = ()) -> None:
        self._start = time.perf_counter()
        self._request, self._settings, self._tools = request, Settings.parse(request.settings), tools
        self._known = Known(known)
        self._own: dict[str, Reference] = {}
        self._generator = tools.models.get(AUTOREGRESSIVE)
        assert isinstance(tools.library, Library)
        self._datastore = open_datastore(tools.library, self._generator.tokenizer)

    def events(self) -> Generator[Event, None, None]:
        """The steps in their order."""
        if self._known.take(Draft) is None:
            start = time.perf_counter()
            drawn = yield from self._draw("draft", NoReference())
            yield Draft(drawn.image, time.perf_counter() - start)
        yield Progress("retrieval", 0, 1)
        if self._settings.scope == "library":
            for encoded in self._datastore.complete(self._tools.split):
                yield Progress("retrieval", encoded.done, encoded.total)
        references, patches, drawn = yield from self._augmented()
        provenance = self._provenance(patches, references, drawn.extras["trace"])
        yield provenance
        used = references.used if references else tuple(provenance.sources)
        recipe = self._tools.recipe(self._request, used, self._tools.searcher)
        yield Result(drawn.image, recipe, time.perf_counter() - self._start)

    def _augmented(self) -> Generator[Event, None, tuple[References | None, Patches, Drawn]]:
        """The decoding with patches; for each rejected picture once more, from its first patch on."""
        rejected = self._request.choices.rejected
        prefix: tuple[int, ...] = ()
        for count in range(len(rejected) + 1):
            references, patches = self.sources(rejected[:count])
            if references and count == len(rejected):
                yield references
            drawn = yield from self._draw("generation", self.condition(patches, prefix))
            if count < len(rejected):
                prefix = _before(drawn.extras["trace"], patches, rejected[count])
        return references, patches, drawn

    def sources(self, rejected: tuple[str, ...] = ()) -> tuple[References | None, Patches]:
        """The pictures that the prompt finds, if the scope is the prompt, and the patches that may be used."""
        prompt = self._request.prompt
        request = self._request.changed(choices=self._request.choices.changed(rejected=rejected))
        evidence = Evidence(self._tools, self._tools.searcher, request, self._settings.references)
        own = evidence.own((prompt,))
        if self._settings.scope == "library":
            self._own = {reference.id: reference for reference in own}
            whole = self._datastore.whole(self._tools.split).without(rejected)
            return None, whole.joined(self._some(own)) if own else whole
        query = RetrievalCaptions((prompt,), (prompt,), "", 0.0)
        references = evidence.gather(query, own=own)
        return references, self._some(references.used)

    def _some(self, references: Sequence[Reference]) -> Patches:
        images = {reference.id: reference.image for reference in references}
        return self._datastore.some(list(images), images)

    def condition(self, patches: Patches, prefix: tuple[int, ...] = ()) -> PatchRetrieval:
        """How the settings let patches join in."""
        settings = self._settings
        blenders = None
        if settings.augmentation != "daid":
            blenders = self._tools.models.get(BLENDERS)
        return PatchRetrieval(
            self._source(patches),
            0.0 if settings.augmentation == "faid" else settings.patch_weight,
            settings.patch_temperature,
            settings.neighbours,
            settings.entropy_gate,
            settings.mixing,
            blenders,
            prefix,
        )

    def _source(self, patches: Patches) -> PatchSource:
        """The patches with their search; a library's graph is not used if pictures of it were rejected."""
        library, tokenizer = self._tools.library, self._generator.tokenizer
        assert isinstance(library, Library)
        return PatchSource(
            patches,
            open_search(
                patches, tokenizer.codebook, codes_folder(library, tokenizer), self._settings.place_weight
            ),
        )

    def drawing(self, references: Sequence[Reference]) -> Drawing[Any]:
        """The request drawn with patches of exactly these pictures; plainly, if there are none."""
        if not references:
            return self._drawing(NoReference())
        return self._drawing(self.condition(self._some(references)))

    def _drawing(self, condition: NoReference | PatchRetrieval) -> Drawing[Any]:
        sampling = Sampling(
            guidance_scale=self._settings.guidance_scale, temperature=self._settings.temperature
        )
        return Drawing(self._request.prompt, self._request.seed, sampling, condition)

    def _draw(self, stage: str, condition: NoReference | PatchRetrieval) -> Generator[Event, None, Drawn]:
        drawing = self._drawing(condition)
        key = (self._generator.tokenizer.fingerprint, *drawing.identity)
        drawn = _DRAWN.find(key)
        if drawn is None:
            drawn = yield from draw_with_extras(self._generator, drawing, stage)
            _DRAWN.keep(key, drawn)
        return drawn

    def _provenance(self, patches: Patches, references: References | None, trace: Trace) -> Provenance:
        """The trace with its pictures; of a whole library only those that gave most."""
        if references:
            return Provenance(references.used, trace, self._settings.patch_weight)
        numbers = _heaviest(trace)
        sources = tuple(self._source_of(patches.ids[number]) for number in numbers)
        return Provenance(sources, trace.renumbered(numbers), self._settings.patch_weight)

    def _source_of(self, name: str) -> Reference:
        """A picture that gave patches: one's own, or of the library, which nothing was asked about."""
        library, prompt = self._tools.library, self._request.prompt
        own = self._own.get(name)
        return own or Reference(name, library.caption(name), 0.0, prompt, library.image(name))


def _before(trace: Trace, patches: Patches, rejected: str) -> tuple[int, ...]:
    """The codes before the first patch of a picture; all of them if it gave none."""
    codes = trace.codes.reshape(-1).tolist()
    if rejected not in patches.ids:
        return tuple(codes)
    given = (trace.origin[..., 0] == patches.ids.index(rejected)).reshape(-1)
    return tuple(codes[: int(given.argmax())] if given.any() else codes)


def _heaviest(trace: Trace) -> list[int]:
    """The pictures that gave most codes, the most generous one first."""
    picture = trace.origin[..., 0]
    weights = {int(number): float(trace.share[picture == number].sum()) for number in np.unique(picture)}
    weights.pop(-1, None)
    return sorted(weights, key=lambda number: -weights[number])[:MOST_SOURCES]
