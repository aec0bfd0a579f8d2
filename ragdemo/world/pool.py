"""Pre-rendered pools: training reads pictures from memory maps, because rendering would starve it.

A pool is a folder of shards, each rendered by one process and moved into place when complete, so that an interrupted
rendering is resumed. The folder's name holds what the pictures depend on: kind, stream and the world's version.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ragdemo.world.render import SIZE
from ragdemo.world.sampling import Sample, duo_sample, generator_sample, pair_sample, species_sample
from ragdemo.world.species import roster
from ragdemo.world.version import world_version

SHARD = 1000


@dataclass(frozen=True)
class PoolSpec:
    """What a pool holds: `count` items of `stream`; an item of "pairs" is two pictures, of "duos" three, else one."""

    kind: str  # "generator" | "pairs" | "duos" | "species"
    stream: str
    count: int

    @property
    def folder(self) -> str:
        """The name of the pool's folder: a changed world gets a folder of its own."""
        return f"{self.kind}-{self.stream.replace('/', '-')}-{world_version()}"


def item(spec: PoolSpec, index: int) -> tuple[Sample, ...]:
    """Item `index` of a pool as samples: one, (reference, target) of pairs, (target, reference, reference) of duos."""
    if spec.kind == "pairs":
        return pair_sample(spec.stream, index)
    if spec.kind == "duos":
        return duo_sample(spec.stream, index)
    if spec.kind == "generator":
        return (generator_sample(spec.stream, index),)
    species = roster()
    return (species_sample(species[index % len(species)], spec.stream, index // len(species)),)


def describe_sample(sample: Sample) -> dict[str, Any]:
    """What a sample shows, as JSON-ready values."""
    return {
        "caption": sample.caption,
        "names": sample.names,
        "scene": sample.picture.scene,
        "looks": [asdict(look) for look in sample.picture.looks],
    }


class Pool:
    """A rendered pool: pictures uint8 `(count, per_item, 128, 128, 3)`, and `rows[i]`, their descriptions."""

    def __init__(self, spec: PoolSpec, folder: Path) -> None:
        self.spec, self.folder = spec, folder
        shards = range(0, spec.count, SHARD)
        self._shards = [np.load(folder / f"{start:07d}.npy", mmap_mode="r") for start in shards]
        self.rows = [
            row for start in shards for row in json.loads((folder / f"{start:07d}.json").read_text())
        ]

    def __len__(self) -> int:
        return self.spec.count

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The items' pictures: uint8 `(N, per_item, 128, 128, 3)`."""
        return np.stack([self._shards[i // SHARD][i % SHARD] for i in indices])


def render_pool(spec: PoolSpec, root: Path, workers: int | None = None) -> Pool:
    """Render what is missing of a pool below `root` in `workers` processes (one per core by default), and open it."""
    folder = root / spec.folder
    folder.mkdir(parents=True, exist_ok=True)
    missing = [s for s in range(0, spec.count, SHARD) if not _whole(folder, s, min(SHARD, spec.count - s))]
    if missing:
        with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as executor:
            for future in [executor.submit(_render_shard, spec, start, folder) for start in missing]:
                future.result()
    return Pool(spec, folder)


def _whole(folder: Path, start: int, count: int) -> bool:
    file = folder / f"{start:07d}.npy"
    return file.exists() and len(np.load(file, mmap_mode="r")) >= count


def _render_shard(spec: PoolSpec, start: int, folder: Path) -> None:
    items = [item(spec, i) for i in range(start, min(start + SHARD, spec.count))]
    pixels = np.stack([[np.asarray(sample.image(SIZE)) for sample in samples] for samples in items])
    rows = [[describe_sample(sample) for sample in samples] for samples in items]
    _replace(folder / f"{start:07d}.json", lambda path: path.write_text(json.dumps(rows)))
    _replace(folder / f"{start:07d}.npy", lambda path: np.save(path.open("wb"), pixels))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    partial = path.with_suffix(path.suffix + ".part")
    write(partial)
    os.replace(partial, path)
