"""Measure the search of a large library and the embedding of pictures.

    python -m scripts.bench_library [--vectors 1000000] [--queries 1000] [--threads 2] [--plain 32] [--pictures 20000]

Vectors are x = normalise(W z + 0.1 ε) with z in R³² and a random W of 512×32, queries are drawn alike; k is 10. Search
is measured one query at a time on one thread, building with `--threads`. Beside the library's own graph stand plain
faiss indexes of the same vectors: Flat, which is exact, and HNSW with `--plain` neighbours. Pictures are shifted ones
of the shipped library, embedded by the pocket encoder: one by one in a plain loop, then as a library is.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil
from PIL import Image, ImageChops

from ragdemo.library.graph import CHUNK, Graph, build_graph
from ragdemo.library.store import Library, NewImage, open_library, write_library
from ragdemo.library.vectors import embed_library

K, DIMENSIONS, HIDDEN = 10, 512, 32
LOOPED = 1000
Search = Callable[[np.ndarray], list[int]]


def main() -> None:
    """Measure what is asked for and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (
        ("vectors", 10**6),
        ("queries", 1000),
        ("threads", 2),
        ("plain", 32),
        ("pictures", 20_000),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} threads to build, 1 to search")
    if options.vectors:
        measure_search(options.vectors, options.queries, options.threads, options.plain)
    if options.pictures:
        measure_embedding(options.pictures)


def measure_search(count: int, queries: int, threads: int, plain: int) -> None:
    """Build time, recall, time of a query and bytes of a vector, for each index after the other."""
    vectors, asked = synthetic(count, queries)
    print(f"{count:,} vectors of {DIMENSIONS} dimensions, {queries:,} queries, k = {K}")
    flat = _built("Flat", lambda: _added(faiss.IndexFlatIP(DIMENSIONS), vectors), threads)
    exact = _measured("Flat", _of_index(flat), asked, None)
    _size("Flat", 4 * DIMENSIONS)
    del flat
    _measure_graph(vectors, asked, exact, threads)
    if plain:
        hnsw = faiss.IndexHNSWFlat(DIMENSIONS, plain, faiss.METRIC_INNER_PRODUCT)
        name = f"plain HNSW{plain}"
        _built(name, lambda: _added(hnsw, vectors), threads)
        for breadth in (80, 128, 256):
            hnsw.hnsw.efSearch = breadth
            _measured(f"{name}, breadth {breadth}", _of_index(hnsw), asked, exact)
        _size(name, 4 * DIMENSIONS + 8 * plain + 4 * plain // 8)


def _measure_graph(vectors: np.ndarray, asked: np.ndarray, exact: list[set[int]], threads: int) -> None:
    index = _built("the library's graph", lambda: build_graph(vectors), threads)
    graph = Graph(vectors, index)
    for breadth in (80, 128, 256):
        graph.breadth = breadth
        title = f"the library's graph, breadth {breadth}"
        _measured(title, lambda query: [row for row, _ in graph.nearest(query, K) or []], asked, exact)
    stored = len(faiss.serialize_index(index)) / len(vectors)
    print(f"the library's graph: {graph.dimensions} directions kept")
    _size("the library's graph", stored, 2 * DIMENSIONS)


def synthetic(count: int, queries: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors float16 `(count, 512)` as a library stores them, and float32 queries of the same distribution."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((DIMENSIONS, HIDDEN), np.float32)

    def drawn(number: int) -> np.ndarray:
        z = rng.standard_normal((number, HIDDEN), np.float32)
        x = z @ W.T + 0.1 * rng.standard_normal((number, DIMENSIONS), np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    vectors = np.empty((count, DIMENSIONS), np.float16)
    for start in range(0, count, CHUNK):
        vectors[start : start + CHUNK] = drawn(min(CHUNK, count - start))
    return vectors, drawn(queries)


def measure_embedding(count: int) -> None:
    """Pictures a second in a plain loop and as a library is embedded, and whether each has a vector."""
    from ragdemo.models.base import ENCODER
    from ragdemo.models.registry import Models
    from ragdemo.profiles import get_profile

    encoder = Models(get_profile("pocket"), "cpu").get(ENCODER)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RAGDEMO_CACHE"] = f"{folder}/cache"
        library = write_library(Path(folder, "library"), "shifted", _shifted(count))
        encoder.embed_images([library.image(library.rows[0].id)])
        start = time.perf_counter()
        for row in library.rows[:LOOPED]:
            encoder.embed_images([library.image(row.id)])
        looped = min(LOOPED, count) / (time.perf_counter() - start)
        start = time.perf_counter()
        vectors = embed_library(library, encoder, None, lambda _: None)
        embedded = count / (time.perf_counter() - start)
        lost = _lost(library, vectors)
    print(
        f"embedding: {embedded:.0f} pictures a second, {looped:.0f} in a plain loop: {embedded / looped:.2f} times"
    )
    print(f"embedding: {count:,} pictures, {lost} without a vector")


def _lost(library: Library, vectors: dict[str, Any]) -> int:
    return sum(row.sha256 not in vectors for row in library.rows)


def _shifted(count: int) -> Iterator[NewImage]:
    shipped = open_library("pocket")
    for number in range(count):
        source = shipped.rows[number % len(shipped)]
        turn = number // len(shipped)
        image: Image.Image = ImageChops.offset(shipped.image(source.id), 9 * turn, 5 * turn)
        yield NewImage(f"{number:06}", source.caption, image)


def _built(name: str, build: Callable[[], Any], threads: int) -> Any:
    faiss.omp_set_num_threads(threads)
    start = time.perf_counter()
    built = build()
    seconds, memory = time.perf_counter() - start, psutil.Process().memory_info().rss / 1e9
    print(f"{name}: built in {seconds:.0f} s, the process has {memory:.1f} GB", flush=True)
    return built


def _added(index: Any, vectors: np.ndarray) -> Any:
    for start in range(0, len(vectors), CHUNK):
        index.add(vectors[start : start + CHUNK].astype(np.float32))
    return index


def _of_index(index: Any) -> Search:
    return lambda query: index.search(query[None], K)[1][0].tolist()


def _measured(name: str, search: Search, asked: np.ndarray, exact: list[set[int]] | None) -> list[set[int]]:
    """What a search finds for each query; prints its recall against `exact` and its time a query."""
    faiss.omp_set_num_threads(1)
    seconds, found = [], []
    for query in asked:
        start = time.perf_counter()
        rows = search(query)
        seconds.append(time.perf_counter() - start)
        found.append(set(rows))
    shared = [len(one & true) / K for one, true in zip(found, exact or found, strict=False)]
    milliseconds = 1000 * np.array(seconds)
    print(
        f"{name}: recall@{K} {np.mean(shared):.4f}, {np.median(milliseconds):.3f} ms a query "
        f"(95 % within {np.percentile(milliseconds, 95):.3f})",
        flush=True,
    )
    return found


def _size(name: str, index: float, beside: float = 0) -> None:
    more = f" and {beside:.0f} of the vectors it ranks with" if beside else ""
    print(f"{name}: {index:.0f} bytes a vector{more}")


if __name__ == "__main__":
    main()
