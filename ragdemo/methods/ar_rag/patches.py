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
    """Finds the patches whose keys are nearest to one; `identity` changes with what it finds in the same patches."""

    @property
    def identity(self) -> str:
        """Which search it is."""
        ...

    def nearest(self, key: Tensor, k: int, position: int) -> Neighbours:
        """At most `k` patches for the key `(4)` of a position in raster order, nearest first."""
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


def place_distances(grid: int) -> Tensor:
    """Squared distances, in codes, between all places `(P, P)` of a picture that have a key, in their order."""
    rows, columns = torch.meshgrid(torch.arange(1, grid), torch.arange(1, grid - 1), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1)
    return (places[:, None] - places).square().sum(-1)


def has_key(position: int, grid: int) -> bool:
    """Whether all four codes of the key of a position are inside the picture."""
    row, column = divmod(position, grid)
    return row > 0 and 0 < column < grid - 1


def place_of(position: int, grid: int) -> int:
    """The number of a position among those that have a key."""
    row, column = divmod(position, grid)
    return (row - 1) * (grid - 2) + column - 1


def key_at(codes: Tensor, position: int, grid: int) -> Tensor:
    """The keys `(B, 4)` at a position of pictures of codes `(B, grid²)`."""
    return codes[:, [position - grid - 1, position - grid, position - grid + 1, position - 1]]


class ExactSearch:
    """Looks at every patch, wherever it lies; on the patches' own device."""

    identity = "exact"

    def __init__(self, patches: Patches, codebook: Tensor) -> None:
        """`codebook`: unit vectors `(V, D)`."""
        self._patches, self._codebook = patches, codebook.to(patches.keys.device)

    def nearest(self, key: Tensor, k: int, position: int = 0) -> Neighbours:
        """See `PatchSearch.nearest`."""
        distances = self.distances(key)
        nearest, numbers = distances.topk(min(k, len(distances)), largest=False)
        return Neighbours(nearest, self._patches.values[numbers], numbers)

    def distances(self, key: Tensor) -> Tensor:
        """Squared Euclidean distances `(M)` of a key `(4)` to all keys, each of four unit vectors end to end."""
        return _looked_up(self.tables(key), self._patches.keys)

    def tables(self, key: Tensor) -> Tensor:
        """Squared distances `(4, V)` of each code of a key `(4)` to every code."""
        return 2 - 2 * self._codebook[key] @ self._codebook.T


class PlacedSearch:
    """Looks for patches by key and place: `weight` times the squared distance of the places is added to the keys'.

    An extension of ours. A key of background says nothing of what begins there; what stands there in other pictures
    does. As places count, few patches need to be looked at, and still the nearest of all are found.
    """

    _FIRST = 9  # places, the nearest ones; then four times as many

    def __init__(self, patches: Patches, codebook: Tensor, weight: float) -> None:
        """`codebook`: unit vectors `(V, D)`; `weight` is above zero."""
        self.identity = f"placed {weight}"
        self._patches, self._exact = patches, ExactSearch(patches, codebook)
        apart = place_distances(patches.grid).to(patches.keys.device)
        self._places = apart.argsort(dim=1, stable=True)
        self._apart = weight * apart.gather(1, self._places)
        # place by place, so that the patches of some places lie side by side
        self._keys = patches.keys.view(4, len(patches.ids), -1).permute(2, 0, 1).contiguous()

    def nearest(self, key: Tensor, k: int, position: int) -> Neighbours:
        """See `PatchSearch.nearest`; the distances are with the places'."""
        place, tables, count = place_of(position, self._patches.grid), self._exact.tables(key), self._FIRST
        while True:
            places, apart = self._places[place, :count], self._apart[place, :count]
            distances = _looked_up(tables, self._keys[places].permute(1, 0, 2).flatten(1)).view(
                len(places), -1
            )
            distances = (distances + apart[:, None]).flatten()
            nearest, found = distances.topk(min(k, len(distances)), largest=False)
            is_whole = len(places) == self._places.shape[1]
            if is_whole or (len(nearest) == k and nearest[-1] <= self._apart[place, count]):
                break
            count *= 4
        pictures = len(self._patches.ids)
        numbers = found % pictures * self._places.shape[1] + places[found // pictures]
        return Neighbours(nearest, self._patches.values[numbers], numbers)


class RandomSearch:
    """A control: finds patches at random, all at one distance; the same ones for the same key and seed."""

    def __init__(self, patches: Patches, seed: int) -> None:
        self.identity = f"random {seed}"
        self._patches, self._seed = patches, seed

    def nearest(self, key: Tensor, k: int, position: int) -> Neighbours:
        """See `PatchSearch.nearest`."""
        rng = np.random.default_rng([self._seed, position, *key.tolist()])
        numbers = torch.from_numpy(rng.integers(0, len(self._patches), k)).to(key.device)
        return Neighbours(torch.ones(k, device=key.device), self._patches.values[numbers], numbers)


def _looked_up(tables: Tensor, keys: Tensor) -> Tensor:
    """Sums `(M)` of what tables `(4, V)` say of the codes of keys `(4, M)`."""
    distances = tables[0].index_select(0, keys[0])
    for table, codes in zip(tables[1:], keys[1:], strict=True):
        distances += table.index_select(0, codes)
    return distances
