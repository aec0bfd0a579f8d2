"""The features inside a UNet, read through forward hooks on its modules."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from torch import Tensor, nn


class _Reached(Exception):  # noqa: N818 (the wanted end of a pass, not an error)
    """Raised behind the last module that is read: what follows it is not computed."""


def unet_features(
    unet: nn.Module, latents: Tensor, timestep: Tensor | int, states: Tensor, levels: Sequence[str]
) -> dict[str, Tensor]:
    """The outputs `(B, C, h, w)` of modules of a UNet, by their names.

    `latents` `(B, c, H, W)` are in the UNet's own scale, `timestep` is one for all or `(B,)`, `states` `(B, T, D)` the
    text encoder's. Of a down block's outputs it is the one that goes on to the next block. Nothing is computed behind
    the last module; gradients flow.
    """
    found: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for level in levels:
            hook = unet.get_submodule(level).register_forward_hook(_keep(found, level, len(levels)))
            stack.callback(hook.remove)
        with suppress(_Reached):
            unet(latents, timestep, encoder_hidden_states=states)
    return found


def _keep(found: dict[str, Tensor], level: str, wanted: int) -> Any:
    def hook(_module: nn.Module, _arguments: tuple, output: Tensor | tuple[Tensor, ...]) -> None:
        found[level] = output[0] if isinstance(output, tuple) else output
        if len(found) == wanted:
            raise _Reached

    return hook
