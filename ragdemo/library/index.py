"""Nearest images by cosine: exact up to `FLAT_LIMIT` vectors, by an HNSW graph above.

    graph.faiss, graph.json      the graph, its sha256 and that of the vectors it was built from

An exact index is the matrix of `ragdemo.library.vectors` itself, so no other file can become stale. A graph file is
parsed only after its hash has been checked; one that is missing, damaged or of other vectors is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from ragdemo.errors import UserError
from ragdemo.files import write_atomically
from ragdemo.library.contents import content_hashes
from ragdemo.library.store import Library, file_sha256
from ragdemo.library.vectors import Embedded, default_folder, embed_library
from ragdemo.models.base import JointEncoder

FLAT_LIMIT = 100_000
GRAPH_FILE, GRAPH_CARD = "graph.faiss", "graph.json"
GRAPH_NEIGHBOURS = 32
GRAPH_BUILD_BREADTH = 128
MIN_SEARCH_BREADTH = 64


class VectorIndex:
    """Vectors of the readable images of a library; row i belongs to `ids[i]`."""

    def __init__(
        self,
        ids: tuple[str, ...],
        matrix: np.ndarray,
        unreadable: tuple[str, ...] = (),
        graph: faiss.Index | None = None,
    ) -> None:
        self.ids = ids
        self.matrix = matrix  # (N, D) float32, unit norm
        self.unreadable = unreadable
        self._index = graph or _flat(matrix)

    def __len__(self) -> int:
        return len(self.ids)

    def cosines(self, query: np.ndarray) -> np.ndarray:
        """Exact cosine of one `(D,)` unit query with every row, float32 `(N,)`."""
        return self.matrix @ query.astype(np.float32)

    def nearest(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None = None
    ) -> list[tuple[int, float]]:
        """Up to `k` (row, cosine), highest cosine first, among the rows that the bool mask `allowed` `(N,)` selects."""
        k = min(k, len(self) if allowed is None else int(allowed.sum()))
        if k == 0:
            return []
        scores, rows = self._index.search(
            query[None].astype(np.float32), k, params=self._parameters(k, allowed)
        )
        if (rows[0] < 0).any():  # a graph may miss some if few rows are allowed
            return self._nearest_exact(query, k, allowed)
        return [(int(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True)]

    def _parameters(self, k: int, allowed: np.ndarray | None) -> faiss.SearchParameters:
        selector = None if allowed is None else faiss.IDSelectorBatch(np.flatnonzero(allowed))
        if isinstance(self._index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(MIN_SEARCH_BREADTH, 4 * k), sel=selector)  # type: ignore[attr-defined]
        return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]

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
    graph = _open_graph(matrix, target) if len(ids) > flat_limit else None
    return VectorIndex(ids, matrix, unreadable, graph)


def _unit(vectors: np.ndarray) -> np.ndarray:
    matrix = vectors.astype(np.float32)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def _flat(matrix: np.ndarray) -> faiss.IndexFlatIP:
    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    return index


def _open_graph(matrix: np.ndarray, folder: Path) -> faiss.Index:
    """The graph of exactly these vectors: read from `folder` if it is there, else built and written."""
    source = hashlib.sha256(matrix.tobytes()).hexdigest()
    path, card = folder / GRAPH_FILE, folder / GRAPH_CARD
    if _read_card(card) == {"vectors": source, "sha256": file_sha256(path)}:
        return faiss.read_index(str(path))
    graph = faiss.IndexHNSWFlat(matrix.shape[1], GRAPH_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = GRAPH_BUILD_BREADTH
    graph.add(matrix)
    data = faiss.serialize_index(graph).tobytes()
    card_text = json.dumps({"vectors": source, "sha256": hashlib.sha256(data).hexdigest()})
    with contextlib.suppress(
        UserError
    ):  # a disk that is full or read-only costs time at the next start, no more
        write_atomically(path, data)
        write_atomically(card, card_text.encode())
    return graph


def _read_card(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
