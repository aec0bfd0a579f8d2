"""Data sets of the hub: their tables, which the hub keeps as parquet files of every data set that it can read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ragdemo.errors import UserError

_TABLES = "refs/convert/parquet"


def is_hub_id(source: str) -> bool:
    """Whether a source is the id of a data set, "owner/name", and nothing on this machine."""
    is_id = re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", source) is not None
    return is_id and not os.path.exists(source)


def downloaded(data_set: str, may_download: bool | None) -> Path:
    """The folder of a data set's tables, fetched if that is allowed (see `ragdemo.models.downloads`).

    Raises `UserError` if it is not there, or cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    from ragdemo.models.downloads import downloads_allowed

    is_allowed = downloads_allowed() if may_download is None else may_download
    try:
        return Path(
            snapshot_download(
                data_set,
                repo_type="dataset",
                revision=_TABLES,
                allow_patterns="*.parquet",
                local_files_only=not is_allowed,
            )
        )
    except (OSError, ValueError) as error:  # what the hub's client raises is an OSError or a ValueError
        if not is_allowed:
            raise UserError(
                f"{data_set!r} is neither a file or folder here nor a data set that was fetched before; allow to "
                "fetch it with --allow-download, or name what is there."
            ) from error
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"The data set {data_set!r} cannot be fetched ({reason}); choose another.") from error
