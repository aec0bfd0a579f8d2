"""A blend in H-space as the condition of a drawing: what it does to a UNet while that draws."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from ragdemo.methods.turbo.adapter import HSpaceAdapter
from ragdemo.methods.turbo.slerp import slerp


@dataclass(frozen=True, eq=False)
class Retrieved:
    """h_ret of one pair: float16 `(C, h, w)` by the UNet's modules."""

    features: Mapping[str, np.ndarray]

    @cached_property
    def identity(self) -> str:
        """Hash of the features."""
        digest = hashlib.sha256()
        for level, values in sorted(self.features.items()):
            digest.update(level.encode() + values.tobytes())
        return digest.hexdigest()[:16]

    def blank(self) -> Retrieved:
        """The control: as many zeros."""
        return Retrieved({level: np.zeros_like(values) for level, values in self.features.items()})


@dataclass(frozen=True)
class HSpaceBlend:
    """A retrieved pair that is blended in at the outputs of some modules, the skip connections staying the target's.

    `weight` is w, the share of the target; `similarity` is λ, the cosine of both texts. Without an `adapter` features
    are interpolated on a sphere, and λ plays no part; with one they become h + (1 − w)·λ·Attn(h, h_ret), so that w = 0
    is what it was trained for.
    """

    retrieved: Retrieved
    weight: float
    similarity: float
    levels: tuple[str, ...]
    adapter: HSpaceAdapter | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """See `Condition.shape`."""
        return "blend in H-space", self.levels, self._adapter_identity

    @property
    def identity(self) -> tuple[object, ...]:
        """See `Condition.identity`."""
        return self.retrieved.identity, self.weight, self.similarity, self.levels, self._adapter_identity

    @property
    def _adapter_identity(self) -> str:
        return "" if self.adapter is None else self.adapter.identity

    @contextmanager
    def attached(self, unet: Any, conditions: Sequence[Self]) -> Iterator[None]:
        """See `AttachedCondition.attached`."""
        with ExitStack() as stack:
            if self.adapter is not None:
                stack.enter_context(self.adapter.attached(unet))
            for level in self.levels:
                hook = unet.get_submodule(level).register_forward_hook(_blending(level, conditions))
                stack.callback(hook.remove)
            yield


def _blending(level: str, conditions: Sequence[HSpaceBlend]) -> Any:
    """The hook on the module of a level."""
    values = torch.from_numpy(np.stack([one.retrieved.features[level] for one in conditions]))
    weights = torch.tensor([one.weight for one in conditions])
    strengths = torch.tensor([(1 - one.weight) * max(one.similarity, 0.0) for one in conditions])
    adapter = conditions[0].adapter

    def hook(_module: nn.Module, _arguments: tuple, output: Tensor) -> Tensor:
        times = len(output) // len(conditions)  # guided, the batch is there twice
        retrieved = values.to(output).repeat(times, 1, 1, 1)
        if adapter is None:
            return slerp(retrieved, output, weights.to(output.device).repeat(times))
        return adapter.blended(level, output, retrieved, strengths.to(output).repeat(times))

    return hook
