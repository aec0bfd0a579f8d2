"""The first tab: ask on the left, watch the run on the right. This module wires the one to the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from ragdemo.errors import UserError
from ragdemo.library.session import SessionLibrary
from ragdemo.recipe import read_png
from ragdemo.request import OWN_LIBRARY, Request
from ragdemo.sessions import STATE_HOURS
from ragdemo.ui.ask import FIRST_SEED, SCRIPT, build_ask
from ragdemo.ui.blocks import Blocks, Services, Updates, carried
from ragdemo.ui.doors import caller_of
from ragdemo.ui.invent import build_invent, wire_invent
from ragdemo.ui.line import Lines
from ragdemo.ui.link import OWN, fields_of, request_of
from ragdemo.ui.markup import download
from ragdemo.ui.own import Shelf
from ragdemo.ui.runs import Runs
from ragdemo.ui.scripts import ENDED, FOLLOW, with_scripts
from ragdemo.ui.story import Kept, Story
from ragdemo.ui.style import html


class Explore:
    """Builds the tab inside the current Blocks context; `Runs` makes its runs."""

    def __init__(
        self, services: Services, pill: gr.HTML, own: gr.State, quiet: dict[str, Any], lines: Lines
    ) -> None:
        """`own` holds the visitor's library; `quiet` are the options of events that show no progress."""
        self._services, self._reading = services, lines.reading
        self._recorded: dict[str, Story] = {}
        example = services.opening(services.methods[0].name)
        self._unsaid: dict[str, Any] = {
            "prompt": example,
            "method": services.methods[0].name,
            "seed": FIRST_SEED,
            "library": services.catalogue.names()[0],
            "profile": services.offers.here[0].profile.name,
        }
        first = services.recorded_story(example)
        if first is None or not _is_of(first, Request(**self._unsaid), ("method",)):
            first = Story()
        with gr.Row(elem_id="explore"):
            with gr.Column(elem_id="ask", scale=0, min_width=260):
                libraries = services.catalogue.names()
                ask = build_ask(services.offers, libraries, services.vocabulary, quiet, services.examples)
            with gr.Column(elem_id="story", min_width=300):
                panel = build_invent(services.inventor, quiet) if services.inventor else None
                html('<p role="status"></p>', elem_id="stale")  # `actions.js` says there whose run is shown
                row = html(js_on_load=SCRIPT, elem_id="row")
                below = html(js_on_load=with_scripts(services.methods, SCRIPT), elem_id="below")
                check = html(js_on_load=SCRIPT, elem_id="check")
                download = html(js_on_load=FOLLOW, elem_id="download")
                self.looked = html(None, visible=False)
        kept: dict[str, Any] = {"time_to_live": 3600 * STATE_HOURS}
        shelf = gr.State(Shelf(), delete_callback=Shelf.delete, **kept)
        self.blocks = Blocks(
            ask, row, below, check, download, gr.State(Kept.of(first), **kept), shelf, own, pill, services
        )
        for block, value in self.blocks.of_story(first).items():
            block.value = value
        if first.request is not None:
            ask.seed.value = first.request.seed
        self.runs = Runs(services, self.blocks, lines.runs)
        self._wire(quiet)
        self.invented: Any = None
        if panel is not None:
            self.invented = wire_invent(panel, self.runs, self.blocks, lines.reading, quiet)

    @property
    def link_outputs(self) -> list[Any]:
        """What `open_link` fills."""
        return [self.blocks.ask.prompt, *self._fields, *self.blocks.run_outputs, self.looked]

    @property
    def _fields(self) -> list[Any]:
        """What `_of_request` fills."""
        ask = self.blocks.ask
        controls = (one.component for controls in ask.panel.controls.values() for one in controls)
        return [ask.profile, ask.method, ask.seed, ask.library, *controls]

    def _of_request(self, request: Request, own: SessionLibrary | None = None) -> Updates:
        """The column as it asks for all of a request but its prompt; a library that is not here is left out."""
        ask = self.blocks.ask
        profile = self._services.profile(request.profile)
        fields = {ask.profile: profile, ask.method: request.method, ask.seed: request.seed}
        has_own = request.library == OWN_LIBRARY and own is not None and len(own) > 0
        if has_own or request.library in self._services.catalogue.names():
            fields[ask.library] = request.library
        return fields | ask.panel.updates((profile, request.method), request.settings)

    def open_link(self, visit: gr.Request) -> Updates:
        """The page as the address asks for it (see `link_to`), with its recorded run if there is exactly that one.

        An address that asks for nothing leaves alone what the visitor may have changed already: only what the oracle
        says of the recording is handed to `OPENED`. Of one that cannot be followed the prompt is kept.
        """
        ask, blocks, fields = self.blocks.ask, self.blocks, fields_of(dict(visit.query_params))
        if not fields:
            first = self._recorded_story(self._unsaid["prompt"])
            if first is None or not first.found:
                return {self.looked: None}
            return {self.looked: [first.link, *blocks.chapters_of(first).values()]}
        try:
            story = self._asked_by(fields)
        except UserError as error:
            prompt = fields.get("prompt", self._unsaid["prompt"])[:_LONGEST_PROMPT]
            said = blocks.say(f"Only the prompt of this link is used: {error}")
            return {ask.prompt: prompt} | blocks.of_story(Story()) | said
        request = story.request
        assert request is not None
        if own := visit.query_params.get(OWN):
            story = replace(story, note=_WITHOUT_OWN.format(own[:2]))
        shown = {ask.prompt: story.prompt} | self._of_request(request) | blocks.of_story(story)
        return shown if story.recorded else shown | blocks.say("Starting …", "opened", story.link)

    def _asked_by(self, fields: Mapping[str, str]) -> Story:
        """The recorded run of exactly what an address asks for, else the request alone; raises `UserError`."""
        request = request_of(fields, self._unsaid)
        self._services.check(request)
        if self._services.profile(request.profile) != request.profile:
            raise UserError(f"The models {request.profile!r} cannot run here; choose others.")
        library = self._services.catalogue.open(request.library)
        for image_id in (*request.choices.pinned, *request.choices.rejected):
            library.row(image_id)
        story = self._recorded_story(request.prompt)
        return story if story and _is_of(story, request, fields) else Story(request=request)

    def _wire(self, quiet: dict[str, Any]) -> None:
        runs, ask, blocks = self.runs, self.blocks.ask, self.blocks
        presses = [ask.actions.submit, blocks.row.click, blocks.below.click, blocks.check.click]
        self._run_on(presses, runs.act, "once")  # of all that starts a run: a visitor has one at a time
        follows = {method.name: method.follows_typing for method in self._services.methods}
        live = [(follows[name], one) for name, controls in ask.panel.live.items() for one in controls]
        if releases := [control.component.release for is_quick, control in live if not is_quick]:
            # of what is dragged while a run goes on, only where it stands in the end
            self._run_on(releases, runs.tune, "always_last")
        if any(follows.values()):
            drags = [control.component.input for is_quick, control in live if is_quick]
            # a visitor's newest request wins
            blocks.on([ask.typed.submit, *drags], runs.follow, runs.outputs, "always_last")
        # what waits to be filled is that of the chosen method
        opening = [ask.prompt, *self._fields, *blocks.run_outputs]
        ask.method.input(
            self._opening, {ask.prompt, ask.method, blocks.story}, opening, preprocess=False, **quiet
        )
        ask.actions.stop(runs.stop, None, None, trigger_mode="multiple", **quiet)
        for prompt, chip in ask.chips:
            outputs = [*self._fields, *blocks.run_outputs]
            # in the browser alone: a press of Run right after finds it there, and what is typed then stays
            put = f"() => {json.dumps(prompt)}"
            clicked = chip.click(None, None, ask.prompt, js=put, api_visibility="private")
            if any(follows.values()) and self._services.recorded_story(prompt) is None:
                ask.typed.after(clicked.then)
            chip.click(self._example(prompt), None, outputs, **quiet)
        self._wire_files(quiet)

    def _opening(self, data: dict[Any, Any], visit: gr.Request) -> Updates:
        """What a method opens with when it is chosen, unless a run of the visitor's own is shown or goes on."""
        ask, before, method = self.blocks.ask, self.blocks.outline_in(data), str(data[self.blocks.ask.method])
        if before.request is None:
            return {self.blocks.row: self.blocks.chapters_of(Story(), method)[self.blocks.row]}
        is_untouched = before.recorded and data[ask.prompt] == before.prompt
        story = self._recorded_story(self._services.opening(method)) if is_untouched else None
        request = story.request if story else None
        if story is None or request is None or request.method != method:
            return {ask.prompt: gr.skip()}
        if self.runs.line.holds(visit.session_hash or ""):
            return {ask.prompt: gr.skip()}
        return {ask.prompt: story.prompt} | self._of_request(request) | self.blocks.of_story(story)

    def _run_on(
        self, triggers: Sequence[Any], act: Callable[..., Any], mode: Literal["once", "always_last"]
    ) -> None:
        """Make a run of the column and the visitor's last run when one of some events comes, and say that it ended."""
        ask = self.blocks.ask
        running = self.blocks.on(triggers, act, self.runs.outputs, mode)
        running.then(None, ask.actions, ask.actions, js=ENDED, api_visibility="private")

    def _wire_files(self, quiet: dict[str, Any]) -> None:
        ask, blocks = self.blocks.ask, self.blocks
        opening = [ask.prompt, *self._fields, blocks.story, ask.actions, ask.saved]
        ask.saved.upload(self._open, [ask.saved, blocks.shelf, blocks.own], opening, **quiet)
        # apart from runs: a picture that comes while one goes on is not lost
        own = [blocks.shelf, ask.own_list, ask.own, ask.own_place, ask.actions]
        ask.own.upload(self._add_own, [blocks.shelf, ask.own], own, **quiet)
        pasted = ask.pasted.upload(
            None, ask.pasted, ask.own, js="(files) => [files]", api_visibility="private"
        )
        pasted.then(self._add_own, [blocks.shelf, ask.own], own, **quiet)
        ask.own_list.click(self._change_own, {blocks.shelf}, own, **quiet)
        blocks.below.download(self._download, {blocks.story}, blocks.download, **quiet)

    async def _add_own(self, shelf: Shelf, files: list[str] | None, visit: gr.Request) -> Updates:
        """One's own pictures on the shelf; one that cannot be read is named, and the others are kept."""
        sentences = []
        for file in files or ():
            try:
                shelf = await self._reading.do(caller_of(visit)[0], shelf.added, file)
            except UserError as error:
                sentences.append(str(error))
            Path(file).unlink(missing_ok=True)  # what came is kept in the session's folder alone
        return await asyncio.to_thread(self._of_shelf, shelf, visit, " ".join(sentences))

    def _change_own(self, data: dict[Any, Any], event: gr.EventData, visit: gr.Request) -> Updates:
        """One's own pictures without one, or with another name for it."""
        shelf: Shelf = data[self.blocks.shelf]
        act, sha256 = carried(event, "act"), carried(event, "id")
        if act == "remove":
            return self._of_shelf(shelf.removed(sha256), visit, "")
        try:
            return self._of_shelf(shelf.renamed(sha256, carried(event, "name")), visit, "")
        except UserError as error:
            return self._of_shelf(shelf, visit, str(error))

    def _of_shelf(self, shelf: Shelf, visit: gr.Request, sentence: str) -> Updates:
        """The shelf as it is now; unless a run goes on, the browser asks for the last one to go on with it."""
        ask, blocks = self.blocks.ask, self.blocks
        shown: Updates = {blocks.shelf: shelf, ask.own_list: shelf.html(), ask.own: None}
        shown[ask.own_place] = gr.update(open=True)  # after a paste it may be folded away
        if sentence:
            return shown | blocks.say(sentence, busy=self.runs.line.holds(visit.session_hash or ""))
        if self.runs.line.holds(visit.session_hash or ""):
            return shown | blocks.say(_NEXT_RUN, "running", busy=True)
        return shown | blocks.say("", "own")

    async def _open(self, file: str | None, shelf: Shelf, own: SessionLibrary, visit: gr.Request) -> Updates:
        """What a saved picture was asked with, in the fields of the page; the browser then asks for it to be drawn."""
        ask, blocks = self.blocks.ask, self.blocks
        if self.runs.line.holds(visit.session_hash or ""):
            return {ask.saved: None} | blocks.say(_BUSY, "running", busy=True)
        if not file:
            return {ask.saved: None}
        try:
            recipe = await self._reading.do(caller_of(visit)[0], read_png, Path(file))
            request = recipe.request
            self._services.check(request)
            request = request.changed(choices=request.choices.changed(own=shelf.found(request.choices.own)))
        except UserError as error:
            return blocks.say(str(error)) | {ask.saved: None}
        said = blocks.say("Starting …", "opened")
        fields = {ask.prompt: request.prompt, ask.saved: None} | self._of_request(request, own)
        return fields | {blocks.story: Story(request=request, opened=recipe)} | said

    def _download(self, data: dict[Any, Any]) -> str:
        """Made when asked for, as nobody waits for it before."""
        return download(self.blocks.story_in(data))

    def _example(self, prompt: str) -> Callable[[gr.Request], Updates]:
        """Shows an example at once from its recording, if there is one and no run is going on."""

        def show(visit: gr.Request) -> Updates:
            ask = self.blocks.ask
            story = self._recorded_story(prompt)
            if story is None or story.request is None or self.runs.line.holds(visit.session_hash or ""):
                return {ask.seed: gr.skip()}
            return self._of_request(story.request) | self.blocks.of_story(story)

        return show

    def _recorded_story(self, prompt: str) -> Story | None:
        """The recorded run of a prompt with the oracle's checks, once there are models to ask."""
        if prompt in self._recorded:
            return self._recorded[prompt]
        story = self._services.recorded_story(prompt)
        if story is None or story.prompt != prompt:
            return None
        story = self._services.checked(story)
        if story.found:
            self._recorded[prompt] = story
        return story


def _is_of(story: Story, request: Request, fields: Collection[str]) -> bool:
    """Whether a recorded run is that of a request; a method or seed that `fields` do not name may be any."""
    unsaid = {name: getattr(story.request, name) for name in ("method", "seed") if name not in fields}
    return story.request == request.changed(**unsaid)


_LONGEST_PROMPT = 5000  # characters that the field is given to mend
_WITHOUT_OWN = (
    "The link's run used {} of its maker's own pictures; they can't travel, so this one does without."
)
_NEXT_RUN = "Your pictures have changed; the next run takes that in."
_BUSY = "A run goes on: stop it or let it end, then open the picture."
