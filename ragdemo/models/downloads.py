"""What a profile needs from the hub: announced first, and fetched only if that is allowed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from ragdemo.errors import UserError
from ragdemo.profiles import Download, Profile


def downloads_allowed() -> bool:
    """Whether the environment's `RAGDEMO_ALLOW_DOWNLOAD` says that what is missing may be fetched."""
    return os.environ.get("RAGDEMO_ALLOW_DOWNLOAD", "") not in ("", "0")


def missing_downloads(profile: Profile) -> tuple[Download, ...]:
    """The profile's downloads of which this machine's cache lacks files; asks no network."""
    return tuple(download for download in profile.downloads if not _is_here(download))


def require_downloads(profile: Profile, allowed: bool, say: Callable[[str], None] = lambda _: None) -> None:
    """Fetch what is missing if that is `allowed`; else raise `UserError`: what, how large, what memory it needs."""
    missing = missing_downloads(profile)
    if not missing:
        return
    if not allowed:
        parts = ", ".join(f"{d.repository} {d.gigabytes:.1f} GB" for d in missing)
        total = sum(d.gigabytes for d in missing)
        raise UserError(
            f"The profile {profile.name!r} would download {total:.1f} GB ({parts}) and needs about "
            f"{profile.memory_gigabytes:.0f} GB of GPU memory; allow it with --allow-download or "
            "RAGDEMO_ALLOW_DOWNLOAD=1, or choose --profile pocket."
        )
    for download in missing:
        say(f"downloading {download.repository}, {download.gigabytes:.1f} GB")
        try:
            snapshot_download(download.repository, allow_patterns=list(download.patterns))
        except (OSError, ValueError, HfHubHTTPError) as error:
            cause = " ".join(str(error).split())[:160]
            raise UserError(
                f"The download of {download.repository} failed ({cause}); check the connection and run it again, "
                "what is already here is kept."
            ) from error


def _is_here(download: Download) -> bool:
    """Whether the cache can be read and its snapshot has a file for each pattern and every shard of an index."""
    try:
        patterns = list(download.patterns)
        snapshot = Path(
            snapshot_download(download.repository, allow_patterns=patterns, local_files_only=True)
        )
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
