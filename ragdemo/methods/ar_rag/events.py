"""What only AR-RAG reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ragdemo.events import Event, Reference


@dataclass(frozen=True)
class Trace:
    """What decided each code of a picture of `(g, g)` codes.

    `share` is the chance that retrieval gave a code: what its probability gained by it, 1 − (1 − λ)·D_model(v) / D(v),
    which is λ·p_ret(v) / D(v), and for a geometric mixture 1 − D_model(v) / D(v), at least 0. `origin` `(g, g, 3)` are
    number of the picture, row and column of the heaviest neighbour of the code that was taken, −1 if no neighbour has
    it. `model_codes` and `model_chances` `(g, g, 3)` are the likeliest of the model alone; `found_origins`
    `(g, g, 3, 3)`, `found_codes` and `found_chances` the likeliest retrieved ones, of chance 0 if there are fewer or
    none.
    """

    codes: np.ndarray
    share: np.ndarray
    origin: np.ndarray
    model_codes: np.ndarray
    model_chances: np.ndarray
    found_codes: np.ndarray
    found_chances: np.ndarray
    found_origins: np.ndarray

    def renumbered(self, pictures: Sequence[int]) -> Trace:
        """The trace with the number of each of `pictures` being its place among them; others become −1."""
        places = {number: place for place, number in enumerate(pictures)}
        origin, found = self.origin.copy(), self.found_origins.copy()
        for array in (origin, found):
            array[..., 0] = np.vectorize(lambda number: places.get(number, -1), otypes=[np.int32])(
                array[..., 0]
            )
            array[array[..., 0] < 0] = -1
        return replace(self, origin=origin, found_origins=found)


@dataclass(frozen=True)
class Provenance(Event):
    """Where every code of the result came from; `trace` names pictures by their place in `sources`."""

    sources: tuple[Reference, ...]
    trace: Trace
    weight: float

    @property
    def grid(self) -> int:
        """Codes per side."""
        return len(self.trace.codes)

    @property
    def cells(self) -> list[list[Any]]:
        """The trace cell by cell in raster order, chances in whole per cent; see `templates/provenance.js`."""
        trace, cells = self.trace, []
        for place in np.ndindex(trace.codes.shape):
            found = [
                [*origin.tolist(), _percent(chance)]
                for origin, chance in zip(trace.found_origins[place], trace.found_chances[place], strict=True)
                if chance > 0
            ]
            model = [[_percent(chance)] for chance in trace.model_chances[place]]
            cells.append([*trace.origin[place].tolist(), _percent(trace.share[place]), model, found])
        return cells

    @property
    def shares(self) -> list[float]:
        """How many codes each source gave, as a share of all: the sum of its codes' chances to be retrieved ones."""
        picture, share = self.trace.origin[..., 0], self.trace.share
        return [float(share[picture == number].sum() / share.size) for number in range(len(self.sources))]

    def best(self, count: int) -> list[Reference]:
        """The sources that gave most, at most `count` of them; those that gave nothing come last."""
        order = sorted(range(len(self.sources)), key=lambda number: -self.shares[number])
        return [self.sources[number] for number in order[:count]]

    @property
    def continued(self) -> float:
        """The share of all codes that continue their left neighbour's source: same picture, next column."""
        origin = self.trace.origin
        follows = np.all(origin[:, 1:] - origin[:, :-1] == (0, 0, 1), axis=-1) & (origin[:, 1:, 0] >= 0)
        return float(follows.sum() / self.trace.share.size)

    @property
    def summary(self) -> str:
        return f"{self.trace.share.mean():.0%} of the codes from {sum(map(bool, self.shares))} pictures"


def _percent(chance: float) -> int:
    return round(100 * float(chance))
