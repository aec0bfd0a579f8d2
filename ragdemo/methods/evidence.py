"""Which reference images answer which concept: the nearest to each caption, unless a person chose otherwise."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from ragdemo.events import References, RetrievalCaptions
from ragdemo.methods.base import Hit, ReferenceLibrary, Searcher
from ragdemo.types import Reference, Request, UserError

OTHERS_PER_CONCEPT = 4
OWN_PREFIX = "own:"
MOST_OWN_IMAGES = 8
MOST_PIXELS = 50_000_000
LONGEST_EDGE = 1024


@dataclass(frozen=True)
class Evidence:
    """Chooses references for captions from a library, a person's own images and their choices."""

    searcher: Searcher
    library: ReferenceLibrary
    split: str | None
    request: Request
    per_concept: int = 1
    threshold: float | None = None
    hybrid: bool | None = None

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
        Nothing below the threshold is used, except what a person chose.
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
        searched = len(self.library.rows_of(self.split))
        return References(tuple(used), _distinct(others, taken), searched, seconds)

    def own(self, concepts: Sequence[str]) -> tuple[Reference, ...]:
        """The person's images in their order; the first answer the first concept, and so on."""
        per_concept = self.per_concept
        return tuple(
            _own_reference(path, concepts[min(index // per_concept, len(concepts) - 1)])
            for index, path in enumerate(self.request.own_images)
        )

    def _nearest(
        self, concept: str, caption: str, room: int, taken: Collection[str], avoid: Collection[str]
    ) -> tuple[list[Reference], list[Reference]]:
        """At most `room` references for one caption and the next candidates after them."""
        hits = self.searcher.search_text(
            caption,
            room + OTHERS_PER_CONCEPT,
            split=self.split,
            exclude_ids={*self.request.rejected, *taken, *avoid},
            hybrid=self.hybrid,
        )
        references = [self._reference(hit, concept) for hit in hits]
        good = [reference for reference in references if self._is_near(reference)][:room]
        return good, [reference for reference in references if reference not in good]

    def _is_near(self, reference: Reference) -> bool:
        return self.threshold is None or reference.score >= self.threshold

    def _pinned(self, captions: RetrievalCaptions) -> list[Reference]:
        """What the person pinned, each for the concept whose caption it is nearest to."""
        pinned = tuple(dict.fromkeys(self.request.pinned))
        scores = [self.searcher.score(caption, pinned) for caption in captions.captions]
        references = []
        for image_id, row in zip(pinned, zip(*scores, strict=True), strict=True):
            score, concept = max(zip(row, captions.concepts, strict=True), key=lambda pair: pair[0])
            caption, image = self.library.caption(image_id), self.library.image(image_id)
            references.append(Reference(image_id, caption, score, concept, image))
        return references

    def _reference(self, hit: Hit, concept: str) -> Reference:
        return Reference(
            hit.id, hit.caption, hit.score, concept, self.library.image(hit.id), hit.keyword_score
        )


def check_own_images(paths: Sequence[str]) -> None:
    """Raise `UserError` where there are too many of a person's images, or one cannot be read."""
    if len(paths) > MOST_OWN_IMAGES:
        raise UserError(f"You gave {len(paths)} images of your own; choose {MOST_OWN_IMAGES} or fewer.")
    for path in paths:
        read_own_image(path)


def read_own_image(path: str) -> Image.Image:
    """A person's image, upright, RGB, at most `LONGEST_EDGE` long; raises `UserError` where it cannot be used."""
    name = Path(path).name  # the folder is the server's matter
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise UserError(
                    f"Your image {name} has {image.width}×{image.height} pixels; make it smaller."
                )
            image.draft("RGB", (LONGEST_EDGE, LONGEST_EDGE))  # a JPEG is decoded at a fraction of its size
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"Your image {name} cannot be read; choose a PNG, JPEG or WebP file.") from error
    upright.thumbnail((LONGEST_EDGE, LONGEST_EDGE))
    return upright


def _own_reference(path: str, concept: str) -> Reference:
    name = Path(path).name
    return Reference(f"{OWN_PREFIX}{name}", Path(path).stem, 1.0, concept, read_own_image(path))


def _distinct(references: Sequence[Reference], taken: Collection[str]) -> tuple[Reference, ...]:
    """The first of each id that is not already taken."""
    first = {reference.id: reference for reference in reversed(references) if reference.id not in taken}
    return tuple(reference for reference in references if first.get(reference.id) is reference)
