"""ImageRAGTurbo's flow: a picture in one step, then once more with a retrieved pair in its deepest features.

1) one step from the prompt                                     Draft
2) find the caption that is nearest to the prompt               References
3) the same step, same seed, with the pair's features           Blended
4) the same at several w, if wanted                             Strip
5) the picture of 3                                             Result
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from ragdemo.events import Draft, Event, Progress, Reference, References, Result, RetrievalCaptions
from ragdemo.library.search import Searcher
from ragdemo.library.store import Library
from ragdemo.methods.base import Tools
from ragdemo.methods.evidence import Evidence
from ragdemo.methods.running import Known, draw_with_extras
from ragdemo.methods.turbo.adapter import H_ADAPTER, HSpaceAdapter, check_fits
from ragdemo.methods.turbo.cache import FeatureCache
from ragdemo.methods.turbo.condition import HSpaceBlend
from ragdemo.methods.turbo.events import Blended, Strip
from ragdemo.methods.turbo.retrieval import open_captions, text_similarity
from ragdemo.methods.turbo.settings import Injection, Settings
from ragdemo.models.base import ONE_STEP, Drawing, Drawn, NoReference
from ragdemo.request import Request

AS_PUBLISHED = 0.8
STRIP = (0.0, 0.25, 0.5, 0.75, 1.0)


class Run:
    """One run, or what it would draw."""

    def __init__(self, request: Request, tools: Tools, known: Sequence[Event] = ()) -> None:
        self._start = time.perf_counter()
        self._request, self._settings, self._tools = request, Settings.parse(request.settings), tools
        self._known = Known(known)
        self._generator = tools.models.get(ONE_STEP)
        assert isinstance(tools.library, Library)
        self._library, self._features = tools.library, FeatureCache(tools.library, self._generator)

    @property
    def injection(self) -> Injection:
        """How a pair joins in: as asked for, else by the adapter if the profile has one."""
        return self._settings.injection or ("adapter" if self._tools.models.has(H_ADAPTER) else "slerp")

    @property
    def weight(self) -> float:
        """w, the share of the target: as asked for, else the profile's."""
        if self._settings.blend is not None:
            return self._settings.blend
        return float(self._tools.profile.spec(ONE_STEP.name).defaults.get("blend", AS_PUBLISHED))

    def events(self) -> Generator[Event, None, None]:
        """The steps in their order."""
        alone: dict[str, float] = {}
        if self._known.take(Draft) is None:
            start = time.perf_counter()
            drawn = yield from self._draw("draft", NoReference())
            alone = dict(drawn.extras["timings"])
            yield Draft(drawn.image, time.perf_counter() - start)
        found = self._known.take(References)
        if found is None:
            yield Progress("retrieval", 0, 1)
            found = self.find()
            yield found
        blend = self.blend(found.used[0]) if found.used else None
        drawn = yield from self._draw("generation", blend or NoReference())
        yield self._blended(drawn, blend, found.seconds, alone)
        if blend is not None and self._settings.strip:
            yield self._strip(blend)
        recipe = self._tools.recipe(self._request, found.used, self.searcher)
        yield Result(drawn.image, recipe, time.perf_counter() - self._start)

    @property
    def searcher(self) -> Searcher:
        """The search over the library's captions."""
        return open_captions(self._library, self._generator)

    def find(self) -> References:
        """The one pair whose caption is nearest to the prompt, unless a person chose otherwise."""
        prompt, hybrid = self._request.prompt, self._settings.search == "fused"
        score = partial(text_similarity, self._generator)
        evidence = Evidence(self._tools, self.searcher, self._request, hybrid=hybrid, score_name=score)
        captions = RetrievalCaptions((prompt,), (prompt,), "", 0.0)
        found = evidence.gather(captions, own=evidence.own((prompt,)))
        return References(found.used, found.others, found.library_size, found.seconds)

    def blend(self, reference: Reference, weight: float | None = None) -> HSpaceBlend:
        """How the settings let a pair join in, at w = `weight` if it is given; λ is the reference's score."""
        adapter, levels = self._adapter(), tuple(self._generator.levels)
        trained = levels if adapter is None else adapter.config.levels
        chosen = tuple(level for level in levels if level in trained)[: self._settings.levels]
        retrieved = self._features.retrieved(reference, self._request.prompt, chosen)
        share = self.weight if weight is None else weight
        return HSpaceBlend(retrieved, share, reference.score, chosen, adapter)

    def drawing(self, references: Sequence[Reference]) -> Drawing[Any]:
        """The request drawn with the first of these references; plainly, if there are none."""
        if not references:
            return self._drawing(NoReference())
        image_id, score = references[0].id, references[0].score
        if image_id in self._library:
            (score,) = self.searcher.score(self._request.prompt, [image_id])
        found = Reference(image_id, references[0].caption, score, "", references[0].image)
        return self._drawing(self.blend(found))

    def _adapter(self) -> HSpaceAdapter | None:
        if self.injection == "slerp":
            return None
        adapter = self._tools.models.get(H_ADAPTER)
        check_fits(adapter, self._generator.levels)
        return adapter

    def _drawing(self, condition: NoReference | HSpaceBlend) -> Drawing[Any]:
        return Drawing(self._request.prompt, self._request.seed, condition=condition)

    def _draw(self, stage: str, condition: NoReference | HSpaceBlend) -> Generator[Event, None, Drawn]:
        return (yield from draw_with_extras(self._generator, self._drawing(condition), stage))

    def _blended(
        self, drawn: Drawn, blend: HSpaceBlend | None, search: float, alone: dict[str, float]
    ) -> Blended:
        together = {**drawn.extras["timings"], "search": search}
        together["encode"] += alone.get("encode", 0.0)  # the prompt was read once, for the draft
        similarity, levels = (blend.similarity, blend.levels) if blend else (0.0, ())
        weight = blend.weight if blend else 1.0
        return Blended(drawn.image, weight, similarity, self.injection, levels, alone, together)

    def _strip(self, blend: HSpaceBlend) -> Strip:
        conditions = [
            HSpaceBlend(blend.retrieved, weight, blend.similarity, blend.levels, blend.adapter)
            for weight in STRIP
        ]
        drawn = self._generator.draw_many([self._drawing(condition) for condition in conditions])
        return Strip(STRIP, tuple(one.image for one in drawn))
