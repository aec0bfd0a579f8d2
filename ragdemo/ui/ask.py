"""The left column of Explore: what a person can set and press."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ragdemo.types import Request, UserError
from ragdemo.ui import chapters, prompt_help
from ragdemo.ui.components import html
from ragdemo.ui.controls import ControlPanel
from ragdemo.ui.story import Story
from ragdemo.ui.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ragdemo.methods import MethodSpec

EXAMPLES = 4


@dataclass(frozen=True)
class Ask:
    """The components of the column; `chips` are (example prompt, its button).

    `asked` holds prompt, method, seed and the values of the panel, as the browser hands them on when Run is pressed.
    """

    prompt: gr.Textbox
    chips: tuple[tuple[str, gr.Button], ...]
    method: gr.Radio
    seed: gr.Number
    panel: ControlPanel
    asked: gr.JSON
    own: gr.File
    saved: gr.File
    run: gr.Button
    stop: gr.Button
    announcement: gr.HTML

    def request(self, asked: Any, own: Sequence[str]) -> Request:
        """What `asked` says, with the paths of one's own pictures; what no browser sends is a `UserError`."""
        if not isinstance(asked, dict) or set(asked) != {"prompt", "method", "seed", "settings"}:
            raise UserError("What you asked for did not arrive whole; reload the page and run again.")
        method = str(asked["method"])
        settings = self.panel.settings(method, asked["settings"])
        return Request(asked["prompt"], method, asked["seed"], settings=settings, own_images=tuple(own))


def build_ask(methods: Sequence[MethodSpec], vocabulary: Vocabulary, quiet: dict[str, Any]) -> Ask:
    """The column inside the current Blocks context, wired as far as it needs no backend."""
    examples = vocabulary.examples(EXAMPLES)
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
        chips = _build_chips(prompt, examples, vocabulary, quiet)
    method = gr.Radio(
        [(f"{row.title}\n{row.description}", row.name) for row in methods],
        value=methods[0].name,
        label="Method",
        elem_id="method",
    )
    with gr.Row(elem_id="actions"):
        run = gr.Button("Run", variant="primary", elem_id="run", min_width=120, scale=3)
        stop_button = gr.Button("Stop", elem_id="stop", min_width=80, scale=1)
    announcement = html(chapters.announcement(Story()), elem_id="announcement")
    with gr.Row(elem_id="seed-row"):
        seed = gr.Number(7, label="Seed", precision=0, elem_id="seed", min_width=100)
        dice = gr.Button("⚄ Roll", elem_id="dice", size="sm", min_width=80, scale=0)
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        panel = ControlPanel([row.name for row in methods])
    asked = gr.JSON(visible=False)
    with gr.Accordion("Your own pictures", open=False, elem_id="own-pictures"):
        own = gr.File(
            file_count="multiple",
            file_types=["image"],
            show_label=False,
            label="Pictures of the missing thing",
            height=140,
            elem_id="own",
        )
    with gr.Accordion("Open a saved picture", open=False, elem_id="saved-picture"):
        saved = gr.File(
            file_types=[".png"], show_label=False, label="A PNG with its recipe", height=140, elem_id="saved"
        )
    html(prompt_help.world_note(vocabulary), elem_id="world-note")
    if panel.components:
        method.change(panel.show, method, panel.components, **quiet)
    dice.click(None, None, seed, js="() => Math.floor(Math.random() * 100000)", api_visibility="private")
    prompt.change(
        lambda text: prompt_help.unknown_words(vocabulary, text),
        prompt,
        hint,
        trigger_mode="always_last",
        **quiet,
    )
    return Ask(prompt, chips, method, seed, panel, asked, own, saved, run, stop_button, announcement)


def _build_chips(
    prompt: gr.Textbox, examples: Sequence[str], vocabulary: Vocabulary, quiet: dict[str, Any]
) -> tuple[tuple[str, gr.Button], ...]:
    chips = [
        (example, gr.Button(example, size="sm", min_width=0, scale=0, elem_classes="chip"))
        for example in examples
    ]
    if vocabulary.surprise(random.Random(0)):
        surprise = gr.Button("surprise me", size="sm", min_width=0, scale=0, elem_classes="chip")
        surprise.click(lambda: vocabulary.surprise(random.Random()), None, prompt, **quiet)
    return tuple(chips)
