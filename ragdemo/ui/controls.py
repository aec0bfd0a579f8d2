"""The settings that the page offers for each method, folded away until somebody wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ragdemo.types import UserError


@dataclass(frozen=True)
class Slider:
    """A slider for one setting of a method; at `default` the setting is left to the method and its profile."""

    setting: str
    label: str
    low: float
    high: float
    step: float
    default: float

    def build(self, visible: bool) -> gr.Slider:
        """The component."""
        return gr.Slider(
            self.low,
            self.high,
            self.default,
            step=self.step,
            label=self.label,
            visible=visible,
            elem_classes="setting",
        )

    def read(self, value: float) -> float:
        """The setting's value of the component's."""
        return int(value) if isinstance(self.default, int) else float(value)

    def write(self, value: float) -> float:
        """The inverse of `read`."""
        return value


@dataclass(frozen=True)
class Choice:
    """A list of labelled values for one setting; the component holds the label, the first one is the default."""

    setting: str
    label: str
    choices: tuple[tuple[str, Any], ...]

    @property
    def default(self) -> str:
        """The first label."""
        return self.choices[0][0]

    def build(self, visible: bool) -> gr.Dropdown:
        """The component."""
        return gr.Dropdown(
            [label for label, _ in self.choices],
            value=self.default,
            label=self.label,
            visible=visible,
            filterable=False,
            elem_classes="setting",
        )

    def read(self, label: str) -> Any:
        """The setting's value of the component's."""
        return dict(self.choices)[label]

    def write(self, value: Any) -> str:
        """The inverse of `read`; what is no choice is the default."""
        return next((label for label, known in self.choices if known == value), self.default)


_RETRIEVER = Choice(
    "retriever",
    "Retriever",
    (("Frozen encoder", "zero"), ("RealRAG's, with reflection", "real"), ("RealRAG's, without", "normal")),
)
CONTROLS: dict[str, tuple[Slider | Choice, ...]] = {
    "imagerag": (
        Choice(
            "mode",
            "Mode",
            (
                ("Draft first, then correct it", "draft"),
                ("References at once, no draft", "generation"),
                ("Your own pictures in every drawing", "personalization"),
                ("In other words, nothing retrieved", "rephrase"),
            ),
        ),
        _RETRIEVER,
        Slider("references_per_concept", "References for each missing concept", 1, 4, 1, 1),
        Slider("reference_scale", "Weight of the references", 0.0, 2.0, 0.05, 1.0),
        Slider("similarity_threshold", "Least similarity of a reference", -1.0, 1.0, 0.01, -1.0),
        Slider("max_rounds", "Rounds at most", 1, 5, 1, 1),
        Slider("steps", "Denoising steps", 4, 50, 1, 16),
        Slider("guidance_scale", "Guidance scale", 1.0, 12.0, 0.5, 3.0),
        Choice(
            "hybrid",
            "Search in captions too",
            (("where a word is new", None), ("always", True), ("never", False)),
        ),
    ),
    "realrag": (
        Choice(
            "retriever",
            "Retriever",
            (
                ("Real: trained with reflection", "real"),
                ("Normal: trained without", "normal"),
                ("Zero: frozen", "zero"),
            ),
        ),
        Slider("references", "References", 1, 4, 1, 1),
        Slider("reference_scale", "Weight of the references", 0.0, 2.0, 0.05, 1.0),
        Slider("steps", "Denoising steps", 4, 50, 1, 16),
        Slider("guidance_scale", "Guidance scale", 1.0, 12.0, 0.5, 3.0),
    ),
}


class ControlPanel:
    """The controls of every method; those of the chosen one are shown."""

    def __init__(self, methods: Sequence[str]) -> None:
        self._rows = [(method, control) for method in methods for control in CONTROLS.get(method, ())]
        self.components = [control.build(method == methods[0]) for method, control in self._rows]

    def settings(self, method: str, values: Sequence[Any]) -> dict[str, Any]:
        """What the controls of `method` say beyond their defaults, as a request's settings.

        `values` come from the browser as they are; what no control can hold raises `UserError`.
        """
        if not isinstance(values, list) or len(values) != len(self._rows):
            raise UserError("The settings did not arrive whole; reload the page and run again.")
        said = {}
        for (owner, control), value in zip(self._rows, values, strict=True):
            if owner == method and value not in (control.default, None):
                try:
                    said[control.setting] = control.read(value)
                except (KeyError, TypeError, ValueError, OverflowError):
                    raise UserError(f"{control.label} cannot be {value!r}; choose another value.") from None
        return said

    def values(self, method: str, settings: Mapping[str, Any]) -> list[Any]:
        """The inverse of `settings`: a value for every control."""
        return [
            control.write(settings[control.setting])
            if owner == method and control.setting in settings
            else control.default
            for owner, control in self._rows
        ]

    def show(self, method: str) -> list[Any]:
        """Updates that show the controls of `method` and hide the others."""
        return [gr.update(visible=owner == method) for owner, _ in self._rows]
