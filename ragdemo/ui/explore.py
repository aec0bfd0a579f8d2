"""The first tab: ask on the left, watch the run as a story on the right."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ragdemo.events import Event, Progress
from ragdemo.types import Request, UserError
from ragdemo.ui import chapters, prompt_help
from ragdemo.ui.components import html
from ragdemo.ui.controls import ControlPanel
from ragdemo.ui.pictures import PictureFolder
from ragdemo.ui.story import CHAPTERS, Chapter, Phase, Story, begin, chapter_state, fail, finish, reduce, stop
from ragdemo.ui.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ragdemo.backend.base import Backend
    from ragdemo.methods import MethodSpec

# Everything that needs the models waits in one line: two runs at once would exhaust the memory.
ENGINE_QUEUE = {"concurrency_id": "engine", "concurrency_limit": 1}
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_LOADING = "The models are still loading; the run starts as soon as they are ready."
# Said by the browser itself: the server's first word comes only once it is this visitor's turn.
_IN_LINE = """() => ['<p class="announce" role="status">In line for the models …</p>',
                       {"__type__": "update", "interactive": true}]"""
_BROKEN = "The engine broke off this run; its log says why. The page is fine: run again."
_RENDERERS: dict[Chapter, Callable[[Story], str]] = {
    "draft": chapters.draft,
    "missing": chapters.missing,
    "evidence": chapters.evidence,
    "after": chapters.after,
}
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Ask:
    """The left column: what a person can set and press."""

    prompt: gr.Textbox
    method: gr.Radio
    seed: gr.Number
    panel: ControlPanel
    run: gr.Button
    stop: gr.Button
    announcement: gr.HTML


@dataclass(frozen=True)
class Telling:
    """The right column: the chapters, and the comparison below the last one."""

    chapters: dict[Chapter, gr.HTML]
    comparison: gr.Row
    slider: gr.ImageSlider
    pair: gr.HTML
    download: gr.DownloadButton


class Explore:
    """Builds the tab inside the current Blocks context and wires it to the backend."""

    def __init__(
        self,
        backend: Backend,
        methods: Sequence[MethodSpec],
        vocabulary: Vocabulary,
        told_errors: tuple[type[Exception], ...],
    ) -> None:
        """`told_errors` carry a sentence for people as their message."""
        self._backend = backend
        self._told_errors = told_errors
        self._pictures = PictureFolder()
        with gr.Row(elem_id="explore"):
            with gr.Column(elem_id="ask", scale=0, min_width=260):
                self.ask = _build_ask(methods, vocabulary)
            with gr.Column(elem_id="story", min_width=300):
                self.telling = _build_story()
        self._story = gr.State(Story())
        self._wire()

    def _wire(self) -> None:
        ask = self.ask
        outputs = self._outputs()
        ask.run.click(None, None, [ask.announcement, ask.stop], js=_IN_LINE, api_visibility="private")
        running = ask.run.click(
            self._run,
            [ask.prompt, ask.method, ask.seed, *ask.panel.sliders],
            outputs,
            api_name="run",
            trigger_mode="once",
            show_progress="minimal",
            show_progress_on=[ask.announcement],
            **ENGINE_QUEUE,
        )
        # In this order: told before the run is cancelled, "stopped" would be overwritten by the run's last events.
        cancelled = ask.stop.click(None, cancels=[running], **_QUIET)
        cancelled.then(self._stopped, [self._story], outputs, **_QUIET)

    def _outputs(self) -> list[Any]:
        told = self.telling
        shown = [*told.chapters.values(), told.comparison, told.slider, told.pair, told.download]
        return [*shown, self.ask.announcement, self.ask.stop, self._story]

    def _run(self, prompt: str, method: str, seed: int | None, *values: float) -> Iterator[Updates]:
        """One run, told as it happens; a bad request is a sentence and leaves the last story where it is."""
        try:
            settings = self.ask.panel.settings(method, values)
            request = Request(prompt=prompt, method=method, seed=seed, settings=settings)
        except UserError as error:
            sentence = chapters.announcement(fail(Story(), str(error)))
            yield {self.ask.announcement: sentence, self.ask.stop: gr.update(interactive=False)}
            return
        yield from self._tell(request)

    def _tell(self, request: Request) -> Iterator[Updates]:
        """The story after each event; closing this generator closes the backend's."""
        story = begin(request, _LOADING if self._backend.status().state == "loading" else "")
        yield self._retell(story)
        try:
            with closing(self._backend.run(request)) as events:
                for event in events:
                    story = reduce(story, event)
                    yield self._next(story, event)
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

    def _stopped(self, story: Story) -> Updates:
        """The story told so far; one that was still in line has told nothing, so only the line below Run changes."""
        stopped = chapters.announcement(Story(phase=Phase.STOPPED))
        return self._retell(stop(story)) | {self.ask.announcement: stopped}

    def _next(self, story: Story, event: Event) -> Updates:
        """What one event changes: progress touches the active chapter only, which holds no pictures yet."""
        if not isinstance(event, Progress):
            return self._retell(story)
        active = [name for name in CHAPTERS if chapter_state(story, name) == "active"]
        updates: Updates = {self.telling.chapters[name]: _RENDERERS[name](story) for name in active}
        return updates | {self.ask.announcement: chapters.announcement(story), self._story: story}

    def _retell(self, story: Story) -> Updates:
        updates: Updates = {html: _RENDERERS[name](story) for name, html in self.telling.chapters.items()}
        updates[self.ask.announcement] = chapters.announcement(story)
        updates[self.ask.stop] = gr.update(interactive=story.phase is Phase.RUNNING)
        updates[self._story] = story
        return updates | self._compare(story)

    def _compare(self, story: Story) -> Updates:
        told = self.telling
        if story.result is None or story.draft is None:
            hidden = gr.update(visible=False)
            return {told.comparison: hidden, told.download: hidden}
        result = story.result
        file = self._pictures.save(result.image, result.recipe)
        return {
            told.comparison: gr.update(visible=not story.approved),
            told.slider: (story.draft.image.resize(result.image.size), file),
            told.pair: chapters.pair(story),
            told.download: gr.update(value=file, visible=True),
        }


def _build_ask(methods: Sequence[MethodSpec], vocabulary: Vocabulary) -> Ask:
    examples = vocabulary.examples(4)
    prompt = gr.Textbox(
        value=examples[0] if examples else "",
        label="Prompt",
        lines=2,
        max_lines=6,
        elem_id="prompt",
        placeholder="What should the picture show?",
    )
    hint = html(prompt_help.unknown_words(vocabulary, prompt.value or ""), elem_id="hint")
    with gr.Row(elem_id="chips"):
        _build_chips(prompt, examples[1:], vocabulary)
    method = gr.Radio(
        [(f"{row.title}\n{row.description}", row.name) for row in methods],
        value=methods[0].name,
        label="Method",
        elem_id="method",
    )
    with gr.Row(elem_id="actions"):
        run = gr.Button("Run", variant="primary", elem_id="run", min_width=120, scale=3)
        stop_button = gr.Button("Stop", elem_id="stop", min_width=80, scale=1, interactive=False)
    announcement = html(chapters.announcement(Story()), elem_id="announcement")
    with gr.Row(elem_id="seed-row"):
        seed = gr.Number(7, label="Seed", precision=0, elem_id="seed", min_width=100)
        dice = gr.Button("⚄ Roll", elem_id="dice", size="sm", min_width=80, scale=0)
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        panel = ControlPanel([row.name for row in methods])
    html(prompt_help.world_note(vocabulary), elem_id="world-note")
    if panel.sliders:
        method.change(panel.show, method, panel.sliders, **_QUIET)
    dice.click(None, None, seed, js="() => Math.floor(Math.random() * 100000)", api_visibility="private")
    prompt.change(
        lambda text: prompt_help.unknown_words(vocabulary, text),
        prompt,
        hint,
        trigger_mode="always_last",
        **_QUIET,
    )
    return Ask(prompt, method, seed, panel, run, stop_button, announcement)


def _build_chips(prompt: gr.Textbox, examples: Sequence[str], vocabulary: Vocabulary) -> None:
    for example in examples:
        chip = gr.Button(example, size="sm", min_width=0, scale=0, elem_classes="chip")
        chip.click(lambda text=example: text, None, prompt, **_QUIET)
    if vocabulary.surprise(random.Random(0)):
        chip = gr.Button("surprise me", size="sm", min_width=0, scale=0, elem_classes="chip")
        chip.click(lambda: vocabulary.surprise(random.Random()), None, prompt, **_QUIET)


def _build_story() -> Telling:
    with gr.Row(elem_id="opening"):
        first = html(chapters.draft(Story()), min_width=180)
        second = html(chapters.missing(Story()), min_width=240)
    third = html(chapters.evidence(Story()))
    fourth = html(chapters.after(Story()))
    # Both forms hold the same two pictures: the slider is for the mouse, the pair for everyone.
    with gr.Row(visible=False, elem_id="comparison") as comparison:
        slider = gr.ImageSlider(
            format="png",
            show_label=False,
            buttons=["fullscreen"],
            elem_id="slider",
            min_width=260,
            interactive=False,
            label="draft | with references",
        )
        pair = html(elem_id="pair", min_width=260)
    download = gr.DownloadButton(
        "Download with recipe", visible=False, elem_id="download", size="sm", variant="secondary"
    )
    told = dict(zip(CHAPTERS, (first, second, third, fourth), strict=True))
    return Telling(told, comparison, slider, pair, download)
