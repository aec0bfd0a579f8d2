"""The models in a process of their own, which the page outlives."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from ragdemo.errors import ModelError, UserError
from ragdemo.profiles import DEFAULT_PROFILE
from ragdemo.run.base import Pictures, Status, check_request
from ragdemo.run.child import ChildProcess

if TYPE_CHECKING:
    from PIL import Image

    from ragdemo.events import Event, Reference
    from ragdemo.request import Request

RUNNER = "runner"  # of the object in the child that has the models
_STATUS_SECONDS = 1.0
_SILENT = "The models' process is not answering; it is started again if that lasts."


class InChild:
    """A `Runner` whose models are the child's object `runner`.

    If the child breaks, its runs raise `ModelError`, and the next one starts it again.
    """

    def __init__(self, child: ChildProcess) -> None:
        self._child = child

    def start(self, profile: str | None = None) -> None:
        """See `Runner.start`."""
        Thread(target=self._start, args=(profile,), name="start-models", daemon=True).start()

    def status(self, profile: str = DEFAULT_PROFILE) -> Status:
        """See `Runner.status`; answers within a second. The models are loading until the child says otherwise."""
        loading = Status("loading", f"{profile} models are loading")
        if self._child.failure is not None:
            return Status("failed", self._child.failure)
        if not self._child.is_listening:
            return loading
        try:
            return self._child.call(RUNNER, "status", profile, limit=_STATUS_SECONDS)
        except TimeoutError:
            return loading if self._child.is_importing else Status("failed", _SILENT)
        except ModelError as error:
            return Status("failed", str(error))

    def run(
        self,
        request: Request,
        known: Sequence[Event] = (),
        pictures: Pictures | None = None,
        own: Path | None = None,
    ) -> Generator[Event, None, None]:
        """See `Runner.run`."""
        check_request(request)
        yield from self._child.iterate(RUNNER, "run", request, tuple(known), dict(pictures or {}), own)

    def counterfactuals(
        self, request: Request, events: Sequence[Event], own: Path | None = None
    ) -> Generator[Event, None, None]:
        """See `Runner.counterfactuals`."""
        yield from self._child.iterate(RUNNER, "counterfactuals", request, tuple(events), own)

    def search(
        self,
        query: str | Image.Image,
        k: int,
        library: str = "pocket",
        profile: str = DEFAULT_PROFILE,
        hybrid: bool = True,
        split: str | None = None,
        own: Path | None = None,
        where: Mapping[str, str] | None = None,
        one_of_each: bool = False,
    ) -> Sequence[Reference]:
        """See `Runner.search`."""
        arguments = (query, k, library, profile, hybrid, split, own, where, one_of_each)
        return self._child.call(RUNNER, "search", *arguments)

    def _start(self, profile: str | None) -> None:
        with suppress(ModelError, UserError):  # `status` says it
            self._child.call(RUNNER, "start", profile)
