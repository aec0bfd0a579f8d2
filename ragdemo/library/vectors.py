"""Image vectors on disk, each under the sha256 of its image's bytes and the fingerprint of its encoder.

    vectors.safetensors          tensors `vectors` float16 `(N, D)` and `contents` uint8 `(N, 32)`;
                                 metadata `format`, `encoder`, `sha256` of both tensors
    parts/*.safetensors          the same, while embedding is under way

A file of another encoder, of another format, or whose hash does not agree holds nothing: what it held is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ragdemo.library.contents import cache_name, cache_root, content_hashes, write_atomically
from ragdemo.library.store import Library
from ragdemo.models.interfaces import JointEncoder
from ragdemo.types import UserError

FORMAT = "1"
VECTORS_FILE = "vectors.safetensors"
PARTS_FOLDER = "parts"
SHIPPED_FOLDER = "index"
BATCH = 64
PART = 1024


@dataclass(frozen=True)
class Embedded:
    """`done` of `total` different images have a vector on disk."""

    done: int
    total: int


def default_folder(library: Library, encoder: JointEncoder) -> Path:
    """Where the vectors of this library under this encoder are kept on this machine."""
    return cache_root() / "index" / f"{cache_name(library)}-{encoder.fingerprint[:16]}"


def embed_library(library: Library, encoder: JointEncoder, folder: Path | None = None) -> Iterator[Embedded]:
    """Embed what has no vector yet into `folder`, telling after each part; closing it keeps the finished parts.

    Nothing is written where the vectors at hand, in `folder` or come with the library, are complete.
    """
    target = folder or default_folder(library, encoder)
    by_content = _readable(content_hashes(library))
    known = known_vectors(library, encoder, target)
    missing = [content for content in by_content if content not in known]
    done = len(by_content) - len(missing)
    yield Embedded(done, len(by_content))
    for start in range(0, len(missing), PART):
        part = missing[start : start + PART]  # the last one is shorter
        vectors = _embed(library, encoder, {content: by_content[content] for content in part})
        if vectors:
            save_vectors(target / PARTS_FOLDER / f"{part[0][:32]}.safetensors", vectors, encoder.fingerprint)
        done += len(vectors)
        yield Embedded(done, len(by_content))
    _gather_parts(library, encoder, target, by_content)


def known_vectors(library: Library, encoder: JointEncoder, folder: Path) -> dict[str, np.ndarray]:
    """All vectors of this encoder at hand by content: those in `folder`, its parts, and those of the library."""
    files = [library.folder / SHIPPED_FOLDER / VECTORS_FILE, folder / VECTORS_FILE, *_parts(folder)]
    known: dict[str, np.ndarray] = {}
    for path in files:
        known |= load_vectors(path, encoder.fingerprint)
    return known


def save_vectors(path: Path, vectors: Mapping[str, np.ndarray], encoder_fingerprint: str) -> None:
    """Write vectors by content sha256, in half precision."""
    contents = np.frombuffer(bytes.fromhex("".join(vectors)), np.uint8).reshape(-1, 32)
    matrix = np.stack(list(vectors.values())).astype(np.float16)
    tensors = {"contents": np.ascontiguousarray(contents), "vectors": matrix}
    metadata = {"format": FORMAT, "encoder": encoder_fingerprint, "sha256": _checksum(matrix, contents)}
    write_atomically(path, lambda file: save_file(tensors, file, metadata=metadata))


def load_vectors(path: Path, encoder_fingerprint: str) -> dict[str, np.ndarray]:
    """Vectors of a file by content sha256; none where it is missing, damaged, or made by another encoder."""
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
    """Vectors by content; images that cannot be decoded are left out."""
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
            vectors |= zip(images, encoder.embed_images(list(images.values())), strict=True)
    if not all(np.isfinite(vector).all() for vector in vectors.values()):
        raise UserError("The encoder gives vectors that are not finite; train or download it again.")
    return vectors


def _gather_parts(library: Library, encoder: JointEncoder, folder: Path, wanted: Mapping[str, str]) -> None:
    """Put the parts and what still fits of the earlier vectors into one file."""
    parts = _parts(folder)
    if not parts:
        return
    known = known_vectors(library, encoder, folder)
    vectors = {content: known[content] for content in wanted if content in known}
    if vectors:
        save_vectors(folder / VECTORS_FILE, vectors, encoder.fingerprint)
    for path in parts:
        path.unlink(missing_ok=True)


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / PARTS_FOLDER).glob("*.safetensors"))


def _checksum(matrix: np.ndarray, contents: np.ndarray) -> str:
    digest = hashlib.sha256(f"{matrix.dtype}{matrix.shape}".encode())
    digest.update(np.ascontiguousarray(matrix).tobytes())
    digest.update(np.ascontiguousarray(contents).tobytes())
    return digest.hexdigest()
