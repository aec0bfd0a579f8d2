"""Training of the retrieval heads: *normal* without the reflective term, *real* with it, otherwise the same.

The state of an unfinished training is kept in a file, so that an interrupted training is resumed at its step.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ragdemo.errors import UserError
from ragdemo.methods.realrag.head import ResidualHead
from ragdemo.methods.realrag.loss import reflective_loss
from ragdemo.methods.realrag.mining import TrainingSet


@dataclass(frozen=True)
class HeadSettings:
    """How a head is trained; both variants share every value.

    The paper states about 10 epochs and neither learning rate nor temperature. These were chosen for the *normal* head
    by its recall on one held-out picture of each species of the pocket library's training split.
    """

    batch: int = 32
    epochs: int = 30
    learning_rate: float = 1e-2
    weight_decay: float = 0.01
    temperature: float = 0.03
    mask_same_species: bool = True
    seed: int = 0


def train_head(
    data: TrainingSet,
    variant: str,
    settings: HeadSettings,
    state_file: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    steps: int | None = None,
) -> ResidualHead:
    """The head of a variant ("normal" or "real") after `settings.epochs` epochs, or after `steps` optimiser steps.

    An epoch shows every training picture once, each with a text of its species. A `state_file` of the same settings and
    data is resumed; raises `UserError` if it has more steps than are asked for.
    """
    torch.manual_seed(settings.seed)
    head = ResidualHead(data.images.shape[1])
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    key, steps = training_key(data, variant, settings), steps or epoch_steps(data, settings) * settings.epochs
    done = _resume(state_file, key, head, optimizer)
    if done >= steps:
        _check_done(state_file, done, steps)
        say(f"realrag {variant} has its {done} steps already; nothing is trained")
    batches = _Batches(data, variant == "real", settings.seed)
    while done < steps:
        epoch, behind = divmod(done, epoch_steps(data, settings))
        losses = []
        for batch in batches.epoch(epoch, settings.batch)[behind : behind + steps - done]:
            loss = _loss(head, batch, settings)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        done += len(losses)
        say(f"realrag {variant} step {done}/{steps}  loss {np.mean(losses):.4f}")
        if state_file is not None:
            _save(state_file, key, done, head, optimizer)
    return head.eval()


@dataclass(frozen=True)
class _Batch:
    queries: torch.Tensor
    positives: torch.Tensor
    negatives: torch.Tensor | None
    species: torch.Tensor
    negative_species: torch.Tensor | None


def _loss(head: ResidualHead, batch: _Batch, settings: HeadSettings) -> torch.Tensor:
    return reflective_loss(
        batch.queries,
        head(batch.positives),
        None if batch.negatives is None else head(batch.negatives),
        batch.species,
        batch.negative_species,
        settings.temperature,
        settings.mask_same_species,
    )


class _Batches:
    """Batches that depend on seed, epoch and data alone; normal and real see the same ones."""

    def __init__(self, data: TrainingSet, reflective: bool, seed: int) -> None:
        self._data, self._seed = data, seed
        self._images, self._queries = torch.from_numpy(data.images), torch.from_numpy(data.queries)
        self._negatives = data.reflective_negatives() if reflective else None
        self._texts = [np.flatnonzero(data.query_species == i) for i in range(len(data.names))]

    def epoch(self, epoch: int, size: int) -> list[_Batch]:
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(len(self._data.images))
        return [self._batch(order[start : start + size], rng) for start in range(0, len(order), size)]

    def _batch(self, rows: np.ndarray, rng: np.random.Generator) -> _Batch:
        species = self._data.image_species[rows]
        texts = np.array([rng.choice(self._texts[i]) for i in species])
        negatives = negative_species = None
        if self._negatives is not None:
            mined = self._negatives[species]
            negatives = self._images[mined]
            negative_species = torch.from_numpy(self._data.image_species[mined])
        return _Batch(
            self._queries[texts], self._images[rows], negatives, torch.from_numpy(species), negative_species
        )


def epoch_steps(data: TrainingSet, settings: HeadSettings) -> int:
    """The optimiser steps of one epoch."""
    return -(-len(data.images) // settings.batch)


def training_key(data: TrainingSet, variant: str, settings: HeadSettings) -> str:
    """Eight hex digits that change with variant, settings and data, but not with the length of a training."""
    described = {k: v for k, v in asdict(settings).items() if k != "epochs"}
    digest = hashlib.sha256(json.dumps([variant, described, data.names], sort_keys=True).encode())
    for array in (data.images, data.image_species, data.queries, data.query_species, data.drawn):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:8]


def _check_done(file: Path | None, done: int, steps: int) -> None:
    if done > steps:
        raise UserError(
            f"The state {file} has {done} steps, more than the {steps} asked for; ask for more, or move the file away "
            "to train anew."
        )


def _resume(file: Path | None, key: str, head: ResidualHead, optimizer: torch.optim.Optimizer) -> int:
    """The steps of a state with this key; 0 if there is none."""
    if file is None or not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    if state.get("key") != key:
        return 0
    head.load_state_dict(state["head"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save(file: Path, key: str, step: int, head: ResidualHead, optimizer: torch.optim.Optimizer) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {"key": key, "step": step, "head": head.state_dict(), "optimizer": optimizer.state_dict()}
    partial = file.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, file)
