"""Which reference images answer which concept: the nearest to each caption, unless a person chose otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ragdemo.errors import UserError
from ragdemo.events import Event, Reference, References, Result, RetrievalCaptions
from ragdemo.methods.base import Hit, ReferenceLibrary, Searcher, Tools
from ragdemo.models.base import GENERATOR
from ragdemo.request import ImageRef, Request

OTHERS_PER_CONCEPT = 4
OWN_PREFIX = "own:"


@dataclass(frozen=True)
class Evidence:
    """Chooses references for captions from a library, a person's own images and their choices."""

    tools: Tools
    searcher: Searcher
    request: Request
    per_concept: int = 1
    threshold: float | None = None
    hybrid: bool | None = None
    score_name: Callable[[str, str], float] | None = None
    """How well a name answers a query, for methods that find by captions: one's own pictures have a name alone."""

    def gather(
        self,
        captions: RetrievalCaptions,
        *,
        kept: Sequence[Reference] = (),
        own: Sequence[Reference] = (),
        avoid: Collection[str] = (),
    ) -> References:
        """References for each concept: those `kept`, the person's `own`, what they pinned, then the nearest.

        Own and pinned images take the places of retrieved ones. `avoid` are ids that an earlier round has tried.
        Nothing below the threshold is used, nor for words that nothing answers, except what a person chose.
        """
        start = time.perf_counter()
        used, others = [*kept, *own], []
        taken = {reference.id for reference in kept}
        pinned = [reference for reference in self._pinned(captions) if reference.id not in taken]
        taken |= {reference.id for reference in pinned}
        for concept, caption in zip(captions.concepts, captions.captions, strict=True):
            chosen = [reference for reference in pinned if reference.concept == concept]
            places = self.per_concept - len(chosen)
            places -= sum(reference.concept == concept for reference in own)
            found, rest = self._nearest(concept, caption, max(places, 0), taken, avoid)
            taken |= {reference.id for reference in found}
            used += [*chosen, *found]
            others += rest
        seconds = time.perf_counter() - start
        searched = len(self.tools.library.rows_of(self.tools.split))
        return References(tuple(used), _distinct(others, taken), searched, seconds)

    def own(self, concepts: Sequence[str], captions: Sequence[str] = ()) -> tuple[Reference, ...]:
        """The person's images in their order; the first answer the first concept, and so on.

        Each is scored with the caption of its concept, as what is found is; without `captions` with the concept.
        """
        queries = dict(zip(concepts, captions or concepts, strict=True))
        last = len(concepts) - 1
        return tuple(
            self._own(picture, concepts[min(index // self.per_concept, last)], queries)
            for index, picture in enumerate(self.request.choices.own)
        )

    def own_alone(self, concept: str) -> References:
        """The person's images as the only references, for a picture that is right without any."""
        start = time.perf_counter()
        own = self.own((concept,))
        return References(own, (), 0, time.perf_counter() - start)

    def _own(self, picture: ImageRef, concept: str, queries: Mapping[str, str]) -> Reference:
        image = self.tools.pictures.get(picture.sha256)
        if image is None:
            raise UserError(f"Your picture {picture.name} is not here any more; add it again.")
        name = PurePath(picture.name).stem
        if self.score_name is not None:
            score = self.score_name(queries[concept], name)
        else:
            (score,) = self.searcher.similarity(queries[concept], [image])
        return Reference(own_id(picture), name, score, concept, image)

    def _nearest(
        self, concept: str, caption: str, room: int, taken: Collection[str], avoid: Collection[str]
    ) -> tuple[list[Reference], list[Reference]]:
        """At most `room` references for one caption and the next candidates after them."""
        hits = self.searcher.search_text(
            caption,
            room + OTHERS_PER_CONCEPT,
            split=self.tools.split,
            exclude_ids={*self.request.choices.rejected, *taken, *avoid},
            hybrid=self.hybrid,
        )
        references = [reference_of(hit, concept, self.tools.library) for hit in hits]
        can_answer = bool(room) and self.tools.answers(caption)
        good = [one for one in references if self._is_near(one)][:room] if can_answer else []
        return good, [reference for reference in references if reference not in good]

    def _is_near(self, reference: Reference) -> bool:
        return self.threshold is None or reference.score >= self.threshold

    def _pinned(self, captions: RetrievalCaptions) -> list[Reference]:
        """What the person pinned, each for the concept whose caption it is nearest to."""
        pinned = tuple(dict.fromkeys(self.request.choices.pinned))
        if not pinned:  # to score nothing would read the query all the same
            return []
        scores = [self.searcher.score(caption, pinned) for caption in captions.captions]
        references = []
        for image_id, row in zip(pinned, zip(*scores, strict=True), strict=True):
            score, concept = max(zip(row, captions.concepts, strict=True), key=lambda pair: pair[0])
            caption, image = self.tools.library.caption(image_id), self.tools.library.image(image_id)
            references.append(Reference(image_id, caption, score, concept, image))
        return references


def reference_of(hit: Hit, concept: str, library: ReferenceLibrary) -> Reference:
    """What a search found for a concept, with its image."""
    return Reference(hit.id, hit.caption, hit.score, concept, library.image(hit.id), hit.keyword_score)


def prompt_beside_references(tools: Tools, prompt: str, captions: Iterable[str]) -> str:
    """The prompt in the form that the generator wants beside references that answer `captions`."""
    form: str = tools.profile.spec(GENERATOR.name).options["reference_prompt"]
    return form.format(prompt=prompt, captions="; ".join(dict.fromkeys(captions)))


def used_references(events: Sequence[Event]) -> tuple[str, ...]:
    """The ids of the references of a run's result, or of its last retrieval if it was stopped before its result."""
    for event in reversed(events):
        if isinstance(event, Result):
            return event.recipe.references
        if isinstance(event, References):
            return tuple(reference.id for reference in event.used)
    return ()


def own_id(picture: ImageRef) -> str:
    """The id of a person's picture among references; two pictures of one name have two."""
    return f"{OWN_PREFIX}{picture.sha256[:8]}/{picture.name}"


def _distinct(references: Sequence[Reference], taken: Collection[str]) -> tuple[Reference, ...]:
    """The first of each id that is not already taken."""
    first = {reference.id: reference for reference in reversed(references) if reference.id not in taken}
    return tuple(reference for reference in references if first.get(reference.id) is reference)
