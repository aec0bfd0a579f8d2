"""Text to text: a prompt among the captions of a library, by the text encoder that the UNet reads anyway.

The key of a text is the mean of its states (`OneStepGenerator.embed_texts`). The state at a text's end, which CLIP
pools, tells what an encoder was trained to tell there; a name that it never met is in the other states.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.library.contents import cache_name, derived_root
from ragdemo.library.index import VectorIndex
from ragdemo.library.search import Searcher
from ragdemo.library.store import Library
from ragdemo.library.vectors import Stored, load_vectors, save_vectors
from ragdemo.models.base import OneStepGenerator

CAPTIONS = Stored("captions.safetensors", np.float16)
PART = 256


@dataclass(frozen=True)
class CaptionEncoder:
    """A one-step generator's text encoder as what a `Searcher` asks."""

    generator: OneStepGenerator

    @property
    def fingerprint(self) -> str:
        """See `JointEncoder.fingerprint`."""
        return f"texts-{self.generator.fingerprint}"

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """See `JointEncoder.embed_texts`."""
        return self.generator.embed_texts(texts)

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Raises `UserError`: pairs are found by their captions."""
        raise UserError("This search compares texts; type what to look for.")


_OPENED: WeakKeyDictionary[OneStepGenerator, dict[str, Searcher]] = WeakKeyDictionary()


def open_captions(
    library: Library, generator: OneStepGenerator, progress: Callable[[int, int], object] = lambda *_: None
) -> Searcher:
    """The search over a library's captions, opened once for each generator and state of the library.

    What is missing is embedded, `progress` being told how many captions of all are done, and kept in the user's cache.
    """
    opened = _OPENED.setdefault(generator, {})
    if library.fingerprint not in opened:
        encoder, ids = CaptionEncoder(generator), tuple(row.id for row in library.rows)
        captions = [library.caption(image_id) for image_id in ids]
        vectors = _vectors(library, encoder, captions, progress)
        matrix = np.stack([vectors[_content(caption)] for caption in captions]).astype(np.float32)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        opened.clear()  # one library at a time
        opened[library.fingerprint] = Searcher(library, encoder, index=VectorIndex(ids, matrix))
    return opened[library.fingerprint]


def text_similarity(generator: OneStepGenerator, one: str, other: str) -> float:
    """The cosine of two texts, by which `open_captions` finds."""
    a, b = generator.embed_texts([one, other]).astype(np.float32)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _vectors(
    library: Library, encoder: CaptionEncoder, captions: Sequence[str], progress: Callable[[int, int], object]
) -> dict[str, np.ndarray]:
    """The vectors of captions, those of other encoders being computed anew, by the sha256 of their texts."""
    name = f"{cache_name(library)}-{encoder.generator.fingerprint[:16]}.safetensors"
    file = derived_root(library) / "captions" / name
    known = load_vectors(file, encoder.fingerprint)
    texts = {_content(caption): caption for caption in captions}
    missing = [content for content in texts if content not in known]
    for start in range(0, len(missing), PART):
        part = missing[start : start + PART]
        found = encoder.embed_texts([texts[content] for content in part]).astype(CAPTIONS.dtype)
        known |= dict(zip(part, found, strict=True))
        progress(len(texts) - len(missing) + start + len(part), len(texts))
    if missing:
        with contextlib.suppress(UserError):  # a disk that cannot be written costs time and no more
            save_vectors(file, {content: known[content] for content in texts}, encoder.fingerprint, CAPTIONS)
    return known


def _content(caption: str) -> str:
    return hashlib.sha256(caption.encode()).hexdigest()
