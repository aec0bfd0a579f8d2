"""Zero, Normal and Real behind one interface: the same library and texts, an index of their own each."""

from __future__ import annotations

from pathlib import Path

from ragdemo.library.index import VectorIndex
from ragdemo.library.search import Searcher
from ragdemo.methods.realrag.head import HeadedEncoder, load_head

ZERO, NORMAL, REAL = "zero", "normal", "real"
RETRIEVERS = (ZERO, NORMAL, REAL)


def load_retrievers(searcher: Searcher, heads: Path) -> dict[str, Searcher]:
    """The searchers of `heads/normal` and `heads/real` beside the frozen one; only the frozen one where there are none.

    A head moves the frozen encoder's vectors, so no picture is embedded anew. Raises `UserError` where a head is
    damaged or belongs to another encoder.
    """
    retrievers = {ZERO: searcher}
    for name in (NORMAL, REAL):
        if (heads / name).is_dir():
            encoder = HeadedEncoder(searcher.encoder, load_head(heads / name, searcher.encoder.fingerprint))
            index = VectorIndex(
                searcher.index.ids, encoder.transform(searcher.index.matrix), searcher.index.unreadable
            )
            retrievers[name] = Searcher(
                searcher.library, encoder, known_words=searcher.known_words, index=index
            )
    return retrievers
