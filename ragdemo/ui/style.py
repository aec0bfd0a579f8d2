"""The look: paper, ink and one warm accent, in light and dark; only fonts that the visitor already has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import Depends
from starlette.middleware import Middleware

from ragdemo.ui.calls import MOST_SESSIONS, check_call
from ragdemo.ui.doors import MAX_FILE_BYTES, Doors
from ragdemo.ui.line import MOST_PLACES

CSS_FILE = Path(__file__).with_name("page.css")

HEAD = """<meta name="color-scheme" content="light dark"><script>
if (/Mac|iPhone|iPad/.test(navigator.platform)) document.documentElement.classList.add("apple");
</script>"""

_FONTS = (
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Helvetica Neue",
    "Arial",
    "sans-serif",
)
_MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

# The colours themselves are CSS variables that change with the mode (page.css), so both modes read the same names.
_VALUES = {
    "body_background_fill": "var(--paper)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--muted)",
    "background_fill_primary": "var(--card)",
    "background_fill_secondary": "var(--paper)",
    "block_background_fill": "transparent",
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_label_background_fill": "transparent",
    "block_label_text_color": "var(--muted)",
    "block_title_text_color": "var(--muted)",
    "block_title_text_weight": "500",
    "block_padding": "0px",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--accent)",
    "color_accent": "var(--accent)",
    "color_accent_soft": "var(--accent-soft)",
    "link_text_color": "var(--accent)",
    "input_background_fill": "var(--card)",
    "input_border_color": "var(--line-strong)",
    "input_border_color_focus": "var(--ink)",
    "input_border_width": "1px",
    "input_radius": "12px",
    "input_placeholder_color": "var(--muted)",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "button_primary_background_fill": "var(--ink)",
    "button_primary_background_fill_hover": "var(--ink-soft)",
    "button_primary_text_color": "var(--paper)",
    "button_primary_text_color_hover": "var(--paper)",
    "button_primary_border_color": "var(--ink)",
    "button_secondary_background_fill": "var(--card)",
    "button_secondary_background_fill_hover": "var(--paper-deep)",
    "button_secondary_text_color": "var(--ink)",
    "button_secondary_text_color_hover": "var(--ink)",
    "button_secondary_border_color": "var(--line-strong)",
    "button_large_radius": "12px",
    "button_small_radius": "999px",
    "button_large_text_weight": "600",
    "button_small_text_weight": "400",
    "checkbox_label_background_fill": "var(--card)",
    "checkbox_label_background_fill_selected": "var(--card)",
    "checkbox_label_background_fill_hover": "var(--card)",
    "checkbox_label_text_color": "var(--ink)",
    "checkbox_label_text_color_selected": "var(--ink)",
    "slider_color": "var(--accent)",
    "error_background_fill": "var(--card)",
    "error_text_color": "var(--bad)",
    "error_border_color": "var(--bad)",
}


class PaperTheme(gr.themes.Base):
    """Gradio's plainest theme, redrawn with the page's own colours, type and radii."""

    def __init__(self) -> None:
        super().__init__(font=_FONTS, font_mono=_MONO_FONTS, text_size="md", radius_size="lg")
        self.name = "paper"
        self.set(**{key: value for key, value in _both_modes(_VALUES).items() if key in _settable()})


def launch_options() -> dict[str, Any]:
    """What `launch()` needs so that the page looks and behaves as designed."""
    return {
        "theme": PaperTheme(),
        # Not through `css`: Gradio would put its own prefix before every selector, and break those on the frame.
        "head": f"{HEAD}<style>{CSS_FILE.read_text(encoding='utf-8')}</style>",
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": MAX_FILE_BYTES,
        "state_session_capacity": MOST_SESSIONS,
        "max_threads": MOST_PLACES + 32,  # who waits in line holds one of Gradio's workers
        "app_kwargs": {"dependencies": [Depends(check_call)], "middleware": [Middleware(Doors)]},
    }


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


def html(value: Any = "", **options: Any) -> gr.HTML:
    """An HTML block without Gradio's own text styles, so that page.css alone says how it looks."""
    return gr.HTML(value, apply_default_css=False, **options)


def _both_modes(values: dict[str, str]) -> dict[str, str]:
    return values | {f"{key}_dark": value for key, value in values.items()}


def _settable() -> frozenset[str]:
    return frozenset(gr.themes.Base.set.__code__.co_varnames)
