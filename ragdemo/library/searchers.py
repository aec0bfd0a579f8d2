"""Searchers by library and encoder: embedded once, shared by all callers, the least recently used one dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field

from ragdemo.library.index import build_index
from ragdemo.library.recent import Recent
from ragdemo.library.search import Searcher
from ragdemo.library.store import Library
from ragdemo.library.vectors import Embedded
from ragdemo.models.base import JointEncoder

MAX_SEARCHERS = 4
REPORT_SECONDS = 0.5


@dataclass
class _Place:
    """One searcher, while it is built and afterwards."""

    # not a reentrant lock: a generator may be closed by another thread than the one that ran it
    building: threading.Lock = field(default_factory=threading.Lock)
    progress: Embedded = field(default_factory=lambda: Embedded(0, 0))
    searcher: Searcher | None = None


class Searchers:
    """Builds and keeps the searcher of each pair of library and encoder; threads may share it."""

    def __init__(self, limit: int = MAX_SEARCHERS) -> None:
        self._places: Recent[tuple[object, ...], _Place] = Recent(limit)

    def prepare(
        self, library: Library, encoder: JointEncoder, known_words: Collection[str] | None = None
    ) -> Generator[Embedded, None, Searcher]:
        """Yield the progress of embedding, at once and after each part, then return the searcher.

        Nothing is yielded if it is ready. A second caller sees the progress of the first. Closing the generator stops
        the embedding and keeps what is done.
        """
        place = self._places.get((library.folder, library.fingerprint, encoder.fingerprint), _Place)
        while place.searcher is None:
            if not place.building.acquire(timeout=REPORT_SECONDS):
                yield place.progress
                continue
            try:
                if place.searcher is None:
                    yield from _build(place, library, encoder, known_words)
            finally:
                place.building.release()
        return place.searcher

    def get(
        self,
        library: Library,
        encoder: JointEncoder,
        known_words: Collection[str] | None = None,
        progress: Callable[[Embedded], object] = lambda embedded: None,
    ) -> Searcher:
        """The searcher of a library under an encoder; `prepare` with its progress passed to a function."""
        steps = self.prepare(library, encoder, known_words)
        while True:
            try:
                progress(next(steps))
            except StopIteration as done:
                return done.value


def _build(
    place: _Place, library: Library, encoder: JointEncoder, known_words: Collection[str] | None
) -> Generator[Embedded, None, None]:
    building = build_index(library, encoder)
    while place.searcher is None:
        try:
            place.progress = next(building)
            yield place.progress
        except StopIteration as done:
            place.searcher = Searcher(library, encoder, known_words=known_words, index=done.value)
