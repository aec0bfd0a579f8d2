"""The library tab: every reference picture, and what a search finds among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from ragdemo.types import UserError, check_prompt
from ragdemo.ui.cards import library_cards, search_cards
from ragdemo.ui.components import ENGINE_QUEUE, html
from ragdemo.ui.markup import escape

if TYPE_CHECKING:
    from ragdemo.backend.base import Backend

PAGE_SIZE = 24
_FOUND = 12
_ALL = "all kinds"


class LibraryTab:
    """Builds the tab inside the current Blocks context; `show_first` fills it when the page opens."""

    def __init__(
        self,
        backend: Backend,
        kinds: Sequence[str],
        told_errors: tuple[type[Exception], ...],
        quiet: dict[str, Any],
    ) -> None:
        """`told_errors` carry a sentence for people as their message; `quiet` are a quiet event's options."""
        self._backend = backend
        self._told_errors = told_errors
        with gr.Row(elem_id="library-tools"):
            self.query = gr.Textbox(
                label="Search by words",
                placeholder="a quixel butterfly",
                elem_id="library-query",
                submit_btn="Search",
                scale=3,
                min_width=240,
            )
            self.kind = gr.Dropdown(
                [_ALL, *kinds],
                value=_ALL,
                label="Browse",
                elem_id="library-kind",
                scale=1,
                min_width=160,
            )
        with gr.Accordion("Search by a picture", open=False, elem_id="library-by-picture"):
            self.picture = gr.Image(
                type="pil",
                sources=["upload", "clipboard"],
                label="Picture",
                show_label=False,
                height=180,
                elem_id="library-picture",
            )
        self.summary = html(elem_id="library-summary")
        self.cards = html(elem_id="library-cards")
        with gr.Row(elem_id="library-pager") as self.pager:
            self.previous = gr.Button("← Previous", size="sm", scale=0, min_width=110)
            self.next = gr.Button("Next →", size="sm", scale=0, min_width=110)
        self._page = gr.State(0)
        self._wire(quiet)

    @property
    def outputs(self) -> list[Any]:
        """What `show_first` fills, in order."""
        return [self.summary, self.cards, self.pager, self.previous, self.next, self._page]

    def show_first(self, kind: str = _ALL) -> tuple[Any, ...]:
        """The first page of a kind."""
        return self._show(kind, 0)

    def _wire(self, quiet: dict[str, Any]) -> None:
        self.kind.input(self.show_first, self.kind, self.outputs, **quiet)
        for button, step in ((self.previous, -1), (self.next, 1)):
            button.click(
                lambda kind, page, step=step: self._show(kind, page + step),
                [self.kind, self._page],
                self.outputs,
                **quiet,
            )
        self.query.submit(
            self._search_words,
            [self.query, self.kind],
            self.outputs,
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=[self.summary],
            **ENGINE_QUEUE,
        )
        self.picture.upload(
            self._search_picture,
            self.picture,
            self.outputs,
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=[self.summary],
            **ENGINE_QUEUE,
        )

    def _show(self, kind: str, page: int) -> tuple[Any, ...]:
        page = max(page, 0)
        try:
            found = self._backend.browse(None if kind == _ALL else kind, page * PAGE_SIZE, PAGE_SIZE)
        except UserError as error:
            return _nothing(str(error))
        last = max(0, (found.total - 1) // PAGE_SIZE)
        summary = _line(f"{found.total:,} pictures · {escape(kind)} · page {page + 1} of {last + 1}")
        return (
            summary,
            library_cards(found.items),
            gr.update(visible=last > 0),
            gr.update(interactive=page > 0),
            gr.update(interactive=page < last),
            page,
        )

    def _search_words(self, text: str, kind: str) -> tuple[Any, ...]:
        if not text.strip():
            return self.show_first(kind)
        try:
            check_prompt(text)
        except UserError as error:
            return _nothing(str(error))
        return self._search(text, f'nearest to <em dir="auto">{escape(text)}</em>')

    def _search_picture(self, image: Image.Image) -> tuple[Any, ...]:
        return self._search(image, "nearest to your picture")

    def _search(self, query: str | Image.Image, title: str) -> tuple[Any, ...]:
        try:
            found = self._backend.search(query, _FOUND)
        except self._told_errors as error:
            return _nothing(str(error))
        summary = _line(f"{len(found)} pictures {title}, best first; clear the words to browse again")
        return summary, search_cards(found), gr.update(visible=False), gr.skip(), gr.skip(), 0


def _nothing(sentence: str) -> tuple[Any, ...]:
    summary = f'<p class="announce failed" role="alert">{escape(sentence)}</p>'
    return summary, "", gr.update(visible=False), gr.skip(), gr.skip(), 0


def _line(inner: str) -> str:
    return f'<p class="summary" role="status">{inner}</p>'
