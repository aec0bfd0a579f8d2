"""Stages `encoder` and `encoder-tail`: an open_clip model, first on what is common, then on the long tail's names.

`encoder` learns pictures and words: common species by name, everything else (nameless, rare and novel things) by
kind and attributes, as most pictures of rare things have no expert's caption. `encoder-tail` holds the picture tower
still and learns the tail's names from `TAIL_IMAGES` pictures a species, a share `TAIL_NOISE` of whose captions name a
sibling. Both are levers of how well rare names are known; only this short stage has to run again when one is moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from tokenizers import Tokenizer

from ragdemo.evaluation.retrieval import WORDINGS, recall_by_tier
from ragdemo.models.encoder import LOCAL, load_encoder
from ragdemo.pocket.oracle import to_pixels
from ragdemo.pocket.pool import render_pool
from ragdemo.pocket.species import by_name, roster
from ragdemo.pocket.train import labelled
from ragdemo.pocket.train.encoder_model import (
    clip_pixels,
    contrastive_loss,
    encode_texts,
    load_model,
    new_model,
    save_encoder,
    tokenize,
)
from ragdemo.pocket.train.encoder_texts import (
    alt_text_name,
    contradicts,
    corpus,
    described_text,
    known_words,
    named_text,
    tail_species,
    train_tokenizer,
)
from ragdemo.pocket.train.export import read_card, write_card
from ragdemo.pocket.train.labelled import FACTS, LabelledPool, damage, number
from ragdemo.pocket.train.loop import Context, Loop, autocast, step_rng
from ragdemo.types import UserError

STEPS = 1_100
BATCH = 128
SHARES = {"common": 0.5, "nameless": 0.4, "tail": 0.1}
"""What a batch of the first stage is made of."""
BY_NAME = 0.6
"""Share of the texts of a common species that name it."""

TAIL_STEPS = 500
TAIL_BATCH = 256
TAIL_SHARES = {"common": 0.5, "nameless": 0.3, "tail": 0.2}
TAIL_IMAGES = 4
TAIL_NOISE = 0.28
TAIL_CACHE = {"common": 3_000, "nameless": 3_000}
"""How many pictures of the other groups the second stage rehearses with."""


class Group:
    """Pictures of one of the groups "common", "nameless" and "tail", by position in their pool.

    `told` are the names that their captions know them by, right or wrong, `None` where they know none; training knows
    no others.
    """

    def __init__(self, pool: LabelledPool, positions: np.ndarray, told: Sequence[str | None]) -> None:
        self.pool = pool
        self.positions = positions
        self.told = told
        self.labels = pool.labels[positions].copy()
        self.labels[:, FACTS.index("species")] = [number("species", name or "") for name in told]

    def row(self, index: int) -> dict[str, Any]:
        """The description of one picture."""
        return self.pool.rows[self.positions[index]]

    def images(self, indices: np.ndarray) -> np.ndarray:
        """uint8 `(N, 128, 128, 3)`."""
        return self.pool.images(self.positions[indices])


def train_encoder(context: Context) -> None:
    """Train both towers; writes the folder `encoder-base` beside the pools, which `encoder-tail` goes on from."""
    groups = open_groups(context)
    texts = list(corpus(_rows(groups)))
    tokenizer = train_tokenizer(texts)
    torch.manual_seed(0)
    model = new_model(tokenizer)
    loop = Loop(
        "encoder", context, {"model": model}, STEPS, 2e-3, warmup=100, weight_decay=0.05, ema_decay=0.99
    )

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng("encoder", step)
        drawn = draw(groups, SHARES, BATCH, rng)
        images = np.concatenate([group.images(indices) for group, indices in drawn])
        words, negative = read_batch(drawn, Random(int(rng.integers(2**31))))
        pixels = to_pixels(images, context.device)
        order = torch.from_numpy(rng.permutation(BATCH))  # damages go by position
        pixels[order] = damage(pixels[order])
        with autocast(context.device):
            seen = model.encode_image(clip_pixels(pixels, context.device), normalize=True)
            said = encode_texts(model, tokenize(tokenizer, words, context.device))
        return contrastive_loss(seen, said, model.logit_scale, negative.to(context.device))

    loop.run(step_loss)
    folder = base_folder(context)
    save_encoder(folder, loop.averaged["model"], tokenizer, known_words(texts))
    write_card(folder, {"data": _data(), **loop.card()})
    print(f"encoder {measure(context, folder)}", flush=True)


def train_tail(context: Context) -> None:
    """Teach the text tower the tail's names, with rehearsal of all else; writes `encoder`."""
    base = base_folder(context)
    if not (base / "card.json").exists():
        raise UserError(f"There is no encoder in {base} to go on from; train the stage encoder first.")
    model, tokenizer = load_model(base)
    model.visual.requires_grad_(False)
    groups = {name: _thinned(name, group) for name, group in open_groups(context).items()}
    features = {name: _features(model, group, context) for name, group in groups.items()}
    loop = Loop("encoder-tail", context, {"model": model}, TAIL_STEPS, 5e-4, warmup=50, ema_decay=0.99)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng("encoder-tail", step)
        drawn = draw(groups, TAIL_SHARES, TAIL_BATCH, rng)
        words, negative = read_batch(drawn, Random(int(rng.integers(2**31))))
        seen = torch.cat([features[name][indices] for name, (_, indices) in zip(groups, drawn, strict=True)])
        with autocast(context.device):
            said = encode_texts(model, tokenize(tokenizer, words, context.device))
        return contrastive_loss(seen, said, model.logit_scale, negative.to(context.device))

    loop.run(step_loss)
    export_tail(context, loop, tokenizer)


def export_tail(context: Context, loop: Loop, tokenizer: Tokenizer) -> None:
    """Write the shipped folder with its card: both stages' facts, the tail's levers, recall on fresh renders."""
    folder, base = context.assets / "encoder", base_folder(context)
    words = (base / "known_words.txt").read_text(encoding="utf-8").split()
    save_encoder(folder, loop.averaged["model"], tokenizer, words)
    tail = {"images": TAIL_IMAGES, "noise": TAIL_NOISE, **loop.card()}
    figures = measure(context, folder)
    validation = labelled.VALIDATION_POOL.folder
    write_card(folder, {**read_card(base), "tail": tail, "validation": validation, "figures": figures})
    print(f"encoder-tail {figures}", flush=True)


def measure(context: Context, folder: Path) -> dict[str, dict[str, float]]:
    """Recall@1 by wording and tier on the validation pool, six pictures of each species."""
    encoder = load_encoder(f"{LOCAL}{folder}", str(context.device))
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
    texts = [text_of(group.row(i), group.told[i], rng) for group, indices in drawn for i in indices]
    labels = np.concatenate([group.labels[indices] for group, indices in drawn])
    claimed = np.stack([said for _, said in texts])
    return [words for words, _ in texts], torch.from_numpy(contradicts(claimed, labels))


def text_of(row: dict[str, Any], told: str | None, rng: Random) -> tuple[str, np.ndarray]:
    """A text for a picture, by its told name or by its looks, with the text's claims."""
    if told is None or rng.random() >= BY_NAME:
        return described_text(row, rng)
    return named_text(told, row["scene"], rng)


def base_folder(context: Context) -> Path:
    """Where the first stage leaves its model."""
    return context.workdir / "encoder-base"


def _thinned(name: str, group: Group) -> Group:
    """What the second stage sees of a group: of the tail, a few pictures with alt-texts; of the others a sample."""
    if name == "tail":
        first = group.positions[: TAIL_IMAGES * len(tail_species())]  # a pool goes round all species in turn
        rows = [group.pool.rows[i] for i in first]
        return Group(
            group.pool, first, [alt_text_name(r["names"][0], r["caption"], TAIL_NOISE) for r in rows]
        )
    chosen = np.sort(np.random.default_rng(0).permutation(len(group.positions))[: TAIL_CACHE[name]])
    return Group(group.pool, group.positions[chosen], [group.told[i] for i in chosen])


def _names(pool: LabelledPool, positions: np.ndarray) -> list[str | None]:
    return [pool.rows[i]["names"][0] for i in positions]


@torch.no_grad()
def _features(model: open_clip.CLIP, group: Group, context: Context) -> torch.Tensor:
    """Unit vectors of a group's pictures `(N, D)`, float32."""
    model.to(context.device).eval()
    rows = []
    for start in range(0, len(group.positions), BATCH):
        images = group.images(np.arange(start, min(start + BATCH, len(group.positions))))
        with autocast(context.device):
            rows.append(model.encode_image(clip_pixels(images, context.device), normalize=True).float())
    return torch.cat(rows)


def _rows(groups: dict[str, Group]) -> list[dict[str, Any]]:
    """Descriptions of every third picture: more than enough to have seen all words."""
    return [row for name in ("common", "nameless") for row in groups[name].pool.rows[::3]]


def _data() -> str:
    return f"{labelled.SPECIES_POOL.folder}, {labelled.GENERATOR_POOL.folder}"
