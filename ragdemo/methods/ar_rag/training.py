"""FAiD while it is trained: all positions of a picture at once, its codes being given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ragdemo.methods.ar_rag.faid import Blender, Blenders
from ragdemo.methods.ar_rag.patches import place_distances

NONE = -1


def nearest_values(
    codes: Tensor, others: Tensor, codebook: Tensor, k: int, place_weight: float = 0.0
) -> Tensor:
    """The codes `(g², k)` of the patches of `others` that are nearest to each position's key, `NONE` if it has none.

    `codes` `(g, g)` are those of the picture that is drawn, `others` `(N, g, g)` those of pictures that give patches.
    """
    distances = 2 - 2 * codebook @ codebook.T
    key, value = _keys_and_values(codes[None]), _keys_and_values(others)
    pairs = zip(key[0], value[0], strict=True)
    total = torch.stack([distances[mine].index_select(1, theirs) for mine, theirs in pairs])
    apart = place_distances(codes.shape[0]).repeat(1, len(others)).to(total)
    numbers = (total.sum(0) + place_weight * apart).topk(k, largest=False).indices
    found = torch.full((*codes.shape, k), NONE, dtype=torch.long, device=codes.device)
    found[1:, 1:-1] = value[1][numbers].view(codes.shape[0] - 1, codes.shape[1] - 2, k)
    return found.flatten(0, 1)


@contextmanager
def teacher_forced(blenders: Blenders, model: Any, found: Tensor, text: int) -> Iterator[None]:
    """Let blenders and low-rank changes act on a Janus that reads `text` tokens, then all codes of a picture but one.

    `found` `(B, g², K)` are the codes of each position's neighbours, `NONE` if it has no key. Gradients reach the
    blenders alone if the model's own parameters want none.
    """
    forcing = _Forcing(blenders, model, found, text)
    with ExitStack() as stack:
        for name, up, down in zip(blenders.config.matrices, blenders.up, blenders.down, strict=True):
            module = model.get_submodule(name)
            parametrize.register_parametrization(module, "weight", _Changed(up, down, blenders.config.scale))
            stack.callback(parametrize.remove_parametrizations, module, "weight", leave_parametrized=False)
        for number, layer in enumerate(blenders.config.layers):
            whole = model.model.language_model.layers[layer]
            stack.callback(whole.register_forward_pre_hook(forcing.before, with_kwargs=True).remove)
            stack.callback(whole.self_attn.register_forward_hook(forcing.after(number)).remove)
        yield


class _Changed(nn.Module):
    """A matrix with its low-rank change; holds the factors without owning them."""

    def __init__(self, up: Tensor, down: Tensor, scale: float) -> None:
        super().__init__()
        self._factors = (up, down, scale)

    def forward(self, weight: Tensor) -> Tensor:
        """The changed matrix."""
        up, down, scale = self._factors
        return weight + scale * up @ down


class _Forcing:
    """The hooks of one pass; see `faid._Decoding` for what they do one position at a time."""

    def __init__(self, blenders: Blenders, model: Any, found: Tensor, text: int) -> None:
        self._blenders, self._text, self._grid = blenders, text, blenders.config.grid
        self._has_key = (found[..., 0] != NONE)[..., None]
        self._patches = model.prepare_embeddings_for_image_generation(found.clamp(min=0))
        self._residual: Tensor | None = None

    def before(self, _layer: nn.Module, arguments: tuple, kwargs: dict) -> None:
        """Keep a layer's input."""
        self._residual = arguments[0] if arguments else kwargs["hidden_states"]

    def after(self, number: int) -> Any:
        """The hook that adds to a layer's attention at every position with a key."""

        def hook(_attention: nn.Module, _arguments: tuple, output: tuple) -> tuple:
            assert self._residual is not None
            hidden = (self._residual + output[0])[:, self._text - 1 :]
            blend = self._blenders.blends[number]
            kernel = blend.kernel().to(hidden)
            near = self._near(blend, kernel, hidden)
            centre = kernel[:, blend.radius, blend.radius]
            added, self._patches = blend(hidden, near, centre, self._patches.to(hidden))
            added = F.pad(added * self._has_key, (0, 0, self._text - 1, 0))
            return (output[0] + added, *output[1:])

        return hook

    def _near(self, blend: Blender, kernel: Tensor, hidden: Tensor) -> Tensor:
        """The neighbourhood's part at every position, `(B, g², D)`: what is drawn later counts as zero."""
        grid, radius = self._grid, blend.radius
        # the state at place i + 1 has read code i; no state has read the last one
        states = F.pad(hidden[:, 1:], (0, 0, 0, 1)).unflatten(1, (grid, grid))
        states = F.pad(states, (0, 0, radius, radius, radius, radius))
        near = torch.zeros_like(hidden).unflatten(1, (grid, grid))
        for row in range(radius + 1):
            for column in range(2 * radius + 1 if row < radius else radius):
                near = near + kernel[:, row, column] * states[:, row : row + grid, column : column + grid]
        return near.flatten(1, 2)


def _keys_and_values(grids: Tensor) -> tuple[list[Tensor], Tensor]:
    """Up left, up, up right, left and the code itself of each patch of grids `(N, g, g)`."""
    up, same = grids[:, :-1], grids[:, 1:]
    sides = [up[:, :, :-2], up[:, :, 1:-1], up[:, :, 2:], same[:, :, :-2]]
    return [side.flatten() for side in sides], same[:, :, 1:-1].flatten()
