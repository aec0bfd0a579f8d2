"""Image vectors on disk, each under the sha256 of its image's bytes and the fingerprint of its encoder.

    vectors.safetensors          tensors `vectors` float16 `(N, D)` and `contents` uint8 `(N, 32)`;
                                 metadata `format`, `encoder`, `sha256` of both tensors
    parts/*.safetensors          the same, while embedding is under way

A file of another encoder or format, or whose hash does not match, is ignored, and its vectors are computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ragdemo.errors import UserError
from ragdemo.files import cache_root, write_atomically
from ragdemo.library.contents import cache_name, content_hashes
from ragdemo.library.store import Library
from ragdemo.models.base import JointEncoder

FORMAT = "1"
VECTORS_FILE = "vectors.safetensors"
PARTS_FOLDER = "parts"
SHIPPED_FOLDER = "index"
BATCH = 64
PART = 256  # images between two reports of progress


@dataclass(frozen=True)
class Embedded:
    """`done` of `total` different images have a vector on disk."""

    done: int
    total: int


def default_folder(library: Library, encoder: JointEncoder) -> Path:
    """The folder of this machine's cache for the vectors of a library under an encoder."""
    return cache_root() / "index" / f"{cache_name(library)}-{encoder.fingerprint[:16]}"


def embed_library(
    library: Library, encoder: JointEncoder, folder: Path | None, progress: Callable[[Embedded], object]
) -> dict[str, np.ndarray]:
    """Embed every image that has no vector yet, tell the progress at once and after each part, return all vectors.

    Vectors are float16 `(D,)` by the sha256 of their image's bytes. New ones are written to `folder`, by default one in
    the user's cache; nothing is written if none is missing. An error keeps the finished parts. Raises `UserError` if
    `folder` cannot be written; a cache that cannot be written is done without.
    """
    target = folder or default_folder(library, encoder)
    storing = contextlib.nullcontext if folder else partial(contextlib.suppress, UserError)
    by_content = _readable(content_hashes(library))
    known = known_vectors(library, encoder, target)
    missing = [content for content in by_content if content not in known]
    done = len(by_content) - len(missing)
    progress(Embedded(done, len(by_content)))
    for start in range(0, len(missing), PART):
        part = missing[start : start + PART]  # the last one is shorter
        vectors = _embed(library, encoder, {content: by_content[content] for content in part})
        if vectors:
            part_file = target / PARTS_FOLDER / f"{part[0][:32]}.safetensors"
            with storing():
                save_vectors(part_file, vectors, encoder.fingerprint)
        known |= vectors
        done += len(vectors)
        progress(Embedded(done, len(by_content)))
    with storing():
        _gather_parts(
            target,
            {content: known[content] for content in by_content if content in known},
            encoder.fingerprint,
        )
    return known


def known_vectors(library: Library, encoder: JointEncoder, folder: Path) -> dict[str, np.ndarray]:
    """All vectors of this encoder by content: those shipped with the library, those in `folder` and in its parts."""
    files = [library.folder / SHIPPED_FOLDER / VECTORS_FILE, folder / VECTORS_FILE, *_parts(folder)]
    known: dict[str, np.ndarray] = {}
    for path in files:
        known |= load_vectors(path, encoder.fingerprint)
    return known


def save_vectors(path: Path, vectors: Mapping[str, np.ndarray], encoder_fingerprint: str) -> None:
    """Write vectors by content sha256, in half precision."""
    contents = np.frombuffer(bytes.fromhex("".join(vectors)), np.uint8).reshape(-1, 32)
    matrix = np.stack(list(vectors.values())).astype(np.float16)
    tensors: dict[str, np.ndarray] = {"contents": np.ascontiguousarray(contents), "vectors": matrix}
    metadata = {"format": FORMAT, "encoder": encoder_fingerprint, "sha256": _checksum(matrix, contents)}
    write_atomically(path, save(tensors, metadata))


def load_vectors(path: Path, encoder_fingerprint: str) -> dict[str, np.ndarray]:
    """Vectors of a file by content sha256; none if it is missing, damaged, or made by another encoder."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT or metadata.get("encoder") != encoder_fingerprint:
                return {}
            matrix, contents = file.get_tensor("vectors"), file.get_tensor("contents")
    except (OSError, SafetensorError):
        return {}
    if _checksum(matrix, contents) != metadata.get("sha256"):
        return {}
    return {content.tobytes().hex(): vector for content, vector in zip(contents, matrix, strict=True)}


def _readable(hashes: Mapping[str, str | None]) -> dict[str, str]:
    """One id for each content; two ids of one content share its vector."""
    return {content: image_id for image_id, content in hashes.items() if content is not None}


def _embed(library: Library, encoder: JointEncoder, ids: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Vectors by content, float16 `(D,)`; images that cannot be decoded are left out."""
    contents = list(ids)
    vectors: dict[str, np.ndarray] = {}
    for start in range(0, len(contents), BATCH):
        images = {}
        for content in contents[start : start + BATCH]:
            try:
                images[content] = library.image(ids[content])
            except UserError:
                continue  # `VectorIndex.unreadable` lists it
        if images:
            embedded = encoder.embed_images(list(images.values())).astype(np.float16)  # as they are stored
            vectors |= zip(images, embedded, strict=True)
    if not all(np.isfinite(vector).all() for vector in vectors.values()):
        raise UserError("The encoder gives vectors that are not finite; train or download it again.")
    return vectors


def _gather_parts(folder: Path, vectors: Mapping[str, np.ndarray], encoder_fingerprint: str) -> None:
    """Replace the parts by one file of all vectors that the library still needs."""
    parts = _parts(folder)
    if parts and vectors:
        save_vectors(folder / VECTORS_FILE, vectors, encoder_fingerprint)
    for path in parts:
        with contextlib.suppress(OSError):
            path.unlink()


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / PARTS_FOLDER).glob("*.safetensors"))


def _checksum(matrix: np.ndarray, contents: np.ndarray) -> str:
    digest = hashlib.sha256(f"{matrix.dtype}{matrix.shape}".encode())
    digest.update(np.ascontiguousarray(matrix).tobytes())
    digest.update(np.ascontiguousarray(contents).tobytes())
    return digest.hexdigest()
