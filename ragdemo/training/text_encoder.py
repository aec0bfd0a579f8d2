"""Stage `text-encoder`: the diffusion base's tokenizer and CLIP text model, trained on generator captions only.

Before it conditions a picture, the text model learns to predict from a caption what the caption determines: the scene,
and of each thing the kind and its attributes. So the UNet starts with meaningful text states.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ragdemo.training import words
from ragdemo.training.export import write_card
from ragdemo.training.keys import constants
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.vae import GENERATOR_POOL
from ragdemo.training.words import ATTRIBUTES, MAX_TOKENS, compose_caption, train_tokenizer
from ragdemo.world.kinds import KINDS
from ragdemo.world.palette import COLOURS
from ragdemo.world.parts import SHAPES
from ragdemo.world.patterns import PATTERNS
from ragdemo.world.pool import describe_sample, render_pool
from ragdemo.world.sampling import generator_sample
from ragdemo.world.scenes import SCENES

WIDTH = 192
BATCH = 128
CHOICES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "pattern": tuple(PATTERNS),
    "main": COLOURS,
    "second": COLOURS,
    "third": COLOURS,
}
KIND_LIST, SCENE_LIST = tuple(KINDS), tuple(SCENES)
UNKNOWN = -100  # ignored by cross-entropy


class CaptionReader(nn.Module):
    """A text model with heads that are discarded after training."""

    def __init__(self, text_model: CLIPTextModel) -> None:
        super().__init__()
        self.text_model = text_model
        self.scene = nn.Linear(WIDTH, len(SCENE_LIST))
        self.present = nn.Linear(WIDTH, len(KIND_LIST))
        self.ask = nn.Embedding(len(KIND_LIST), WIDTH)
        self.heads = nn.ModuleDict({key: nn.Linear(WIDTH, len(CHOICES[key])) for key in ATTRIBUTES})

    def forward(self, tokens: torch.Tensor, kinds: torch.Tensor) -> dict[str, torch.Tensor]:
        """Tokens `(B, T)`, kinds asked about `(B, 2)`; logits of scene, presence and each attribute `(B, 2, ·)`."""
        pooled = self.text_model(tokens).pooler_output  # (B, D), the state at the end token
        asked = F.gelu(pooled[:, None] + self.ask(kinds) * 4)  # (B, 2, D)
        answers = {
            key: head(pooled[:, None] * torch.tanh(self.ask(kinds)) + asked)
            for key, head in self.heads.items()
        }
        return {"scene": self.scene(pooled), "present": self.present(pooled), **answers}


def new_text_model(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text model of 1.5M parameters."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=3 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=3,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train_text_encoder(context: Context) -> None:
    """Train on captions alone and write `diffusion/tokenizer` and `diffusion/text_encoder`."""
    rows = [row[0] for row in render_pool(GENERATOR_POOL, context.pools, context.workers).rows]
    tokenizer = train_tokenizer(row["caption"] for row in rows)
    torch.manual_seed(0)
    reader = CaptionReader(new_text_model(tokenizer))
    loop = Loop(
        "text-encoder",
        context,
        {"reader": reader},
        steps=6_000,
        learning_rate=1e-3,
        warmup=100,
        inputs={"words": constants(words), "tokenizer": tokenizer.get_vocab()},
    )

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng("text-encoder", step)
        chosen = [rows[i] for i in rng.integers(0, len(rows), BATCH)]
        captions, targets = _batch(chosen, Random(int(rng.integers(2**31))))
        tokens = tokenizer(captions, padding=True, truncation=True, return_tensors="pt").input_ids.to(
            context.device
        )
        targets = {key: value.to(context.device) for key, value in targets.items()}
        with autocast(context.device):
            logits = reader(tokens, targets["kinds"])
        return reading_loss(logits, targets)

    loop.run(step_loss)
    figures = measure_reading(loop.averaged["reader"], tokenizer, context.device)
    folder = context.assets / "diffusion"
    tokenizer.save_pretrained(folder / "tokenizer")
    loop.averaged["reader"].text_model.half().save_pretrained(folder / "text_encoder")
    write_card(
        folder / "text_encoder",
        {"data": f"captions of {GENERATOR_POOL.folder}", **loop.card(), "figures": figures},
    )


@torch.inference_mode()
def measure_reading(
    reader: CaptionReader, tokenizer: CLIPTokenizer, device: torch.device
) -> dict[str, float]:
    """Shares of scenes and attributes predicted correctly from 512 fresh captions."""
    rows = [describe_sample(generator_sample("validate/generator", i)) for i in range(512)]
    captions, targets = _batch(rows, Random(0))
    tokens = tokenizer(captions, padding=True, truncation=True, return_tensors="pt").input_ids.to(device)
    targets = {key: value.to(device) for key, value in targets.items()}
    _, figures = reading_loss(reader(tokens, targets["kinds"]), targets)
    return {key: round(value, 4) for key, value in figures.items()}


def reading_loss(
    logits: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy over what the captions determine, and the shares answered correctly."""
    loss = F.cross_entropy(logits["scene"].float(), targets["scene"])
    loss = loss + F.binary_cross_entropy_with_logits(logits["present"].float(), targets["present"])
    hits, asked = 0.0, 0
    for key in ATTRIBUTES:
        answer, truth = logits[key].float().flatten(0, 1), targets[key].flatten()
        loss = loss + F.cross_entropy(answer, truth, ignore_index=UNKNOWN) / len(ATTRIBUTES)
        known = truth != UNKNOWN
        hits += float((answer.argmax(-1) == truth)[known].sum())
        asked += int(known.sum())
    scene = (logits["scene"].argmax(-1) == targets["scene"]).float().mean()
    return loss, {"scene": float(scene), "attributes": hits / max(asked, 1)}


def _batch(rows: list[dict[str, Any]], rng: Random) -> tuple[list[str], dict[str, torch.Tensor]]:
    captions = []
    kinds = np.zeros((len(rows), 2), dtype=np.int64)
    present = np.zeros((len(rows), len(KIND_LIST)), dtype=np.float32)
    attributes = {key: np.full((len(rows), 2), UNKNOWN, dtype=np.int64) for key in ATTRIBUTES}
    for i, row in enumerate(rows):
        text, facts = compose_caption(row, rng)
        captions.append(text)
        for j, fact in enumerate(facts):
            kinds[i, j] = KIND_LIST.index(fact["kind"])
            present[i, kinds[i, j]] = 1
            for key in ATTRIBUTES:
                if key in fact:
                    attributes[key][i, j] = CHOICES[key].index(fact[key])
    scene = np.array([SCENE_LIST.index(row["scene"]) for row in rows])
    arrays = {"kinds": kinds, "present": present, "scene": scene, **attributes}
    return captions, {key: torch.from_numpy(value) for key, value in arrays.items()}
