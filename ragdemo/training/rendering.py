"""Drawing pictures in worker processes, which therefore import no model library."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from random import Random

import numpy as np

from ragdemo.training.outlines import unheard_pair
from ragdemo.world.render import SIZE
from ragdemo.world.sampling import Sample, compose, generator_sample, pair_sample
from ragdemo.world.scenes import SCENES

PART = 50
FAMILY = 6
"""Pictures of the same look beside the first."""
UNHEARD_EVERY = 4
"""Every fourth pair shows a thing of no kind."""
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


def family(stream: str, index: int) -> tuple[Sample, ...]:
    """A picture of one thing, mostly nameless, then others of the same look, in other poses and scenes."""
    _, target = pair_sample(stream, index)
    rng = Random(f"{stream}/others/{index}")
    scenes = [scene for scene in SCENES if scene != target.picture.scene]
    others = [compose(target.picture.looks, scene, rng) for scene in rng.sample(scenes, FAMILY)]
    return target, *(Sample(picture, "", target.names) for picture in others)


def pair(stream: str, index: int) -> tuple[Sample, Sample]:
    """Two pictures of one look in different poses and scenes, mostly of nameless things and of things of no kind."""
    return pair_sample(stream, index) if index % UNHEARD_EVERY else unheard_pair(stream, index)


def _draw(sample: Callable[[str, int], Sequence[Sample]], stream: str, part: range) -> np.ndarray:
    return np.stack([[np.asarray(one.image(SIZE)) for one in sample(stream, index)] for index in part])
