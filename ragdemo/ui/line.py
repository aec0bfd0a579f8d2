"""The line for the models: one run at a time, one place for each visitor; and a run's events in batches.

Runs that follow the typing take gaps: they come after all others, and a visitor's newest one takes the older's place.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from ragdemo.errors import UserError
from ragdemo.events import Event

MOST_PLACES = 64
MOST_OF_AN_ADDRESS = 32
UNHEARD_SECONDS = 10.0  # a program may take that long from asking to listening
FIRST_SECONDS = 0.15  # if the first event takes longer, the page says before it that the run has begun
GATHER_SECONDS = 0.1  # to show an event takes the page as long as some answers take the models
_BUSY = "The server is busy; try again in a minute."
_REFUSED = "The server took no further run; try again in a minute."
_MANY_PLACES = "Too many runs from your address wait already; try again in a minute."
_ONE_PLACE = "A run of yours is going on already; stop it, or wait until it is done."


T = TypeVar("T")


@dataclass(eq=False)
class Place:
    """A visitor's place; `changed` is set if the line has moved, `left` once the visitor wants no more.

    `is_heard` says whether anybody listens to what the visitor is told.
    """

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    left: bool = False
    address: str = ""
    is_heard: Callable[[], bool] = lambda: True
    heard_at: float = field(default_factory=time.monotonic)


class Line:
    """Visitors in the order in which they came, by the hash of their session. All calls come from the event loop."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._waiting: list[Place] = []  # with the one whose turn it is, the first
        self._gaps: dict[str, Place] = {}

    @contextmanager
    def place(
        self, session: str, address: str = "", is_heard: Callable[[], bool] = lambda: True
    ) -> Iterator[Place]:
        """A place at the end; raises `UserError` if the visitor has one already or the line is full.

        It is full for an address that has half of its places.
        """
        if session in self._places:
            raise UserError(_ONE_PLACE)
        _check_room(self._waiting, address)
        self._end_gap(session)
        place = self._places[session] = Place(address=address, is_heard=is_heard)
        self._waiting.append(place)
        try:
            yield place
        finally:
            self.pass_on(place)
            del self._places[session]

    @contextmanager
    def gap(
        self, session: str, address: str = "", is_heard: Callable[[], bool] = lambda: True
    ) -> Iterator[Place]:
        """A place behind all others; an earlier gap of the visitor is left. Raises `UserError` as `place` does."""
        self._end_gap(session)
        _check_room(self._gaps.values(), address)
        place = self._gaps[session] = Place(address=address, is_heard=is_heard)
        try:
            yield place
        finally:
            if self._gaps.get(session) is place:
                del self._gaps[session]
            self._tell()

    def before(self, place: Place) -> int:
        """How many runs come before a place's."""
        if place in self._waiting:
            return self._waiting.index(place)
        gaps = list(self._gaps.values())
        return len(self._waiting) + (gaps.index(place) if place in gaps else 0)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody has a place for whom gaps must end."""
        return bool(self._waiting)

    async def turn(self, place: Place) -> AsyncGenerator[int, None]:
        """How many runs come before a place's, now and then, until its turn comes or the visitor has left.

        Who is not heard of any more has left: nobody draws for those who only ask.
        """
        while not place.left:
            before, now = self.before(place), time.monotonic()
            if place.is_heard():
                place.heard_at = now
                if not before:
                    return
            place.left = now - place.heard_at > UNHEARD_SECONDS
            if before:
                yield before
            await _changed(place)

    def pass_on(self, place: Place) -> None:
        """Let the next one begin; the visitor holds the place, with nobody behind it."""
        if place in self._waiting:
            self._waiting.remove(place)
            self._tell()

    def leave(self, session: str) -> None:
        """The visitor stops, or is gone."""
        self._end_gap(session)
        if session in self._places:
            self._places[session].left = True
            self._places[session].changed.set()

    def holds(self, session: str) -> bool:
        """Whether the visitor has a place."""
        return session in self._places

    def _end_gap(self, session: str) -> None:
        gap = self._gaps.pop(session, None)
        if gap is not None:
            gap.left = True
            gap.changed.set()

    def _tell(self) -> None:
        """All who wait look again."""
        for other in (*self._waiting, *self._gaps.values()):
            other.changed.set()


async def _changed(place: Place) -> None:
    """Until the line has moved, or a moment has gone: a visitor who is not there any more is noticed then."""
    with suppress(TimeoutError):
        await asyncio.wait_for(place.changed.wait(), 1.0 if place.is_heard() else GATHER_SECONDS)
    place.changed.clear()


def _check_room(places: Collection[Place], address: str) -> None:
    if len(places) >= MOST_PLACES:
        raise UserError(_REFUSED)
    if sum(one.address == address for one in places) >= MOST_OF_AN_ADDRESS:
        raise UserError(_MANY_PLACES)


class Desk:
    """Does some calls at once, each in a thread of its own; the others wait, with the line's limits.

    An address has half of the workers, so that there is always one for somebody else.
    """

    def __init__(self, workers: int) -> None:
        self._workers, self._limiter = workers, CapacityLimiter(workers)
        self._waiting: Counter[str] = Counter()
        self._shares: dict[str, CapacityLimiter] = {}

    async def do(self, address: str, function: Callable[..., T], *arguments: object) -> T:
        """What a function returns; raises `UserError` if too many wait, all in all or of an address."""
        if self._waiting.total() >= MOST_PLACES or self._waiting[address] >= MOST_OF_AN_ADDRESS:
            raise UserError(_BUSY)
        self._waiting[address] += 1
        share = self._shares.setdefault(address, CapacityLimiter(self._workers // 2))
        try:
            async with share:
                return await run_sync(function, *arguments, limiter=self._limiter)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address], self._shares[address]


@dataclass(frozen=True)
class Lines:
    """Where visitors wait: for the models, for a search, and for their pictures to be read."""

    runs: Line = field(default_factory=Line)
    searching: Desk = field(default_factory=partial(Desk, 4))
    reading: Desk = field(default_factory=partial(Desk, 2))  # a large one takes half a gigabyte


class Batches:
    """The events of an iterator, which runs in a thread of its own from now on, in batches of what comes at once.

    The first batch is the first event, or empty if that takes longer than `FIRST_SECONDS`.
    Iterating ends at once if the visitor leaves, and raises what the iterator raises. Leaving the context closes the
    iterator at its next event, for which nobody waits.
    """

    def __init__(self, events: Iterator[Event], place: Place) -> None:
        self._place, self._left = place, Flag()
        self._made: SimpleQueue[Event | BaseException | None] = SimpleQueue()
        arguments = (events, self._made, self._left, place, asyncio.get_running_loop())
        Thread(target=_make, args=arguments, name="run", daemon=True).start()

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    async def __aiter__(self) -> AsyncGenerator[list[Event], None]:
        seconds, is_first = FIRST_SECONDS, True
        while not self._place.left:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._place.changed.wait(), seconds)
            self._place.changed.clear()
            taken = list(_taken(self._made))
            batch = [event for event in taken if isinstance(event, Event)]
            if batch or is_first:
                yield batch
            seconds, is_first = GATHER_SECONDS, False
            if len(batch) < len(taken):
                if isinstance(taken[-1], BaseException):
                    raise taken[-1]
                return


def _taken(made: SimpleQueue[Event | BaseException | None]) -> Iterator[Event | BaseException | None]:
    with suppress(Empty):
        while True:
            yield made.get_nowait()


def _make(
    events: Iterator[Event],
    made: SimpleQueue[Event | BaseException | None],
    left: Flag,
    place: Place,
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Put the events, then None or what ended them; the listener is woken for the first one and the end alone."""

    def wake() -> None:
        with suppress(RuntimeError):  # the server is closed
            loop.call_soon_threadsafe(place.changed.set)

    is_first, end = True, None
    try:
        with closing(events) as items:  # type: ignore[type-var]
            for event in items:
                if left.is_set():
                    return
                made.put(event)
                if is_first:
                    is_first = False
                    wake()
    except BaseException as error:  # noqa: BLE001 (it belongs to whoever listens)
        end = error
    made.put(end)
    wake()
