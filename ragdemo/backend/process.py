"""The models in a process of their own: what needs none of them is answered in this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

from ragdemo.backend.base import Backend, BackendError, LibraryPage, Status
from ragdemo.backend.engine import ENDED, EngineProcess

if TYPE_CHECKING:
    from PIL import Image

    from ragdemo.events import Event
    from ragdemo.types import Reference, Request

_NAME = "backend"  # of the object in the engine that has the models


class ProcessBackend:
    """A backend whose models are the engine's `backend`; `front`, of the same profile and library, never loads its own.

    Where the process ends, its runs raise `BackendError`, and the next one starts it anew.
    """

    def __init__(self, engine: EngineProcess, front: Backend) -> None:
        self._engine = engine
        self._front = front

    def warm_up(self) -> None:
        """See `Backend.warm_up`."""
        self._engine.start()
        Thread(target=self._call_warm_up, name="warm-up", daemon=True).start()

    def status(self) -> Status:
        """See `Backend.status`; where the engine has not spoken yet its models are loading."""
        if self._engine.has_ended:
            return Status("failed", ENDED)
        if not self._engine.is_listening:
            return self._front.status()
        try:
            return self._engine.call(_NAME, "status")
        except BackendError as error:
            return Status("failed", str(error))

    def check(self, request: Request) -> None:
        """See `Backend.check`."""
        self._front.check(request)

    def run(self, request: Request, replay: Sequence[Event] = ()) -> Iterator[Event]:
        """See `Backend.run`."""
        yield from self._engine.iterate(_NAME, "run", request, tuple(replay))

    def draw(self, prompt: str, seed: int, settings: Mapping[str, Any]) -> Iterator[Event]:
        """See `Backend.draw`."""
        yield from self._engine.iterate(_NAME, "draw", prompt, seed, dict(settings))

    def alike(self, image_id: str, seed: int) -> str:
        """See `Backend.alike`."""
        return self._front.alike(image_id, seed)

    def recorded(self, prompt: str) -> Sequence[Event]:
        """See `Backend.recorded`."""
        return self._front.recorded(prompt)

    def search(
        self, query: str | Image.Image, k: int, hybrid: bool | None = None, split: str | None = None
    ) -> Sequence[Reference]:
        """See `Backend.search`."""
        return self._engine.call(_NAME, "search", query, k, hybrid, split)

    def browse(self, kind: str | None, offset: int, limit: int) -> LibraryPage:
        """See `Backend.browse`."""
        return self._front.browse(kind, offset, limit)

    def _call_warm_up(self) -> None:
        with suppress(BackendError):  # `status` says it
            self._engine.call(_NAME, "warm_up")
