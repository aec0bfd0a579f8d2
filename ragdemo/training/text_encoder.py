"""Stage `text-encoder`: the diffusion base's tokenizer and CLIP text model, trained on generator captions only.

Before it conditions a picture, the text model learns to predict from a caption what the caption determines: the scene,
and of each thing the kind and its attributes. So the UNet starts with meaningful text states. And it learns to tell
names that it has never heard apart: two prompts with one made-up name are nearer to each other than to any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ragdemo.training import names, phrasings, words
from ragdemo.training.export import write_card
from ragdemo.training.keys import constants
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.names import made_up_word
from ragdemo.training.phrasings import phrase, phrase_with_facts
from ragdemo.training.vae import GENERATOR_POOL
from ragdemo.training.words import ATTRIBUTES, MAX_TOKENS, train_tokenizer
from ragdemo.world.kinds import KINDS
from ragdemo.world.palette import COLOURS
from ragdemo.world.parts import SHAPES
from ragdemo.world.patterns import PATTERNS
from ragdemo.world.pool import describe_sample, render_pool
from ragdemo.world.sampling import generator_sample
from ragdemo.world.scenes import SCENES

WIDTH = 192
BATCH = 128
NAMES = 48
"""Made-up names a step, each in two prompts."""
NAME_WEIGHT = 0.3
TEMPERATURE = 0.07
VOCABULARY_ROWS = 20_000
"""Pictures whose prompts the tokenizer learns its merges from."""
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
        output = self.text_model(tokens)
        pooled = output.pooler_output  # (B, D), the state at the end token
        asked = F.gelu(pooled[:, None] + self.ask(kinds) * 4)  # (B, 2, D)
        answers = {
            key: head(pooled[:, None] * torch.tanh(self.ask(kinds)) + asked)
            for key, head in self.heads.items()
        }
        # from all tokens: the pooled state, by which prompts are compared, need not tell scenes apart
        scene = self.scene(output.last_hidden_state.mean(1))
        return {"scene": scene, "present": self.present(pooled), **answers}


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
    rng = Random("text-encoder-tokenizer")
    tokenizer = train_tokenizer(phrase_with_facts(row, rng)[0] for row in rows[:VOCABULARY_ROWS])
    torch.manual_seed(0)
    reader = CaptionReader(new_text_model(tokenizer))
    loop = Loop(
        "text-encoder",
        context,
        {"reader": reader},
        steps=12_000,
        learning_rate=1e-3,
        warmup=100,
        inputs={
            "words": [constants(m) for m in (words, phrasings, names)],
            "tokenizer": tokenizer.get_vocab(),
        },
    )

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng("text-encoder", step)
        chosen = [rows[i] for i in rng.integers(0, len(rows), BATCH)]
        composer = Random(int(rng.integers(2**31)))
        captions, targets = _batch(chosen, composer)
        tokens, twins = (
            encode(tokenizer, texts).to(context.device) for texts in (captions, named_twice(chosen, composer))
        )
        targets = {key: value.to(context.device) for key, value in targets.items()}
        with autocast(context.device):
            logits, pooled = reader(tokens, targets["kinds"]), reader.text_model(twins).pooler_output
        loss, figures = reading_loss(logits, targets)
        telling_apart, nearest = name_loss(pooled.float())
        return loss + NAME_WEIGHT * telling_apart, {**figures, "names": nearest}

    loop.run(step_loss)
    reader = loop.averaged["reader"]
    figures = {
        **measure_reading(reader, tokenizer, context.device),
        "names": measure_names(reader, tokenizer),
    }
    folder = context.assets / "diffusion"
    tokenizer.save_pretrained(folder / "tokenizer")
    reader.text_model.half().save_pretrained(folder / "text_encoder")
    write_card(
        folder / "text_encoder",
        {"data": f"captions of {GENERATOR_POOL.folder}", **loop.card(), "figures": figures},
    )


def encode(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Token ids `(N, T)`, padded to the longest."""
    ids: torch.Tensor = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").input_ids
    return ids


def named_twice(rows: Sequence[Mapping[str, Any]], rng: Random) -> list[str]:
    """`NAMES` prompts with a made-up name each, then as many in other words and scenes with the same names."""
    looks = [row["looks"][0] for row in rows[:NAMES]]
    things = [f"{made_up_word(rng)} {look['kind']}" for look in looks]
    return [
        _naming(thing, {"names": [thing], "looks": [look], "scene": rng.choice(SCENE_LIST)}, rng)
        for _ in range(2)
        for thing, look in zip(things, looks, strict=True)
    ]


def _naming(name: str, row: Mapping[str, Any], rng: Random) -> str:
    """A prompt of the row in which the name stands: some phrasings describe a thing instead."""
    while name not in (text := phrase(row, rng)):
        pass
    return text


def name_loss(pooled: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Contrastive loss of states `(2N, D)`, the second half saying what the first said; and recall@1 of the twins."""
    one, other = F.normalize(pooled, dim=-1).chunk(2)
    similarities = one @ other.T / TEMPERATURE
    truth = torch.arange(len(one), device=one.device)
    loss = (F.cross_entropy(similarities, truth) + F.cross_entropy(similarities.T, truth)) / 2
    return loss, float((similarities.argmax(1) == truth).float().mean())


@torch.inference_mode()
def measure_names(reader: CaptionReader, tokenizer: CLIPTokenizer) -> float:
    """Recall@1 among `NAMES` made-up names of words that training has not drawn, over eight batches."""
    recalls = []
    for i in range(8):
        rng = Random(f"validate/names/{i}")
        rows = [describe_sample(generator_sample("validate/names", NAMES * i + j)) for j in range(NAMES)]
        tokens = encode(tokenizer, named_twice(rows, rng)).to(reader.scene.weight.device)
        recalls.append(name_loss(reader.text_model(tokens).pooler_output)[1])
    return round(float(np.mean(recalls)), 4)


@torch.inference_mode()
def measure_reading(
    reader: CaptionReader, tokenizer: CLIPTokenizer, device: torch.device
) -> dict[str, float]:
    """Shares of scenes and attributes predicted correctly from 512 fresh captions."""
    rows = [describe_sample(generator_sample("validate/generator", i)) for i in range(512)]
    captions, targets = _batch(rows, Random(0))
    tokens = encode(tokenizer, captions).to(device)
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
        text, facts = phrase_with_facts(row, rng)
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
