"""What a press leads to: a run, another choice of references, or the counterfactuals, shown as they happen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from ragdemo.errors import UserError
from ragdemo.events import Counterfactual, Event, Progress, Result
from ragdemo.request import Choices, Request
from ragdemo.ui.blocks import SENTENCES, Blocks, Services, Updates, carried
from ragdemo.ui.doors import caller_of
from ragdemo.ui.line import Batches, Line, Place
from ragdemo.ui.live import BROKEN, LOADING, Live
from ragdemo.ui.markup import render
from ragdemo.ui.own import Shelf
from ragdemo.ui.story import Phase, Story, begin, with_choice

if TYPE_CHECKING:
    from ragdemo.library.session import SessionLibrary
    from ragdemo.recipe import Recipe
    from ragdemo.run.base import Status

_SHOWN_EVERY_SECONDS = 0.5
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """What a press leads to: the run as it stands then, and the iterator of what is still to come, if anything is."""

    story: Story
    start: Callable[[], Iterator[Event]] | None = None
    sentence: str = ""


class Pace:
    """Lets through what has something to see, and of bare progress one every `_SHOWN_EVERY_SECONDS`: showing costs."""

    def __init__(self) -> None:
        self._shown = 0.0

    def is_due(self, batch: Sequence[Event]) -> bool:
        """Whether these events are shown; asking counts as showing them."""
        now = time.monotonic()
        is_bare = batch and all(isinstance(event, Progress) and event.preview is None for event in batch)
        if is_bare and now - self._shown < _SHOWN_EVERY_SECONDS:
            return False
        self._shown = now
        return not batch or not isinstance(batch[-1], Result)  # the end is shown by itself


class Runs:
    """Answers presses, one at a time for each visitor."""

    def __init__(self, services: Services, blocks: Blocks, line: Line) -> None:
        self._services, self._blocks, self.line = services, blocks, line
        self._live = Live(services, blocks, line, self.request, self._iterate)

    @property
    def outputs(self) -> list[Any]:
        """Everything that `act` changes."""
        return [*self._blocks.run_outputs, self._blocks.pill]

    async def act(
        self, data: dict[Any, Any], event: gr.EventData, visit: gr.Request
    ) -> AsyncGenerator[Updates, None]:
        """The page after a press, again and again until all has happened; a bad request is a sentence."""
        async with aclosing(self._answer(partial(self._step, data, event), visit)) as updates:
            async for page in updates:
                yield page

    async def follow(self, data: dict[Any, Any], visit: gr.Request) -> AsyncGenerator[Any, None]:
        """The page as it follows what is typed, for a method that is quick enough for that."""
        is_answered = False
        async with aclosing(self._live.follow(data, visit)) as updates:
            async for page in updates:
                is_answered = True
                yield page
        if not is_answered:
            yield gr.skip()  # Gradio empties the outputs of a generator that ends without a word

    async def tune(self, data: dict[Any, Any], visit: gr.Request) -> AsyncGenerator[Updates, None]:
        """The page after a live control was moved: a run that is there is made again from where it matters."""
        async with aclosing(self._answer(partial(self._tuned, data), visit)) as updates:
            async for page in updates:
                yield page

    async def _answer(self, step_of: Callable[[], Step], visit: gr.Request) -> AsyncGenerator[Updates, None]:
        session = visit.session_hash or ""
        try:
            with self.line.place(session, *caller_of(visit)) as place:
                step = await asyncio.to_thread(step_of)
                async with aclosing(self._run(step, place)) as updates:
                    async for page in updates:
                        yield page
        except SENTENCES as error:
            yield self._blocks.say(str(error), busy=True)
        except Exception:  # noqa: BLE001 (the page goes on, whatever it was)
            _LOG.exception("A press led to nothing.")
            yield self._blocks.say(BROKEN, busy=True)

    async def stop(self, visit: gr.Request) -> None:
        """End the visitor's run, or take it out of the line."""
        self.line.leave(visit.session_hash or "")

    # What a press asks for

    def _step(self, data: Mapping[Any, Any], event: gr.EventData) -> Step:
        """What a press leads to; raises `UserError` with what is wrong about it."""
        shelf: Shelf = data[self._blocks.shelf]
        act, before = carried(event, "act"), self._blocks.outline_in(data)
        own: SessionLibrary = data[self._blocks.own]
        if act == "run":
            return self._fresh(self.request(data, before.request), shelf, own)
        if act == "redraw" and before.request is not None:
            return self._fresh(before.request, shelf, own, before.opened, before.note)
        story = self._blocks.story_in(data)
        if act == "check" and story.can_choose:
            return self._counterfactuals(story, own)
        if act == "own":
            return self._with_own(story, shelf, own)
        request = with_choice(story, act, carried(event, "id"))
        if request is None:
            return Step(story)
        if act in ("pin", "unpin"):
            return Step(replace(story, request=request))
        return self._again(story, request, shelf, own)

    def _tuned(self, data: Mapping[Any, Any]) -> Step:
        """A run of what the column says, if it differs from a run that has ended in its settings alone."""
        story = self._blocks.story_in(data)
        if story.request is None or not story.has_ended:
            return Step(story)
        request = self.request(data, story.request)
        if request == story.request or request.changed(settings=story.request.settings) != story.request:
            return Step(story)
        return self._again(story, request, data[self._blocks.shelf], data[self._blocks.own])

    def request(self, data: Mapping[Any, Any], before: Request | None) -> Request:
        """What the column says; what it has no control for stays as the last run of the same prompt had it."""
        ask = self._blocks.ask
        shelf: Shelf = data[self._blocks.shelf]
        key = profile, method = str(data[ask.profile]), str(data[ask.method])
        asked = Request(
            prompt=data[ask.prompt],
            method=method,
            seed=data[ask.seed],
            profile=profile,
            library=data[ask.library],
            settings=ask.panel.settings(key, data),
            choices=Choices(own=shelf.refs),
        )
        if before is None or (before.prompt, before.method) != (asked.prompt, method):
            return asked
        choices = before.choices if before.library == asked.library else Choices()
        return asked.changed(
            # one that is not offered came with a saved picture
            profile=profile if self._services.profile(before.profile) == before.profile else before.profile,
            settings=ask.panel.kept(key, before.settings) | asked.settings,
            choices=choices.changed(own=shelf.refs),
        )

    def _fresh(
        self,
        request: Request,
        shelf: Shelf,
        own: SessionLibrary,
        opened: Recipe | None = None,
        note: str = "",
    ) -> Step:
        """A run from its beginning."""
        self._services.check(request)
        story = replace(begin(request, opened=opened), note=note)
        return Step(story, lambda: self._iterate(request, (), shelf, own))

    def _again(self, story: Story, request: Request, shelf: Shelf, own: SessionLibrary) -> Step:
        """A run from where another choice of references makes a difference."""
        assert story.request is not None
        self._services.check(request)
        known = self._services.method(request.method).still_known(request, story.request, story.events)
        found = {place: checks for place, checks in story.found.items() if place < len(known)}
        begun = replace(begin(request, known), found=found)
        return Step(begun, lambda: self._iterate(request, known, shelf, own))

    def _iterate(
        self, request: Request, known: Sequence[Event], shelf: Shelf, own: SessionLibrary
    ) -> Iterator[Event]:
        return self._services.runner.run(request, known, shelf.pictures(request.choices.own), own.folder)

    def _counterfactuals(self, story: Story, own: SessionLibrary) -> Step:
        """The counterfactuals of a run, in the place of those that it has already."""
        request = story.request
        assert request is not None
        events = tuple(event for event in story.events if not isinstance(event, Counterfactual))
        found = {place: checks for place, checks in story.found.items() if place < len(events)}
        begun = replace(story, phase=Phase.RUNNING, events=events, found=found, is_settled=False)
        return Step(begun, lambda: self._services.runner.counterfactuals(request, events, own.folder))

    def _with_own(self, story: Story, shelf: Shelf, own: SessionLibrary) -> Step:
        """Pictures of one's own join the references of the last run; without one they wait for the next."""
        request = story.request
        is_over = story.has_ended and story.is_settled  # the critic may have said yes, without a reference
        if request is None or not is_over or request.choices.own == shelf.refs:
            return Step(story)
        changed = request.changed(choices=request.choices.changed(own=shelf.refs))
        try:
            return self._again(story, changed, shelf, own)
        except UserError as error:
            return Step(story, sentence=str(error))

    # Showing

    async def _run(self, step: Step, place: Place) -> AsyncGenerator[Updates, None]:
        """The page as a step goes on, from the line to the oracle's word on the pictures."""
        blocks, story = self._blocks, step.story
        if step.start is None:
            said = blocks.say(step.sentence, busy=True) if step.sentence else {}
            yield await self._shown(story) | said
            return
        async with aclosing(self.line.turn(place)) as waits:
            async for before in waits:
                yield blocks.say(_in_line(before), "waiting", busy=True)
        if place.left:
            yield blocks.say("Stopped.", "stopped", busy=True)
            return
        with Batches(await asyncio.to_thread(step.start), place) as taken:
            status = await self._status(story)
            # all of the page each time: what is not named costs Gradio more than what is as it was
            page: Updates = {blocks.pill: render("pill.html", status=status)}
            if story.last(Result) is None and status.state != "ready":
                story = replace(story, message=LOADING)
            async with aclosing(self._follow(story, taken, place)) as stories:
                async for story in stories:
                    page |= await self._shown(story)
                    yield page
        self.line.pass_on(place)
        page[blocks.pill] = render("pill.html", status=await self._status(story))
        looked = await asyncio.to_thread(self._services.checked, story)
        yield page | await self._shown(replace(looked, is_settled=True))

    async def _follow(self, story: Story, taken: Batches, place: Place) -> AsyncGenerator[Story, None]:
        """The run after each batch of events, the last time as it has ended."""
        pace, known = Pace(), len(story.events)
        try:
            async for batch in taken:
                story = story.after(batch) if batch else story
                if pace.is_due(batch):
                    yield story
            is_whole = len(story.events) > known and isinstance(story.events[-1], Result)
            story = story.stopped() if place.left and not is_whole else story.finished()
        except SENTENCES as error:
            story = story.failed(str(error))
        except Exception:  # noqa: BLE001 (an error that nobody foresaw ends the run, not the page)
            _LOG.exception("A run broke off.")
            story = story.failed(BROKEN)
        yield story

    async def _shown(self, story: Story) -> Updates:
        """The page of a run; its pictures are encoded in a thread."""
        return await asyncio.to_thread(self._blocks.of_story, story, busy=True)

    async def _status(self, story: Story) -> Status:
        assert story.request is not None
        return await asyncio.to_thread(self._services.runner.status, story.request.profile)


def _in_line(before: int) -> str:
    return f"In line for the models: {before} before you."
