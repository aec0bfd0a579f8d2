"""Patches of pictures by what stands before them (AR-RAG, section 3.1), and the exact search for the nearest ones.

A patch is one code of a picture's grid. Its key are the four codes around it that are known when it is drawn in raster
order: up left, up, up right, left. As codes they are lossless; their vectors' squared distance is a sum of four table
look-ups. As in the published code the first row and the first and last columns have no key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Neighbours:
    """Patches nearest to a key: squared distances `(k)`, their codes `(k)` and their numbers `(k)`."""

    distances: Tensor
    values: Tensor
    patches: Tensor


class PatchSearch(Protocol):
    """Finds the patches whose keys are nearest to one."""

    def nearest(self, key: Tensor, k: int) -> Neighbours:
        """At most `k` patches for a key `(4)`, nearest first."""
        ...


class Patches:
    """All patches of some pictures; `ids[i]` is the picture whose codes are `grids[i]`."""

    def __init__(self, ids: Sequence[str], grids: np.ndarray, device: torch.device | str = "cpu") -> None:
        """`grids`: codes, uint16 `(N, grid, grid)`."""
        self.ids, self.grids = tuple(ids), grids
        self._device = torch.device(device)

    def __len__(self) -> int:
        return len(self.ids) * self._rows * self._columns

    def without(self, ids: Sequence[str]) -> Patches:
        """The patches of the other pictures; these themselves if none of `ids` is among theirs."""
        kept = [number for number, one in enumerate(self.ids) if one not in ids]
        if len(kept) == len(self.ids):
            return self
        return Patches([self.ids[number] for number in kept], self.grids[kept], self._device)

    def joined(self, others: Patches) -> Patches:
        """These patches and then those of other pictures."""
        grids = np.concatenate([self.grids, others.grids])
        return Patches((*self.ids, *others.ids), grids, self._device)

    @property
    def grid(self) -> int:
        """Codes per side of a picture."""
        return self.grids.shape[1]

    @cached_property
    def keys(self) -> Tensor:
        """int32 `(4, M)`: up left, up, up right and left of each patch."""
        up, same = self.grids[:, :-1], self.grids[:, 1:]
        sides = [up[:, :, :-2], up[:, :, 1:-1], up[:, :, 2:], same[:, :, :-2]]
        keys = np.stack([side.reshape(-1) for side in sides]).astype(np.int32)
        return torch.from_numpy(keys).to(self._device)

    @cached_property
    def values(self) -> Tensor:
        """int64 `(M)`: the code of each patch."""
        values = self.grids[:, 1:, 1:-1].reshape(-1).astype(np.int64)
        return torch.from_numpy(values).to(self._device)

    def origin(self, patches: Tensor) -> Tensor:
        """The picture's number, the row and the column `(…, 3)` of patches `(…)`."""
        picture, place = patches // (self._rows * self._columns), patches % (self._rows * self._columns)
        return torch.stack([picture, place // self._columns + 1, place % self._columns + 1], dim=-1)

    @property
    def _rows(self) -> int:
        return self.grid - 1

    @property
    def _columns(self) -> int:
        return self.grid - 2


def has_key(position: int, grid: int) -> bool:
    """Whether all four codes of the key of a position are inside the picture."""
    row, column = divmod(position, grid)
    return row > 0 and 0 < column < grid - 1


def key_at(codes: Tensor, position: int, grid: int) -> Tensor:
    """The keys `(B, 4)` at a position of pictures of codes `(B, grid²)`."""
    return codes[:, [position - grid - 1, position - grid, position - grid + 1, position - 1]]


class ExactSearch:
    """Looks at every patch; on the patches' own device."""

    def __init__(self, patches: Patches, codebook: Tensor) -> None:
        """`codebook`: unit vectors `(V, D)`."""
        self._patches, self._codebook = patches, codebook.to(patches.keys.device)

    def nearest(self, key: Tensor, k: int) -> Neighbours:
        """See `PatchSearch.nearest`."""
        distances = self.distances(key)
        nearest, numbers = distances.topk(min(k, len(distances)), largest=False)
        return Neighbours(nearest, self._patches.values[numbers], numbers)

    def distances(self, key: Tensor) -> Tensor:
        """Squared Euclidean distances `(M)` of a key `(4)` to all keys, each of four unit vectors end to end."""
        tables = 2 - 2 * self._codebook[key] @ self._codebook.T
        keys = self._patches.keys
        distances = tables[0].index_select(0, keys[0])
        for table, codes in zip(tables[1:], keys[1:], strict=True):
            distances += table.index_select(0, codes)
        return distances


class RandomSearch:
    """A control: finds patches at random, all at one distance; the same ones for the same key and seed."""

    def __init__(self, patches: Patches, seed: int) -> None:
        self._patches, self._seed = patches, seed

    def nearest(self, key: Tensor, k: int) -> Neighbours:
        """See `PatchSearch.nearest`."""
        rng = np.random.default_rng([self._seed, *key.tolist()])
        numbers = torch.from_numpy(rng.integers(0, len(self._patches), k)).to(key.device)
        return Neighbours(torch.ones(k, device=key.device), self._patches.values[numbers], numbers)
