"""Nearest images by cosine: exact up to `FLAT_LIMIT` vectors, by a graph above (`ragdemo.library.graph`).

An exact index is the matrix of `ragdemo.library.vectors` itself, so no other file can become stale.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from ragdemo.errors import UserError
from ragdemo.library.contents import content_hashes
from ragdemo.library.graph import CHUNK, Graph, open_graph
from ragdemo.library.store import Library
from ragdemo.library.vectors import Embedded, default_folder, embed_library
from ragdemo.models.base import JointEncoder

FLAT_LIMIT = 100_000


class VectorIndex:
    """Vectors of the readable images of a library; row i belongs to `ids[i]`."""

    def __init__(
        self,
        ids: tuple[str, ...],
        matrix: np.ndarray,
        unreadable: tuple[str, ...] = (),
        graph: Graph | None = None,
    ) -> None:
        self.ids = ids
        self.matrix = matrix  # (N, D), unit norm: float32, float16 beside a graph of more than `FLAT_LIMIT`
        self.unreadable = unreadable
        self._graph = graph
        self._flat = None if graph else _flat(matrix)

    def __len__(self) -> int:
        return len(self.ids)

    def cosines(self, query: np.ndarray) -> np.ndarray:
        """Exact cosine of one `(D,)` unit query with every row, float32 `(N,)`."""
        query = query.astype(np.float32)
        starts = range(0, len(self), CHUNK)
        parts = [
            self.matrix[start : start + CHUNK].astype(np.float32, copy=False) @ query for start in starts
        ]
        return np.concatenate(parts)

    def nearest(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None = None
    ) -> list[tuple[int, float]]:
        """Up to `k` (row, cosine), highest cosine first, among the rows that the bool mask `allowed` `(N,)` selects."""
        k = min(k, len(self) if allowed is None else int(allowed.sum()))
        if k == 0:
            return []
        if self._graph is not None:
            found = self._graph.nearest(query, k, allowed)
            return self._nearest_exact(query, k, allowed) if found is None else found
        assert self._flat is not None
        selector = None if allowed is None else faiss.IDSelectorBatch(np.flatnonzero(allowed))
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        scores, rows = self._flat.search(query[None].astype(np.float32), k, params=parameters)
        return [(int(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True)]

    def _nearest_exact(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None
    ) -> list[tuple[int, float]]:
        scores = self.cosines(query)
        if allowed is not None:
            scores = np.where(allowed, scores, -np.inf)
        return [(int(row), float(scores[row])) for row in np.argsort(-scores, kind="stable")[:k]]


def open_index(
    library: Library,
    encoder: JointEncoder,
    folder: Path | None = None,
    *,
    flat_limit: int = FLAT_LIMIT,
    progress: Callable[[Embedded], object] = lambda embedded: None,
) -> VectorIndex:
    """The index of a library under an encoder; what is missing, stale or damaged is embedded.

    Vectors are written to `folder`, by default one in the user's cache; `library.folder / "index"` ships them with the
    library. Images whose files cannot be read are listed in `unreadable`. Raises `UserError` if none can be read.
    """
    target = folder or default_folder(library, encoder)
    known = embed_library(library, encoder, folder, progress)
    hashes = content_hashes(library)
    vectors = {image_id: known[content] for image_id, content in hashes.items() if content in known}
    if not vectors:
        raise UserError(f"No image of the library {library.name} can be read; restore or rebuild it.")
    ids, matrix = tuple(vectors), _unit(np.stack(list(vectors.values())))
    unreadable = tuple(image_id for image_id in hashes if image_id not in vectors)
    graph = open_graph(matrix, target) if len(ids) > flat_limit else None
    return VectorIndex(ids, matrix, unreadable, graph)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors `(N, D)` of norm 1; more than `FLAT_LIMIT` of them stay in half precision, as they are stored."""
    matrix = np.empty(vectors.shape, np.float32 if len(vectors) <= FLAT_LIMIT else np.float16)
    for start in range(0, len(vectors), CHUNK):
        part = vectors[start : start + CHUNK].astype(np.float32)
        matrix[start : start + CHUNK] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    return matrix


def _flat(matrix: np.ndarray) -> faiss.IndexFlatIP:
    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    return index
