"""Drawing pictures in worker processes, which therefore import no model library."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from ragdemo.world.render import SIZE
from ragdemo.world.sampling import Sample, generator_sample

PART = 50
AHEAD = 2  # shards that are drawn while one is used


def rendered(
    sample: Callable[[str, int], Sequence[Sample]],
    stream: str,
    shards: Sequence[range],
    workers: int | None = None,
) -> Iterator[tuple[range, list[np.ndarray]]]:
    """Shard by shard its pictures in parts, uint8 `(N, per_item, 128, 128, 3)`, drawn ahead in `workers` processes.

    `sample(stream, index)`, a function of a module without model libraries, is what an item shows.
    """
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as executor:
        drawn: deque[list[Future[np.ndarray]]] = deque()
        for turn in range(len(shards) + AHEAD):
            if turn < len(shards):
                parts = [shards[turn][i : i + PART] for i in range(0, len(shards[turn]), PART)]
                drawn.append([executor.submit(_draw, sample, stream, part) for part in parts])
            if turn >= AHEAD:
                yield shards[turn - AHEAD], [future.result() for future in drawn.popleft()]


def single(stream: str, index: int) -> tuple[Sample]:
    """One picture of what generators may see."""
    return (generator_sample(stream, index),)


def _draw(sample: Callable[[str, int], Sequence[Sample]], stream: str, part: range) -> np.ndarray:
    return np.stack([[np.asarray(one.image(SIZE)) for one in sample(stream, index)] for index in part])
