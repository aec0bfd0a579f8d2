"""Gradio components as this page uses them."""

from __future__ import annotations

from typing import Any

import gradio as gr


def html(value: str = "", **options: Any) -> gr.HTML:
    """An HTML block without Gradio's own text styles, so that page.css alone says how it looks."""
    return gr.HTML(value, apply_default_css=False, **options)
