"""ImageRAG's flow: draft, verdict, missing concepts, captions, retrieval, generation with references.

    1) draw the prompt                                     Draft
    2) ask whether the image shows it; yes: done           Verdict
    3) ask which concepts are missing                      MissingConcepts
    4) ask for a caption per concept                       RetrievalCaptions
    5) take the nearest library image of each caption      References
    6) draw again, same seed, with those images            Result
    7) with more than one round: ask again, go to 3        Verdict(of="result")

A person's own pictures are drawn with in any case, also if the answer to 2 is yes.

The modes leave steps out: "generation" has no 1 and 2, "rephrase" replaces 3 to 5 by one rewritten prompt (Rephrased),
"personalization" shows the person's images in 1 as well.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from ragdemo.events import (
    Event,
    MissingConcepts,
    Progress,
    Reference,
    References,
    Result,
    RetrievalCaptions,
    Verdict,
)
from ragdemo.methods.base import Tools
from ragdemo.methods.evidence import OWN_PREFIX, Evidence, prompt_beside_references
from ragdemo.methods.imagerag.settings import Settings
from ragdemo.methods.interview import Interviewer
from ragdemo.methods.running import Known, draft_of, draw
from ragdemo.models.base import CRITIC, GENERATOR
from ragdemo.request import Request


@dataclass(frozen=True)
class _Candidate:
    """An image that may become the result, and the references that it was drawn with."""

    image: Image.Image
    references: tuple[Reference, ...]


class Run:
    """One run; its methods are generators that yield events and return what they found."""

    def __init__(self, request: Request, settings: Settings, tools: Tools, known: Sequence[Event]) -> None:
        self._start = time.perf_counter()
        self._tools = tools
        self._request = request
        self._settings = settings
        self._known = Known(known)
        self._interviewer = Interviewer(tools.models.get(CRITIC), request.seed, settings.max_concepts)
        self._searcher = tools.retriever(settings.retriever)
        self._evidence = Evidence(
            tools,
            self._searcher,
            request,
            self._settings.references_per_concept,
            self._settings.similarity_threshold,
            self._settings.hybrid,
        )
        self._tried: set[str] = set()
        self._captions: dict[str, str] = {}

    def events(self) -> Generator[Event, None, None]:
        """The run of the mode that the settings name."""
        modes = {"generation": self._generation, "rephrase": self._rephrase}
        best = yield from modes.get(self._settings.mode, self._correction)()
        recipe = self._tools.recipe(self._request, best.references, self._searcher)
        yield Result(best.image, recipe, time.perf_counter() - self._start)

    # The modes

    def _correction(self) -> Generator[Event, None, _Candidate]:
        own = self._evidence.own((self._request.prompt,)) if self._settings.mode == "personalization" else ()
        draft = yield from self._draft(own)
        approved = yield from self._approves(draft, "draft")
        if not approved:
            return (yield from self._improve(draft, self._settings.max_rounds))
        return draft if own else (yield from self._with_own(draft))

    def _generation(self) -> Generator[Event, None, _Candidate]:
        needed = yield from self._missing(None)
        first = yield from self._round(None, needed)
        if self._settings.max_rounds == 1 or (yield from self._approves(first, "result")):
            return first
        return (yield from self._improve(first, self._settings.max_rounds - 1))

    def _rephrase(self) -> Generator[Event, None, _Candidate]:
        draft = yield from self._draft(())
        if (yield from self._approves(draft, "draft")):
            return draft
        yield Progress("critic", 0, 1)
        rephrased = self._interviewer.rephrase(self._request.prompt)
        yield rephrased
        if rephrased.prompt == self._request.prompt:
            return draft
        return (yield from self._drawn(rephrased.prompt, ()))

    # The steps

    def _draft(self, references: tuple[Reference, ...]) -> Generator[Event, None, _Candidate]:
        drawing = self._settings.drawing(self._request.prompt, self._request.seed, references)
        image = yield from draft_of(self._known, self._tools.models.get(GENERATOR), drawing)
        return _Candidate(image, references)

    def _with_own(self, draft: _Candidate) -> Generator[Event, None, _Candidate]:
        """The person's own pictures are drawn with even if nothing is missing: that is what they were added for."""
        if not self._request.choices.own:
            return draft
        references = self._evidence.own_alone(self._request.prompt)
        yield references
        return (yield from self._drawn(self._prompt_for(references.used), references.used))

    def _approves(self, candidate: _Candidate, of: str) -> Generator[Event, None, bool]:
        verdict = self._known.take(Verdict)
        if verdict is None:
            yield Progress("critic", 0, 1)
            verdict = self._interviewer.verdict(self._request.prompt, candidate.image, of)
            yield verdict
        return verdict.matches

    def _improve(self, candidate: _Candidate, rounds: int) -> Generator[Event, None, _Candidate]:
        """Correct until the critic says yes, nothing new is found or the rounds are used up.

        Without a yes the candidate in which the critic misses least is best; between equals a correction goes before
        what it corrects, and an earlier one before a later one.
        """
        judged: list[tuple[int, _Candidate]] = []
        for _ in range(rounds):
            missing = yield from self._missing(candidate.image)
            judged.append((self._weight(missing), candidate))
            corrected = yield from self._round(candidate, missing)
            if corrected is candidate:
                return _best(judged)
            candidate = corrected
            if self._settings.max_rounds == 1 or (yield from self._approves(candidate, "result")):
                return candidate
        missing = yield from self._missing(candidate.image)
        return _best([*judged, (self._weight(missing), candidate)])

    def _missing(self, image: Image.Image | None) -> Generator[Event, None, MissingConcepts]:
        missing = self._known.take(MissingConcepts)
        if missing is None:
            yield Progress("critic", 0, 1)
            missing = self._interviewer.missing(self._request.prompt, image)
            yield missing
        return missing

    def _round(
        self, before: _Candidate | None, missing: MissingConcepts
    ) -> Generator[Event, None, _Candidate]:
        """Captions, retrieval and a drawing; `before` itself if no new reference was found."""
        captions = self._known.take(RetrievalCaptions)
        if captions is None:
            yield Progress("critic", 0, 1)
            captions = self._interviewer.captions(self._request.prompt, missing)
            yield captions
        references = yield from self._references(before, captions)
        if before is not None and _ids(references.used) == _ids(before.references):
            return before
        return (yield from self._drawn(self._prompt_for(references.used), references.used))

    def _references(
        self, before: _Candidate | None, captions: RetrievalCaptions
    ) -> Generator[Event, None, References]:
        """Keep what answered concepts that are no longer missing and what the person chose; replace the rest."""
        yield Progress("retrieval", 0, 1)
        self._captions |= dict(zip(captions.concepts, captions.captions, strict=True))
        earlier = () if before is None else before.references
        kept = tuple(ref for ref in earlier if self._is_chosen(ref) or ref.concept not in captions.concepts)
        own = (
            ()
            if any(ref.id.startswith(OWN_PREFIX) for ref in kept)
            else self._evidence.own(captions.concepts, captions.captions)
        )
        references = self._evidence.gather(captions, kept=kept, own=own, avoid=self._tried)
        if _ids(references.used) == _ids(kept):
            # nothing new: what failed is still the best that was found, and the drawing need not be repeated
            references = replace(references, used=earlier)
        self._tried |= set(_ids(references.used))
        yield references
        return references

    def _drawn(self, prompt: str, references: tuple[Reference, ...]) -> Generator[Event, None, _Candidate]:
        drawing = self._settings.drawing(prompt, self._request.seed, references)
        image = yield from draw(self._tools.models.get(GENERATOR), drawing, "generation")
        return _Candidate(image, references)

    def _prompt_for(self, references: Sequence[Reference]) -> str:
        """The prompt in the form that the generator wants beside references."""
        if not references:
            return self._request.prompt
        captions = [self._captions.get(reference.concept, reference.caption) for reference in references]
        return prompt_beside_references(self._tools, self._request.prompt, captions)

    def _is_chosen(self, reference: Reference) -> bool:
        return reference.id.startswith(OWN_PREFIX) or reference.id in self._request.choices.pinned

    def _weight(self, missing: MissingConcepts) -> int:
        """How much is missing; a critic that cannot say is taken for the worst."""
        return len(missing.concepts) if missing.understood else self._settings.max_concepts


def _best(judged: Sequence[tuple[int, _Candidate]]) -> _Candidate:
    """The candidate with the least weight; the first one only where all others are worse."""
    first, *corrected = judged
    return min([*corrected, first], key=lambda pair: pair[0])[1]


def _ids(references: Sequence[Reference]) -> tuple[str, ...]:
    return tuple(reference.id for reference in references)
