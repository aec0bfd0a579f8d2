"""The settings that the page offers for each method, folded away until somebody wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Control:
    """A slider for one setting of a method; at `default` the setting is left to the method and its profile."""

    setting: str
    label: str
    low: float
    high: float
    step: float
    default: float


CONTROLS: dict[str, tuple[Control, ...]] = {
    "imagerag": (
        Control("references_per_concept", "References for each missing concept", 1, 4, 1, 1),
        Control("reference_scale", "Weight of the references", 0.0, 2.0, 0.05, 1.0),
        Control("max_rounds", "Rounds at most", 1, 5, 1, 1),
    ),
}


class ControlPanel:
    """The sliders of every method; those of the chosen one are shown."""

    def __init__(self, methods: Sequence[str]) -> None:
        self._rows = [(method, control) for method in methods for control in CONTROLS.get(method, ())]
        self.sliders = [_slider(control, method == methods[0]) for method, control in self._rows]

    def settings(self, method: str, values: Sequence[float]) -> dict[str, Any]:
        """What the sliders of `method` say beyond their defaults, as a request's settings."""
        rows = zip(self._rows, values, strict=True)
        return {
            control.setting: int(value) if isinstance(control.default, int) else float(value)
            for (owner, control), value in rows
            if owner == method and value != control.default
        }

    def show(self, method: str) -> list[Any]:
        """Updates that show the sliders of `method` and hide the others."""
        return [gr.update(visible=owner == method) for owner, _ in self._rows]


def _slider(control: Control, visible: bool) -> gr.Slider:
    return gr.Slider(
        control.low,
        control.high,
        control.default,
        step=control.step,
        label=control.label,
        visible=visible,
        elem_classes="setting",
    )
