"""FAiD, feature augmentation in decoding (AR-RAG, section 3.3): retrieved patches blended into the model's features.

In some decoder layers, between the attention's residual and the MLP, the neighbourhood of the position that is computed
is taken with each retrieved patch in its centre, positions not yet drawn being zero, and smoothed by two stacked
convolutions per hop; hops are mixed by a softmax, patches weighed by a compatibility in (0, 1) and averaged, and handed
on to the next blender. The convolutions are linear, here also per channel: all patches share the neighbourhood's part,
which is computed once. Beside the blenders, low-rank changes of the model's matrices are trained (LoRA, Hu et al.
2022).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ragdemo.errors import UserError
from ragdemo.methods.ar_rag.patches import Neighbours
from ragdemo.models.base import Role
from ragdemo.models.loading import choose_device, reading
from ragdemo.profiles import Spec

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
COMPATIBILITY_WIDTH = 64


@dataclass(frozen=True)
class Config:
    """Which layers are augmented and how.

    `neighbours` patches are blended, the nearest ones; `matrices` are the names of the modules that have a low-rank
    change.
    """

    width: int
    grid: int
    layers: tuple[int, ...]
    neighbours: int = 10
    hops: tuple[int, ...] = (1, 2)
    rank: int = 16
    scale: float = 2.0
    matrices: tuple[str, ...] = ()


class Lookup(Protocol):
    """Where the neighbours of the position that is computed are found."""

    @property
    def found(self) -> Sequence[Neighbours]:
        """One a picture; none at a position without a key."""
        ...


class Blender(nn.Module):
    """blends patches into one layer's features; an untrained one changes nothing."""

    def __init__(self, width: int, hops: Sequence[int]) -> None:
        super().__init__()
        self.radius = max(hops)
        self.kernels = nn.ParameterList(_near_mean(width, hop) for hop in hops)
        self.hops = nn.Parameter(torch.zeros(len(hops)))
        self.compatibility = nn.Sequential(
            nn.Linear(2 * width, COMPATIBILITY_WIDTH), nn.SiLU(), nn.Linear(COMPATIBILITY_WIDTH, 1)
        )
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def kernel(self) -> Tensor:
        """The mixed hops' stacked convolutions as one, `(width, 2r+1, 2r+1)`."""
        shares = self.hops.softmax(0)
        whole = []
        for share, pair in zip(shares, self.kernels, strict=True):
            first, second = pair
            side = first.shape[-1]
            stacked = F.conv2d(
                first[None], second.flip(-1, -2)[:, None], padding=side - 1, groups=len(first)
            )[0]
            margin = self.radius - (side - 1)
            whole.append(share * F.pad(stacked, [margin] * 4))
        return torch.stack(whole).sum(0)

    def forward(self, hidden: Tensor, near: Tensor, centre: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to `hidden` `(…, D)`, and the blended patches `(…, K, D)`.

        `near` `(…, D)` is the neighbourhood's part, `centre` `(D)` the kernel's centre, `patches` `(…, K, D)`.
        """
        blended = near.unsqueeze(-2) + centre * patches
        beside = torch.cat([hidden.unsqueeze(-2).expand_as(blended), blended], dim=-1)
        weights = self.compatibility(beside).sigmoid()
        return self.out((weights * blended).mean(-2)), blended


class Blenders(nn.Module):
    """A blender for each of some layers, and the low-rank changes that belong to them."""

    def __init__(self, config: Config, shapes: Sequence[tuple[int, int]] = ()) -> None:
        """`shapes`: (outputs, inputs) of the matrices that `config` names."""
        super().__init__()
        self.config = config
        self.blends = nn.ModuleList(Blender(config.width, config.hops) for _ in config.layers)
        self.down = nn.ParameterList(torch.randn(config.rank, i) / i**0.5 for _, i in shapes)
        self.up = nn.ParameterList(torch.zeros(o, config.rank) for o, _ in shapes)

    def changes(self) -> dict[str, Tensor]:
        """What is added to each matrix by its module's name."""
        pairs = zip(self.config.matrices, self.up, self.down, strict=True)
        return {name: self.config.scale * up @ down for name, up, down in pairs}

    @contextmanager
    def attached(self, model: Any, lookup: Lookup) -> Iterator[None]:
        """Hook into a Janus that decodes code by code; its own weights are back afterwards."""
        decoder, width = model.model.language_model, model.config.text_config.hidden_size
        if width != self.config.width:
            raise UserError(
                f"These blenders are for features of {self.config.width} numbers, not {width}; train faid."
            )
        decoding = _Decoding(self, model, lookup)
        with ExitStack() as stack, torch.no_grad():
            for name, change in self.changes().items():
                weight = model.get_submodule(name).weight
                stack.callback(_set, weight, weight.data)
                weight.data = weight.data + change.to(weight)
            for number, layer in enumerate(self.config.layers):
                whole = decoder.layers[layer]
                before = whole.register_forward_pre_hook(decoding.before(number), with_kwargs=True)
                after = whole.self_attn.register_forward_hook(decoding.after(number))
                stack.callback(before.remove)
                stack.callback(after.remove)
            yield


class _Decoding:
    """One batch being decoded: the states of all positions so far, by layer, in a grid with a margin of zeros.

    The unconditional half of the batch is left as it is, so that guidance amplifies what is retrieved as well as what
    the prompt says. The paper does not say what its half sees.
    """

    def __init__(self, blenders: Blenders, model: Any, lookup: Lookup) -> None:
        self._blenders, self._model, self._lookup = blenders, model, lookup
        self._kernels = [blend.kernel().permute(1, 2, 0).contiguous() for blend in blenders.blends]
        self._residual: Tensor | None = None
        self._states: list[Tensor | None] = [None] * len(self._kernels)
        self._patches: Tensor | None = None
        self._drawn = -1  # codes that the model has read

    def before(self, number: int) -> Any:
        """The hook that keeps a layer's input."""

        def hook(_layer: nn.Module, arguments: tuple, kwargs: dict) -> None:
            self._residual = arguments[0] if arguments else kwargs["hidden_states"]
            if number == 0:
                self._drawn += 1
                self._patches = self._embedded()

        return hook

    def after(self, number: int) -> Any:
        """The hook that adds to a layer's attention what its blender makes of the neighbourhood."""

        def hook(_attention: nn.Module, _arguments: tuple, output: tuple) -> tuple | None:
            assert self._residual is not None
            pictures = len(output[0]) // 2
            hidden = (self._residual + output[0])[:pictures, -1]
            window = self._window(number, hidden)
            if self._patches is None:
                return None
            blend, kernel = self._blenders.blends[number], self._kernels[number].to(hidden)
            near = (window * kernel).sum((1, 2))
            centre = kernel[blend.radius, blend.radius]
            added, self._patches = blend(hidden, near, centre, self._patches)
            added = torch.cat([added, torch.zeros_like(added)])
            return (output[0] + added.unsqueeze(1), *output[1:])

        return hook

    def _embedded(self) -> Tensor | None:
        """The neighbours as the model reads codes, `(B, K, D)`."""
        found = self._lookup.found
        if not found:
            return None
        least = min(self._blenders.config.neighbours, *(len(one.values) for one in found))
        codes = torch.stack([one.values[:least] for one in found])
        embedded: Tensor = self._model.prepare_embeddings_for_image_generation(codes)
        return embedded

    def _window(self, number: int, hidden: Tensor) -> Tensor:
        """Keep the state of the code that was read last; returns the states around the next, `(B, 2r+1, 2r+1, D)`."""
        radius, grid = self._blenders.blends[number].radius, self._blenders.config.grid
        if self._states[number] is None:
            side = grid + 2 * radius
            self._states[number] = hidden.new_zeros(len(hidden), side, side, hidden.shape[-1])
        states = self._states[number]
        assert states is not None
        if self._drawn > 0:
            row, column = divmod(self._drawn - 1, grid)
            states[:, row + radius, column + radius] = hidden
        row, column = divmod(self._drawn, grid)
        return states[:, row : row + 2 * radius + 1, column : column + 2 * radius + 1]


BLENDERS: Role[Blenders] = Role(
    "blenders", "blends patches into an autoregressive model's features, as AR-RAG trains it"
)


def save_blenders(blenders: Blenders, folder: Path) -> None:
    """Write configuration and fp16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(blenders.config), indent=1) + "\n", encoding="utf-8")
    weights = {name: value.half().cpu().contiguous() for name, value in blenders.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)


def load_blenders(spec: Spec, device: str = "auto") -> Blenders:
    """The blenders of a spec's folder; raises `UserError` if it is missing or damaged."""
    folder = Path(spec.weights)
    with reading(spec.weights, spec.remedy):
        data = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS_FILE)
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        config = Config(**values)
        ranks = range(len(config.matrices))
        shapes = [(weights[f"up.{i}"].shape[0], weights[f"down.{i}"].shape[1]) for i in ranks]
        blenders = Blenders(config, shapes)
        blenders.load_state_dict(weights)
    return blenders.to(choose_device(device)).float().eval()


def _near_mean(width: int, hop: int) -> nn.Parameter:
    """Two kernels `(width, hop+1, hop+1)` that begin as averages."""
    side = hop + 1
    return nn.Parameter(
        torch.full((2, width, side, side), 1 / side**2) + 0.01 * torch.randn(2, width, side, side)
    )


def _set(weight: nn.Parameter, data: Tensor) -> None:
    weight.data = data
