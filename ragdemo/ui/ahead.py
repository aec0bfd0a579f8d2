"""A run that does not wait for the page: its events are made in a thread and told in what batches they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread

from ragdemo.events import Event

# Telling an event takes the page as long as some answers take the models: what follows at once is told with it.
GATHER_SECONDS = 0.02


class Ahead:
    """The events of a run, made from the moment this is built; leaving the context ends the run and waits for that."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._made: SimpleQueue[Event | BaseException | None] = SimpleQueue()
        self._left = Flag()
        self.has_ended = False
        """Whether no batch follows the one at hand."""
        self._thread = Thread(target=self._make, name="run", daemon=True)
        self._thread.start()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def __iter__(self) -> Iterator[list[Event]]:
        """Batches of one event or more, each as soon as it is there; raises what ended the run."""
        batch: list[Event] = []
        while True:
            try:
                made = self._made.get(timeout=GATHER_SECONDS) if batch else self._made.get()
            except Empty:
                yield batch
                batch = []
                continue
            if isinstance(made, Event):
                batch.append(made)
                continue
            self.has_ended = True
            if batch:
                yield batch
            if made is not None:
                raise made
            return

    def _make(self) -> None:
        try:
            with closing(self._events) as events:
                for event in events:
                    self._made.put(event)
                    if self._left.is_set():
                        return
        except BaseException as error:  # noqa: BLE001 (it belongs to whoever listens)
            self._made.put(error)
        else:
            self._made.put(None)
