"""Stage `encoder-tail`: the encoder's text tower learns the names of rare and novel species.

The picture tower is frozen. The names come from `IMAGES` pictures per species, a share `NOISE` of whose captions name
another species of the tail. Both constants decide how well rare names are known; only this short stage has to run again
if one of them changes.
"""

from __future__ import annotations

from random import Random

import numpy as np
import open_clip
import torch
from tokenizers import Tokenizer

from ragdemo.errors import UserError
from ragdemo.training import labelled
from ragdemo.training.encoder import (
    Group,
    base_folder,
    draw,
    inputs,
    measure,
    open_groups,
    read_batch,
)
from ragdemo.training.encoder_model import (
    clip_pixels,
    contrastive_loss,
    encode_texts,
    load_model,
    save_encoder,
    tokenize,
)
from ragdemo.training.encoder_texts import alt_text_name, tail_species
from ragdemo.training.export import read_card, write_card
from ragdemo.training.loop import Context, Loop, autocast, step_rng

BATCH = 256
SHARES = {"common": 0.5, "nameless": 0.3, "tail": 0.2}
IMAGES = 4
NOISE = 0.28
CACHE = {"common": 3_000, "nameless": 3_000}
"""How many pictures of the other groups are rehearsed."""


def train_tail(context: Context) -> None:
    """Teach the text tower the tail's names, while rehearsing everything else; writes `encoder`."""
    base = base_folder(context)
    if not (base / "card.json").exists():
        raise UserError(f"There is no encoder in {base} to start from; train the stage encoder first.")
    model, tokenizer = load_model(base)
    model.visual.requires_grad_(False)
    groups = {name: _thinned(name, group) for name, group in open_groups(context).items()}
    features = {name: _features(model, group, context) for name, group in groups.items()}
    loop = Loop(
        "encoder-tail",
        context,
        {"model": model},
        500,
        5e-4,
        warmup=50,
        ema_decay=0.99,
        inputs=inputs(tokenizer),
    )

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng("encoder-tail", step)
        drawn = draw(groups, SHARES, BATCH, rng)
        words, negative = read_batch(drawn, Random(int(rng.integers(2**31))))
        seen = torch.cat([features[name][indices] for name, (_, indices) in zip(groups, drawn, strict=True)])
        with autocast(context.device):
            encoded = encode_texts(model, tokenize(tokenizer, words, context.device))
        return contrastive_loss(seen, encoded, model.logit_scale, negative.to(context.device))

    loop.run(step_loss)
    export_tail(context, loop, tokenizer)


def export_tail(context: Context, loop: Loop, tokenizer: Tokenizer) -> None:
    """Write the shipped folder with its card: both stages' facts, the tail's settings, recall on fresh renders."""
    folder, base = context.assets / "encoder", base_folder(context)
    words = (base / "known_words.txt").read_text(encoding="utf-8").split()
    save_encoder(folder, loop.averaged["model"], tokenizer, words)
    tail = {"images": IMAGES, "noise": NOISE, **loop.card()}
    figures = measure(context, folder)
    validation = labelled.VALIDATION_POOL.folder
    write_card(folder, {**read_card(base), "tail": tail, "validation": validation, "figures": figures})
    print(f"encoder-tail {figures}", flush=True)


def _thinned(name: str, group: Group) -> Group:
    """What this stage sees of a group: of the tail, a few pictures with alt-texts; of the others a sample."""
    if name == "tail":
        first = group.positions[: IMAGES * len(tail_species())]  # a pool goes through all species in turn
        rows = [group.pool.rows[i] for i in first]
        return Group(group.pool, first, [alt_text_name(r["names"][0], r["caption"], NOISE) for r in rows])
    chosen = np.sort(np.random.default_rng(0).permutation(len(group.positions))[: CACHE[name]])
    return Group(group.pool, group.positions[chosen], [group.names[i] for i in chosen])


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
