"""Training of the retrieval heads: *normal* without the reflective term, *real* with it, else alike.

The frozen features, the generator's drawings and the heads under way are kept in a working folder, so that an
interrupted training goes on where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ragdemo.methods.realrag.head import ResidualHead
from ragdemo.methods.realrag.loss import reflective_loss
from ragdemo.methods.realrag.mining import TrainingSet

VARIANTS = ("normal", "real")


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
    stop_after: int | None = None,
) -> ResidualHead:
    """The head of a variant ("normal" or "real"); goes on from `state_file` where it is of the same settings and data.

    An epoch shows every training picture once, each with a text of its species. `stop_after` ends after that many
    epochs in all, as an interruption would.
    """
    torch.manual_seed(settings.seed)
    head = ResidualHead(data.images.shape[1])
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    mark = _mark(data, variant, settings)
    done = _resume(state_file, mark, head, optimizer)
    batches = _Batches(data, variant == "real", settings.seed)
    for epoch in range(done, settings.epochs if stop_after is None else min(stop_after, settings.epochs)):
        losses = []
        for batch in batches.epoch(epoch, settings.batch):
            loss = reflective_loss(
                batch.queries,
                head(batch.positives),
                None if batch.negatives is None else head(batch.negatives),
                batch.species,
                batch.negative_species,
                settings.temperature,
                settings.mask_same_species,
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        say(f"realrag {variant} epoch {epoch + 1}/{settings.epochs}  loss {np.mean(losses):.4f}")
        if state_file is not None:
            _save(state_file, mark, epoch + 1, head, optimizer)
    return head.eval()


@dataclass(frozen=True)
class _Batch:
    queries: torch.Tensor
    positives: torch.Tensor
    negatives: torch.Tensor | None
    species: torch.Tensor
    negative_species: torch.Tensor | None


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


def _mark(data: TrainingSet, variant: str, settings: HeadSettings) -> str:
    """Names what a state belongs to; another generator, library or setting makes another mark."""
    sums = [float(np.abs(array).sum()) for array in (data.images, data.queries, data.drawn)]
    return repr((variant, sorted(asdict(settings).items()), data.names, sums))


def _resume(file: Path | None, mark: str, head: ResidualHead, optimizer: torch.optim.Optimizer) -> int:
    """The epochs that a state of this mark has behind it; 0 where there is none."""
    if file is None or not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    if state["mark"] != mark:
        return 0
    head.load_state_dict(state["head"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])


def _save(file: Path, mark: str, epoch: int, head: ResidualHead, optimizer: torch.optim.Optimizer) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {"mark": mark, "epoch": epoch, "head": head.state_dict(), "optimizer": optimizer.state_dict()}
    partial = file.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, file)
