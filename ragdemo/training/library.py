"""Stages `library` and `library-index`: the shipped reference library is drawn, then embedded.

Its pictures come from streams of their own (`library/train`, `library/eval`), so none of them is a training picture of
any checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ragdemo.library.index import open_index
from ragdemo.library.store import LIBRARY_FILE, Library, NewImage, open_library, write_library
from ragdemo.library.vectors import SHIPPED_FOLDER
from ragdemo.models.encoder import LOCAL, open_encoder
from ragdemo.training.export import read_card, write_card
from ragdemo.training.loop import Context
from ragdemo.training.recall import WORDINGS, library_recall
from ragdemo.world.sampling import species_sample
from ragdemo.world.species import Species, roster

SPLITS = ("train", "eval")
PER_SPLIT = 6
QUALITY = 78
"""WebP quality: all pictures together stay below 7 MB."""


def train_library(context: Context) -> None:
    """Draw the library `assets/pocket/library`; an existing one is kept."""
    folder = context.assets / "library"
    if (folder / LIBRARY_FILE).exists():
        print(f"library is there already ({folder}) and kept", flush=True)
    else:
        draw_library(folder, roster())


def train_library_index(context: Context) -> None:
    """Embed the library with the shipped encoder into its folder `index`; the encoder's card gets recall on it."""
    library = open_library(context.assets / "library")
    encoder = open_encoder(f"{LOCAL}{context.assets / 'encoder'}", str(context.device))
    index = open_index(library, encoder, library.folder / SHIPPED_FOLDER)
    recall = {wording: library_recall(encoder, library, index, "eval", wording) for wording in WORDINGS}
    write_card(context.assets / "encoder", {**read_card(context.assets / "encoder"), "library_eval": recall})
    print(f"library-index {len(index)} vectors, {recall}", flush=True)


def draw_library(folder: Path, species: tuple[Species, ...], per_split: int = PER_SPLIT) -> Library:
    """Write `per_split` captioned pictures of each species and split as a library."""
    return write_library(folder, "pocket", _images(species, per_split), quality=QUALITY)


def library_stream(split: str) -> str:
    """The stream that the pictures of a split are drawn from."""
    return f"library/{split}"


def _images(species: tuple[Species, ...], per_split: int) -> Iterator[NewImage]:
    for one in species:
        for split in SPLITS:
            for index in range(per_split):
                sample = species_sample(one, library_stream(split), index)
                extra = {
                    "split": split,
                    "species": one.name,
                    "kind": one.look.kind,
                    "tier": one.tier,
                    "scene": sample.picture.scene,
                }
                image_id = f"{one.name.replace(' ', '-')}-{split}-{index}"
                yield NewImage(image_id, sample.caption, sample.image(), extra)
