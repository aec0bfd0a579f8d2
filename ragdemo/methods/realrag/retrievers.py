"""Normal and Real beside the frozen encoder, behind one interface: the same library and texts, an index each."""

from __future__ import annotations

from pathlib import Path

from ragdemo.library.index import VectorIndex
from ragdemo.library.search import Searcher
from ragdemo.methods.realrag.head import HeadedEncoder, load_head
from ragdemo.types import UserError

RETRIEVERS = ("normal", "real")


def load_retrievers(searcher: Searcher, heads: Path) -> dict[str, Searcher | UserError]:
    """The searchers of `heads/normal` and `heads/real` by name; one that is not there is left out.

    A head moves the frozen encoder's vectors, so no picture is embedded anew. A head that is damaged or belongs to
    another encoder is its error instead: whoever asks for it is told, and everything else goes on.
    """
    retrievers: dict[str, Searcher | UserError] = {}
    for name in RETRIEVERS:
        if (heads / name).is_dir():
            try:
                retrievers[name] = _headed(searcher, heads / name)
            except UserError as error:
                retrievers[name] = error
    return retrievers


def _headed(searcher: Searcher, folder: Path) -> Searcher:
    encoder = HeadedEncoder(searcher.encoder, load_head(folder, searcher.encoder.fingerprint))
    matrix = encoder.transform(searcher.index.matrix)
    index = VectorIndex(searcher.index.ids, matrix, searcher.index.unreadable)
    return Searcher(searcher.library, encoder, known_words=searcher.known_words, index=index)
