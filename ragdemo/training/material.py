"""What the diffusion base sees in a step: latents, text states and reference states, and what they should teach."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from ragdemo.errors import UserError
from ragdemo.training import names, phrasings, words
from ragdemo.training.frozen import frozen, text_states
from ragdemo.training.image_encoder import attribute_targets, hidden_states, upright_images
from ragdemo.training.keys import constants
from ragdemo.training.latents import SETS, Encoders, open_set, restore_states
from ragdemo.training.loop import Context, step_rng
from ragdemo.training.phrasings import phrase_with_facts
from ragdemo.training.shards import Shards

BATCH = 32
DROP = 0.1
NAMED_SHARE = 0.6
"""Of the pictures without a reference; over all lessons less than half of the pictures are named."""


@dataclass(frozen=True)
class Batch:
    """Latents `(B, 8, 16, 16)`, text states, reference states `(B, R, 65, D)`, the targets' own states `(B, 65, D)`.

    A tenth has no condition. `attributes` and `upright` say what the references show; only pairs have them.
    """

    latents: torch.Tensor
    text: torch.Tensor
    references: torch.Tensor
    states: torch.Tensor
    attributes: dict[str, torch.Tensor] | None = None
    upright: torch.Tensor | None = None


class Material:
    """The inputs of the stage: frozen encoders, and the sets of the stage `diffusion-latents`."""

    def __init__(self, context: Context) -> None:
        folder, device = context.assets / "diffusion", context.device
        self.device, self.encoders = device, Encoders(context)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        self.text = frozen(text, device)
        self._sets = {name: open_set(context, self.encoders, name) for name in SETS}
        if not all(map(len, self._sets.values())):
            raise UserError(
                "There are no latents of this autoencoder and image encoder; the stage diffusion-latents makes them."
            )
        rows = (self._sets["singles"].row(i)[0] for i in range(len(self._sets["singles"])))
        named = np.array([any(row["names"]) for row in rows])
        self._named, self._nameless = np.flatnonzero(named), np.flatnonzero(~named)
        self.no_text = text_states(self.tokenizer, self.text, [""])
        with torch.inference_mode():
            blank = torch.zeros(1, 3, 128, 128, device=device)
            self.no_image = hidden_states(self.encoders.vision, blank).clone()

    @property
    def inputs(self) -> dict[str, object]:
        """What batches depend on beside the stage's constants: the frozen models, their pictures, and the captions."""
        sets = {name: [shards.folder.name, len(shards)] for name, shards in self._sets.items()}
        return {"text": self.text, "sets": sets, "words": [constants(m) for m in (words, phrasings, names)]}

    @property
    def data(self) -> list[str]:
        """The sets and their sizes, for a card."""
        return [f"{len(shards)} {name}" for name, shards in self._sets.items()]

    def batch(self, stage: str, step: int, lesson: str) -> Batch:
        """What `stage` sees at a step: "plain", "pair", "duo" or "one of two"."""
        rng = step_rng(stage, step)
        composer = Random(int(rng.integers(2**31)))
        if lesson == "plain":
            return self._plain(rng, composer)
        if lesson == "pair":
            return self._pair(rng, composer)
        return self._duo(rng, composer, ((1, 2),) * BATCH if lesson == "duo" else None)

    def _plain(self, rng: np.random.Generator, composer: Random) -> Batch:
        named = rng.random(BATCH) < NAMED_SHARE
        chosen = np.where(named, self._draw(self._named, rng), self._draw(self._nameless, rng))
        shards, first = self._sets["singles"], np.zeros(BATCH, dtype=int)
        captions = [phrase_with_facts(shards.row(i)[0], composer)[0] for i in chosen]
        return self._batch(shards, chosen, first, captions, None, rng)

    def _pair(self, rng: np.random.Generator, composer: Random) -> Batch:
        shards = self._sets["pairs"]
        chosen, which = rng.integers(0, len(shards), BATCH), rng.integers(0, 2, BATCH)
        rows = [shards.row(i)[j] for i, j in zip(chosen, which, strict=True)]
        captions = [phrase_with_facts(row, composer, plain=(0,))[0] for row in rows]
        attributes = attribute_targets([row["looks"][0] for row in rows])
        drawn = upright_images(shards.array("upright", chosen), self.device)
        return self._batch(
            shards, chosen, which, captions, (1 - which)[:, None], rng, attributes=attributes, upright=drawn
        )

    def _duo(
        self, rng: np.random.Generator, composer: Random, given: Sequence[Collection[int]] | None
    ) -> Batch:
        """`given` are the positions of the references shown with each target; one of two by default."""
        shards = self._sets["duos"]
        chosen, first = rng.integers(0, len(shards), BATCH), np.zeros(BATCH, dtype=int)
        given = given or [(int(i),) for i in rng.integers(1, 3, BATCH)]
        captions = [
            phrase_with_facts(shards.row(i)[0], composer, plain=[j - 1 for j in positions])[0]
            for i, positions in zip(chosen, given, strict=True)
        ]
        return self._batch(shards, chosen, first, captions, np.array([list(p) for p in given]), rng)

    def _batch(
        self,
        shards: Shards,
        chosen: np.ndarray,
        which: np.ndarray,
        captions: list[str],
        shown: np.ndarray | None,
        rng: np.random.Generator,
        **taught: Any,
    ) -> Batch:
        """The pictures `which` of the items `chosen`, with the pictures `shown` `(B, R)` as references."""
        every = np.arange(len(chosen))
        kept = {name: shards.array(name, chosen) for name in ("states", "scales", "latents")}
        states = restore_states(kept["states"], kept["scales"]).to(self.device)
        dropped = torch.from_numpy(rng.random(len(chosen)) < DROP).to(self.device)
        text = torch.where(
            dropped[:, None, None], self.no_text, text_states(self.tokenizer, self.text, captions)
        )
        references = self.no_image[None]
        if shown is not None:
            seen = states[torch.from_numpy(every)[:, None], torch.from_numpy(shown)]
            references = torch.where(dropped[:, None, None, None], self.no_image, seen)
        latents = torch.from_numpy(kept["latents"][every, which]).float().to(self.device)
        if "attributes" in taught:
            taught["attributes"] = {key: value.to(self.device) for key, value in taught["attributes"].items()}
        return Batch(latents, text, references, states[every, which], **taught)

    def _draw(self, among: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(among, BATCH) if len(among) else rng.integers(0, len(self._sets["singles"]), BATCH)
