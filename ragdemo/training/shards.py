"""Streams of pictures, drawn once and kept shard by shard as what frozen models make of them.

A shard is a file of each array and one of rows; a shard whose files are all there is not made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ragdemo.training.cache import save_array
from ragdemo.training.rendering import rendered
from ragdemo.world.pool import describe_sample
from ragdemo.world.sampling import Sample

ROWS = "rows"
NOTHING: Mapping[str, Callable[[Sequence[Sample]], np.ndarray]] = {}


def write_shards(
    folder: Path,
    stream: str,
    sample: Callable[[str, int], Sequence[Sample]],
    count: int,
    size: int,
    encode: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    workers: int | None = None,
    describe: Mapping[str, Callable[[Sequence[Sample]], np.ndarray]] = NOTHING,
) -> None:
    """Draw the items 0 … `count` − 1 of a stream, `size` a shard, and keep `encode` of them and their rows.

    `encode` maps the pictures of some items, uint8 `(N, per_item, 128, 128, 3)`, to arrays `(N, …)`, and `describe` an
    item's samples to further values; a row is a list of descriptions, one a picture. Says how far it is.
    """
    shards = [range(start, min(start + size, count)) for start in range(0, count, size)]
    missing = [shard for shard in shards if not _file(folder, ROWS, shard).exists()]
    for shard, parts in rendered(sample, stream, missing, workers):
        arrays = [encode(part) for part in parts]
        values = {name: np.concatenate([array[name] for array in arrays]) for name in arrays[0]}
        items = [sample(stream, i) for i in shard]
        values |= {name: np.stack([function(item) for item in items]) for name, function in describe.items()}
        for name, value in values.items():
            file = _file(folder, name, shard)
            file.parent.mkdir(parents=True, exist_ok=True)
            save_array(file, value)
        rows = (json.dumps([describe_sample(one) for one in item]) for item in items)
        _write_rows(_file(folder, ROWS, shard), rows)  # last: a shard with rows is whole
        print(f"{folder.name} {shard.stop}/{count}", flush=True)


class Shards:
    """The shards that are there: `len`, `rows`, and arrays by name and position."""

    def __init__(self, folder: Path) -> None:
        self._files = sorted(path.stem for path in (folder / ROWS).glob("*.jsonl"))
        self.folder = folder
        self._lines = [
            line
            for stem in self._files
            for line in (folder / ROWS / f"{stem}.jsonl").read_bytes().splitlines()
        ]
        self._maps: dict[str, list[np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def row(self, position: int) -> list[dict[str, Any]]:
        """What the pictures of an item show. Parsed when asked for: parsed rows take ten times the memory."""
        row: list[dict[str, Any]] = json.loads(self._lines[position])
        return row

    def array(self, name: str, positions: np.ndarray) -> np.ndarray:
        """The named array's values at `positions`: `(N, …)`."""
        if name not in self._maps:
            files = [self.folder / name / f"{stem}.npy" for stem in self._files]
            self._maps[name] = [np.load(file, mmap_mode="r") for file in files]
        maps = self._maps[name]
        size = len(maps[0])
        return np.stack([maps[i // size][i % size] for i in positions])


def _file(folder: Path, name: str, shard: range) -> Path:
    return folder / name / f"{shard.start:07d}.{'jsonl' if name == ROWS else 'npy'}"


def _write_rows(file: Path, rows: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.write_text("\n".join(rows), encoding="utf-8")
    os.replace(partial, file)
