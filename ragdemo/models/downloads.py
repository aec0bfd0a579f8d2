"""What a profile needs from the hub: announced first, and fetched only if that is allowed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from ragdemo.errors import UserError
from ragdemo.profiles import Download, Profile, Spec

_LONGEST_HEADER = 100_000_000  # bytes, as the format has it


def downloads_allowed() -> bool:
    """Whether the environment's `RAGDEMO_ALLOW_DOWNLOAD` says that what is missing may be fetched."""
    return os.environ.get("RAGDEMO_ALLOW_DOWNLOAD", "") not in ("", "0")


def missing_downloads(specs: Iterable[Spec]) -> list[Download]:
    """The downloads of which this machine's cache lacks files; asks no network."""
    return [download for spec in specs for download in spec.downloads if not _is_here(download)]


def require_downloads(profile: Profile, roles: Iterable[str], allowed: bool | None = None) -> None:
    """Fetch what this machine's cache lacks of some roles if that is `allowed`; None asks `RAGDEMO_ALLOW_DOWNLOAD`.

    Otherwise raises `UserError`: what, how large, what memory it needs.
    """
    missing = missing_downloads(profile.spec(role) for role in roles)
    if missing and not (downloads_allowed() if allowed is None else allowed):
        parts = ", ".join(f"{d.repository} {d.gigabytes:.1f} GB" for d in missing)
        total = sum(d.gigabytes for d in missing)
        raise UserError(
            f"The profile {profile.name!r} would download {total:.1f} GB ({parts}) and needs about "
            f"{profile.memory_gigabytes:.0f} GB of GPU memory; allow it with --allow-download or "
            "RAGDEMO_ALLOW_DOWNLOAD=1, or choose --profile pocket."
        )
    for download in missing:
        what = f"downloading {download.repository}, {download.gigabytes:.1f} GB"
        print(f"ragdemo: {what}", file=sys.stderr, flush=True)
        try:
            _snapshot(download)
        except (OSError, ValueError, HfHubHTTPError) as error:
            cause = " ".join(str(error).split())[:160]
            raise UserError(
                f"The download of {download.repository} failed ({cause}); check the connection and run it again, "
                "what is already here is kept."
            ) from error


def check_downloads(spec: Spec) -> None:
    """Compare the size of a spec's weights from the hub with what their own headers say of it.

    Raises `UserError` with the first file that is damaged, at the spec's revision, and the remedy.
    """
    for download in filter(_is_here, spec.downloads):  # of what is missing the loader speaks
        snapshot = _snapshot(download, local_files_only=True)
        for file in sorted(snapshot.rglob("*.safetensors")):
            name, size = file.relative_to(snapshot).as_posix(), file.stat().st_size
            if any(fnmatch(name, pattern) for pattern in download.patterns) and size != _stated_size(file):
                raise UserError(
                    f"The file {name} of {download.repository} is damaged: its {size:,} bytes are not what its header "
                    f"says; download it again with `hf download {download.repository} {name} --force-download`."
                )


def _stated_size(file: Path) -> int:
    """How many bytes a safetensors file should have; -1 if its header cannot be read."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, _LONGEST_HEADER)))
        parts = [part["data_offsets"][1] for name, part in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return -1
    return 8 + length + max(parts, default=0)


def _snapshot(download: Download, *, local_files_only: bool = False) -> Path:
    """The folder of a repository at its revision; see `snapshot_download`."""
    found = snapshot_download(
        download.repository,
        revision=download.revision,
        allow_patterns=list(download.patterns),
        local_files_only=local_files_only,
    )
    return Path(found)


def _is_here(download: Download) -> bool:
    """Whether the cache can be read and its snapshot has a file for each pattern and every shard of an index."""
    try:
        snapshot = _snapshot(download, local_files_only=True)
        files = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
        shards = {
            (index.parent / name).relative_to(snapshot).as_posix()
            for index in snapshot.rglob("*.safetensors.index.json")
            for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        }
    except (OSError, ValueError, LocalEntryNotFoundError):
        return False
    return shards <= set(files) and all(
        any(fnmatch(file, pattern) for file in files) for pattern in download.patterns
    )
