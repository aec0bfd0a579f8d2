"""Patch retrieval as the condition of a drawing, and what it does while codes are drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from torch import Tensor

from ragdemo.methods.ar_rag import daid
from ragdemo.methods.ar_rag.events import Trace
from ragdemo.methods.ar_rag.faid import Blenders
from ragdemo.methods.ar_rag.patches import ExactSearch, Neighbours, Patches, PatchSearch, has_key, key_at
from ragdemo.methods.ar_rag.settings import Mixing
from ragdemo.methods.ar_rag.trace import Recorder
from ragdemo.models.janus import unit_codebook


@dataclass(frozen=True, eq=False)
class PatchSource:
    """Patches and the search over them."""

    patches: Patches
    search: PatchSearch

    @classmethod
    def exact(cls, patches: Patches, codebook: Tensor) -> Self:
        """Patches that are all looked at."""
        return cls(patches, ExactSearch(patches, codebook))

    @cached_property
    def identity(self) -> str:
        """Hash of the pictures, their codes and the search."""
        digest = hashlib.sha256("\n".join((self.search.identity, *self.patches.ids)).encode())
        digest.update(self.patches.grids.tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class PatchRetrieval:
    """Where patches come from and what they change: the distribution with `weight` λ, the features with `blenders`.

    See `ragdemo.methods.ar_rag.settings.Settings`; `prefix` are codes that are given.
    """

    source: PatchSource
    weight: float
    temperature: float
    neighbours: int
    entropy_gate: float = 0.0
    mixing: Mixing = "arithmetic"
    blenders: Blenders | None = None
    prefix: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[object, ...]:
        """See `Condition.shape`."""
        return "patch retrieval", self.blenders is not None

    @property
    def identity(self) -> tuple[object, ...]:
        """See `Condition.identity`."""
        numbers = (self.weight, self.temperature, self.neighbours, self.entropy_gate)
        return self.source.identity, *numbers, self.mixing, self.blenders is not None, self.prefix

    def steer(self, model: Any, conditions: Sequence[Self]) -> PatchSteering:
        """See `SteeredCodes.steer`."""
        return PatchSteering(model, conditions)


class PatchSteering:
    """Looks up each position's nearest patches, once for both augmentations, and records them; see `Steering`."""

    def __init__(self, model: Any, conditions: Sequence[PatchRetrieval]) -> None:
        self._model, self._conditions = model, conditions
        self._grid = conditions[0].source.patches.grid
        self._found: Sequence[Neighbours] = ()
        self._codebook = unit_codebook(model.model.vqmodel).detach()
        self._recorders = [Recorder(condition.source.patches) for condition in conditions]
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        blenders = self._conditions[0].blenders
        if blenders is not None:
            self._hooks.enter_context(blenders.attached(self._model, self))
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    @property
    def found(self) -> Sequence[Neighbours]:
        """The neighbours at the position that is computed, one a picture; none at a position without a key."""
        return self._found

    def prepare(self, position: int, codes: Tensor) -> None:
        """See `Steering.prepare`."""
        self._found = ()
        if has_key(position, self._grid):
            keys = key_at(codes, position, self._grid)
            self._found = [
                one.source.search.nearest(key, one.neighbours, position)
                for one, key in zip(self._conditions, keys, strict=True)
            ]

    def mix(self, position: int, probabilities: Tensor) -> Tensor:
        """See `Steering.mix`."""
        result = probabilities
        if self._found:
            result = probabilities.clone()
            for row, (condition, found) in enumerate(zip(self._conditions, self._found, strict=True)):
                weight = self._weight(condition, probabilities[row])
                if weight > 0:
                    result[row] = self._mixed(condition, probabilities[row], found, weight)
                shares = daid.weights(found.distances, condition.temperature)
                kept = 1.0 if condition.mixing == "geometric" else 1 - weight
                self._recorders[row].add(position, probabilities[row], result[row], kept, found, shares)
        else:
            for row, recorder in enumerate(self._recorders):
                recorder.add_plain(position, probabilities[row])
        return result

    def extras(self, codes: Tensor) -> list[dict[str, Trace]]:
        """See `Steering.extras`."""
        return [
            {"trace": recorder.trace(row.cpu())} for recorder, row in zip(self._recorders, codes, strict=True)
        ]

    def _mixed(
        self, condition: PatchRetrieval, probabilities: Tensor, found: Neighbours, weight: float
    ) -> Tensor:
        if condition.mixing == "geometric":
            spread = daid.spread_distribution(found, condition.temperature, self._codebook)
            return daid.agreed(probabilities, spread.to(probabilities), weight)
        retrieved = daid.retrieved_distribution(found, condition.temperature, len(probabilities))
        return daid.mixed(probabilities, retrieved.to(probabilities), weight)

    def _weight(self, condition: PatchRetrieval, probabilities: Tensor) -> float:
        gated = condition.entropy_gate > 0 and daid.uncertainty(probabilities) < condition.entropy_gate
        return 0.0 if gated else condition.weight
