"""One worker thread per model: drawings never overlap, and one that nobody waits for any more ends at its next step."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

from ragdemo.models.base import Drawn, Step

T = TypeVar("T")
OnStep = Callable[[Step], None]


class _Stopped(Exception):  # noqa: N818 (the wanted end of a loop, not an error)
    """Raised inside a model's own loop to leave it."""


class Worker:
    """Runs a model's work in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def run(self, work: Callable[[], T]) -> T:
        """The value of `work` once it has had its turn."""
        return self._thread.submit(work).result()

    def stream(self, work: Callable[[OnStep], Drawn]) -> Generator[Step | Drawn, None, None]:
        """Yield the steps of `work` as they end, then its drawing, or raise its error.

        `work` runs ahead of its consumer; closing the generator stops it when it reports its next step.
        """
        steps: SimpleQueue[Step | None] = SimpleQueue()
        stop = Event()

        def on_step(step: Step) -> None:
            if stop.is_set():
                raise _Stopped
            steps.put(step)

        future: Future[Drawn] = self._thread.submit(work, on_step)
        future.add_done_callback(lambda _: steps.put(None))
        try:
            while (step := steps.get()) is not None:
                yield step
            yield future.result()
        finally:
            stop.set()
            wait([future])
