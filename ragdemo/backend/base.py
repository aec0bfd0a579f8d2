"""What every backend offers, wherever its models run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from PIL import Image

from ragdemo.events import Event
from ragdemo.methods import get_method
from ragdemo.profiles import get_profile
from ragdemo.types import Reference, Request


class BackendError(RuntimeError):
    """The models broke while they ran: one sentence for people, with the cause behind it."""


@dataclass(frozen=True)
class Status:
    """How far the models are; `message` is a short phrase, or the one sentence of what failed."""

    state: Literal["loading", "ready", "failed"]
    message: str


@dataclass(frozen=True)
class LibraryItem:
    """One picture of the reference library."""

    id: str
    caption: str
    image: Image.Image


@dataclass(frozen=True)
class LibraryPage:
    """A slice of the library: `items` of `total` that pass the filter."""

    items: tuple[LibraryItem, ...]
    total: int


class Backend(Protocol):
    """Runs methods, one at a time, and looks into the library; bad input raises `UserError`."""

    def warm_up(self) -> None:
        """Start loading the models behind the caller; answers at once."""
        ...

    def status(self) -> Status:
        """The models' state; answers at once."""
        ...

    def check(self, request: Request) -> None:
        """Raise `UserError` where the request cannot be run here; needs no model and answers at once."""
        ...

    def run(self, request: Request, replay: Sequence[Event] = ()) -> Iterator[Event]:
        """The events of one run as they happen (see `Method.run`); waits for the models and for other runs.

        Closing the iterator stops the models at their next step and lets the next run begin.
        """
        ...

    def draw(self, prompt: str, seed: int, settings: Mapping[str, Any]) -> Iterator[Event]:
        """The generator alone, without any method: progress, then one `Draft`; waits and closes as `run` does.

        `settings` may hold `steps` and `guidance_scale`.
        """
        ...

    def alike(self, image_id: str, seed: int) -> str:
        """The id of a library picture of the same kind that shows something else, drawn by the seed.

        Where the library's metadata names neither kind nor species, any other picture. Raises `UserError` where
        there is none, or no picture of that id.
        """
        ...

    def recorded(self, prompt: str) -> Sequence[Event]:
        """The events of a run of this prompt that was recorded as an example, none where there is none; no model."""
        ...

    def search(
        self, query: str | Image.Image, k: int, hybrid: bool | None = None, split: str | None = None
    ) -> Sequence[Reference]:
        """The `k` nearest pictures of the library, or of one split, best first; waits for the encoder only."""
        ...

    def browse(self, kind: str | None, offset: int, limit: int) -> LibraryPage:
        """Library pictures of one kind, or of all; needs no model and answers at once."""
        ...


def check_request(request: Request) -> None:
    """Raise `UserError` where method, profile, settings or own images are wrong; imports no model library."""
    get_profile(request.profile)
    get_method(request.method).load().check(request)
