"""Stage `encoder`: an open_clip model that learns pictures and words, before `encoder-tail` teaches it rare names.

Common species are captioned by name, everything else (nameless, rare and novel things) by kind and attributes, as most
pictures of rare things have no expert's caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

from ragdemo.models.encoder import LOCAL, open_encoder
from ragdemo.training import encoder_texts, labelled
from ragdemo.training.encoder_model import (
    clip_pixels,
    contrastive_loss,
    encode_texts,
    new_model,
    save_encoder,
    tokenize,
)
from ragdemo.training.encoder_texts import (
    contradicts,
    corpus,
    described_text,
    known_words,
    named_text,
    train_tokenizer,
)
from ragdemo.training.export import write_card
from ragdemo.training.keys import constants
from ragdemo.training.labelled import FACTS, LabelledPool, damage, number
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.recall import WORDINGS, recall_by_tier
from ragdemo.world.oracle import to_pixels
from ragdemo.world.pool import render_pool
from ragdemo.world.species import by_name, roster

BATCH = 128
SHARES = {"common": 0.5, "nameless": 0.4, "tail": 0.1}
"""The shares of the groups in a batch."""
BY_NAME = 0.6
"""Share of the texts of a common species that name it."""


class Group:
    """Pictures of one of the groups "common", "nameless" and "tail", by position in their pool.

    `names` are the names in their captions, right or wrong, None if the captions have none; training knows no others.
    """

    def __init__(self, pool: LabelledPool, positions: np.ndarray, names: Sequence[str | None]) -> None:
        self.pool = pool
        self.positions = positions
        self.names = names
        self.labels = pool.labels[positions].copy()
        self.labels[:, FACTS.index("species")] = [number("species", name or "") for name in names]

    def row(self, index: int) -> dict[str, Any]:
        """The description of one picture."""
        return self.pool.rows[self.positions[index]]

    def images(self, indices: np.ndarray) -> np.ndarray:
        """uint8 `(N, 128, 128, 3)`."""
        return self.pool.images(self.positions[indices])


def train_encoder(context: Context) -> None:
    """Train both towers; writes the folder `encoder-base` beside the pools, which `encoder-tail` starts from."""
    groups = open_groups(context)
    texts = list(corpus(_rows(groups)))
    tokenizer = train_tokenizer(texts)
    torch.manual_seed(0)
    model = new_model(tokenizer)
    loop = Loop(
        "encoder",
        context,
        {"model": model},
        1_100,
        2e-3,
        warmup=100,
        weight_decay=0.05,
        ema_decay=0.99,
        inputs=inputs(tokenizer),
    )

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng("encoder", step)
        drawn = draw(groups, SHARES, BATCH, rng)
        images = np.concatenate([group.images(indices) for group, indices in drawn])
        words, negative = read_batch(drawn, Random(int(rng.integers(2**31))))
        pixels = to_pixels(images, context.device)
        order = torch.from_numpy(rng.permutation(BATCH))  # because damage depends on the position
        pixels[order] = damage(pixels[order])
        with autocast(context.device):
            seen = model.encode_image(clip_pixels(pixels, context.device), normalize=True)
            encoded = encode_texts(model, tokenize(tokenizer, words, context.device))
        return contrastive_loss(seen, encoded, model.logit_scale, negative.to(context.device))

    loop.run(step_loss)
    folder = base_folder(context)
    save_encoder(folder, loop.averaged["model"], tokenizer, known_words(texts))
    write_card(folder, {"data": data_names(), **loop.card()})
    print(f"encoder {measure(context, folder)}", flush=True)


def measure(context: Context, folder: Path) -> dict[str, dict[str, float]]:
    """Recall@1 by wording and tier on the validation pool, six pictures of each species."""
    encoder = open_encoder(f"{LOCAL}{folder}", str(context.device))
    pool = LabelledPool(render_pool(labelled.VALIDATION_POOL, context.pools, context.workers))
    names = [row["names"][0] for row in pool.rows]
    vectors = encoder.embed_images([Image.fromarray(image) for image in pool.images(np.arange(len(pool)))])
    tiers = {species.name: species.tier for species in roster() if species.name in set(names)}
    return {wording: recall_by_tier(encoder, vectors, names, tiers, wording) for wording in WORDINGS}


def open_groups(context: Context) -> dict[str, Group]:
    """The three groups that batches are made of; the tail's captions do not name it here."""
    species, generator = (
        LabelledPool(render_pool(spec, context.pools, context.workers))
        for spec in (labelled.SPECIES_POOL, labelled.GENERATOR_POOL)
    )
    is_common = np.array([by_name()[row["names"][0]].tier == "common" for row in species.rows])
    common, tail, nameless = np.flatnonzero(is_common), np.flatnonzero(~is_common), np.arange(len(generator))
    return {
        "common": Group(species, common, _names(species, common)),
        "nameless": Group(generator, nameless, _names(generator, nameless)),
        "tail": Group(species, tail, [None] * len(tail)),
    }


def draw(
    groups: dict[str, Group], shares: dict[str, float], batch: int, rng: np.random.Generator
) -> list[tuple[Group, np.ndarray]]:
    """A batch: of each group, which of its pictures."""
    counts = {name: round(shares[name] * batch) for name in groups}
    counts["common"] += batch - sum(counts.values())  # what rounding left over
    return [(group, rng.integers(0, len(group.positions), counts[name])) for name, group in groups.items()]


def read_batch(drawn: Sequence[tuple[Group, np.ndarray]], rng: Random) -> tuple[list[str], torch.Tensor]:
    """A text for each picture of a batch, and bool `(pictures, texts)`: which are negatives of each other."""
    texts = [text_of(group.row(i), group.names[i], rng) for group, indices in drawn for i in indices]
    labels = np.concatenate([group.labels[indices] for group, indices in drawn])
    claimed = np.stack([claims for _, claims in texts])
    return [words for words, _ in texts], torch.from_numpy(contradicts(claimed, labels))


def text_of(row: dict[str, Any], name: str | None, rng: Random) -> tuple[str, np.ndarray]:
    """A text for a picture, by name, if it has one, or by its looks, with the text's claims."""
    if name is None or rng.random() >= BY_NAME:
        return described_text(row, rng)
    return named_text(name, row["scene"], rng)


def inputs(tokenizer: Tokenizer) -> dict[str, object]:
    """What both stages read beside their own constants: pools, the texts' settings, the tokenizer."""
    return {
        "pools": (labelled.SPECIES_POOL, labelled.GENERATOR_POOL),
        "texts": [BY_NAME, constants(encoder_texts)],
        "damage": constants(labelled),
        "vocabulary": tokenizer.get_vocab(),
    }


def base_folder(context: Context) -> Path:
    """Where the first stage leaves its model."""
    return context.workdir / "encoder-base"


def _names(pool: LabelledPool, positions: np.ndarray) -> list[str | None]:
    return [pool.rows[i]["names"][0] for i in positions]


def _rows(groups: dict[str, Group]) -> list[dict[str, Any]]:
    """Descriptions of every third picture: more than enough to have seen all words."""
    return [row for name in ("common", "nameless") for row in groups[name].pool.rows[::3]]


def data_names() -> str:
    """The pools, as a card names them."""
    return f"{labelled.SPECIES_POOL.folder}, {labelled.GENERATOR_POOL.folder}"
