"""Stages `faid-tokens` and `faid`: AR-RAG's blenders, taught on looks that other pictures show.

Each example is a picture and others of the same look, mostly of nameless things, beside pictures of other looks: a
library of their own, none of which is shipped. The language model's own weights stay.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from random import Random

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from ragdemo.methods.ar_rag.faid import Blenders, Config, save_blenders
from ragdemo.methods.ar_rag.training import NONE, nearest_values, teacher_forced
from ragdemo.models.janus import unit_codebook
from ragdemo.training import janus_tokens, rendering
from ragdemo.training.export import shipped_card, write_card
from ragdemo.training.janus import code_loss, open_janus, prompts_of
from ragdemo.training.janus_tokens import encode, janus_folder, open_tokenizer, tokenizer_folder
from ragdemo.training.janus_vq import GRID
from ragdemo.training.keys import constants, key_of
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.rendering import FAMILY, family
from ragdemo.training.shards import Shards, write_shards
from ragdemo.weights import weights_hash
from ragdemo.world.version import world_version

STREAM = "train/faid"
SHARD = 500
BATCH = 12
NEIGHBOURS = 10
PLACE_WEIGHT = 0.1
UNSAID = 0.75
"""The share of prompts that leave the look to the other pictures."""
ALONE = 0.1
"""The share of pictures without neighbours, so that guidance can compare with none."""
OTHERS = 4
"""Pictures of other looks among those whose patches are looked up."""
LAYERS = (1, 4)
MATRICES = (
    "self_attn.q_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
RANK = 16
FOLDER = "faid"


def train_faid_tokens(context: Context) -> None:
    """Draw `context.count` families (20,000 by default) and keep their codes; whole shards are not made again."""
    vq, count = open_tokenizer(context), context.count or 20_000

    def encoded(pixels: np.ndarray) -> dict[str, np.ndarray]:
        codes = encode(vq, pixels.reshape(-1, *pixels.shape[2:]), context.device)
        return {"codes": codes.reshape(*pixels.shape[:2], GRID, GRID)}

    write_shards(family_folder(context), STREAM, family, count, SHARD, encoded, context.workers)


def train_faid(context: Context) -> None:
    """Train the blenders on the families that are there and write the checkpoint `faid`."""
    model, tokenizer = open_janus(context)
    model.requires_grad_(False)
    families = Shards(family_folder(context))
    blenders = new_blenders(model)
    loop = Loop(
        "faid",
        context,
        {"blenders": blenders},
        steps=3_000,
        learning_rate=1e-3,
        ema_decay=0.995,
        fused_attention=True,
        inputs={"model": weights_hash(janus_folder(context)), "families": len(families)},
    )
    training = _Training(model, tokenizer, families, context.device)
    loop.run(lambda step: (training.loss(blenders, step), {}))
    averaged = loop.averaged["blenders"]
    assert isinstance(averaged, Blenders)
    figures = {"nats_per_code": training.measure(averaged), "nats_per_code_without": training.measure(None)}
    save_blenders(averaged, context.assets / FOLDER)
    data = f"{len(families)} of {STREAM}"
    card = {"data": data, **loop.card(), "model": shipped_card(janus_folder(context)), "figures": figures}
    write_card(context.assets / FOLDER, card)


def new_blenders(model: torch.nn.Module) -> Blenders:
    """Untrained blenders for a Janus."""
    torch.manual_seed(0)
    stack = "model.language_model.layers"
    layers = range(len(model.get_submodule(stack)))  # type: ignore[arg-type]
    matrices = tuple(f"{stack}.{layer}.{name}" for layer in layers for name in MATRICES)
    shapes = [tuple(model.get_submodule(name).weight.shape) for name in matrices]
    width = model.config.text_config.hidden_size  # type: ignore[union-attr]
    return Blenders(Config(width, GRID, LAYERS, neighbours=NEIGHBOURS, matrices=matrices, rank=RANK), shapes)  # type: ignore[arg-type]


def family_folder(context: Context) -> Path:
    """Where the codes of this tokenizer's families are kept."""
    inputs = {
        "tokenizer": weights_hash(tokenizer_folder(context)),
        "settings": [STREAM, SHARD, constants(rendering), constants(janus_tokens)],
        "world": world_version(),
    }
    return context.workdir / "tokens" / f"faid-{key_of(inputs)}"


class _Training:
    """The loss of one step."""

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: PreTrainedTokenizerFast,
        families: Shards,
        device: torch.device,
    ) -> None:
        self._model, self._tokenizer, self._families, self._device = model, tokenizer, families, device
        self._book = unit_codebook(model.model.vqmodel)  # type: ignore[union-attr, arg-type]

    def loss(self, blenders: Blenders | None, step: int) -> torch.Tensor:
        """Cross-entropy in nats a code; without blenders that of the model alone."""
        rng = step_rng("faid", step)
        chosen, targets = rng.integers(0, len(self._families), BATCH), rng.integers(0, FAMILY + 1, BATCH)
        words = Random(int(rng.integers(2**31)))
        rows = [self._families.row(i)[target] for i, target in zip(chosen, targets, strict=True)]
        text, mask = prompts_of(rows, self._tokenizer, words, rng, UNSAID)
        grids = torch.from_numpy(self._families.array("codes", chosen).astype(np.int64)).to(self._device)
        turned = (torch.arange(FAMILY + 1) + torch.from_numpy(targets)[:, None]) % (FAMILY + 1)
        grids = grids[torch.arange(BATCH)[:, None], turned]  # the target first
        inputs = text.to(self._device), mask.to(self._device), grids[:, 0].flatten(1)
        with ExitStack() as stack:
            if blenders is not None:
                found = torch.stack([self._found(grid, rng) for grid in grids])
                found[torch.from_numpy(rng.random(BATCH) < ALONE)] = NONE
                stack.enter_context(teacher_forced(blenders, self._model, found, text.shape[1]))
            stack.enter_context(autocast(self._device))
            return code_loss(self._model, *inputs)

    @torch.inference_mode()
    def measure(self, blenders: Blenders | None) -> float:
        """The mean loss of ten batches in an order that training has not seen."""
        losses = [float(self.loss(blenders, 10**9 + step)) for step in range(10)]
        return round(float(np.mean(losses)), 4)

    def _found(self, grid: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """The neighbours of a family's target in its others and in some of other looks, in random order."""
        others = rng.integers(0, len(self._families), OTHERS)
        strangers = self._families.array("codes", others)[:, 0].astype(np.int64)
        pictures = torch.cat([grid[1:], torch.from_numpy(strangers).to(grid.device)])
        found = nearest_values(grid[0], pictures, self._book, NEIGHBOURS, PLACE_WEIGHT)
        return found[:, torch.from_numpy(rng.permutation(NEIGHBOURS)).to(found.device)]
