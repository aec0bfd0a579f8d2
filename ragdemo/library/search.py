"""Search a library by words or by picture: cosine of vectors, with BM25 over captions added if that helps.

A word that the encoder was never trained on adds nothing to a query's vector, but a caption may contain it ("our new
product"). Hybrid search is therefore the default for a query with such a word if some caption has it too, and captions
with it come first. Otherwise images rank by the sum of both scores, each scaled to 0..1 over the library; by ranks
alone a rare word would count little more than "a". Of a library whose captions are mostly made of words that the
encoder was not trained on, such as photographs for an encoder of the pocket world, keywords alone decide. Both scores
are shown separately.

Methods search so. Who looks for something (`look_up`) gets words and vectors fused in any case, and the pictures first
whose captions have the query's rarest words: those are names.
"""

from __future__ import annotations

import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import bm25s
import numpy as np
from bm25s.stopwords import STOPWORDS_EN
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.library.catalogue import group_of
from ragdemo.library.index import VectorIndex, open_index
from ragdemo.library.store import Library
from ragdemo.models.base import JointEncoder

AS_RARE = 2
"""A query's words are names if at most so many times as many captions have them as its rarest word."""
logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets its own logger to DEBUG


@dataclass(frozen=True)
class Hit:
    """One found image: `score` is its cosine with the query, `keyword_score` its BM25, `None` without keywords."""

    id: str
    caption: str
    score: float
    keyword_score: float | None = None


class Searcher:
    """Searches one library with one encoder; make it once and keep it.

    `known_words` are the words of the encoder's training captions; without them hybrid search is used only on request.
    """

    def __init__(
        self,
        library: Library,
        encoder: JointEncoder,
        *,
        known_words: Collection[str] | None = None,
        index: VectorIndex | None = None,
    ) -> None:
        self.library = library
        self.index = index or open_index(library, encoder)
        self.encoder = encoder
        self.known_words = (
            None if known_words is None else frozenset(w for text in known_words for w in words(text))
        )
        self._rows = {image_id: row for row, image_id in enumerate(self.index.ids)}

    def __len__(self) -> int:
        return len(self.index)

    @property
    def fingerprint(self) -> str:
        """Hex sha256 over the library's content and its encoder, as recipes carry it."""
        return hashlib.sha256(f"{self.library.fingerprint}{self.encoder.fingerprint}".encode()).hexdigest()

    def search_text(
        self,
        query: str,
        k: int,
        split: str | None = None,
        exclude_ids: Iterable[str] = (),
        hybrid: bool | None = None,
    ) -> list[Hit]:
        """The `k` best images for words, best first; fewer if the split or the library has fewer.

        `hybrid` True adds keywords, False leaves them out, `None` adds them if `unknown_words` finds any. Raises
        `UserError` if the query is blank, `k` is below 1, or the split is unknown.
        """
        if not query.strip():
            raise UserError("The search text is empty; type what to look for.")
        allowed = self._allowed(k, split, exclude_ids)
        vector = self.encoder.embed_texts([query])[0]
        if hybrid is None and self.is_foreign:
            return self._search_names(query, vector, k, allowed)
        unknown = frozenset() if hybrid is False else self.unknown_words(query)
        if hybrid or unknown:
            return self._search_hybrid(query, vector, k, allowed, unknown)
        return self._nearest(vector, k, allowed)

    def look_up(
        self,
        query: str | Image.Image,
        k: int,
        split: str | None = None,
        where: Mapping[str, str] | None = None,
        hybrid: bool = True,
        one_of_each: bool = False,
    ) -> list[Hit]:
        """The `k` best images for a person's words or picture, an exact name's first; errors as `search_text`.

        `where` are values that a row's columns must have; `one_of_each` leaves the best of each group. Without `hybrid`
        vectors alone decide.
        """
        allowed = self._allowed(k, split, (), where)
        if one_of_each:
            hits = self._looked_up(query, len(self), allowed, hybrid)
            best: dict[str, Hit] = {}
            for hit in hits:
                best.setdefault(group_of(self.library.row(hit.id)), hit)
            return list(best.values())[:k]
        return self._looked_up(query, k, allowed, hybrid)

    def _looked_up(
        self, query: str | Image.Image, k: int, allowed: np.ndarray | None, hybrid: bool
    ) -> list[Hit]:
        if not isinstance(query, str):
            return self._nearest(self.encoder.embed_images([query])[0], k, allowed)
        vector = self.encoder.embed_texts([query])[0]
        if hybrid and self.is_foreign:
            return self._search_names(query, vector, k, allowed)
        if hybrid:
            return self._search_hybrid(query, vector, k, allowed, self._keywords.rarest(query))
        return self._nearest(vector, k, allowed)

    def search_image(
        self, image: Image.Image, k: int, split: str | None = None, exclude_ids: Iterable[str] = ()
    ) -> list[Hit]:
        """The `k` images that look most like a picture, best first; errors as `search_text`."""
        allowed = self._allowed(k, split, exclude_ids)
        return self._nearest(self.encoder.embed_images([image])[0], k, allowed)

    def score(self, query: str, image_ids: Iterable[str]) -> list[float]:
        """The cosine of words with given images, in their order; an image without a vector raises `UserError`."""
        rows = [self._row(image_id) for image_id in image_ids]
        cosines = self.index.cosines(self.encoder.embed_texts([query])[0])
        return [float(cosines[row]) for row in rows]

    def similarity(self, query: str, images: Sequence[Image.Image]) -> list[float]:
        """The cosine of words with pictures that the library need not hold, in their order."""
        if not images:
            return []
        vectors = self.encoder.embed_images(images)
        return [float(cosine) for cosine in vectors @ self.encoder.embed_texts([query])[0]]

    def unknown_words(self, query: str) -> frozenset[str]:
        """Words of a query that the encoder was not trained on and that some caption contains."""
        if self.known_words is None:
            return frozenset()
        return frozenset(words(query)) - self.known_words & self._keywords.vocabulary

    @cached_property
    def is_foreign(self) -> bool:
        """Whether the encoder was trained on less than half of what captions say: it can tell little about them."""
        return self.known_words is not None and self._keywords.share_of(self.known_words) < 0.5

    @cached_property
    def _keywords(self) -> _Keywords:
        return _Keywords([self.library.caption(image_id) for image_id in self.index.ids])

    def _nearest(self, vector: np.ndarray, k: int, allowed: np.ndarray | None) -> list[Hit]:
        return [self._hit(row, score) for row, score in self.index.nearest(vector, k, allowed)]

    def _search_hybrid(
        self, query: str, vector: np.ndarray, k: int, allowed: np.ndarray | None, unknown: frozenset[str]
    ) -> list[Hit]:
        cosines = self.index.cosines(vector)
        keyword = self._keywords.scores(query)
        order = np.lexsort((-fuse(cosines, keyword), ~self._keywords.containing(unknown)))
        if allowed is not None:
            order = order[allowed[order]]
        return [self._hit(row, cosines[row], keyword[row]) for row in order[:k]]

    def _search_names(self, query: str, vector: np.ndarray, k: int, allowed: np.ndarray | None) -> list[Hit]:
        """By keywords alone, and by cosine only where those say the same."""
        cosines, keyword = self.index.cosines(vector), self._keywords.scores(query)
        order = np.lexsort((-cosines, -keyword))
        if allowed is not None:
            order = order[allowed[order]]
        return [self._hit(row, cosines[row], keyword[row]) for row in order[:k]]

    def _allowed(
        self, k: int, split: str | None, exclude_ids: Iterable[str], where: Mapping[str, str] | None = None
    ) -> np.ndarray | None:
        """Bool mask `(N,)` of the rows that may be found, `None` if all may."""
        if k < 1:
            raise UserError(f"The number of images to find is {k}; ask for 1 or more.")
        excluded, wanted = set(exclude_ids), (where or {}).items()
        if split is None and not excluded and not wanted:
            return None
        rows = (row for row in self.library.rows_of(split) if wanted <= row.extra.items())
        chosen = {row.id for row in rows} - excluded
        return np.array([image_id in chosen for image_id in self.index.ids])

    def _hit(self, row: int, score: float, keyword_score: float | None = None) -> Hit:
        image_id = self.index.ids[row]
        keyword = None if keyword_score is None else float(keyword_score)
        return Hit(image_id, self.library.caption(image_id), float(score), keyword)

    def _row(self, image_id: str) -> int:
        if image_id not in self._rows:
            raise UserError(
                f"The library {self.library.name} has no readable image {image_id!r}; choose another."
            )
        return self._rows[image_id]


class _Keywords:
    """BM25 over captions, built in memory from the current captions, so that it is never stale."""

    def __init__(self, captions: list[str]) -> None:
        self._captions = [words(caption) for caption in captions]
        self._counts = Counter(word for caption in self._captions for word in set(caption))
        self.vocabulary = frozenset(self._counts)
        self._bm25 = bm25s.BM25()
        if self.vocabulary:
            self._bm25.index(self._captions, show_progress=False)

    def scores(self, query: str) -> np.ndarray:
        """BM25 of a query with every caption, float32 `(N,)`, 0 for captions that share no word with it."""
        shared = self._terms(query)
        if not shared:
            return np.zeros(len(self._captions), np.float32)
        return self._bm25.get_scores(shared)

    def rarest(self, query: str) -> frozenset[str]:
        """Those of a query's words that the fewest captions have, and all that are nearly as rare."""
        counts = {word: self._counts[word] for word in self._terms(query) if word not in STOPWORDS_EN}
        return frozenset(word for word in counts if counts[word] <= AS_RARE * min(counts.values()))

    def _terms(self, query: str) -> list[str]:
        """The words of a query that captions have, if need be in the singular."""
        found = (next(filter(self.vocabulary.__contains__, _numbers(word)), None) for word in words(query))
        return [word for word in found if word]

    def share_of(self, known: Collection[str]) -> float:
        """The share of all captions' words that are among some."""
        said = [word for caption in self._captions for word in caption]
        return sum(word in known for word in said) / max(len(said), 1)

    def containing(self, wanted: Collection[str]) -> np.ndarray:
        """Bool `(N,)`: which captions contain any of the words."""
        return np.array([not set(wanted).isdisjoint(caption) for caption in self._captions])


def words(text: str) -> list[str]:
    """The words of a text for comparison: letters and digits, case and width folded."""
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


def _numbers(word: str) -> tuple[str, ...]:
    """A word, and what it may be the plural of."""
    return (word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("ies") + "y")


def fuse(cosines: np.ndarray, keyword: np.ndarray) -> np.ndarray:
    """The sum of two score rows `(N,)`, each scaled to 0..1: cosines from their minimum, BM25 from 0."""
    spread = float(np.ptp(cosines)) or 1.0
    return (cosines - cosines.min()) / spread + keyword / (float(keyword.max()) or 1.0)


def read_known_words(path: Path) -> frozenset[str] | None:
    """The words that a file beside an encoder lists, one a line; `None` if there is no such file."""
    if not path.is_file():
        return None
    return frozenset(words(path.read_text(encoding="utf-8")))
