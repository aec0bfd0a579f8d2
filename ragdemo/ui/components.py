"""Gradio components as this page uses them."""

from __future__ import annotations

from typing import Any

import gradio as gr

# Everything that needs the models waits in one line: two runs at once would exhaust the memory.
ENGINE_QUEUE: dict[str, Any] = {"concurrency_id": "engine", "concurrency_limit": 1}


def quiet_options(place: gr.HTML) -> dict[str, Any]:
    """Options of an event that is answered at once and shows no progress; one `place` for all events of a page.

    It is where Gradio keeps the event's state. Left to itself Gradio keeps one in every output, and from then on works
    through all of them at every event.
    """
    return {
        "queue": False,
        "show_progress": "hidden",
        "show_progress_on": [place],
        "api_visibility": "private",
    }


def html(value: str = "", **options: Any) -> gr.HTML:
    """An HTML block without Gradio's own text styles, so that page.css alone says how it looks."""
    return gr.HTML(value, apply_default_css=False, **options)
