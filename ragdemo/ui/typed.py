"""What tells the server that a person has changed by hand what is asked for, and rests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragdemo.ui.style import html

_SCRIPT = Path(__file__).with_name("typed.js").read_text(encoding="utf-8")


class Typed:
    """An empty block that submits; until then all of it happens in the browser."""

    def __init__(self, following: Sequence[str], prompt: Any, method: Any) -> None:
        """`following` are the names of the methods that follow typing."""
        self._following, self._inputs = following, [prompt, method]
        self._block = html(None, html_template="", js_on_load=_SCRIPT, elem_id="typed")

    @property
    def submit(self) -> Any:
        """The event."""
        return self._block.submit

    def after(self, event: Any) -> None:
        """Submit a little after an event of a component, or what follows one, while a following method is chosen."""
        if self._following:
            names = json.dumps(self._following)
            note = f"(text, method) => {names}.includes(method) ? {{text, at: Date.now()}} : null"
            event(None, self._inputs, self._block, js=note, api_visibility="private")
