"""The training loop that every stage shares: seeded, resumable to the step, on a CPU or one GPU."""

from __future__ import annotations

import copy
import ctypes
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ragdemo.types import UserError

SAVE_EVERY_SECONDS = 120.0
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


@dataclass(frozen=True)
class Context:
    """Where and how a stage trains: `workdir` keeps pools and states, `assets` receives what is shipped.

    `steps` overrides the stage's own number of steps; `warm` starts from the shipped weights where there are any.
    `profile` and `generator` name what RealRAG's heads are trained for; every other stage makes the pocket checkpoints.
    """

    workdir: Path
    assets: Path
    device: torch.device
    steps: int | None = None
    warm: bool = False
    workers: int | None = None
    profile: str = "pocket"
    generator: str = "base"

    @property
    def pools(self) -> Path:
        """Folder of pre-rendered pools."""
        return self.workdir / "pools"


def pick_device(name: str) -> torch.device:
    """ "auto" is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UserError(f"There is no device {name!r} here; choose auto, cpu or cuda.") from error
    return device


def keep_memory() -> None:
    """Ask glibc to keep freed memory: returning it to the system after every step costs more than the arithmetic."""
    if platform.system() == "Linux":
        libc = ctypes.CDLL(None)
        for parameter, value in (
            (_M_MMAP_THRESHOLD, 2**30),
            (_M_TRIM_THRESHOLD, 2**31 - 1),
            (_M_TOP_PAD, 2**27),
        ):
            libc.mallopt(parameter, value)


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the hardware multiplies it natively, float32 elsewhere."""
    native = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=native)


def attention(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU, plain matrix products: for short sequences the fused backward pass takes half as long again."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def step_rng(stage: str, step: int) -> np.random.Generator:
    """The random numbers of one step; they depend on nothing else, so a resumed run sees the same batches."""
    return np.random.default_rng([int.from_bytes(stage.encode()[:8], "little"), step])


@dataclass
class Loop:
    """Optimise `modules` with AdamW: warm-up, constant rate, linear decay over the last fifth; EMA for what is shipped.

    `step_loss(step)` returns the loss and figures to log. Call `run`, then read `averaged` (name → EMA module).
    """

    name: str
    context: Context
    modules: Mapping[str, nn.Module]
    steps: int
    learning_rate: float
    warmup: int = 200
    weight_decay: float = 0.01
    ema_decay: float = 0.999
    clip: float = 1.0
    log_every: int = 50
    origin: Mapping[str, object] | None = None
    """Card of the weights that training starts from, where it does not start from nothing."""
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.steps = self.context.steps or self.steps
        for module in self.modules.values():
            module.to(self.context.device)
        self.averaged = {name: copy.deepcopy(module).eval() for name, module in self.modules.items()}
        parameters = [p for module in self.modules.values() for p in module.parameters() if p.requires_grad]
        self._parameters = parameters
        self._optimizer = torch.optim.AdamW(
            parameters, lr=self.learning_rate, betas=(0.9, 0.98), weight_decay=self.weight_decay, fused=True
        )
        self._step = 0
        self._file = self.context.workdir / "states" / f"{self.name}.pt"
        if self._file.exists():
            self._load()

    def run(self, step_loss: Callable[[int], tuple[torch.Tensor, Mapping[str, float]]]) -> None:
        """Train to `steps`, saving the state every two minutes and at the end."""
        torch.manual_seed(0)
        clock = saved = time.monotonic()
        for module in self.modules.values():
            module.train()
        figures: dict[str, list[float]] = {}
        while self._step < self.steps:
            for group in self._optimizer.param_groups:
                group["lr"] = self.learning_rate * self._rate()
            torch.manual_seed(self._step)
            with attention(self.context.device):
                loss, logged = step_loss(self._step)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
            nn.utils.clip_grad_norm_(self._parameters, self.clip)
            self._optimizer.step()
            self._average()
            self._step += 1
            for key, value in {"loss": float(loss.detach()), **logged}.items():
                figures.setdefault(key, []).append(value)
            now = time.monotonic()
            self.seconds, clock = self.seconds + now - clock, now
            if self._step % self.log_every == 0 or self._step == self.steps:
                self._log(figures)
                figures = {}
            if now - saved > SAVE_EVERY_SECONDS:
                self.save()
                saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write the state atomically."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self._step,
            "seconds": self.seconds,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "averaged": {name: module.state_dict() for name, module in self.averaged.items()},
            "optimizer": self._optimizer.state_dict(),
            "origin": self.origin,
        }
        partial = self._file.with_suffix(".part")
        torch.save(state, partial)
        os.replace(partial, self._file)

    def card(self) -> dict[str, object]:
        """Training facts for the checkpoint's card."""
        return {
            "steps": self._step,
            "hours": round(self.seconds / 3600, 3),
            "device": torch.cuda.get_device_name()
            if self.context.device.type == "cuda"
            else f"CPU, {os.cpu_count()} cores",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "learning_rate": self.learning_rate,
            **({"warm_start_from": self.origin} if self.origin else {}),
        }

    def _rate(self) -> float:
        decay_from = 0.8 * self.steps
        rise = min(1.0, (self._step + 1) / self.warmup)
        fall = (
            min(1.0, (self.steps - self._step) / (self.steps - decay_from))
            if self._step > decay_from
            else 1.0
        )
        return rise * max(fall, 0.02)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.ema_decay, (1 + self._step) / (10 + self._step))
        for name, module in self.modules.items():
            averaged = list(self.averaged[name].parameters())
            torch._foreach_lerp_(averaged, list(module.parameters()), 1 - decay)
            for average, current in zip(self.averaged[name].buffers(), module.buffers(), strict=True):
                average.copy_(current)

    def _log(self, figures: Mapping[str, list[float]]) -> None:
        means = "  ".join(f"{key} {np.mean(values):.4f}" for key, values in figures.items())
        print(f"{self.name} {self._step}/{self.steps}  {means}  {self.seconds:.0f} s", flush=True)

    def _load(self) -> None:
        state = torch.load(self._file, map_location=self.context.device, weights_only=True)
        self._step, self.seconds = state["step"], state["seconds"]
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
            self.averaged[name].load_state_dict(state["averaged"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self.origin = state.get("origin")
        print(f"{self.name} goes on at step {self._step}", flush=True)
