"""Stage `janus`: the language model of the pocket Janus, which says a picture code by code in raster order.

It reads the codes of the stage `janus-tokens`. A tenth of the prompts is withheld as the library's guidance does it:
every token but the first and `<begin_of_image>` is a pad under the same attention mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import JanusForConditionalGeneration, PreTrainedTokenizerFast

from ragdemo.training import janus_model, phrasings
from ragdemo.training.export import shipped_card, write_card
from ragdemo.training.hardware import compiled
from ragdemo.training.janus_model import BEGIN, new_janus, new_processor, new_tokenizer
from ragdemo.training.janus_tokens import STREAM, janus_folder, open_tokenizer, token_folder
from ragdemo.training.keys import constants
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.phrasings import phrase, phrase_with_facts
from ragdemo.training.shards import Shards

BATCH = 32
DROP = 0.1
FOLDER = "janus"
VOCABULARY_ROWS = 20_000
"""Pictures whose prompts the tokenizer learns its merges from."""


def train_janus(context: Context) -> None:
    """Train the language model on the codes that are there and write the checkpoint `janus`."""
    tokens = Shards(token_folder(context))
    tokenizer, model = _start(context, tokens)
    loop = Loop(
        "janus",
        context,
        {"model": model},
        steps=10_000,
        learning_rate=1e-3,
        weight_decay=0.05,
        ema_decay=0.9985,
        orthogonal=r"language_model\.layers\..*_proj\.weight$",
        fused_attention=True,
        origin=shipped_card(janus_folder(context)) if context.warm else None,
        inputs={
            "codes": token_folder(context).name,
            "count": len(tokens),
            "words": [constants(phrasings), constants(janus_model)],
        },
    )
    loss_of = compiled(code_loss, loop.steps_left)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        inputs = [tensor.to(context.device) for tensor in batch(tokens, tokenizer, step)]
        with autocast(context.device):
            return loss_of(model, *inputs), {}

    loop.run(step_loss)
    folder, averaged = context.assets / FOLDER, loop.averaged["model"]
    averaged.half().save_pretrained(folder, max_shard_size="9MB")
    averaged.float()
    new_processor(tokenizer).save_pretrained(folder)
    figures = measure(averaged, tokens, tokenizer, context.device)
    write_card(folder, {"data": f"{len(tokens)} of {STREAM}", **loop.card(), "figures": figures})


def code_loss(
    model: JanusForConditionalGeneration, text: torch.Tensor, mask: torch.Tensor, codes: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy in nats a code."""
    logits = code_logits(model, text, mask, codes)
    return F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())


def open_janus(context: Context) -> tuple[JanusForConditionalGeneration, PreTrainedTokenizerFast]:
    """The trained Janus and its tokenizer of words."""
    folder = janus_folder(context)
    model = JanusForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return model.to(context.device), PreTrainedTokenizerFast.from_pretrained(folder)


def _start(context: Context, tokens: Shards) -> tuple[PreTrainedTokenizerFast, JanusForConditionalGeneration]:
    """Tokenizer and model, new ones or the warm ones, with the trained picture tokenizer; only the language learns."""
    torch.manual_seed(0)
    vq = open_tokenizer(context)
    if context.warm:
        model, tokenizer = open_janus(context)
    else:
        rng = Random("janus-tokenizer")
        tokenizer = new_tokenizer(
            phrase(tokens.row(i)[0], rng) for i in range(min(VOCABULARY_ROWS, len(tokens)))
        )
        model = new_janus(tokenizer)
        with torch.no_grad():
            model.model.generation_embeddings.weight.copy_(vq.quantize.embedding.weight * 2)
    model.model.vqmodel.load_state_dict(vq.state_dict())
    for frozen in (model.model.vqmodel, model.model.vision_model, model.model.aligner):
        frozen.requires_grad_(False)
    return tokenizer, model


def batch(
    tokens: Shards, tokenizer: PreTrainedTokenizerFast, step: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Text ids and attention mask `(B, T)`, padded on the left, and codes `(B, 256)`."""
    rng = step_rng("janus", step)
    words = Random(int(rng.integers(2**31)))
    chosen = rng.integers(0, len(tokens), BATCH)
    ids, mask = prompts_of([tokens.row(i)[0] for i in chosen], tokenizer, words, rng)
    return ids, mask, torch.from_numpy(tokens.array("codes", chosen).astype(np.int64))


def prompts_of(
    rows: Sequence[Any],
    tokenizer: PreTrainedTokenizerFast,
    words: Random,
    rng: np.random.Generator,
    unsaid: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Text ids and attention mask `(B, T)` of pictures that `rows` describe, padded on the left; some are withheld.

    A share `unsaid` of the texts says little or nothing of the first thing's look.
    """
    plain = [(0,) if unsaid and words.random() < unsaid else () for _ in rows]
    texts = [phrase_with_facts(row, words, one)[0] + BEGIN for row, one in zip(rows, plain, strict=True)]
    encoded = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    ids = encoded["input_ids"]
    withheld = torch.from_numpy(rng.random(len(rows)) < DROP)[:, None]
    kept = (ids == tokenizer.bos_token_id) | (ids == tokenizer.convert_tokens_to_ids(BEGIN))
    return torch.where(withheld & ~kept, tokenizer.pad_token_id, ids), encoded["attention_mask"]


def code_logits(
    model: JanusForConditionalGeneration, text: torch.Tensor, mask: torch.Tensor, codes: torch.Tensor
) -> torch.Tensor:
    """Logits `(B, 256, V)` of each code given the text and the codes before it."""
    words = model.get_input_embeddings()(text)
    spoken = model.prepare_embeddings_for_image_generation(codes[:, :-1])
    mask = F.pad(mask, (0, codes.shape[1] - 1), value=1)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    states = model.model.language_model(
        inputs_embeds=torch.cat([words, spoken.to(words.dtype)], dim=1),
        attention_mask=mask,
        position_ids=positions,
        use_cache=False,
    ).last_hidden_state
    return model.model.generation_head(states[:, text.shape[1] - 1 :])


@torch.inference_mode()
def measure(
    model: JanusForConditionalGeneration,
    tokens: Shards,
    tokenizer: PreTrainedTokenizerFast,
    device: torch.device,
) -> Mapping[str, float]:
    """Cross-entropy in nats a code, over ten batches in an order that training has not seen."""
    losses = []
    for i in range(10):
        inputs = [tensor.to(device) for tensor in batch(tokens, tokenizer, 10**9 + i)]
        with autocast(device):
            losses.append(float(code_loss(model, *inputs)))
    return {"nats_per_code": round(float(np.mean(losses)), 4)}
