"""The right column of Explore: a run as chapters, and what a story makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ragdemo.ui import chapters, comparison
from ragdemo.ui.components import html
from ragdemo.ui.story import CHAPTERS, Chapter, Story, chapter_state

Updates = dict[Any, Any]

# The buttons inside a chapter are plain HTML: what they say reaches Python as the data of the block's own click. The
# slider and the link need no server.
_ON_LOAD = """const divide = (range) => range.parentElement.style.setProperty("--at", range.value + "%");
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.ariaDisabled) return;
  if (button.dataset.act) trigger("click", {act: button.dataset.act, id: button.dataset.id});
  if (button.dataset.link) navigator.clipboard.writeText(location.origin + location.pathname + button.dataset.link);
  if (button.hasAttribute("data-enlarge"))
    document.fullscreenElement ? document.exitFullscreen() : button.parentElement.requestFullscreen();
});
element.addEventListener("input", (event) => {
  if (event.target.type === "range") divide(event.target);
});
// pictures told again come without their style, and the input keeps where it stood
watch("value", () => element.querySelectorAll(".wipe input").forEach(divide));"""
# A link that has come is followed once, and then gone, so that the next press finds it changed.
_FOLLOW = """watch("value", () => {
  const link = element.querySelector("a");
  if (link) { link.click(); props.value = ""; }
});"""
_RENDERERS: dict[Chapter, Callable[[Story], str]] = {
    "draft": chapters.draft,
    "missing": chapters.missing,
    "evidence": chapters.evidence,
    "after": chapters.after,
}


@dataclass(frozen=True)
class Telling:
    """The components of the column: HTML alone, which a server sends without building a component anew."""

    chapters: dict[Chapter, gr.HTML]
    controls: gr.HTML
    download: gr.HTML

    @property
    def outputs(self) -> list[gr.HTML]:
        """Everything that `retell` changes; a download is made apart."""
        return [*self.chapters.values(), self.controls]

    def retell(self, story: Story) -> Updates:
        """Every chapter as the story has it."""
        updates: Updates = {block: _RENDERERS[name](story) for name, block in self.chapters.items()}
        return updates | {self.controls: comparison.controls(story)}

    def progress(self, story: Story) -> Updates:
        """What progress changes: the active chapter only, which holds no pictures yet."""
        active = [name for name in CHAPTERS if chapter_state(story, name) == "active"]
        return {self.chapters[name]: _RENDERERS[name](story) for name in active}


def build_telling() -> Telling:
    """The column inside the current Blocks context."""
    with gr.Row(elem_id="opening"):
        first = html(chapters.draft(Story()), min_width=180)
        second = html(chapters.missing(Story()), min_width=240)
    third = html(chapters.evidence(Story()), js_on_load=_ON_LOAD, elem_id="evidence")
    fourth = html(chapters.after(Story()), js_on_load=_ON_LOAD, elem_id="after")
    controls = html(js_on_load=_ON_LOAD, elem_id="controls")
    download = html(js_on_load=_FOLLOW, elem_id="download")
    return Telling(dict(zip(CHAPTERS, (first, second, third, fourth), strict=True)), controls, download)
