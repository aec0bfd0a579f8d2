"""What the page is given to work with, and the components that show a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
from markupsafe import escape
from PIL import Image

from ragdemo.errors import ModelError, UserError
from ragdemo.events import Check, Counterfactual, Draft, Event, Result
from ragdemo.request import Request
from ragdemo.ui.ask import Ask
from ragdemo.ui.markup import announcement, render, render_chapters
from ragdemo.ui.story import Kept, Phase, Story, recorded
from ragdemo.ui.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ragdemo.invention import Inventor
    from ragdemo.library.catalogue import Catalogue
    from ragdemo.methods.base import Method
    from ragdemo.methods.chapters import Chapter
    from ragdemo.run.base import Runner
    from ragdemo.run.examples import Example
    from ragdemo.run.offers import Offers

Updates = dict[Any, Any]
Checklist = Callable[[str, Image.Image], tuple[Check, ...]]
SENTENCES = (UserError, ModelError)
"""Errors that carry a sentence for people as their message."""

_LOG = logging.getLogger(__name__)


def value_in(event: gr.EventData, name: str) -> Any:
    """What an event carries under a name; None if it carries no such thing."""
    try:
        return getattr(event, name, None)
    except TypeError:  # it carries nothing at all
        return None


def carried(event: gr.EventData, name: str) -> str:
    """What an event carries under a name, as a text; empty if it carries no such thing."""
    value = value_in(event, name)
    return "" if value is None else str(value)


@dataclass(frozen=True)
class Services:
    """What the page is given: where the models run, libraries, what can run, and what belongs to this installation.

    `check` raises `UserError` for a request that cannot run. `recorded` gives the events of a recorded run of a prompt,
    none if there is none, `examples` are those that the page offers. `checklist` says what of a prompt a picture shows;
    no method is ever told. `inventor` draws what a visitor invents, if the models' world allows it.
    """

    runner: Runner
    catalogue: Catalogue
    offers: Offers
    vocabulary: Vocabulary
    check: Callable[[Request], None]
    recorded: Callable[[str], Sequence[Event]] = lambda _prompt: ()
    checklist: Checklist = lambda _prompt, _image: ()
    inventor: Inventor | None = None
    examples: Sequence[Example] = ()

    @property
    def methods(self) -> Sequence[Method]:
        """Every method that runs under some profile."""
        return list(dict.fromkeys(method for offer in self.offers.here for method in offer.methods))

    def profile(self, name: str) -> str:
        """The name of a profile that is offered: that one, or the first."""
        names = [offer.profile.name for offer in self.offers.here]
        return name if name in names else names[0]

    def method(self, name: str) -> Method:
        """The method of that name, the first one if there is none."""
        return next((method for method in self.methods if method.name == name), self.methods[0])

    def opening(self, method: str) -> str:
        """The prompt that a method opens with: its first example, or one of the vocabulary."""
        of_method = (one.prompt for one in self.examples if one.method == method)
        return next(of_method, next(iter(self.vocabulary.examples(1)), ""))

    def recorded_story(self, prompt: str) -> Story | None:
        """The recorded run of a prompt."""
        try:
            events = self.recorded(prompt)
        except SENTENCES:
            return None  # a recording is a shortcut: without it the prompt is there, and Run works
        return recorded(events) if events else None

    def checked(self, story: Story) -> Story:
        """The run with what the oracle finds in its pictures, if the models are there that say it."""
        if story.request is None or self.runner.status(story.request.profile).state != "ready":
            return story
        found = dict(story.found)
        try:
            for place, event in enumerate(story.events):
                if isinstance(event, Draft | Result | Counterfactual) and place not in found:
                    found[place] = self.checklist(story.prompt, event.image)
        except (*SENTENCES, RuntimeError):
            pass  # a picture that is there is shown, if need be unchecked; the engine has logged why
        return replace(story, found=found)


@dataclass(frozen=True)
class Blocks:
    """The components that show a run: HTML alone, which a server sends without building a component anew."""

    ask: Ask
    row: gr.HTML
    below: gr.HTML
    check: gr.HTML
    download: gr.HTML
    story: gr.State
    shelf: gr.State
    own: gr.State
    pill: gr.HTML
    services: Services

    @property
    def run_outputs(self) -> list[Any]:
        """What `of_story` fills."""
        return [self.row, self.below, self.check, self.story, self.ask.actions]

    def on(
        self,
        triggers: Sequence[Any],
        act: Callable[..., Any],
        outputs: Sequence[Any],
        mode: Literal["once", "always_last"],
    ) -> Any:
        """Call `act` with the column and the visitor's last run when one of some events comes."""
        return gr.on(
            triggers,
            act,
            {*self.ask.inputs, self.story, self.shelf, self.own},
            outputs,
            api_visibility="private",
            trigger_mode=mode,
            preprocess=False,  # to ask each component costs a change of threads
            postprocess=False,
            show_progress="hidden",
            concurrency_limit=None,  # who waits, waits in a line of the page's own
        )

    def chapters_of(self, story: Story, method: str = "") -> Updates:
        """The chapters of a run, above the fold and below it; without a request those of a method."""
        chapters = self._chapters(story, method)
        inventable = self.services.inventor.kinds if self.services.inventor else ()
        outside = render("outside.html", run=story, inventable=inventable)
        return {
            self.row: outside + render_chapters(story, chapters, "row"),
            self.below: render_chapters(story, chapters, "below"),
        }

    def of_story(self, story: Story, *, busy: bool = False) -> Updates:
        """Everything that shows a run, as it is now."""
        has_failed = bool(story.message) and story.phase is not Phase.RUNNING
        phase = "failed" if has_failed else story.phase.value
        return {
            **self.chapters_of(story),
            self.check: render("counterfactuals.html", run=story),
            self.story: Kept.of(story) if story.is_settled else story,
            **self.say(announcement(story, self._chapters(story)), phase, story.link, busy=busy),
        }

    def _chapters(self, story: Story, method: str = "") -> Sequence[Chapter]:
        name = story.request.method if story.request else method or self.services.methods[0].name
        return self.services.method(name).chapters

    def outline_in(self, data: Mapping[Any, Any]) -> Story:
        """The run that the visitor's state holds, perhaps without its events, whose pictures take time to decode."""
        value = data[self.story]
        return value.story if isinstance(value, Kept) else value

    def story_in(self, data: Mapping[Any, Any]) -> Story:
        """The run that the visitor's state holds; none if it holds what cannot be read back."""
        value = data[self.story]
        if not isinstance(value, Kept):
            return value
        try:
            return value.opened()
        except (KeyError, TypeError, ValueError, AttributeError):
            _LOG.exception("A kept run cannot be read back.")
            return Story()

    def say(self, text: str, phase: str = "failed", link: str = "", *, busy: bool = False) -> Updates:
        """A line below Run; `phase` is that of the run, or "opened" for a picture that is now drawn again."""
        return {self.ask.actions: {"phase": phase, "text": escape(text), "link": link, "busy": busy}}
