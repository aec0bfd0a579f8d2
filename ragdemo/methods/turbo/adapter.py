"""The learned adapter (ImageRAGTurbo, section 3.3): attention over the retrieved features, and a tuned decoder half.

h ← h + λ·Attn(Q = h, K = V = h_ret) by one transformer block as wide as the features, whose output starts at zero, and
low-rank changes of the matrices in the UNet's decoder half (LoRA, Hu et al. 2022).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers import Transformer2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ragdemo.errors import UserError
from ragdemo.models.base import Role
from ragdemo.models.fingerprints import fingerprint
from ragdemo.models.loading import choose_device, number_format, reading
from ragdemo.profiles import Spec

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


@dataclass(frozen=True)
class Config:
    """Which of the UNet's modules it acts on and how; `matrices` are the names of those with a low-rank change.

    A level has `widths` channels; `heads` and `groups` (of the norm) must divide them.
    """

    levels: tuple[str, ...]
    widths: tuple[int, ...]
    heads: int = 4
    groups: int = 16
    rank: int = 8
    scale: float = 1.0
    matrices: tuple[str, ...] = ()


class HSpaceAdapter(nn.Module):
    """A transformer block for each level, and low-rank changes that belong to them; untrained it changes nothing."""

    def __init__(self, config: Config, shapes: Sequence[Sequence[int]] = (), identity: str = "") -> None:
        """`shapes` are those of the matrices that `config` names, outputs first; `identity` tells weights apart."""
        super().__init__()
        self.config, self.identity, self._shapes = config, identity, [tuple(shape) for shape in shapes]
        self.blocks = nn.ModuleList(_block(width, config) for width in config.widths)
        sizes = [(shape[0], _size(shape[1:])) for shape in self._shapes]
        self.down = nn.ParameterList(torch.randn(config.rank, inner) / inner**0.5 for _, inner in sizes)
        self.up = nn.ParameterList(torch.zeros(outer, config.rank) for outer, _ in sizes)
        self._changed: WeakKeyDictionary[nn.Module, dict[str, Tensor]] = WeakKeyDictionary()

    def changes(self) -> dict[str, Tensor]:
        """What is added to each matrix, by its module's name."""
        parts = zip(self.config.matrices, self.up, self.down, self._shapes, strict=True)
        return {name: (self.config.scale * up @ down).view(shape) for name, up, down, shape in parts}

    def blended(self, level: str, target: Tensor, retrieved: Tensor, strength: Tensor) -> Tensor:
        """h + s·Attn(h, h_ret) for features `(B, C, h, w)` of a level and strengths `(B,)`."""
        block = self.blocks[self.config.levels.index(level)]
        tokens = retrieved.flatten(2).transpose(1, 2)  # (B, h·w, C)
        found = block(target, encoder_hidden_states=tokens, return_dict=False)[0]
        return target + strength.view(-1, 1, 1, 1) * (found - target)  # the block adds its input itself

    @contextmanager
    def attached(self, unet: nn.Module) -> Iterator[None]:
        """The UNet with the changed matrices in place; its own weights are back afterwards."""
        with ExitStack() as stack:
            for name, value in self._values(unet).items():
                weight = unet.get_submodule(name).weight
                stack.callback(_set, weight, weight.data)
                weight.data = value
            yield

    @torch.no_grad()
    def _values(self, unet: nn.Module) -> dict[str, Tensor]:
        """The changed matrices of a UNet, computed once: putting them in place then costs nothing."""
        if unet not in self._changed:
            own = {name: unet.get_submodule(name).weight for name in self.config.matrices}
            changes = self.changes()
            self._changed[unet] = {
                name: weight.detach().clone().add_(changes[name].to(weight)) for name, weight in own.items()
            }
        return self._changed[unet]


H_ADAPTER: Role[HSpaceAdapter] = Role(
    "h_space_adapter", "blends a retrieved pair into a UNet's deepest features, as ImageRAGTurbo trains it"
)
H_CONTROL: Role[HSpaceAdapter] = Role(
    "h_space_control", "is trained as the adapter is, with nothing retrieved; only measured"
)


def save_adapter(adapter: HSpaceAdapter, folder: Path) -> None:
    """Write configuration and fp16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {**asdict(adapter.config), "shapes": adapter._shapes}
    (folder / CONFIG_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    weights = {name: value.half().cpu().contiguous() for name, value in adapter.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)


def load_adapter(spec: Spec, device: str = "auto") -> HSpaceAdapter:
    """The adapter of a spec's folder; raises `UserError` if it is missing or damaged."""
    folder, target = Path(spec.weights), choose_device(device)
    with reading(spec.weights, spec.remedy):
        data = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        shapes = data.pop("shapes")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        adapter = HSpaceAdapter(Config(**values), shapes, fingerprint(spec))
        adapter.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return adapter.to(target, number_format(target, spec)).eval()


def check_fits(adapter: HSpaceAdapter, levels: Sequence[str]) -> None:
    """Raise `UserError` if a UNet lacks the modules that an adapter acts on."""
    missing = [level for level in adapter.config.levels if level not in levels]
    if missing:
        raise UserError(
            f"The adapter acts on {', '.join(missing)}, which this UNet lacks; train turbo-adapter."
        )


def _block(width: int, config: Config) -> Transformer2DModel:
    block = Transformer2DModel(
        num_attention_heads=config.heads,
        attention_head_dim=width // config.heads,
        in_channels=width,
        num_layers=1,
        cross_attention_dim=width,
        norm_num_groups=config.groups,
    )
    nn.init.zeros_(block.proj_out.weight)
    nn.init.zeros_(block.proj_out.bias)
    return block


def _size(shape: Sequence[int]) -> int:
    return int(torch.Size(shape).numel())


def _set(weight: nn.Parameter, data: Tensor) -> None:
    weight.data = data
