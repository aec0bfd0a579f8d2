"""The first tab: ask on the left, watch the run as a story on the right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from ragdemo.events import Draft, Event, Progress, Result
from ragdemo.recipe import read_png
from ragdemo.types import Check, Request, UserError
from ragdemo.ui import chapters, comparison
from ragdemo.ui.ahead import Ahead
from ragdemo.ui.ask import build_ask
from ragdemo.ui.choices import changed, controls_of
from ragdemo.ui.components import ENGINE_QUEUE
from ragdemo.ui.story import Control, Phase, Story, begin, fail, finish, reduce, regenerate, stop
from ragdemo.ui.telling import Updates, build_telling
from ragdemo.ui.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ragdemo.backend.base import Backend
    from ragdemo.methods import MethodSpec

Checklist = Callable[[str, Image.Image], tuple[Check, ...]]

_LOADING = "The models are still loading; the run starts as soon as they are ready."
# A press while a run is told changes nothing: the server drops it. The address follows what is asked for, so that a
# link or a reload finds it again. All of it is handed on as one value: the server takes each by itself, in half a
# millisecond.
_WAIT = f"""document.querySelector(".announce.running") ? {{"__type__": "update"}} : {chapters.IN_LINE!r}"""
_ASK = f"""(prompt, method, seed, ...settings) => {{
  const asked = new URLSearchParams({{prompt, method, seed}}), said = {_WAIT};
  if (prompt.length <= 500 && typeof said === "string") history.replaceState(null, "", "?" + asked);
  return [said, {{prompt, method, seed: seed && Math.round(seed), settings}}];
}}"""
_REFUSED = "The server took no further run; try again in a minute."
_UNLESS_TOLD = f"""(said) => said.includes("running") ?
  '<p class="announce failed" role="alert">{_REFUSED}</p>' : {{"__type__": "update"}}"""
_SHOWN_EVERY_SECONDS = 0.5
_BROKEN = "The engine broke off this run; its log says why. The page is fine: run again."


class _Pace:
    """Lets through the first progress of each stage, and then one every `_SHOWN_EVERY_SECONDS`: showing costs time."""

    def __init__(self) -> None:
        self._stage, self._shown = "", 0.0

    def is_due(self, batch: Sequence[Event]) -> bool:
        """Whether these events are shown; asking counts as showing them."""
        now = time.monotonic()
        is_progress = all(isinstance(event, Progress) for event in batch)
        stage = batch[-1].stage if batch and isinstance(batch[-1], Progress) else ""
        if is_progress and stage == self._stage and now - self._shown < _SHOWN_EVERY_SECONDS:
            return False
        self._stage, self._shown = stage, now
        return True


class Explore:
    """Builds the tab inside the current Blocks context and wires it to the backend."""

    def __init__(
        self,
        backend: Backend,
        methods: Sequence[MethodSpec],
        vocabulary: Vocabulary,
        told_errors: tuple[type[Exception], ...],
        quiet: dict[str, Any],
        checklist: Checklist = lambda _prompt, _image: (),
    ) -> None:
        """`told_errors` carry a sentence for people as their message; `checklist` says what a picture shows.

        `quiet` are the options of events that show no progress.
        """
        self._backend = backend
        self._told_errors = told_errors
        self._checklist = checklist
        with gr.Row(elem_id="explore"):
            with gr.Column(elem_id="ask", scale=0, min_width=260):
                self.ask = build_ask(methods, vocabulary, quiet)
            with gr.Column(elem_id="story", min_width=300):
                self.telling = build_telling()
        self._story = gr.State(Story())
        self._opened = gr.State(None)
        self._outputs = [*self.telling.outputs, self.ask.announcement, self._story]
        self._wire(quiet)

    @property
    def link_outputs(self) -> list[Any]:
        """What `open_link` fills."""
        return [self.ask.prompt, self.ask.method, self.ask.seed]

    def open_link(self, visit: gr.Request) -> list[Any]:
        """Prompt, method and seed as the address names them (`?prompt=&method=&seed=`)."""
        given = dict(visit.query_params)
        seed = given.get("seed", "")
        methods = [value for _, value in self.ask.method.choices]
        return [
            given["prompt"][:5000] if "prompt" in given else gr.skip(),
            given["method"] if given.get("method") in methods else gr.skip(),
            int(seed) if seed.isascii() and seed.isdigit() and len(seed) < 12 else gr.skip(),
        ]

    def _wire(self, quiet: dict[str, Any]) -> None:
        ask, told = self.ask, self.telling
        engine: dict[str, Any] = {
            "outputs": self._outputs,
            "api_visibility": "private",
            "trigger_mode": "once",
            "postprocess": False,  # HTML and states are sent as they are: asking each costs a change of threads
            "show_progress": "minimal",
            "show_progress_on": [ask.announcement],
            **ENGINE_QUEUE,
        }
        in_browser: dict[str, Any] = {"outputs": ask.announcement, "api_visibility": "private"}
        asked = [*self.link_outputs, *ask.panel.components]
        ask.run.click(None, asked, [ask.announcement, ask.asked], js=_ASK, api_visibility="private")
        for waits in (told.controls.click, told.chapters["evidence"].click, ask.own.upload):
            waits(None, None, js=f"() => {_WAIT}", **in_browser)
        running = ask.run.click(self._run, [ask.asked, ask.own], preprocess=False, **engine)
        choosing = told.chapters["evidence"].click(self._choose, [self._story], **engine)
        checking = told.controls.click(self._check, [self._story], **engine)
        adding = ask.own.upload(self._add_own, [self._story, ask.own], **engine)
        fields = [ask.prompt, ask.method, ask.seed, *ask.panel.components]
        opened = ask.saved.upload(
            self._open,
            [ask.saved, ask.own],
            [*fields, self._opened, ask.announcement],
            **quiet,
        )
        redrawing = opened.success(self._redraw, [self._opened], **engine)
        for prompt, chip in ask.chips:
            show = self._example(prompt)
            chip.click(show, None, [ask.prompt, ask.method, ask.seed, *self._outputs], **quiet)
        runs = [running, choosing, checking, adding, redrawing]
        for run in runs:
            run.failure(None, ask.announcement, js=_UNLESS_TOLD, **in_browser)
        told.chapters["after"].click(comparison.download, self._story, told.download, **quiet)
        # In this order: told before the run is cancelled, "stopped" would be overwritten by the run's last events.
        cancelled = ask.stop.click(None, cancels=runs, **quiet)
        stopped = cancelled.then(self._stopped, [self._story], self._outputs, **quiet)
        pictures = [told.chapters["draft"], told.chapters["after"], self._story]
        for ended in (running, choosing, adding, redrawing, stopped):
            ended.then(self._look, [self._story], pictures, **{**quiet, "queue": True}, **ENGINE_QUEUE)

    # What the buttons do

    def _run(self, asked: Any, own: list[dict[str, Any]] | None) -> Iterator[Updates]:
        """One run, told as it happens; a bad request is a sentence and leaves the last story where it is.

        Its inputs are as the browser sends them; of paths Gradio has made sure that they were uploaded.
        """
        try:
            request = self.ask.request(asked, [file["path"] for file in own or ()])
        except UserError as error:
            yield self._say(str(error))
            return
        yield from self._tell(begin(request))

    def _choose(self, story: Story, choice: gr.EventData) -> Iterator[Updates]:
        """Another choice of references: the story goes on from there, what came before is not asked again."""
        request = changed(story, choice.act, choice.id)
        if request is None:
            yield {self.ask.announcement: chapters.announcement(story)}
        elif choice.act in ("pin", "unpin"):
            yield self._retell(replace(story, request=request))
        else:
            yield from self._tell(regenerate(story, request))

    def _add_own(self, story: Story, own: list[str]) -> Iterator[Updates]:
        """Pictures of one's own join the references of the last run; without one they wait for the next."""
        if not story.can_change_references or story.request is None:
            yield {self.ask.announcement: chapters.announcement(story)}
            return
        request = replace(story.request, own_images=tuple(own))
        # where every drawing is shown the pictures, the draft must be drawn again too
        again = begin(request) if story.mode == "personalization" else regenerate(story, request)
        yield from self._tell(again)

    def _open(self, file: str, own: list[str] | None) -> Updates:
        """What a saved picture was asked with, in the fields of the page; `_redraw` follows."""
        try:
            request = read_png(Path(file)).request
            names = {Path(path).name: path for path in own or ()}
            if lacking := [name for name in request.own_images if name not in names]:
                raise UserError(
                    f"The picture used {', '.join(lacking)} of yours; add that first, then open it again."
                )
        except UserError as error:
            return self._say(str(error).replace(file, Path(file).name)) | {self._opened: None}
        request = replace(request, own_images=tuple(names[name] for name in request.own_images))
        ask = self.ask
        values = ask.panel.values(request.method, request.settings)
        fields: Updates = {ask.prompt: request.prompt, ask.method: request.method, ask.seed: request.seed}
        return (
            fields
            | dict(zip(ask.panel.components, values, strict=True))
            | {self._opened: request, ask.announcement: chapters.IN_LINE}
        )

    def _redraw(self, request: Request | None) -> Iterator[Updates]:
        """The run that a saved picture came from, where one was opened."""
        if request is None:
            yield {self._story: gr.skip()}  # one that tells nothing at all would empty the page
        else:
            yield from self._tell(begin(request))

    def _check(self, story: Story) -> Iterator[Updates]:
        """The controls of "is it the retrieval?", each shown as it is drawn."""
        told = replace(story, controls=(), phase=Phase.RUNNING, message="Drawing the controls …")
        said: str | None = _BROKEN
        try:
            yield self._retell(told)
            for title, text, events in controls_of(story, self._backend):
                image = _last_picture(events)
                if image is not None:
                    checks = self._checklist(story.request.prompt, image)  # type: ignore[union-attr]
                    told = replace(told, controls=(*told.controls, Control(title, text, image, checks)))
                    yield self._retell(told)
            said = ""
        except self._told_errors as error:
            said = str(error)
        except GeneratorExit:
            said = None  # who left is told nothing
            raise
        finally:
            if said is not None:
                ended = self._retell(replace(told, phase=Phase.DONE, message=""))
                yield ended | (self._say(said) if said else {})

    def _example(self, prompt: str) -> Callable[[], Updates]:
        """Shows an example at once from its recording, where there is one."""

        def show() -> Updates:
            fields: Updates = {self.ask.prompt: prompt}
            events = self._recorded(prompt)
            if not events:
                return fields
            request = events[-1].recipe.request
            story = begin(request)
            for event in events:
                story = reduce(story, event)
            fields |= {self.ask.method: request.method, self.ask.seed: request.seed}
            return fields | self._retell(self._checked(replace(finish(story), recorded=True)))

        return show

    def _recorded(self, prompt: str) -> Sequence[Any]:
        try:
            return self._backend.recorded(prompt)
        except self._told_errors:
            return ()  # a recording is a shortcut: without it the prompt is there, and Run works

    # Telling

    def _tell(self, story: Story) -> Iterator[Updates]:
        """The story after each event; closing this generator stops the models at their next event.

        A request that the backend refuses is one sentence, and the last story stays on the page.
        """
        assert story.request is not None
        try:
            self._backend.check(story.request)
        except UserError as error:
            yield self._say(str(error))
            return
        repeated, pace = list(story.events), _Pace()
        try:
            with Ahead(self._backend.run(story.request, story.events)) as batches:
                if self._backend.status().state != "ready":
                    story = replace(story, message=_LOADING)
                page = self._retell(story)
                for batch in batches:
                    story = _grown(story, batch, repeated)
                    if pace.is_due(batch) and not batches.has_ended:  # the end is told below
                        # All of the page: what is not named costs Gradio more than what is as it was.
                        page |= self._changes(story, batch)
                        yield page
            story = finish(story)
        except self._told_errors as error:
            story = fail(story, str(error))
        except GeneratorExit:
            story = stop(story)
            raise
        finally:
            # Still running means an error that nobody foresaw: it is shown here, then raised for Gradio to log.
            if story.phase is Phase.RUNNING:
                yield self._retell(fail(story, _BROKEN))
        yield self._retell(story)

    def _look(self, story: Story) -> Updates:
        """The pictures of an ended run with what they show, once the models are there that tell it.

        An event of its own in the engine's line: beside the run it would take its time, and behind it Run can be
        pressed again.
        """
        checked = self._checked(story)
        if checked == story:
            return {self._story: gr.skip()}
        told = self.telling.chapters
        return {
            told["draft"]: chapters.draft(checked),
            told["after"]: chapters.after(checked),
            self._story: checked,
        }

    def _checked(self, story: Story) -> Story:
        if story.request is None or story.phase is Phase.RUNNING or self._backend.status().state != "ready":
            return story
        try:
            for field, drawn in (("draft_checks", story.draft), ("result_checks", story.result)):
                if drawn is not None and not getattr(story, field):
                    story = replace(story, **{field: self._checklist(story.prompt, drawn.image)})
        except (*self._told_errors, RuntimeError):
            pass  # a picture that is there is shown, if need be unchecked; the engine has logged why
        return story

    def _stopped(self, story: Story) -> Updates:
        """The story told so far; one that was still in line has told nothing, so only the line below Run changes."""
        stopped = chapters.announcement(Story(phase=Phase.STOPPED))
        return self._retell(stop(story)) | {self.ask.announcement: stopped}

    def _say(self, sentence: str) -> Updates:
        """A sentence in the place of the run's state."""
        said = chapters.announcement(fail(Story(), sentence))
        return {self.ask.announcement: said}

    def _changes(self, story: Story, batch: Sequence[Event]) -> Updates:
        """What the newest events change: progress only its chapter."""
        if not all(isinstance(event, Progress) for event in batch):
            return self._retell(story)
        announced = {self.ask.announcement: chapters.announcement(story), self._story: story}
        return self.telling.progress(story) | announced

    def _retell(self, story: Story) -> Updates:
        return self.telling.retell(story) | {
            self.ask.announcement: chapters.announcement(story),
            self._story: story,
        }


def _grown(story: Story, batch: Sequence[Event], repeated: list[Event]) -> Story:
    """The story after more events; `repeated` are those that it holds already, taken off as they come again."""
    for event in batch:
        if repeated and event == repeated[0]:
            repeated.pop(0)
        else:
            story = reduce(story, event)
    return story


def _last_picture(events: Iterator[Event]) -> Image.Image | None:
    image = None
    with closing(events):
        for event in events:
            if isinstance(event, Draft | Result):
                image = event.image
    return image
