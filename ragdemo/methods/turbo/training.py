"""What training the student and the adapter does to a UNet: blends through which gradients flow, and dropped skips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ragdemo.methods.turbo.adapter import HSpaceAdapter
from ragdemo.methods.turbo.slerp import slerp

DECODER_HALF = ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "conv_shortcut")
"""The modules of up blocks whose matrices have a low-rank change, by the ends of their names."""


def decoder_matrices(unet: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the matrices in a UNet's decoder half that the adapter changes."""
    return {
        name: tuple(module.weight.shape)
        for name, module in unet.named_modules()
        if name.startswith("up_blocks") and name.endswith(DECODER_HALF) and hasattr(module, "weight")
    }


@contextmanager
def interpolating(unet: nn.Module, retrieved: Mapping[str, Tensor], weight: Tensor) -> Iterator[None]:
    """Let a UNet's features be interpolated with `retrieved` ones `(B, C, h, w)` at w = `weight` `(B,)`."""

    def hook_of(values: Tensor) -> Any:
        return lambda _module, _arguments, output: slerp(values.to(output), output, weight)

    with ExitStack() as stack:
        for level, values in retrieved.items():
            hook = unet.get_submodule(level).register_forward_hook(hook_of(values))
            stack.callback(hook.remove)
        yield


@contextmanager
def adapting(
    adapter: HSpaceAdapter, unet: nn.Module, retrieved: Mapping[str, Tensor], strength: Tensor
) -> Iterator[None]:
    """Let the adapter act on a UNet; gradients reach it alone if the UNet's own parameters want none."""

    def hook_of(level: str) -> Any:
        def hook(_module: nn.Module, _arguments: tuple, output: Tensor) -> Tensor:
            return adapter.blended(level, output, retrieved[level].to(output), strength.to(output))

        return hook

    with ExitStack() as stack:
        for name, up, down in zip(adapter.config.matrices, adapter.up, adapter.down, strict=True):
            module = unet.get_submodule(name)
            changed = _Changed(up, down, adapter.config.scale)
            parametrize.register_parametrization(module, "weight", changed)
            stack.callback(parametrize.remove_parametrizations, module, "weight", leave_parametrized=False)
        for level in adapter.config.levels:
            stack.callback(unet.get_submodule(level).register_forward_hook(hook_of(level)).remove)
        yield


@contextmanager
def dropped_skips(unet: nn.Module, blocks: tuple[str, ...], kept: Tensor) -> Iterator[None]:
    """Leave some up blocks without their skip connections where `kept` `(B,)` is 0: all must come from below then."""

    def drop(_block: nn.Module, arguments: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        skips = kwargs["res_hidden_states_tuple"]
        mask = kept.view(-1, 1, 1, 1)
        return arguments, {**kwargs, "res_hidden_states_tuple": tuple(skip * mask.to(skip) for skip in skips)}

    with ExitStack() as stack:
        for name in blocks:
            hook = unet.get_submodule(name).register_forward_pre_hook(drop, with_kwargs=True)
            stack.callback(hook.remove)
        yield


class _Changed(nn.Module):
    """A matrix with its low-rank change; holds the factors without owning them."""

    def __init__(self, up: Tensor, down: Tensor, scale: float) -> None:
        super().__init__()
        self._factors = (up, down, scale)

    def forward(self, weight: Tensor) -> Tensor:
        """The changed matrix."""
        up, down, scale = self._factors
        return weight + (scale * up @ down).view_as(weight).to(weight.dtype)
