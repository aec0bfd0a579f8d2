"""Self-reflective negatives: the real picture nearest to what the generator draws by itself (RealRAG, section 3.2)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ragdemo.errors import UserError
from ragdemo.library.store import Library
from ragdemo.models.base import Drawing, ImageGenerator, JointEncoder

SPECIES_COLUMN = "species"
BATCH = 8


@dataclass(frozen=True)
class TrainingSet:
    """What the heads learn from, all of it frozen.

    `images` are unit vectors `(N, D)` of the library's training pictures and `image_species` their class ids `(N,)`;
    `queries` `(Q, D)` and `query_species` `(Q,)` are texts that name a class; row c of `drawn` `(C, D)` is what the
    generator made of class c.
    """

    names: tuple[str, ...]
    images: np.ndarray
    image_species: np.ndarray
    queries: np.ndarray
    query_species: np.ndarray
    drawn: np.ndarray

    def reflective_negatives(self) -> np.ndarray:
        """For each class the row of the real picture nearest to what the generator drew for it, `(C,)`."""
        return (self.drawn @ self.images.T).argmax(1)


def without_classes(data: TrainingSet, names: Collection[str]) -> TrainingSet:
    """The set without pictures, texts and drawings of some classes: the control for what a head can learn of others."""
    kept = [i for i, name in enumerate(data.names) if name not in names]
    ids = np.full(len(data.names), -1)
    ids[kept] = np.arange(len(kept))
    images, queries = ids[data.image_species] >= 0, ids[data.query_species] >= 0
    return TrainingSet(
        tuple(data.names[i] for i in kept),
        data.images[images],
        ids[data.image_species[images]],
        data.queries[queries],
        ids[data.query_species[queries]],
        data.drawn[kept],
    )


def class_prompt(name: str) -> str:
    """The paper's T: "a photo of a [class]"."""
    return f"a photo of {'an' if name[:1].lower() in 'aeio' else 'a'} {name}"


def gather(
    library: Library,
    split: str | None,
    encoder: JointEncoder,
    vectors: dict[str, np.ndarray],
    drawn: np.ndarray,
) -> TrainingSet:
    """The training set of a library split whose metadata names a `species`; `vectors` are its pictures' by id.

    Queries are the paper's class prompt and the pictures' own captions, so that a whole prompt is understood as well.
    """
    rows = [row for row in library.rows_of(split) if row.id in vectors]
    names = class_names(library, split)
    ids = {name: i for i, name in enumerate(names)}
    species = np.array([ids[row.extra[SPECIES_COLUMN]] for row in rows])
    texts = [class_prompt(name) for name in names] + [row.caption for row in rows]
    return TrainingSet(
        names,
        np.stack([vectors[row.id] for row in rows]).astype(np.float32),
        species,
        encoder.embed_texts(texts),
        np.concatenate([np.arange(len(names)), species]),
        drawn,
    )


def class_names(library: Library, split: str | None) -> tuple[str, ...]:
    """The classes of a split in the order of their first pictures; raises `UserError` if the metadata has none."""
    names = dict.fromkeys(row.extra.get(SPECIES_COLUMN, "") for row in library.rows_of(split))
    if not names or "" in names:
        raise UserError(
            f"The library {library.name} names no {SPECIES_COLUMN} for the pictures of its split {split!r}; "
            "add that column to its metadata."
        )
    return tuple(names)


def draw_classes(
    generator: ImageGenerator, encoder: JointEncoder, names: Sequence[str], seed: int = 0
) -> Iterator[np.ndarray]:
    """Vectors `(≤ 8, D)` of what the generator draws for each class prompt, once each, in order."""
    for start in range(0, len(names), BATCH):
        part = names[start : start + BATCH]
        drawings: list[Drawing[Any]] = [
            Drawing(class_prompt(name), seed + start + i) for i, name in enumerate(part)
        ]
        yield encoder.embed_images([drawn.image for drawn in generator.draw_many(drawings)])
