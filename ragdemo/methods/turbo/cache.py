"""h_ret of a library's pairs, computed when a pair is first used and kept on disk.

    <cache>/h-space/<library>-<generator>/<pair>.safetensors    float16 `(C, h, w)` by the UNet's modules;
                                                                metadata `format`, `generator`, `pair`

A pair is named by the hash of its picture's bytes and its caption. A file of another pair or generator is refused and
its features are computed again: 160 KiB a pair at the size of SD 2.1, 4 KiB at the pocket's.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ragdemo.errors import UserError
from ragdemo.events import Reference
from ragdemo.files import write_atomically
from ragdemo.library.contents import cache_name, derived_root
from ragdemo.library.recent import Recent
from ragdemo.library.store import Library
from ragdemo.methods.turbo.condition import Retrieved
from ragdemo.models.base import OneStepGenerator

FORMAT = "1"
MOST_KEPT = 64
_KEPT: Recent[tuple[object, ...], Retrieved] = Recent(MOST_KEPT)
"""The features used last, in memory: the same pair is mostly retrieved again while a person types."""


@dataclass(frozen=True)
class FeatureCache:
    """What a generator makes of the pairs of a library."""

    library: Library
    generator: OneStepGenerator

    def retrieved(self, reference: Reference, prompt: str, levels: Sequence[str]) -> Retrieved:
        """h_ret of a reference; a person's own picture, which has no caption, is read beside the prompt."""
        is_own = reference.id not in self.library
        caption = prompt if is_own else reference.caption
        pair = _pair(reference.id if is_own else self.library.row(reference.id).sha256, caption)
        key = (self.generator.fingerprint, pair, tuple(levels))
        return _KEPT.get(
            key, lambda: Retrieved(self._features(reference, caption, levels, None if is_own else pair))
        )

    def file(self, image_id: str) -> Path:
        """Where the features of a library's pair are kept."""
        row = self.library.row(image_id)
        return self._file(_pair(row.sha256, self.library.caption(image_id)))

    def _file(self, pair: str) -> Path:
        folder = f"{cache_name(self.library)}-{self.generator.fingerprint[:16]}"
        return derived_root(self.library) / "h-space" / folder / f"{pair[:32]}.safetensors"

    def _features(
        self, reference: Reference, caption: str, levels: Sequence[str], pair: str | None
    ) -> dict[str, np.ndarray]:
        mark = {"format": FORMAT, "generator": self.generator.fingerprint, "pair": pair or ""}
        known = _read(self._file(pair), mark) if pair else {}
        if not set(levels) <= set(known):
            wanted = list(dict.fromkeys([*levels, *known]))
            known = self.generator.features(reference.image, caption, wanted)
            if pair:
                with contextlib.suppress(UserError):  # a disk that cannot be written costs time and no more
                    write_atomically(self._file(pair), save(dict(known), mark))
        return {level: known[level] for level in levels}


def _pair(content: str, caption: str) -> str:
    return hashlib.sha256(f"{content}\n{caption}".encode()).hexdigest()


def _read(path: Path, mark: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The features of a file by level; none if it is missing, damaged, or of another pair or generator."""
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}) != dict(mark):
                return {}
            return {level: file.get_tensor(level) for level in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError):
        return {}
