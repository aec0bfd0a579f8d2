"""Nearest images by cosine: exact up to `FLAT_LIMIT` vectors, through an HNSW graph above.

    graph.faiss, graph.json      the graph, its sha256 and that of the vectors it was built from

An exact index is the matrix of `ragdemo.library.vectors` itself, so nothing else is kept that could grow stale. A graph
file is parsed only after its hash has been checked; one that is missing, damaged or of other vectors is built again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import faiss
import numpy as np

from ragdemo.library.contents import content_hashes, write_atomically
from ragdemo.library.store import Library, file_sha256
from ragdemo.library.vectors import default_folder, embed_library, known_vectors
from ragdemo.models.interfaces import JointEncoder
from ragdemo.types import UserError

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
        """Up to `k` (row, cosine) by falling cosine among the rows where the bool mask `allowed` `(N,)` holds."""
        k = min(k, len(self) if allowed is None else int(allowed.sum()))
        if k == 0:
            return []
        scores, rows = self._index.search(
            query[None].astype(np.float32), k, params=self._parameters(k, allowed)
        )
        if (rows[0] < 0).any():  # a graph may find fewer than there are where few rows are allowed
            return self._nearest_exact(query, k, allowed)
        return [(int(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True)]

    def _parameters(self, k: int, allowed: np.ndarray | None) -> faiss.SearchParameters:
        selector = None if allowed is None else faiss.IDSelectorBatch(np.flatnonzero(allowed))
        if isinstance(self._index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(MIN_SEARCH_BREADTH, 4 * k), sel=selector)
        return faiss.SearchParameters(sel=selector)

    def _nearest_exact(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None
    ) -> list[tuple[int, float]]:
        scores = self.cosines(query)
        if allowed is not None:
            scores = np.where(allowed, scores, -np.inf)
        return [(int(row), float(scores[row])) for row in np.argsort(-scores, kind="stable")[:k]]


def open_index(
    library: Library, encoder: JointEncoder, folder: Path | None = None, *, flat_limit: int = FLAT_LIMIT
) -> VectorIndex:
    """The index of a library under an encoder; what is missing, stale or damaged of it is made first.

    It is written to `folder`, by default one in the user's cache; `library.folder / "index"` ships it with the library.
    Images whose files cannot be read are listed in `unreadable`. Raises `UserError` where none can.
    """
    target = folder or default_folder(library, encoder)
    for _ in embed_library(library, encoder, target):
        pass
    known = known_vectors(library, encoder, target)
    hashes = content_hashes(library)
    ids = tuple(image_id for image_id, content in hashes.items() if content in known)
    if not ids:
        raise UserError(f"No image of the library {library.name} can be read; restore or rebuild it.")
    matrix = _unit(np.stack([known[hashes[image_id]] for image_id in ids]))
    unreadable = tuple(image_id for image_id, content in hashes.items() if content not in known)
    graph = _open_graph(matrix, target) if len(ids) > flat_limit else None
    return VectorIndex(ids, matrix, unreadable, graph)


def _unit(vectors: np.ndarray) -> np.ndarray:
    matrix = vectors.astype(np.float32)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def _flat(matrix: np.ndarray) -> faiss.IndexFlatIP:
    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    return index


def _open_graph(matrix: np.ndarray, folder: Path) -> faiss.IndexHNSW:
    """The graph of exactly these vectors, read where the kept one is, else built and kept."""
    source = hashlib.sha256(matrix.tobytes()).hexdigest()
    path, card = folder / GRAPH_FILE, folder / GRAPH_CARD
    if _read_card(card) == {"vectors": source, "sha256": file_sha256(path)}:
        return faiss.read_index(str(path))
    graph = faiss.IndexHNSWFlat(matrix.shape[1], GRAPH_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = GRAPH_BUILD_BREADTH
    graph.add(matrix)
    write_atomically(path, lambda file: faiss.write_index(graph, str(file)))
    text = json.dumps({"vectors": source, "sha256": file_sha256(path)})
    write_atomically(card, lambda file: file.write_text(text, encoding="utf-8"))
    return graph


def _read_card(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
