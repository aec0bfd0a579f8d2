"""What tells the server that a person has changed by hand what is asked for, and rests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ragdemo.ui.style import html

_SCRIPT = Path(__file__).with_name("typed.js").read_text(encoding="utf-8")


class Typed:
    """An empty block that submits a little after the last key; until then all of it happens in the browser."""

    def __init__(self, following: Sequence[str], method: gr.Radio) -> None:
        """`following` are the names of the methods that follow typing."""
        self._following, self._method = following, method
        value = {"follows": method.value in following, "at": None}
        self._block = html(value, html_template="", js_on_load=_SCRIPT, elem_id="typed")
        self._note(method.change, "null")

    @property
    def submit(self) -> Any:
        """The event."""
        return self._block.submit

    def after(self, event: Any) -> None:
        """Submit also a little after an event of a component, or what follows one, if the method follows typing."""
        self._note(event, "Date.now()")

    def _note(self, event: Any, at: str) -> None:
        if self._following:
            names = json.dumps(self._following)
            note = f"(method) => ({{follows: {names}.includes(method), at: {at}}})"
            event(None, self._method, self._block, js=note, api_visibility="private")
