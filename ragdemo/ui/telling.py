"""The right column of Explore: a run as chapters, and what a story changes in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ragdemo.ui import chapters
from ragdemo.ui.components import html
from ragdemo.ui.pictures import PictureFolder
from ragdemo.ui.story import CHAPTERS, Chapter, Phase, Story, chapter_state

Updates = dict[Any, Any]

# A card's buttons are plain HTML; what they say reaches Python as the data of the block's own click.
_CARD_CLICKS = """element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) trigger("click", {act: button.dataset.act, id: button.dataset.id});
});"""
_RENDERERS: dict[Chapter, Callable[[Story], str]] = {
    "draft": chapters.draft,
    "missing": chapters.missing,
    "evidence": chapters.evidence,
    "after": chapters.after,
}


@dataclass(frozen=True)
class Telling:
    """The components of the column, and the folder that keeps the pictures of their downloads."""

    chapters: dict[Chapter, gr.HTML]
    comparison: gr.Row
    slider: gr.ImageSlider
    pair: gr.HTML
    keep: gr.Row
    download: gr.DownloadButton
    link: gr.Button
    check: gr.Row
    check_button: gr.Button
    controls: gr.HTML
    pictures: PictureFolder

    @property
    def outputs(self) -> list[Any]:
        """Everything that `retell` may change."""
        return [
            *self.chapters.values(),
            self.comparison,
            self.slider,
            self.pair,
            self.keep,
            self.download,
            self.check,
            self.check_button,
            self.controls,
        ]

    def retell(self, story: Story) -> Updates:
        """Every chapter as the story has it."""
        updates: Updates = {block: _RENDERERS[name](story) for name, block in self.chapters.items()}
        updates[self.controls] = chapters.controls(story)
        can_check = story.can_change_references and bool(story.references and story.references.used)
        updates[self.check] = gr.update(visible=bool(story.controls) or can_check)
        updates[self.check_button] = gr.update(interactive=can_check)
        return updates | self._compare(story)

    def progress(self, story: Story) -> Updates:
        """What progress changes: the active chapter only, which holds no pictures yet."""
        active = [name for name in CHAPTERS if chapter_state(story, name) == "active"]
        return {self.chapters[name]: _RENDERERS[name](story) for name in active}

    def _compare(self, story: Story) -> Updates:
        if story.result is None:
            hidden = gr.update(visible=False)
            return {self.comparison: hidden, self.keep: hidden}
        result = story.result
        file = self.pictures.save(result.image, result.recipe)
        updates: Updates = {
            self.comparison: gr.update(visible=not story.approved),
            self.slider: gr.update(visible=False),
            self.pair: chapters.pair(story),
            self.keep: gr.update(visible=story.phase is not Phase.RUNNING),
            self.download: gr.update(value=file),
        }
        if story.draft is not None:
            draft = story.draft.image.resize(result.image.size)
            updates[self.slider] = gr.update(value=(draft, file), visible=True)
        return updates


def build_telling() -> Telling:
    """The column inside the current Blocks context."""
    with gr.Row(elem_id="opening"):
        first = html(chapters.draft(Story()), min_width=180)
        second = html(chapters.missing(Story()), min_width=240)
    third = html(chapters.evidence(Story()), js_on_load=_CARD_CLICKS, elem_id="evidence")
    fourth = html(chapters.after(Story()))
    # Both forms hold the same two pictures: the slider is for the mouse, the pair for everyone.
    with gr.Row(visible=False, elem_id="comparison") as comparison:
        slider = gr.ImageSlider(
            format="png",
            show_label=False,
            buttons=["fullscreen"],
            elem_id="slider",
            min_width=260,
            interactive=False,
            label="draft | with references",
        )
        pair = html(elem_id="pair", min_width=260)
    with gr.Row(visible=False, elem_id="keep") as keep:
        download = gr.DownloadButton(
            "Download with recipe", elem_id="download", size="sm", variant="secondary", scale=0, min_width=180
        )
        link = gr.Button("Copy link", elem_id="copy-link", size="sm", scale=0, min_width=110)
    with gr.Row(visible=False, elem_id="check") as check:
        html(chapters.CHECK_TITLE, elem_id="check-title", min_width=200)
        button = gr.Button("Check it", elem_id="check-button", size="sm", scale=0, min_width=110)
    controls = html(elem_id="controls")
    told = dict(zip(CHAPTERS, (first, second, third, fourth), strict=True))
    return Telling(
        told, comparison, slider, pair, keep, download, link, check, button, controls, PictureFolder()
    )
