"""Runs that were recorded as examples: shown at once, with no model asked."""

from __future__ import annotations

from ragdemo.events import Event
from ragdemo.files import slug
from ragdemo.profiles import ASSETS, DEFAULT_PROFILE
from ragdemo.run.recorder import read_run

RECORDINGS = "recordings"


def recorded(prompt: str, profile: str = DEFAULT_PROFILE) -> list[Event]:
    """The events of a recorded run of this prompt, none if there is none; raises `UserError` if it is damaged.

    Recordings are folders as `run --out` writes them, named by their prompts.
    """
    folder = ASSETS / profile / RECORDINGS / slug(prompt)
    return read_run(folder) if folder.is_dir() else []
