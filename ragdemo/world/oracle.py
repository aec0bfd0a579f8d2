"""The oracle: a classifier of everything in the world, which measures what generators draw; no method uses it.

A folder holds `config.json` (channel widths, names of every answer) and `model.safetensors` (fp16).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ragdemo.errors import UserError
from ragdemo.world.kinds import KINDS
from ragdemo.world.palette import COLOURS
from ragdemo.world.parts import SHAPES
from ragdemo.world.patterns import PATTERNS
from ragdemo.world.render import SIZE
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import roster

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
BATCH = 64


@dataclass(frozen=True)
class OracleConfig:
    """Channels of the stem and of each halving after it, width of the features, and the answers of each head."""

    widths: tuple[int, ...]
    features: int
    answers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Judgement:
    """What a picture of one thing shows; `probabilities`, in [0, 1], are those of the answers by head."""

    species: str
    kind: str
    scene: str
    shape: str
    pattern: str
    main: str
    second: str
    third: str
    probabilities: Mapping[str, float]


def world_answers() -> dict[str, tuple[str, ...]]:
    """The answers of each head, for the world as it is; "species" first."""
    return {
        "species": tuple(species.name for species in roster()),
        "kind": tuple(KINDS),
        "scene": tuple(SCENES),
        "shape": SHAPES,
        "pattern": tuple(PATTERNS),
        "main": COLOURS,
        "second": COLOURS,
        "third": COLOURS,
    }


class OracleNet(nn.Module):
    """A small residual network: pictures `(N, 3, 128, 128)` in [-1, 1] to features and the logits of each head."""

    def __init__(self, config: OracleConfig) -> None:
        super().__init__()
        widths = config.widths
        self.stem = _conv(3, widths[0])
        self.blocks = nn.Sequential(*(_Halving(a, b) for a, b in pairwise(widths)))
        self.neck = nn.Sequential(
            nn.Linear(widths[-1], config.features, bias=False), nn.BatchNorm1d(config.features)
        )
        self.heads = nn.ModuleDict(
            {name: nn.Linear(config.features, len(a)) for name, a in config.answers.items()}
        )

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Features `(N, features)` and, by head, logits `(N, answers)`."""
        features = self.neck(self.blocks(self.stem(pixels)).mean((2, 3)))
        return features, {name: head(features) for name, head in self.heads.items()}


class _Halving(nn.Module):
    """A residual block that halves the picture's side."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = _conv(before, after)
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Conv2d(before, after, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


def _conv(before: int, after: int) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


class Oracle:
    """Judges pictures; float32 on `device`."""

    def __init__(self, net: OracleNet, config: OracleConfig, device: torch.device) -> None:
        self._net = net.to(device=device, memory_format=torch.channels_last).float().eval()
        self._config = config
        self._device = device

    def judge(self, images: Sequence[Image.Image]) -> list[Judgement]:
        """One judgement per picture; pictures may have any size and mode."""
        judgements = []
        for _, logits in self._batches(images):
            answers = {name: self._words(name, values) for name, values in logits.items()}
            sure = {name: values.softmax(1).amax(1).tolist() for name, values in logits.items()}
            for i in range(len(logits["species"])):
                words = {name: column[i] for name, column in answers.items()}
                judgements.append(Judgement(**words, probabilities={name: p[i] for name, p in sure.items()}))
        return judgements

    def features(self, images: Sequence[Image.Image]) -> np.ndarray:
        """float32 `(N, ≤ 64)`, for the distance of two sets of pictures."""
        rows = [features.cpu().numpy() for features, _ in self._batches(images)]
        return np.concatenate(rows) if rows else np.zeros((0, self._config.features), np.float32)

    @torch.inference_mode()
    def _batches(
        self, images: Sequence[Image.Image]
    ) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        for start in range(0, len(images), BATCH):
            batch = [np.asarray(_fitted(image)) for image in images[start : start + BATCH]]
            yield self._net(to_pixels(np.stack(batch), self._device))

    def _words(self, head: str, logits: torch.Tensor) -> list[str]:
        return [self._config.answers[head][i] for i in logits.argmax(1).tolist()]


def to_pixels(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 `(N, H, W, 3)` to float32 `(N, 3, H, W)` in [-1, 1], channels last."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return tensor.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def load_oracle(folder: Path, device: str | torch.device = "cpu") -> Oracle:
    """The oracle of a folder; raises `UserError` if a file is missing or damaged."""
    try:
        data = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        answers = {name: tuple(words) for name, words in data["answers"].items()}
        config = OracleConfig(tuple(data["widths"]), int(data["features"]), answers)
        net = OracleNet(config)
        net.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"The oracle in {folder} cannot be loaded ({reason}); train the stage oracle again."
        ) from error
    return Oracle(net, config, torch.device(device))


def save_oracle(folder: Path, net: OracleNet, config: OracleConfig) -> None:
    """Write configuration and fp16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
    save_file({k: _half(v) for k, v in net.state_dict().items()}, folder / WEIGHTS_FILE)


def _half(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()


def _fitted(image: Image.Image) -> Image.Image:
    rgb = image.convert("RGB")
    return rgb if rgb.size == (SIZE, SIZE) else rgb.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
