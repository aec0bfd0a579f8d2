"""The controls of the methods' settings, made from their description."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ragdemo.ui.choice import Key

if TYPE_CHECKING:
    from ragdemo.run.offers import Offer


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

    `live` are those that a run follows when they are moved, by method.
    """

    columns: Sequence[tuple[Key, gr.Column]]
    controls: Mapping[Key, Sequence[Control]]
    live: Mapping[str, Sequence[Control]]

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


def build_columns(offers: Sequence[Offer], *, live: bool) -> _Columns:
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


def joined(live: _Columns, others: _Columns) -> Panel:
    """The panel of columns that stand apart."""
    controls: dict[Key, list[Control]] = {}
    for key, _, built in (*live, *others):
        controls.setdefault(key, []).extend(built)
    columns = [(key, column) for key, column, _ in (*live, *others)]
    followed: dict[str, list[Control]] = {}
    for (_, method), _, built in live:
        followed.setdefault(method, []).extend(built)
    return Panel(columns, controls, followed)


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
