"""The training loop that every stage shares: seeded, resumable at any step, on a CPU or one GPU.

A stage is a module. Its upper-case constants are its settings; a default number of steps is no constant but written
into the call of `Loop`, because a training may be extended. A state's file name holds two hashes, `<stage>-<settings>-
<start>.pt`: the first covers constants, optimiser, the world's version and `Loop.inputs`, the second the weights that
training starts from. So a state is only ever resumed by the training that wrote it.
"""

from __future__ import annotations

import copy
import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ragdemo.errors import UserError
from ragdemo.training import STAGES
from ragdemo.training.hardware import attention, autocast, device_name
from ragdemo.training.keys import constants, key_of, weights_fingerprint
from ragdemo.world.version import world_version

__all__ = ["Context", "Loop", "autocast", "step_rng"]

SAVE_EVERY_SECONDS = 120.0


@dataclass(frozen=True)
class Context:
    """Where and how a stage trains: `workdir` keeps pools and states, `assets` receives what is shipped.

    `steps` overrides a stage's own number of optimiser steps, `count` the number of pictures of a stage that draws;
    `warm` starts from the shipped weights if there are any. `profile` and `library` name what RealRAG's heads are
    trained for, `allow_download` whether missing models of that profile are fetched (see `require_downloads`); every
    other stage makes the pocket checkpoints.
    """

    workdir: Path
    assets: Path
    device: torch.device
    steps: int | None = None
    warm: bool = False
    workers: int | None = None
    profile: str = "pocket"
    library: str = "pocket"
    count: int | None = None
    allow_download: bool | None = None

    @property
    def pools(self) -> Path:
        """Folder of pre-rendered pools."""
        return self.workdir / "pools"

    @property
    def states(self) -> Path:
        """Folder of the trainings' states."""
        return self.workdir / "states"


def step_rng(stage: str, step: int) -> np.random.Generator:
    """The random numbers of one step; they depend on nothing else, so a resumed run sees the same batches."""
    return np.random.default_rng([int.from_bytes(stage.encode()[:8], "little"), step])


@dataclass
class Loop:
    """Optimise `modules` with AdamW: warm-up, constant rate, linear decay over the last fifth; ships an EMA of them.

    Matrices whose names `orthogonal` matches are optimised with Muon (Jordan et al. 2024) at the same rate.

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
    """Card of the shipped weights that a warm start begins with."""
    orthogonal: str | None = None
    fused_attention: bool = False
    """Whether attention runs as one operation: faster for sequences of hundreds, slower for short ones on a CPU."""
    inputs: Mapping[str, object] = field(default_factory=dict)
    """What a step reads beside `modules` and the stage's constants: pools, frozen models, other modules' settings."""
    seconds: float = field(default=0.0, init=False)
    state_file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.steps = self.context.steps or self.steps
        self._step = 0
        self.state_file = self._find_state()
        for module in self.modules.values():
            module.to(self.context.device)
        self.averaged = {name: copy.deepcopy(module).eval() for name, module in self.modules.items()}
        self._optimizers = self._make_optimizers()
        if self.state_file.exists():
            self._load()
        else:
            self._announce_start()

    @property
    def steps_left(self) -> int:
        """How many steps are still to be taken."""
        return max(0, self.steps - self._step)

    def run(self, step_loss: Callable[[int], tuple[torch.Tensor, Mapping[str, float]]]) -> None:
        """Train to `steps`, saving the state every two minutes and at the end.

        Raises `UserError` if the state has more steps than the context asks for.
        """
        if self._step >= self.steps:
            self._say_done()
            return
        torch.manual_seed(0)
        clock = saved = time.monotonic()
        for module in self.modules.values():
            module.train()
        figures: dict[str, list[float]] = {}
        while self._step < self.steps:
            for key, value in self._optimise(step_loss).items():
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
        self.state_file.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self._step,
            "seconds": self.seconds,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "averaged": {name: module.state_dict() for name, module in self.averaged.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "origin": self.origin,
        }
        partial = self.state_file.with_suffix(".part")
        torch.save(state, partial)
        os.replace(partial, self.state_file)

    def card(self) -> dict[str, object]:
        """Training facts for the checkpoint's card."""
        return {
            "steps": self._step,
            "hours": round(self.seconds / 3600, 3),
            "device": device_name(self.context.device),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "learning_rate": self.learning_rate,
            "world": world_version(),
            "state": self.state_file.stem,
            **({"warm_start_from": self.origin} if self.origin else {}),
        }

    def _make_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW, and Muon for the matrices that `orthogonal` matches, at a rate that suits AdamW."""
        named = [
            item
            for module in self.modules.values()
            for item in module.named_parameters()
            if item[1].requires_grad
        ]
        matched = {name for name, _ in named if self.orthogonal and re.search(self.orthogonal, name)}
        common: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        others = [parameter for name, parameter in named if name not in matched]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, betas=(0.9, 0.98), fused=True, **common)
        ]
        if matched:
            matrices = [parameter for name, parameter in named if name in matched]
            optimizers.append(torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **common))
        return optimizers

    def _find_state(self) -> Path:
        """The file of this training's state; the shipped weights' own if this very training made them."""
        prefix = f"{self.name}-{key_of(self._settings())}"
        exported = str((self.origin or {}).get("state", ""))
        if exported.startswith(f"{prefix}-") and (file := self.context.states / f"{exported}.pt").exists():
            return file
        start = weights_fingerprint(nn.ModuleDict(self.modules))[:8]
        return self.context.states / f"{prefix}-{start}.pt"

    def _settings(self) -> dict[str, object]:
        stage = STAGES.get(self.name, "").split(":")[0]
        return {
            "constants": constants(import_module(stage)) if stage else {},
            "optimiser": [
                self.learning_rate,
                self.warmup,
                self.weight_decay,
                self.ema_decay,
                self.clip,
                *([self.orthogonal] if self.orthogonal else []),
            ],
            "world": world_version(),
            "inputs": dict(self.inputs),
        }

    def _announce_start(self) -> None:
        """Say what training starts from, and which states are left alone."""
        origin = self.origin
        start = f"warm, from shipped weights of {origin.get('steps')} steps" if origin else "anew"
        if self.context.warm and origin is None:
            start += ", as it has no shipped weights to start from"
        pattern = re.compile(rf"{re.escape(self.name)}(-[0-9a-f]{{8}}-[0-9a-f]{{8}})?\.pt")
        others = sorted(p.name for p in self.context.states.glob("*.pt") if pattern.fullmatch(p.name))
        left = f"; {', '.join(others)}: of other settings, pictures or weights, not used" if others else ""
        print(f"{self.name} starts {start}, state {self.state_file.name}{left}", flush=True)

    def _say_done(self) -> None:
        if self.context.steps and self._step > self.context.steps:
            raise UserError(
                f"The state {self.state_file} has {self._step} steps, more than the {self.context.steps} asked for; "
                "ask for more with --steps, or move the file away to train anew."
            )
        print(
            f"{self.name} has its {self._step} steps already ({self.state_file.name}): nothing is trained, "
            "the checkpoint is written from that state; --steps N trains on",
            flush=True,
        )

    def _optimise(
        self, step_loss: Callable[[int], tuple[torch.Tensor, Mapping[str, float]]]
    ) -> dict[str, float]:
        """One step; returns its loss and figures."""
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        for group in groups:
            group["lr"] = self.learning_rate * self._rate()
        torch.manual_seed(self._step)
        with nullcontext() if self.fused_attention else attention(self.context.device):
            loss, logged = step_loss(self._step)
            for optimizer in self._optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
        nn.utils.clip_grad_norm_([one for group in groups for one in group["params"]], self.clip)
        for optimizer in self._optimizers:
            optimizer.step()
        self._average()
        self._step += 1
        return {"loss": float(loss.detach()), **logged}

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
        state = torch.load(self.state_file, map_location=self.context.device, weights_only=True)
        self._step, self.seconds = state["step"], state["seconds"]
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
            self.averaged[name].load_state_dict(state["averaged"][name])
        for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.origin = state.get("origin")
        print(f"{self.name} goes on at step {self._step} of {self.state_file.name}", flush=True)
