"""Recording where each code of a picture comes from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ragdemo.methods.ar_rag.events import Trace
from ragdemo.methods.ar_rag.patches import Neighbours, Patches

ALTERNATIVES = 3


class Recorder:
    """Keeps what is known while a picture is drawn; `trace` works it out once it is."""

    def __init__(self, patches: Patches) -> None:
        self._patches = patches
        self._chances: list[Tensor] = []
        self._found: dict[int, tuple[Neighbours, Tensor, Tensor]] = {}

    def add_plain(self, _position: int, probabilities: Tensor) -> None:
        """A position without a key; `probabilities` `(V)` are the model's."""
        self._chances.append(probabilities)

    def add(
        self, position: int, model: Tensor, drawn: Tensor, kept: float, found: Neighbours, shares: Tensor
    ) -> None:
        """A position with neighbours and their shares `(k)` of the retrieved distribution.

        `model` and `drawn` `(V)` are the model's distribution and the one that was drawn from, `kept` how much of the
        first is in the second.
        """
        self._chances.append(model)
        self._found[position] = found, shares, 1 - kept * model / drawn.clamp(min=1e-12)

    def trace(self, codes: Tensor) -> Trace:
        """The trace of the picture of codes `(g²)`."""
        grid = self._patches.grid
        chances = torch.stack(self._chances).float().cpu()
        top = chances.topk(ALTERNATIVES)
        size = (grid * grid, ALTERNATIVES)
        share, origin = np.zeros(grid * grid, np.float32), np.full((grid * grid, 3), -1, np.int32)
        found_codes, found_chances = np.zeros(size, np.uint16), np.zeros(size, np.float32)
        found_origins = np.full((*size, 3), -1, np.int32)
        for position, (found, shares, gained) in self._found.items():
            values, shares = found.values.cpu(), shares.float().cpu()
            origins = self._patches.origin(found.patches.cpu()).numpy()
            code = int(codes[position])
            taken = values == code
            if taken.any():
                origin[position] = origins[int((shares * taken).argmax())]
                share[position] = float(gained[code].clamp(0, 1))
            for place, (value, chance, first) in enumerate(_likeliest(values, shares)):
                found_codes[position, place], found_chances[position, place] = value, chance
                found_origins[position, place] = origins[first]
        shape = (grid, grid)
        return Trace(
            codes.numpy().astype(np.uint16).reshape(shape),
            share.reshape(shape),
            origin.reshape(*shape, 3),
            top.indices.numpy().astype(np.uint16).reshape(*shape, -1),
            top.values.numpy().reshape(*shape, -1),
            found_codes.reshape(*shape, -1),
            found_chances.reshape(*shape, -1),
            found_origins.reshape(*shape, ALTERNATIVES, 3),
        )


def _likeliest(values: Tensor, shares: Tensor) -> list[tuple[int, float, int]]:
    """Code, chance and nearest neighbour of the likeliest retrieved codes, best first."""
    codes, group = values.unique(return_inverse=True)
    chances = torch.zeros(len(codes)).index_add_(0, group, shares)
    best = chances.argsort(descending=True)[:ALTERNATIVES].tolist()
    return [(int(codes[i]), float(chances[i]), int((group == i).nonzero()[0])) for i in best]
