"""An approximate search for libraries that are too large to look at every vector: an HNSW graph, then exact cosines.

    graph.faiss, graph.json      the graph, its sha256 and that of the vectors it was built from

Vectors of one encoder use few of their dimensions. The graph holds their projections on the directions that carry
`KEPT_ENERGY` of them, in half precision; what it finds is ranked by the whole vectors. A file is parsed only after its
hash has been checked; one that is missing, damaged or of other vectors is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from ragdemo.errors import UserError
from ragdemo.files import write_atomically
from ragdemo.library.store import file_sha256

GRAPH_FILE, GRAPH_CARD = "graph.faiss", "graph.json"
NEIGHBOURS = 32
BUILD_BREADTH = 80
LEAST_BREADTH = 256
RANKED_AGAIN = 4
"""How many candidates are ranked by their whole vectors for each that is asked for."""
KEPT_ENERGY = 0.995
SAMPLE = 20_000
CHUNK = 65_536


class Graph:
    """Finds rows of a matrix `(N, D)` of unit vectors, float32 or float16."""

    def __init__(self, matrix: np.ndarray, index: Any) -> None:
        self._matrix, self._index = matrix, index
        self.breadth = LEAST_BREADTH

    def nearest(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None = None
    ) -> list[tuple[int, float]] | None:
        """The `k` nearest (row, cosine) of a unit query `(D,)`, best first; None if it misses some that are allowed."""
        asked = min(RANKED_AGAIN * k, len(self._matrix) if allowed is None else int(allowed.sum()))
        selector = None if allowed is None else faiss.IDSelectorBatch(np.flatnonzero(allowed))
        breadth = max(self.breadth, 2 * asked)
        within = faiss.SearchParametersHNSW(efSearch=breadth, sel=selector)  # type: ignore[attr-defined]
        parameters = faiss.SearchParametersPreTransform(index_params=within)  # type: ignore[call-arg]
        _, found = self._index.search(query[None].astype(np.float32), asked, params=parameters)
        rows = found[0][found[0] >= 0]
        if len(rows) < asked:  # a graph may miss some if few rows are allowed
            return None
        scores = self._matrix[rows].astype(np.float32) @ query.astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:k]
        return [(int(rows[place]), float(scores[place])) for place in order]

    @property
    def dimensions(self) -> int:
        """How many directions the graph keeps."""
        return int(self._index.chain.at(0).d_out)


def open_graph(matrix: np.ndarray, folder: Path) -> Graph:
    """The graph of exactly these vectors: read from `folder` if it is there, else built and written."""
    source = hashlib.sha256(np.ascontiguousarray(matrix)).hexdigest()
    path, card = folder / GRAPH_FILE, folder / GRAPH_CARD
    if _read_card(card) == {"vectors": source, "sha256": file_sha256(path)}:
        return Graph(matrix, faiss.read_index(str(path)))
    index = build_graph(matrix)
    data = faiss.serialize_index(index).tobytes()
    card_text = json.dumps({"vectors": source, "sha256": hashlib.sha256(data).hexdigest()})
    # a disk that is full or read-only costs time at the next start, no more
    with contextlib.suppress(UserError):
        write_atomically(path, data)
        write_atomically(card, card_text.encode())
    return Graph(matrix, index)


def build_graph(matrix: np.ndarray) -> Any:
    """The graph of unit vectors `(N, D)`, as a faiss index with a projection before it."""
    directions = principal(matrix)
    projection = faiss.LinearTransform(matrix.shape[1], len(directions), False)
    faiss.copy_array_to_vector(directions.astype(np.float32).ravel(), projection.A)
    projection.is_trained = True
    within = faiss.IndexHNSWSQ(  # type: ignore[call-arg]
        len(directions),
        faiss.ScalarQuantizer.QT_fp16,  # type: ignore[arg-type]
        NEIGHBOURS,
        faiss.METRIC_INNER_PRODUCT,
    )
    within.hnsw.efConstruction = BUILD_BREADTH
    index = faiss.IndexPreTransform(projection, within)
    index.train(matrix[:1].astype(np.float32))
    for start in range(0, len(matrix), CHUNK):
        index.add(matrix[start : start + CHUNK].astype(np.float32))
    return index


def principal(matrix: np.ndarray) -> np.ndarray:
    """The fewest orthogonal directions `(d, D)`, a multiple of 16 of them, that carry `KEPT_ENERGY` of the vectors."""
    step = max(len(matrix) // SAMPLE, 1)
    sample = matrix[::step].astype(np.float32)
    values, vectors = np.linalg.eigh(sample.T @ sample)  # ascending; not centred, as cosines are not
    carried = np.cumsum(values[::-1]) / values.sum()
    count = int(np.searchsorted(carried, KEPT_ENERGY)) + 1
    return np.ascontiguousarray(vectors[:, ::-1][:, : min(-(-count // 16) * 16, len(values))].T)


def _read_card(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
