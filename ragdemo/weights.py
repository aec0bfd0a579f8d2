"""Which weights lie in a checkpoint folder, as a short hash; nothing here imports a model library."""

from __future__ import annotations

import hashlib
from pathlib import Path

PATTERNS = ("*.safetensors", "*.bin", "*.pt")


def weights_hash(folder: Path) -> str:
    """The first twelve hex digits of a sha256 over the names and bytes of the weight files in and below a folder.

    A folder without weight files has the empty hash "".
    """
    files = sorted(path for pattern in PATTERNS for path in folder.rglob(pattern))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12] if files else ""
