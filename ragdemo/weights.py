"""Which weights lie in a checkpoint folder, and whether its files are whole; nothing here imports a model library."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ragdemo.errors import UserError

CARD = "card.json"
PATTERNS = ("*.safetensors", "*.bin", "*.pt")


def weights_hash(folder: Path) -> str:
    """The first twelve hex digits of a sha256 over the names and bytes of the weight files in and below a folder.

    A folder without weight files has the empty hash "".
    """
    files = sorted(path for pattern in PATTERNS for path in folder.rglob(pattern))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + bytes.fromhex(_sha256(path)))
    return digest.hexdigest()[:12] if files else ""


def checksums(folder: Path) -> dict[str, str]:
    """The sha256 of every file in and below a checkpoint folder by name; a deeper card lists its own."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != CARD)
    return {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in files
        if _card_folder(path, folder) == folder
    }


def check_files(folder: Path, remedy: str) -> None:
    """Compare a checkpoint's files with what its cards say of them; without a card there is nothing to compare.

    Raises `UserError`, which ends in `remedy`, with the first file that is missing or other than it was.
    """
    for card in sorted(folder.rglob(CARD)):
        name = card.relative_to(folder.parent).as_posix()
        try:
            listed = json.loads(card.read_text(encoding="utf-8")).get("files", {})
            for file, wanted in listed.items():
                name = (card.parent / file).relative_to(folder.parent).as_posix()
                if _sha256(card.parent / file) != wanted:
                    raise UserError(f"The checkpoint file {name} is damaged; {remedy}.")
        except OSError as error:
            raise UserError(
                f"The checkpoint file {name} cannot be read ({error.strerror}); {remedy}."
            ) from error
        except (ValueError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"The checkpoint file {name} is damaged; {remedy}.") from error


def _card_folder(path: Path, top: Path) -> Path:
    """The folder of the nearest card at or above a file, `top` if there is none below it."""
    return next((one for one in path.parents if one == top or (one / CARD).is_file()), top)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
