"""The left column of Explore: what a person can set and press; the settings' controls come from their description."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from ragdemo.request import MAX_PROMPT_CHARACTERS
from ragdemo.ui.choice import Key, follow_choice, methods_of, sentence_of
from ragdemo.ui.markup import render
from ragdemo.ui.style import html
from ragdemo.ui.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ragdemo.run.offers import Offer, Offers

EXAMPLES = 4
FIRST_SEED = 7
_SCRIPT = Path(__file__).with_name("actions.js").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
"""What the buttons inside a run's blocks do."""
_PASTE = Path(__file__).with_name("paste.js").read_text(encoding="utf-8")
_OWN = """document.addEventListener("own", ({detail}) => trigger("click", detail));"""
KEPT = "Kept on this server for your session alone, and deleted with it. A run always uses them."
_ACTIONS = """<div class="actions"><button type="button" id="run">Run</button>
<button type="button" id="stop" ${value.busy ? "" : "hidden"}>Stop</button></div>
<p id="announcement" class="${value.phase}" role="${value.phase === "failed" ? "alert" : "status"}">${value.text}</p>"""


@dataclass(frozen=True)
class Control:
    """One setting of a method as a component.

    `default` is the value that is used if nothing is set, as the component holds it; `choices` map a dropdown's labels
    to values, and are None for a slider or a checkbox.
    """

    setting: str
    component: Any
    default: Any
    choices: Mapping[str, Any] | None = None
    is_whole: bool = False

    def read(self, value: Any) -> Any:
        """The value of the setting for a value of the component, which the method checks."""
        if self.choices is not None:
            return self.choices.get(value, value) if isinstance(value, str) else value
        return int(value) if self.is_whole and isinstance(value, float) and value.is_integer() else value

    def write(self, value: Any) -> Any:
        """The component's value or update for a value of the setting."""
        if self.choices is not None:
            return next((label for label, known in self.choices.items() if known == value), self.default)
        if not isinstance(self.component, gr.Slider) or not isinstance(value, int | float):
            return value
        low, high = min(self.component.minimum, value), max(self.component.maximum, value)
        return gr.update(value=value, minimum=low, maximum=high)


_Columns = list[tuple[Key, gr.Column, list[Control]]]


@dataclass(frozen=True)
class Panel:
    """The controls of all methods under each profile, whose defaults they have, each method's in columns of its own.

    `live` are those that a run follows when they are moved.
    """

    columns: Sequence[tuple[Key, gr.Column]]
    controls: Mapping[Key, Sequence[Control]]
    live: Sequence[Control]

    def settings(self, key: Key, data: Mapping[Any, Any]) -> dict[str, Any]:
        """What the controls of a method say beyond their defaults, of the values by component."""
        said = {}
        for control in self.controls.get(key, ()):
            value = data[control.component]
            if value is not None and value != control.default:
                said[control.setting] = control.read(value)
        return said

    def kept(self, key: Key, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a request's settings that have no control."""
        names = {control.setting for control in self.controls.get(key, ())}
        return {name: value for name, value in settings.items() if name not in names}

    def updates(self, key: Key, settings: Mapping[str, Any]) -> dict[Any, Any]:
        """A value for every control: that of `settings` for the method's own, else the default."""
        return {
            control.component: control.write(settings[control.setting])
            if owner == key and control.setting in settings
            else control.default
            for owner, controls in self.controls.items()
            for control in controls
        }


@dataclass(frozen=True)
class Ask:
    """The components of the column; `chips` are (example prompt, its button), `pasted` the files of the last paste."""

    prompt: gr.Textbox
    chips: tuple[tuple[str, gr.Button], ...]
    profile: gr.Dropdown
    method: gr.Radio
    library: gr.Dropdown
    seed: gr.Number
    panel: Panel
    actions: gr.HTML
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


def build_ask(offers: Offers, libraries: Sequence[str], vocabulary: Vocabulary, quiet: dict[str, Any]) -> Ask:
    """The column inside the current Blocks context, wired as far as it needs no models."""
    names, first = [offer.profile.name for offer in offers.here], offers.here[0]
    prompt, chips = _build_prompt(vocabulary, quiet)
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
    live = _build_columns(offers.here, live=True)
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        panel = _joined(live, _build_columns(offers.here, live=False))
        lines = Markup("").join(render("sentence.html", text=line) for line in offers.lacking)
        html(lines, visible=bool(lines), elem_id="lacking")
    own, own_list, own_place = _build_own()
    pasted = html(None, html_template="", js_on_load=_PASTE, elem_id="pasted")
    saved = _build_saved()
    html(render("world.html", vocabulary=vocabulary), elem_id="world-note")
    follow_choice(offers.here, profile, method, sentence, panel.columns, quiet)
    dice.click(None, None, seed, js="() => Math.floor(Math.random() * 100000)", api_visibility="private")
    return Ask(
        prompt, chips, profile, method, library, seed, panel, actions, own, own_list, own_place, pasted, saved
    )


def unknown_words(vocabulary: Vocabulary, text: str) -> str:
    """The words of a prompt outside the vocabulary, as one line; empty if all are known."""
    return render("hint.html", words=vocabulary.unknown_words(text[:MAX_PROMPT_CHARACTERS])[:8])


def _build_prompt(
    vocabulary: Vocabulary, quiet: dict[str, Any]
) -> tuple[gr.Textbox, tuple[tuple[str, gr.Button], ...]]:
    examples = vocabulary.examples(EXAMPLES)
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
        chips = [(text, gr.Button(text, size="sm", min_width=0, scale=0)) for text in examples]
        if vocabulary.surprise(random.Random(0)):
            surprise = gr.Button("surprise me", size="sm", min_width=0, scale=0)
            surprise.click(lambda: vocabulary.surprise(random.Random()), None, prompt, **quiet)
    prompt.change(
        lambda text: unknown_words(vocabulary, text), prompt, hint, trigger_mode="always_last", **quiet
    )
    return prompt, tuple(chips)


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


def _build_columns(offers: Sequence[Offer], *, live: bool) -> _Columns:
    """A column for each method of each profile with its live controls, or with its others; none without controls."""
    columns: _Columns = []
    first = offers[0].profile.name, offers[0].methods[0].name
    for profile, method in [(offer.profile, method) for offer in offers for method in offer.methods]:
        key, properties = (profile.name, method.name), method.Settings.model_json_schema()["properties"]
        here = [name for name, schema in properties.items() if schema.get("live", False) == live]
        if here:
            order = sorted(here, key=lambda name: name not in method.Settings.__annotations__)
            roles = [role.name for role in method.needs]
            with gr.Column(visible=key == first, elem_classes="panel") as column:
                built = [
                    _build_control(name, properties[name], profile.default(name, roles)) for name in order
                ]
            columns.append((key, column, [control for control in built if control is not None]))
    return columns


def _joined(live: _Columns, others: _Columns) -> Panel:
    controls: dict[Key, list[Control]] = {}
    for key, _, built in (*live, *others):
        controls.setdefault(key, []).extend(built)
    columns = [(key, column) for key, column, _ in (*live, *others)]
    return Panel(columns, controls, [control for _, _, built in live for control in built])


def _build_control(name: str, schema: Mapping[str, Any], default_of_profile: Any) -> Control | None:
    """The control of a setting, or None if there is none for its type, such as a list.

    It stands at the value that will be used. A number that has no default at all stands at its low end.
    """
    options = schema.get("anyOf", [schema])
    kinds = [option for option in options if option.get("type") != "null"]
    kind, is_nullable = kinds[0], len(kinds) < len(options)
    default = schema.get("default")
    default = default_of_profile if default is None else default
    label = schema.get("title", name)
    if "enum" in kind or (kind.get("type") == "boolean" and is_nullable):
        return _dropdown(name, label, schema, kind, is_nullable, default)
    if kind.get("type") == "boolean":
        return Control(name, gr.Checkbox(default, label=label), default)
    if kind.get("type") == "string":
        return Control(name, gr.Textbox(default, label=label), default)
    if kind.get("type") not in ("integer", "number"):
        return None
    low, high, step = schema.get("slider") or _range(kind)
    default = low if default is None else default
    component = gr.Slider(low, high, default, step=step, label=label)
    return Control(name, component, default, is_whole=kind["type"] == "integer")


def _dropdown(
    name: str, label: str, schema: Mapping[str, Any], kind: Mapping[str, Any], is_nullable: bool, default: Any
) -> Control:
    values = [None] if is_nullable else []
    values += kind.get("enum", [True, False])
    labels = schema.get("labels") or [json.dumps(value).strip('"') for value in values]
    choices = dict(zip(labels, values, strict=True))
    chosen = next(
        label for label, value in choices.items() if value == default and type(value) is type(default)
    )
    component = gr.Dropdown(labels, value=chosen, label=label, filterable=False)
    return Control(name, component, chosen, choices)


def _range(kind: Mapping[str, Any]) -> tuple[float, float, float]:
    low, high = kind.get("minimum", 0), kind.get("maximum", 100)
    return low, high, 1 if kind["type"] == "integer" else (high - low) / 100
