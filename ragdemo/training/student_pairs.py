"""Stage `student-pairs`: what the teacher makes of noise, so that a student may learn to make it in one step.

Every second picture is drawn beside the one that the library's text search finds for its caption, with the teacher's
IP-Adapter: there the teacher's answer shows what was retrieved, whether or not it was right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ragdemo.models.base import Drawing, ImageReferences, NoReference
from ragdemo.models.diffusion import DiffusersGenerator, load_generator
from ragdemo.models.one_step import OneStepDiffusers, load_one_step
from ragdemo.profiles import Spec, get_profile
from ragdemo.training import pair_library
from ragdemo.training.cache import save_array
from ragdemo.training.image_encoder import clip_pixels, hidden_states
from ragdemo.training.keys import constants, key_of
from ragdemo.training.loop import Context
from ragdemo.training.pair_library import Wish, entry, paired_wish, plain_wish
from ragdemo.weights import weights_hash
from ragdemo.world.pool import describe_sample
from ragdemo.world.version import world_version

COUNT = 40_000
LIBRARY = 4_000
SHARD = 400
BATCH = 8
ENCODED_TOGETHER = 32
TEACHER = ("diffusion", "ip_adapter")


def train_student_pairs(context: Context) -> None:
    """Draw `context.count` pairs (40,000 by default); shards that are complete are not drawn again."""
    folder, count = pairs_folder(context), context.count or COUNT
    folder.mkdir(parents=True, exist_ok=True)
    teacher = _Teacher(context)
    print(f"student-pairs draws {count} pairs into {folder.name}", flush=True)
    library = _open_library(folder, teacher)
    for start in range(0, count, SHARD):
        indices = range(start, min(start + SHARD, count))
        file = folder / f"{start:07d}.npy"
        if file.exists() and len(np.load(file, mmap_mode="r")) >= len(indices):
            continue
        rows, latents = teacher.draw(indices, library)
        file.with_suffix(".json").write_text(json.dumps(rows), encoding="utf-8")
        save_array(file, latents)
        print(f"student-pairs {indices.stop}/{count}", flush=True)


def pairs_folder(context: Context) -> Path:
    """The pairs of the shipped teacher; another teacher, world or setting gets a folder of its own."""
    settings = constants(sys.modules[__name__])
    settings.pop("COUNT")  # more of the same
    inputs = {
        "teacher": [weights_hash(context.assets / name) for name in TEACHER],
        "settings": [settings, constants(pair_library), dict(teacher_spec(context).defaults)],
        "world": world_version(),
    }
    return context.pools / f"student-pairs-{key_of(inputs)}"


def teacher_spec(context: Context) -> Spec:
    """The teacher as a context ships it."""
    spec = get_profile("pocket").spec("generator")
    options = {**spec.options, "adapter": str(context.assets / "ip_adapter")}
    return replace(spec, weights=str(context.assets / "diffusion"), options=options)


def noise_of(seeds: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """Noise `(B, *shape)` of unit variance, each from its own seed, as a drawing begins with it."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator("cpu").manual_seed(s)) for s in seeds])


class Library:
    """The library to retrieve from: `latents` and `vision` float16 `(N, …)`, and `rows` that describe each picture.

    `vision` is the mean of the states that the IP-Adapter's image encoder makes of a picture.
    """

    def __init__(self, folder: Path) -> None:
        self.latents: np.ndarray = np.load(folder / "library-latents.npy")
        self.vision: np.ndarray = np.load(folder / "library-vision.npy")
        self.rows: list[dict[str, Any]] = json.loads((folder / "library.json").read_text())

    @property
    def captions(self) -> list[str]:
        """One a picture."""
        return [row["caption"] for row in self.rows]


class Pairs:
    """The shards that are there: `latents` `(N, c, h, w)`, and rows of caption, seed, retrieved item and its λ."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("[0-9]*.npy"))
        self.latents: np.ndarray = np.concatenate([np.load(file) for file in files])
        self.rows = [row for file in files for row in json.loads(file.with_suffix(".json").read_text())]
        self.library = Library(folder)
        retrieved = np.array([row["entry"] is not None for row in self.rows])
        self.plain, self.paired = np.flatnonzero(~retrieved), np.flatnonzero(retrieved)

    def __len__(self) -> int:
        return len(self.latents)


class _Teacher:
    """The teacher, and the text search that it shares with the student."""

    def __init__(self, context: Context) -> None:
        spec, device = teacher_spec(context), context.device.type
        self._generator: DiffusersGenerator = load_generator(spec, device)
        self.parts: OneStepDiffusers = load_one_step(replace(spec, options={}), device)
        self.vision = self._generator._pipe.image_encoder
        config = self._generator._pipe.unet.config
        self._shape = (config.in_channels, config.sample_size, config.sample_size)

    def draw(self, indices: Sequence[int], library: _Searched) -> tuple[list[dict[str, Any]], np.ndarray]:
        """Rows and latents of a shard."""
        wishes = [paired_wish(i, LIBRARY) if i % 2 else plain_wish(i) for i in indices]
        found = [library.nearest(wish) for wish in wishes]
        latents = np.zeros((len(wishes), *self._shape), np.float16)
        for is_paired in (False, True):  # drawings with and without a reference cannot share a batch
            chosen = [i for i, wish in enumerate(wishes) if (wish.entry is not None) == is_paired]
            for first in range(0, len(chosen), BATCH):
                batch = chosen[first : first + BATCH]
                drawn = self._drawn([wishes[i] for i in batch], [found[i][0] for i in batch])
                latents[batch] = drawn.float().cpu().numpy()
        rows = [
            {
                "caption": wish.caption,
                "seed": wish.seed,
                "entry": number,
                "similarity": score,
                "asked": wish.entry,
            }
            for wish, (number, score) in zip(wishes, found, strict=True)
        ]
        return rows, latents

    def _drawn(self, wishes: Sequence[Wish], found: Sequence[int | None]) -> torch.Tensor:
        conditions = [NoReference() if i is None else ImageReferences((entry(i).image(),)) for i in found]
        drawings: list[Drawing[Any]] = [
            Drawing(wish.caption, wish.seed, condition=condition)
            for wish, condition in zip(wishes, conditions, strict=True)
        ]
        return self._generator.latents(drawings, noise_of([wish.seed for wish in wishes], self._shape))


class _Searched:
    """A library with its captions' vectors."""

    def __init__(self, library: Library, parts: OneStepDiffusers) -> None:
        self._library, self._parts = library, parts

    @cached_property
    def _vectors(self) -> np.ndarray:
        return self._parts.embed_texts(self._library.captions)

    def nearest(self, wish: Wish) -> tuple[int | None, float]:
        """The number of the item whose caption is nearest, and the cosine; nothing for a wish from words alone."""
        if wish.entry is None:
            return None, 0.0
        cosines = self._vectors @ self._parts.embed_texts([wish.caption])[0]
        number = int(cosines.argmax())
        return number, float(cosines[number])


def _open_library(folder: Path, teacher: _Teacher) -> _Searched:
    """The library, drawn and encoded if it is not there."""
    if not (folder / "library.json").exists():
        samples = [entry(i) for i in range(LIBRARY)]
        parts = [samples[i : i + ENCODED_TOGETHER] for i in range(0, LIBRARY, ENCODED_TOGETHER)]
        latents, vision = [], []
        for part in parts:
            pictures = [sample.image() for sample in part]
            latents.append(teacher.parts.encode(pictures))
            vision.append(_seen(teacher.vision, pictures))
        save_array(folder / "library-latents.npy", np.concatenate(latents))
        save_array(folder / "library-vision.npy", np.concatenate(vision))
        rows = json.dumps([describe_sample(sample) for sample in samples])
        (folder / "library.json").write_text(rows, encoding="utf-8")
        print(f"student-pairs has a library of {LIBRARY} pictures", flush=True)
    return _Searched(Library(folder), teacher.parts)


@torch.inference_mode()
def _seen(vision: Any, pictures: Sequence[Image.Image]) -> np.ndarray:
    pixels = clip_pixels(np.stack([np.asarray(picture) for picture in pictures]), vision.device)
    return hidden_states(vision, pixels.to(vision.dtype)).mean(1).half().cpu().numpy()
