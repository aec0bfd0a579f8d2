"""The datastore of a library: the codes of its pictures, from which every patch follows.

512 bytes a picture of 16×16 codes, kept like vectors (`ragdemo.library.vectors`): by content, in parts while
they are computed, shipped in the library's folder or in the user's cache.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.library.store import Library
from ragdemo.library.vectors import (
    CODES,
    Embedded,
    default_folder,
    embed_library,
    known_vectors,
    save_vectors,
)
from ragdemo.methods.ar_rag.patches import Patches
from ragdemo.methods.evidence import OWN_PREFIX
from ragdemo.models.base import ImageTokenizer

MOST_AT_ONCE = 1_000
"""Pictures that are encoded while a visitor waits: some milliseconds each."""
_AT_A_TIME = 32


@dataclass(frozen=True)
class _Encoder:
    """A tokenizer as what turns images into arrays."""

    tokenizer: ImageTokenizer

    @property
    def fingerprint(self) -> str:
        return f"codes-{self.tokenizer.fingerprint}"

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        return self.tokenizer.encode(images)


def build_datastore(
    library: Library,
    tokenizer: ImageTokenizer,
    progress: Callable[[Embedded], object] = lambda embedded: None,
) -> dict[str, np.ndarray]:
    """Encode what is missing; all codes by the sha256 of their image's bytes.

    See `ragdemo.library.vectors.embed_library` for progress, interruptions and errors.
    """
    return embed_library(library, _Encoder(tokenizer), None, progress, CODES)


def codes_folder(library: Library, tokenizer: ImageTokenizer) -> Path:
    """Where this machine keeps what is computed of a library under a tokenizer."""
    return default_folder(library, _Encoder(tokenizer))


def library_patches(library: Library, tokenizer: ImageTokenizer, split: str | None = None) -> Patches:
    """The patches of a whole library or split; raises `UserError` if they have not been computed."""
    return open_datastore(library, tokenizer).whole(split)


class Datastore:
    """The codes of one library under one tokenizer; what is missing is encoded when it is asked for, or named."""

    def __init__(self, library: Library, tokenizer: ImageTokenizer) -> None:
        self._library, self._tokenizer = library, tokenizer
        self._codes = known_vectors(library, _Encoder(tokenizer), codes_folder(library, tokenizer), CODES)
        self._whole: dict[str | None, Patches] = {}

    def some(self, ids: Iterable[str], own: Mapping[str, Image.Image]) -> Patches:
        """The patches of some pictures of the library, and of `own` ones by their ids."""
        pictures = {i: own[i] if i in own else self._library.image(i) for i in ids if not self._has(i)}
        if pictures:
            found = self._tokenizer.encode(list(pictures.values()))
            encoded = dict(zip(pictures, found, strict=True))
            self._codes |= {self._content(i): codes for i, codes in encoded.items()}
        return self._patches(list(ids))

    def complete(self, split: str | None) -> Iterator[Embedded]:
        """Encode what a split lacks if that is at most `MOST_AT_ONCE` pictures, as a person's own library has.

        Tells how far it is after each batch; nothing if there is nothing to do.
        """
        rows = self._library.rows_of(split)
        missing = [row.id for row in rows if not self._has(row.id)]
        if not 0 < len(missing) <= MOST_AT_ONCE:
            return
        for start in range(0, len(missing), _AT_A_TIME):
            self.some(missing[start : start + _AT_A_TIME], {})
            yield Embedded(min(start + _AT_A_TIME, len(missing)), len(missing))
        kept = {
            content: codes for content, codes in self._codes.items() if not content.startswith(OWN_PREFIX)
        }
        encoder, folder = _Encoder(self._tokenizer), codes_folder(self._library, self._tokenizer)
        with contextlib.suppress(UserError):  # they only save time
            save_vectors(folder / CODES.file, kept, encoder.fingerprint, CODES)

    def whole(self, split: str | None) -> Patches:
        """The patches of a whole split; raises `UserError` if they have not been computed."""
        if split not in self._whole:
            ids = [row.id for row in self._library.rows_of(split)]
            missing = sum(not self._has(i) for i in ids)
            if missing:
                raise UserError(
                    f"The library {self._library.name} has {missing:,} pictures without codes; compute them once with "
                    f"`python -m ragdemo library patches --library {self._library.name}`, or take the patches of the "
                    "pictures that the prompt finds."
                )
            self._whole[split] = self._patches(ids)
        return self._whole[split]

    def _patches(self, ids: Sequence[str]) -> Patches:
        grids = np.stack([self._codes[self._content(i)] for i in ids])
        return Patches(ids, grids, self._tokenizer.codebook.device)

    def _has(self, image_id: str) -> bool:
        return self._content(image_id) in self._codes

    def _content(self, image_id: str) -> str:
        """What codes are kept under; a person's own picture has its content in its id."""
        return self._library.row(image_id).sha256 if image_id in self._library else image_id


_OPENED: WeakKeyDictionary[ImageTokenizer, dict[str, Datastore]] = WeakKeyDictionary()


def open_datastore(library: Library, tokenizer: ImageTokenizer) -> Datastore:
    """The datastore of a library, opened once for each tokenizer and state of the library."""
    opened = _OPENED.setdefault(tokenizer, {})
    if library.fingerprint not in opened:
        opened.clear()  # one library at a time: its codes are small, its keys are not
        opened[library.fingerprint] = Datastore(library, tokenizer)
    return opened[library.fingerprint]
