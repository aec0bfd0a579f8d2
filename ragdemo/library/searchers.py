"""Searchers by library and encoder: embedded once, shared by all callers, the least recently used one dropped."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from ragdemo.library.index import open_index
from ragdemo.library.recent import Recent
from ragdemo.library.search import Searcher
from ragdemo.library.store import Library
from ragdemo.library.vectors import Embedded
from ragdemo.models.base import JointEncoder

MAX_SEARCHERS = 4
MAX_PRIVATE = 32


@dataclass
class _Place:
    """One searcher, None until it is built."""

    building: threading.Lock = field(default_factory=threading.Lock)
    searcher: Searcher | None = None


class Searchers:
    """Builds and keeps the searcher of each pair of library and encoder; threads may share it."""

    def __init__(self, limit: int = MAX_SEARCHERS) -> None:
        self._places: Recent[tuple[object, ...], _Place] = Recent(limit)
        # visitors' libraries come and go, and must not push out those that everybody uses
        self._private: Recent[tuple[object, ...], _Place] = Recent(MAX_PRIVATE)

    def get(
        self,
        library: Library,
        encoder: JointEncoder,
        known_words: Collection[str] | None = None,
        progress: Callable[[Embedded], object] = lambda embedded: None,
    ) -> Searcher:
        """The searcher of a library under an encoder; `progress` is told of each part that is embedded."""
        key = (library.folder, library.fingerprint, encoder.fingerprint)
        self._private.drop(lambda one: _is_over(one, key))
        place = (self._private if library.is_private else self._places).get(key, _Place)
        with place.building:
            if place.searcher is None:
                index = open_index(library, encoder, progress=progress)
                place.searcher = Searcher(library, encoder, known_words=known_words, index=index)
            return place.searcher


def _is_over(kept: tuple[object, ...], asked: tuple[object, ...]) -> bool:
    """Whether a visitor's library is gone, or what is kept is of an earlier state of it."""
    folder = kept[0]
    return not os.path.isdir(folder) or (folder == asked[0] and kept[1] != asked[1])  # type: ignore[arg-type]
