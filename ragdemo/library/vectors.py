"""What models make of images, on disk: each array under the sha256 of its image's bytes and its model's fingerprint.

    vectors.safetensors          tensors `vectors` float16 `(N, D)` and `contents` uint8 `(N, 32)`;
                                 metadata `format`, `encoder`, `sha256` of both tensors
    parts/*.safetensors          the same, while embedding is under way

Codes of pictures are kept in the same way, in `codes.safetensors` and as uint16; the tensor's name is `vectors` there,
too. A file of another encoder or format, or whose hash does not match, is ignored, and its vectors are computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ragdemo.errors import UserError
from ragdemo.files import write_atomically
from ragdemo.library.contents import cache_name, content_hashes, derived_root
from ragdemo.library.store import Library

FORMAT = "1"
PARTS_FOLDER = "parts"
SHIPPED_FOLDER = "index"
BATCH = 64
PART = 256  # images between two reports of progress


class ImageEncoder(Protocol):
    """What turns images into arrays of one shape."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights; arrays of different fingerprints never mix."""
        ...

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """`(N, …)`."""
        ...


@dataclass(frozen=True)
class Stored:
    """How arrays of one kind are kept: their file and number format."""

    file: str
    dtype: type[np.generic]


VECTORS = Stored("vectors.safetensors", np.float16)
CODES = Stored("codes.safetensors", np.uint16)


@dataclass(frozen=True)
class Embedded:
    """`done` of `total` different images have a vector on disk."""

    done: int
    total: int


def default_folder(library: Library, encoder: ImageEncoder) -> Path:
    """The folder for the vectors of a library under an encoder; see `derived_root`."""
    return derived_root(library) / "index" / f"{cache_name(library)}-{encoder.fingerprint[:16]}"


def embed_library(
    library: Library,
    encoder: ImageEncoder,
    folder: Path | None,
    progress: Callable[[Embedded], object],
    kind: Stored = VECTORS,
) -> dict[str, np.ndarray]:
    """Embed every image that has no vector yet, tell the progress at once and after each part, return all vectors.

    Vectors, of the kind's number format, are by the sha256 of their image's bytes. New ones are written to `folder`, by
    default one in the user's cache; nothing is written if none is missing. An error keeps the finished parts. Raises
    `UserError` if `folder` cannot be written; a cache that cannot be written is done without.
    """
    target = folder or default_folder(library, encoder)
    storing = contextlib.nullcontext if folder else partial(contextlib.suppress, UserError)
    by_content = _readable(content_hashes(library))
    known = known_vectors(library, encoder, target, kind)
    missing = [content for content in by_content if content not in known]
    done = len(by_content) - len(missing)
    progress(Embedded(done, len(by_content)))
    for start in range(0, len(missing), PART):
        part = missing[start : start + PART]  # the last one is shorter
        vectors = _embed(library, encoder, {content: by_content[content] for content in part}, kind)
        if vectors:
            part_file = target / PARTS_FOLDER / f"{part[0][:32]}.safetensors"
            with storing():
                save_vectors(part_file, vectors, encoder.fingerprint, kind)
        known |= vectors
        done += len(vectors)
        progress(Embedded(done, len(by_content)))
    with storing():
        _gather_parts(
            target,
            {content: known[content] for content in by_content if content in known},
            encoder.fingerprint,
            kind,
        )
    return known


def known_vectors(
    library: Library, encoder: ImageEncoder, folder: Path, kind: Stored = VECTORS
) -> dict[str, np.ndarray]:
    """All vectors of this encoder by content: those shipped with the library, those in `folder` and in its parts."""
    files = [library.folder / SHIPPED_FOLDER / kind.file, folder / kind.file, *_parts(folder)]
    known: dict[str, np.ndarray] = {}
    for path in files:
        known |= load_vectors(path, encoder.fingerprint)
    return known


def save_vectors(
    path: Path, vectors: Mapping[str, np.ndarray], encoder_fingerprint: str, kind: Stored = VECTORS
) -> None:
    """Write vectors by content sha256, in the kind's number format."""
    contents = np.frombuffer(bytes.fromhex("".join(vectors)), np.uint8).reshape(-1, 32)
    matrix = np.stack(list(vectors.values())).astype(kind.dtype)
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


def _embed(
    library: Library, encoder: ImageEncoder, ids: Mapping[str, str], kind: Stored
) -> dict[str, np.ndarray]:
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
            embedded = encoder.embed_images(list(images.values())).astype(kind.dtype)  # as they are stored
            vectors |= zip(images, embedded, strict=True)
    if not all(np.isfinite(vector).all() for vector in vectors.values()):
        raise UserError("The encoder gives vectors that are not finite; train or download it again.")
    return vectors


def _gather_parts(
    folder: Path, vectors: Mapping[str, np.ndarray], encoder_fingerprint: str, kind: Stored
) -> None:
    """Replace the parts by one file of all vectors that the library still needs."""
    parts = _parts(folder)
    if parts and vectors:
        save_vectors(folder / kind.file, vectors, encoder_fingerprint, kind)
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
