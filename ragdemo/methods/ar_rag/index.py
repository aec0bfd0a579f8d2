"""An approximate search for datastores that are too large to look at every patch on a CPU."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ragdemo.errors import UserError
from ragdemo.files import write_atomically
from ragdemo.methods.ar_rag.patches import ExactSearch, Neighbours, Patches, PatchSearch, PlacedSearch

EXACT_LIMIT = 2_000_000
"""Patches that a CPU looks at one by one: 9 ms a code for a million of them, on one core."""
GRAPH_LEAST = 100_000
"""Patches from which on a graph is the faster one, if it has been built."""
GRAPH_FILE, GRAPH_CARD = "patches.faiss", "patches.json"
GRAPH_NEIGHBOURS = 32
GRAPH_BUILD_BREADTH = 80
_CHUNK = 65_536


class GraphSearch:
    """Looks along an HNSW graph of the keys' vectors in half precision; distances of what it finds are exact."""

    identity = "graph"

    def __init__(self, patches: Patches, codebook: Tensor, graph: faiss.Index) -> None:
        self._patches, self._codebook, self._graph = patches, codebook.cpu(), graph

    def nearest(self, key: Tensor, k: int, position: int = 0) -> Neighbours:
        """See `PatchSearch.nearest`."""
        query = _vectors(key[None].cpu(), self._codebook)
        breadth = faiss.SearchParametersHNSW(efSearch=2 * k)  # type: ignore[attr-defined]
        numbers = torch.from_numpy(self._graph.search(query, k, params=breadth)[1][0])
        numbers = numbers[numbers >= 0]
        keys = self._patches.keys[:, numbers].T.long()
        distances = (2 - 2 * (self._codebook[keys] * self._codebook[key.cpu()]).sum(-1)).sum(-1)
        order = distances.argsort()
        return Neighbours(distances[order], self._patches.values[numbers[order]], numbers[order])


def open_search(
    patches: Patches, codebook: Tensor, folder: Path, place_weight: float = 0.0, limit: int = EXACT_LIMIT
) -> PatchSearch:
    """The search over patches: exact with places, on a GPU and for few of them, else by a graph in `folder`.

    Without a graph of these patches up to `limit` are searched exactly; raises `UserError` if they are more.
    """
    if place_weight > 0:
        return PlacedSearch(patches, codebook, place_weight)
    if codebook.device.type != "cpu" or len(patches) < min(GRAPH_LEAST, limit):
        return ExactSearch(patches, codebook)
    path = folder / GRAPH_FILE
    if not path.is_file() or _read_card(folder / GRAPH_CARD) != _card(patches, codebook):
        if len(patches) <= limit:
            return ExactSearch(patches, codebook)
        raise UserError(
            f"The {len(patches):,} patches have no search graph; build it once with `python -m ragdemo library patches "
            "--graph`."
        )
    return GraphSearch(patches, codebook, faiss.read_index(str(path)))


def build_graph(patches: Patches, codebook: Tensor, folder: Path) -> GraphSearch:
    """Build the graph of patches and write it to `folder`; takes minutes for a million of them."""
    quantizer = faiss.ScalarQuantizer.QT_fp16
    graph = faiss.IndexHNSWSQ(4 * codebook.shape[1], quantizer, GRAPH_NEIGHBOURS)  # type: ignore[arg-type]
    graph.hnsw.efConstruction = GRAPH_BUILD_BREADTH
    keys, book = patches.keys.T.cpu(), codebook.cpu()
    graph.train(_vectors(keys[:_CHUNK], book))
    for start in range(0, len(keys), _CHUNK):
        graph.add(_vectors(keys[start : start + _CHUNK], book))
    write_atomically(folder / GRAPH_FILE, faiss.serialize_index(graph).tobytes())
    write_atomically(folder / GRAPH_CARD, json.dumps(_card(patches, codebook)).encode())
    return GraphSearch(patches, codebook, graph)


def recall(search: PatchSearch, exact: PatchSearch, keys: Tensor, k: int) -> float:
    """The share of the `k` nearest patches of `keys` `(N, 4)` that `search` finds; as near ones count as the same."""
    found = []
    for key in keys:
        furthest = float(exact.nearest(key, k, 0).distances[-1]) + 1e-5
        found.append(float((search.nearest(key, k, 0).distances <= furthest).sum()) / k)
    return float(np.mean(found))


def _vectors(keys: Tensor, codebook: Tensor) -> np.ndarray:
    """float32 `(N, 4·D)` of keys `(N, 4)`."""
    return F.embedding(keys.long(), codebook).flatten(1).numpy()


def _card(patches: Patches, codebook: Tensor) -> dict[str, object]:
    digest = hashlib.sha256(patches.grids.tobytes())
    digest.update(codebook.cpu().numpy().tobytes())
    return {"patches": len(patches), "sha256": digest.hexdigest()}


def _read_card(path: Path) -> object:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None
