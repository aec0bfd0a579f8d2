"""The left column of Explore: what a person can set and press."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from ragdemo.request import MAX_PROMPT_CHARACTERS
from ragdemo.ui.choice import follow_choice, methods_of, sentence_of
from ragdemo.ui.markup import render
from ragdemo.ui.panel import Panel, build_columns, joined
from ragdemo.ui.style import html
from ragdemo.ui.typed import Typed
from ragdemo.ui.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ragdemo.run.examples import Example
    from ragdemo.run.offers import Offers

EXAMPLES = 4
FIRST_SEED = 7
_SCRIPT = Path(__file__).with_name("actions.js").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
"""What the buttons inside a run's blocks do."""
_PASTE = Path(__file__).with_name("paste.js").read_text(encoding="utf-8")
_OWN = """document.addEventListener("own", ({detail}) => trigger("click", detail));"""
KEPT = "Kept on this server for your session alone, and deleted with it. A run always uses them."
_PRESS_RUN = """() => { document.querySelector("#run").click(); }"""
_ACTIONS = """<div class="actions"><button type="button" id="run">Run</button>
<button type="button" id="stop" ${value.busy ? "" : "hidden"}>Stop</button></div>
<p id="announcement" class="${value.phase}" role="${value.phase === "failed" ? "alert" : "status"}">${value.text}</p>"""


@dataclass(frozen=True)
class Ask:
    """The components of the column.

    `chips` are (example prompt, its button), `pasted` the files of the last paste; `typed` submits as soon as the hands
    rest that have changed what is asked for, if the method follows typing.
    """

    prompt: gr.Textbox
    chips: tuple[tuple[str, gr.Button], ...]
    profile: gr.Dropdown
    method: gr.Radio
    library: gr.Dropdown
    seed: gr.Number
    panel: Panel
    actions: gr.HTML
    typed: Typed
    own: gr.File
    own_list: gr.HTML
    own_place: gr.Accordion
    pasted: gr.HTML
    saved: gr.File

    @property
    def inputs(self) -> set[Any]:
        """What a request is made of."""
        controls = (control for controls in self.panel.controls.values() for control in controls)
        fields = (self.prompt, self.profile, self.method, self.library, self.seed)
        return {*fields, *(one.component for one in controls)}


def build_ask(
    offers: Offers,
    libraries: Sequence[str],
    vocabulary: Vocabulary,
    quiet: dict[str, Any],
    examples: Sequence[Example] = (),
) -> Ask:
    """The column inside the current Blocks context, wired as far as it needs no models."""
    names, first = [offer.profile.name for offer in offers.here], offers.here[0]
    prompt, chips, surprise = _build_prompt(vocabulary, examples, quiet)
    method = gr.Radio(**methods_of(first), label="Method", elem_id="method")
    sentence = html(sentence_of(first, first.methods[0].name), elem_id="method-sentence")
    actions = html(
        {"phase": "idle", "text": "", "link": "", "busy": False},
        html_template=_ACTIONS,
        js_on_load=_SCRIPT,
        elem_id="actions",
    )
    with gr.Row(elem_id="seed-row"):
        seed = gr.Number(FIRST_SEED, label="Seed", precision=0, elem_id="seed", min_width=100)
        dice = gr.Button("⚄ Roll", elem_id="dice", size="sm", min_width=80, scale=0)
    profile = gr.Dropdown(names, value=names[0], label="Models", visible=len(names) > 1, elem_id="profile")
    library = gr.Dropdown(
        list(libraries), value=libraries[0], label="Library", visible=len(libraries) > 1, elem_id="library"
    )
    live = build_columns(offers.here, live=True)
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        panel = joined(live, build_columns(offers.here, live=False))
        lines = Markup("").join(render("sentence.html", text=line) for line in offers.lacking)
        html(lines, visible=bool(lines), elem_id="lacking")
    own, own_list, own_place = _build_own()
    pasted = html(None, html_template="", js_on_load=_PASTE, elem_id="pasted")
    saved = _build_saved()
    html(render("world.html", vocabulary=vocabulary), elem_id="world-note")
    follow_choice(offers.here, profile, method, sentence, panel.columns, quiet)
    rolled = dice.click(
        None, None, seed, js="() => Math.floor(Math.random() * 100000)", api_visibility="private"
    )
    following = [one.name for offer in offers.here for one in offer.methods if one.follows_typing]
    typed = Typed(following, method)
    for event in (rolled.then, *(one.then for one in surprise)):
        typed.after(event)
    return Ask(
        prompt,
        chips,
        profile,
        method,
        library,
        seed,
        panel,
        actions,
        typed,
        own,
        own_list,
        own_place,
        pasted,
        saved,
    )


def unknown_words(vocabulary: Vocabulary, text: str | None) -> str:
    """The words of a prompt outside the vocabulary, as one line; empty if all are known."""
    return render("hint.html", words=vocabulary.unknown_words((text or "")[:MAX_PROMPT_CHARACTERS])[:8])


def _build_prompt(
    vocabulary: Vocabulary, recorded: Sequence[Example], quiet: dict[str, Any]
) -> tuple[gr.Textbox, tuple[tuple[str, gr.Button], ...], list[Any]]:
    """The prompt, its examples, and what happens when a surprise is asked for."""
    examples = [one.prompt for one in recorded] or list(vocabulary.examples(EXAMPLES))
    prompt = gr.Textbox(
        value=examples[0] if examples else "",
        label="Prompt",
        lines=2,
        max_lines=6,
        elem_id="prompt",
        placeholder="What should the picture show?",
    )
    hint = html(unknown_words(vocabulary, prompt.value or ""), elem_id="hint")
    with gr.Row(elem_id="chips"):
        chips = [_build_chip(one) for one in recorded] or [(text, _small(text)) for text in examples]
        surprised = []
        if vocabulary.surprise(random.Random(0)):
            surprise = _small("surprise me")
            chosen = surprise.click(lambda: vocabulary.surprise(random.Random()), None, prompt, **quiet)
            surprised = [chosen, chosen.then(None, None, None, js=_PRESS_RUN, api_visibility="private")]
    prompt.change(
        lambda text: unknown_words(vocabulary, text), prompt, hint, trigger_mode="always_last", **quiet
    )
    return prompt, tuple(chips), surprised


def _build_chip(example: Example) -> tuple[str, gr.Button]:
    """An example's button, which shows its result and says if that is a failure."""
    text = (
        f"{example.prompt} — goes wrong: give it another reference" if example.is_failure else example.prompt
    )
    classes = ["failure"] if example.is_failure else []
    return example.prompt, _small(text, icon=str(example.thumbnail), elem_classes=classes)


def _small(text: str, **options: Any) -> gr.Button:
    return gr.Button(text, size="sm", min_width=0, scale=0, **options)


def _build_own() -> tuple[gr.File, gr.HTML, gr.Accordion]:
    label = "Your own pictures (upload or paste)"
    with gr.Accordion(label, open=False, elem_id="own-pictures") as place:
        own = gr.File(
            file_count="multiple",
            file_types=["image"],
            show_label=False,
            label="Pictures of the missing thing",
            height=120,
            elem_id="own",
        )
        own_list = html("", js_on_load=f"{SCRIPT}\n{_OWN}", elem_id="own-list")
        html(render("sentence.html", text=KEPT), elem_id="own-kept")
    return own, own_list, place


def _build_saved() -> gr.File:
    with gr.Accordion("Open a saved picture", open=False, elem_id="saved-picture"):
        return gr.File(
            file_types=[".png"], show_label=False, label="A PNG with its recipe", height=120, elem_id="saved"
        )
