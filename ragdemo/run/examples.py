"""Runs that were recorded as examples: shown at once, with no model asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ragdemo.events import Event
from ragdemo.files import slug
from ragdemo.profiles import ASSETS, DEFAULT_PROFILE
from ragdemo.run.recorder import AUGMENTED, read_run

RECORDINGS = "recordings"
LIST = "examples.json"


@dataclass(frozen=True)
class Example:
    """A recorded run; `is_failure` says that its reference is wrong, which another one of its candidates puts right."""

    prompt: str
    method: str = "imagerag"
    is_failure: bool = False
    profile: str = DEFAULT_PROFILE

    @property
    def folder(self) -> Path:
        """Where the run is, as `run --out` writes it."""
        return ASSETS / self.profile / RECORDINGS / slug(self.prompt)

    @property
    def thumbnail(self) -> Path:
        """Its result as a picture file."""
        return self.folder / AUGMENTED


def examples(profile: str = DEFAULT_PROFILE) -> tuple[Example, ...]:
    """What `scripts.record_examples` has chosen, in its order; nothing if it has not."""
    file = ASSETS / profile / RECORDINGS / LIST
    if not file.is_file():
        return ()
    return tuple(Example(**row) for row in json.loads(file.read_text(encoding="utf-8")))


def recorded(prompt: str, profile: str = DEFAULT_PROFILE) -> list[Event]:
    """The events of a recorded run of this prompt, none if there is none; raises `UserError` if it is damaged."""
    folder = Example(prompt, profile=profile).folder
    return read_run(folder) if folder.is_dir() else []
