"""A run that does not wait for the page: its events are made in a thread and told in what batches they come."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread

from ragdemo.events import Event

# Telling an event takes the page as long as some answers take the models: what follows at once is told with it. Nobody
# waits for the first.
GATHER_SECONDS = 0.1


class Ahead:
    """The events of a run, made from the moment this is built.

    Leaving the context closes the run at its next event and waits for nothing: a page that is left must not hold up
    the others. The next run waits for the backend's slot.
    """

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._made: SimpleQueue[Event | BaseException | None] = SimpleQueue()
        self._left = Flag()
        self._told_any = False
        self.has_ended = False
        """Whether no batch follows the one at hand."""
        Thread(target=self._make, name="run", daemon=True).start()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def __iter__(self) -> Iterator[list[Event]]:
        """The first event, then batches of some, `GATHER_SECONDS` after their first; raises what ended the run."""
        while not self.has_ended:
            batch, end = self._gather()
            if batch:
                yield batch
            if end is not None:
                raise end

    def _gather(self) -> tuple[list[Event], BaseException | None]:
        """The next events, and the error behind them where one ended the run."""
        batch: list[Event] = []
        deadline = math.inf
        while (left := deadline - time.monotonic()) > 0:
            try:
                made = self._made.get(timeout=left if batch else None)
            except Empty:
                break
            if not isinstance(made, Event):
                self.has_ended = True
                return batch, made
            if not batch:
                deadline = time.monotonic() + (GATHER_SECONDS if self._told_any else 0)
            batch.append(made)
        self._told_any = True
        return batch, None

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
