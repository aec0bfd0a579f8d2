"""Runs that follow the typing: the newest wins, all other runs go first, and no picture is shown over a newer one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from ragdemo.events import Event, Result
from ragdemo.request import Request
from ragdemo.ui.blocks import SENTENCES, Blocks, Services, Updates
from ragdemo.ui.doors import caller_of
from ragdemo.ui.line import Batches, Line, Place
from ragdemo.ui.story import Phase, Story, begin, chapter_states

LOADING = "The models are still loading; the run starts as soon as they are ready."
BROKEN = "This run broke off; the server's log says why. The page is fine: run again."
_WAITING = "Waiting: other visitors' runs go first."
_LOG = logging.getLogger(__name__)


class Live:
    """Draws what stands in the column while the visitor goes on typing, or drags a control.

    Between two pictures it makes way for whoever waits in the line, and goes on afterwards.
    """

    def __init__(
        self,
        services: Services,
        blocks: Blocks,
        line: Line,
        request_of: Callable[[Mapping[Any, Any], Request | None], Request],
        start: Callable[..., Iterator[Event]],
    ) -> None:
        """`request_of` says what the column asks for, given what was asked before.

        `start` begins a run of a request and what is known of it, with the visitor's `shelf` and library `own`.
        """
        self._services, self._blocks, self._line = services, blocks, line
        self._request_of, self._start = request_of, start

    async def follow(self, data: Mapping[Any, Any], visit: gr.Request) -> AsyncGenerator[Updates, None]:
        """The page as it follows the column; nothing any more as soon as the visitor asks for something newer."""
        if not str(data[self._blocks.ask.prompt]).strip():
            return  # the last picture stays until there are words again
        try:
            with self._line.gap(visit.session_hash or "", *caller_of(visit)) as place:
                request, known = await asyncio.to_thread(self._asked, data)
                if request is None:
                    return
                mine = {"shelf": data[self._blocks.shelf], "own": data[self._blocks.own]}
                start = partial(self._start, **mine)
                async with aclosing(self._pages(request, known, start, place)) as pages:
                    async for page in pages:
                        if place.left:
                            return
                        yield page
        except SENTENCES as error:
            yield self._blocks.say(str(error))
        except Exception:  # noqa: BLE001 (the page goes on, whatever it was)
            _LOG.exception("A run that follows the typing led to nothing.")
            yield self._blocks.say(BROKEN)

    def _asked(self, data: Mapping[Any, Any]) -> tuple[Request | None, Sequence[Event]]:
        """What the column asks for, None if that is there already, and what of the last run still holds for it."""
        before = self._blocks.outline_in(data)
        request = self._request_of(data, before.request)
        self._services.check(request)
        if not self._services.method(request.method).follows_typing:  # it was changed meanwhile
            return None, ()
        if before.request is None or before.request.prompt != request.prompt:
            return request, ()
        if request == before.request and before.has_ended:
            return None, ()
        events = self._blocks.story_in(data).events
        return request, self._services.method(request.method).still_known(request, before.request, events)

    async def _pages(
        self, request: Request, known: Sequence[Event], start: Callable[..., Iterator[Event]], place: Place
    ) -> AsyncGenerator[Updates, None]:
        story, is_whole = begin(request, known), False
        while story.phase is Phase.RUNNING:
            async for page in self._waited(request, place):
                yield page
            if place.left:  # nobody draws for those who have gone
                return
            story = begin(request, known)
            async with aclosing(self._drawn(story, start, place)) as stories:
                async for story in stories:
                    if not is_whole and self._has_row(story):
                        is_whole = True
                        yield await asyncio.to_thread(self._row, story)
            known = self._services.method(request.method).still_known(request, request, story.events)
        looked = await asyncio.to_thread(self._services.checked, story)
        yield await asyncio.to_thread(self._blocks.of_story, replace(looked, is_settled=True))

    async def _waited(self, request: Request, place: Place) -> AsyncGenerator[Updates, None]:
        """What is said until it is this place's turn."""
        async with aclosing(self._line.turn(place)) as waits:
            async for _ in waits:
                yield self._blocks.say(_WAITING, "waiting")
        status = await asyncio.to_thread(self._services.runner.status, request.profile)
        if status.state != "ready":
            yield self._blocks.say(LOADING, "running")

    async def _drawn(
        self, story: Story, start: Callable[..., Iterator[Event]], place: Place
    ) -> AsyncGenerator[Story, None]:
        """The run after each batch of events; it still runs in the end if it made way for another visitor's."""
        try:
            with Batches(await asyncio.to_thread(start, story.request, story.events), place) as taken:
                async for batch in taken:
                    story = story.after(batch)
                    yield story
                    if self._line.is_wanted and story.last(Result) is None:
                        return
            yield story.finished()
        except SENTENCES as error:
            yield story.failed(str(error))
        except Exception:  # noqa: BLE001 (an error that nobody foresaw ends the run, not the page)
            _LOG.exception("A run broke off.")
            yield story.failed(BROKEN)

    def _has_row(self, story: Story) -> bool:
        """Whether every chapter above the fold has what it shows: before, the last picture is worth more."""
        assert story.request is not None
        chapters = self._services.method(story.request.method).chapters
        states = chapter_states(story, chapters)
        return all(states[chapter.name] == "done" for chapter in chapters if chapter.place == "row")

    def _row(self, story: Story) -> Updates:
        """The page above the fold; what is below it stays until all is known."""
        row = self._blocks.row
        return {row: self._blocks.chapters_of(story)[row]} | self._blocks.say("Drawn as you type.", "done")
