"""Profiles of tiny models for the methods whose weights are not shipped, in the server and in its models' process."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

from ragdemo import log, profiles
from ragdemo.run import inprocess

VARIABLE = "TINY_PROFILES"
LIBRARY = "small"
METHODS = {"tiny-turbo": "turbo", "tiny-janus": "ar_rag"}


def write(folder: Path, libraries: Path) -> Path:
    """Make the models and a library for them; the file that `register` reads."""
    from library_world import write_small_library
    from tiny_janus import build_janus
    from tiny_turbo import build_turbo

    write_small_library(libraries / LIBRARY, 40)
    folder.mkdir()
    made = build_turbo(folder / "turbo", adapter=True), build_janus(folder / "janus")
    # one thread, as the pocket profile has: the order of additions is the same beside whatever else goes on
    rows = [
        replace(one, name=name, memory_gigabytes=0.0, cpu_threads=1)
        for one, name in zip(made, METHODS, strict=True)
    ]
    file = folder / "profiles"
    file.write_bytes(pickle.dumps(rows))
    return file


def register() -> None:
    """Let this process know the profiles, and leave nothing out of its log."""
    log.MOST_A_MINUTE = 10**12
    for profile in pickle.loads(Path(os.environ[VARIABLE]).read_bytes()):
        profiles.PROFILES[profile.name] = profile


class Runner(inprocess.InProcess):
    """The real one, which knows them too and keeps all of them."""

    def __init__(self) -> None:
        register()
        inprocess.MOST_PROFILES = 1 + len(METHODS)
        super().__init__()
