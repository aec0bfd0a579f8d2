"""A run that does not wait for the page: its events are made in a thread and told in what batches they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread

from ragdemo.events import Event

# Telling an event takes the page as long as some answers take the models: what follows at once is told with it.
GATHER_SECONDS = 0.1
# The first event is told at once; where it takes longer than this, the page says first that the run has begun.
FIRST_SECONDS = 0.15


class Ahead:
    """The events of a run, made from the moment this is built.

    Leaving the context closes the run at its next event and waits for nothing: a page that is left must not hold up
    the others. The next run waits for the backend's slot.
    """

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._made: SimpleQueue[Event | BaseException | None] = SimpleQueue()
        self._left, self._all_made = Flag(), Flag()
        self._error: BaseException | None = None
        self.has_ended = False
        """Whether no batch follows the one at hand."""
        Thread(target=self._make, name="run", daemon=True).start()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def __iter__(self) -> Iterator[list[Event]]:
        """The first event, then batches of some, `GATHER_SECONDS` after their first; raises what ended the run.

        Where the first is not there after `FIRST_SECONDS`, an empty batch comes before it.
        """
        first = self._gather(FIRST_SECONDS, 0)
        if not first and not self.has_ended:
            yield []
            first = self._gather(None, 0)
        if first:
            yield first
        while not self.has_ended:
            if batch := self._gather(None, GATHER_SECONDS):
                yield batch
        if self._error is not None:
            raise self._error

    def _gather(self, patience: float | None, seconds: float) -> list[Event]:
        """The next event, awaited for `patience` seconds, and what follows it within `seconds`."""
        batch: list[Event] = []
        try:
            made = self._made.get(timeout=patience)
            # Looked at together: to wake for each would take time from the models.
            self._all_made.wait(seconds)
            while isinstance(made, Event):
                batch.append(made)
                made = self._made.get_nowait()
        except Empty:
            return batch
        self.has_ended, self._error = True, made
        return batch

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
        finally:
            self._all_made.set()
