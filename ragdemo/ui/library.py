"""The library tab: every reference picture, and what a search finds among them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.images import read_image
from ragdemo.library.catalogue import page_of
from ragdemo.library.session import SessionLibrary
from ragdemo.request import OWN_LIBRARY
from ragdemo.ui.ask import SCRIPT, Ask
from ragdemo.ui.blocks import SENTENCES, Services
from ragdemo.ui.choice import libraries_of
from ragdemo.ui.doors import caller_of
from ragdemo.ui.line import Lines
from ragdemo.ui.markup import render
from ragdemo.ui.own_library import OwnLibrary
from ragdemo.ui.style import html

if TYPE_CHECKING:
    from ragdemo.library.store import Library

PAGE_SIZE = 24
_FOUND = 12
_ALL = "all kinds"
_ORIGINS = ("author", "creator", "artist", "credit", "attribution", "source", "url")
_LICENCES = ("license", "licence", "rights")


class LibraryTab:
    """Builds the tab inside the current Blocks context; `show_first` fills it when the page opens."""

    def __init__(
        self, services: Services, ask: Ask, own: gr.State, quiet: dict[str, Any], lines: Lines
    ) -> None:
        """The profile in the column `ask` searches; `quiet` are the options of an event that shows no progress."""
        self._services, self._runner, self._catalogue = services, services.runner, services.catalogue
        self._ask, self._profile, self._own, self._lines = ask, ask.profile, own, lines
        names = self._catalogue.names()
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
                **self._offered(names[0], SessionLibrary()),
                label="Browse",
                elem_id="library-kind",
                scale=1,
                min_width=160,
            )
            self.library = gr.Dropdown(
                list(names),
                value=names[0],
                label="Library",
                visible=len(names) > 1,
                elem_id="library-name",
                scale=1,
                min_width=160,
            )
        with gr.Accordion("Search by a picture", open=False, elem_id="library-by-picture"):
            self.picture = gr.File(
                file_types=["image"], show_label=False, label="Picture", height=120, elem_id="library-picture"
            )
        self.summary = html(js_on_load=SCRIPT, elem_id="library-summary")
        self.cards = html(elem_id="library-cards")
        with gr.Row(elem_id="library-pager") as self.pager:
            self.previous = gr.Button("← Previous", size="sm", scale=0, min_width=110)
            self.next = gr.Button("Next →", size="sm", scale=0, min_width=110)
        self.mine = OwnLibrary(self._runner, own, ask.profile, quiet, lines.reading)
        self._page = gr.State(0)
        self._wire(quiet)

    @property
    def outputs(self) -> list[Any]:
        """What `show_first` fills, in order."""
        return [self.summary, self.cards, self.pager, self.previous, self.next, self._page]

    @property
    def all_outputs(self) -> list[Any]:
        """What `show_own` fills, in order."""
        return [self._ask.library, self.library, self.kind, self.query, *self.outputs, *self.mine.outputs]

    def show_first(self, library: str, own: SessionLibrary, kind: str = _ALL) -> tuple[Any, ...]:
        """The first page of a kind."""
        return self._show(library, own, kind, 0)

    def show_own(self, own: SessionLibrary) -> tuple[Any, ...]:
        """The visitor's own library, which is asked and shown from now on; the first one if theirs is empty."""
        offered = libraries_of(self._catalogue, own, OWN_LIBRARY)
        kinds = gr.update(**self._offered(offered["value"], own))
        shown = self.show_first(offered["value"], own)
        return gr.update(**offered), gr.update(**offered), kinds, "", *shown, *self.mine.shown(own)

    def _opened(self, library: str, own: SessionLibrary) -> Library:
        return own.library if library == OWN_LIBRARY else self._catalogue.open(library)

    def _offered(self, library: str, own: SessionLibrary) -> dict[str, Any]:
        """The kinds of a library as a dropdown holds them, which is hidden if there are none."""
        try:
            rows = self._opened(library, own).rows
        except UserError:
            rows = ()  # the tab says it
        kinds = sorted({str(row.extra["kind"]) for row in rows if "kind" in row.extra})
        return {"choices": [_ALL, *kinds], "value": _ALL, "visible": bool(kinds)}

    def _wire(self, quiet: dict[str, Any]) -> None:
        browsing = [self.library, self._own, self.kind]
        # each empties the words: what is browsed is not what they find
        gr.on(
            [self.kind.input, self.summary.click],
            lambda library, own, kind: ["", *self.show_first(library, own, kind)],
            browsing,
            [self.query, *self.outputs],
            **quiet,
        )
        self.library.input(
            lambda library, own: [
                gr.Dropdown(**self._offered(library, own)),
                "",
                *self.show_first(library, own),
            ],
            [self.library, self._own],
            [self.kind, self.query, *self.outputs],
            **quiet,
        )
        for button, step in ((self.previous, -1), (self.next, 1)):
            button.click(
                lambda library, own, kind, page, step=step: self._show(library, own, kind, page + step),
                [*browsing, self._page],
                self.outputs,
                **quiet,
            )
        for change in (self.mine.added, self.mine.changed):
            change.then(self.show_own, self._own, self.all_outputs, **quiet)
        searching: dict[str, Any] = {
            "outputs": self.outputs,
            "api_visibility": "private",
            "show_progress": "minimal",
            "show_progress_on": [self.summary],
            "concurrency_limit": None,  # who waits, waits in a line of the page's own
        }
        searched = [self.library, self._profile, self._own]
        self.query.submit(self._search_words, [self.query, self.kind, *searched], **searching)
        searching["outputs"] = [*self.outputs, self.picture]
        self.picture.upload(self._search_picture, [self.picture, *searched], **searching)

    def _show(self, library: str, own: SessionLibrary, kind: str, page: int) -> tuple[Any, ...]:
        page = max(page, 0)
        try:
            opened = self._opened(library, own)
            found = page_of(opened, None if kind == _ALL else kind, page * PAGE_SIZE, PAGE_SIZE)
            items = [
                {
                    "id": row.id,
                    "caption": row.caption,
                    "image": opened.image(row.id),
                    "credit": credit_of(row.extra),
                }
                for row in found.rows
            ]
        except UserError as error:
            return _nothing(str(error))
        last = max(0, (found.total - 1) // PAGE_SIZE)
        summary = {"total": found.total, "kind": kind, "page": page + 1, "pages": last + 1}
        summary["strange"] = self._is_strange(opened)
        return (
            render("summary.html", **summary),
            render("library.html", items=items, scored=False),
            gr.update(visible=last > 0),
            gr.update(interactive=page > 0),
            gr.update(interactive=page < last),
            page,
        )

    def _is_strange(self, library: Library) -> bool:
        """Whether no models that are offered can draw what a library shows."""
        kinds = self._services.vocabulary.kinds
        draws_all = any(not offer.profile.knows_world_alone for offer in self._services.offers.here)
        return not draws_all and not any(row.extra.get("kind") in kinds for row in library.rows)

    async def _search_words(
        self,
        text: str | None,
        kind: str,
        library: str,
        profile: str,
        own: SessionLibrary,
        visit: gr.Request,
    ) -> tuple[Any, ...]:
        text = text or ""
        if not text.strip():
            return await asyncio.to_thread(self.show_first, library, own, kind)
        return await self._searched(visit, text, library, profile, own, words=text)

    async def _search_picture(
        self, file: str | None, library: str, profile: str, own: SessionLibrary, visit: gr.Request
    ) -> tuple[Any, ...]:
        if not file:
            return *[gr.skip() for _ in self.outputs], None
        try:
            image = await self._lines.reading.do(caller_of(visit)[0], read_image, file)
        except UserError as error:
            return *_nothing(str(error)), None
        return *await self._searched(visit, image, library, profile, own, picture=image), None

    async def _searched(
        self,
        visit: gr.Request,
        query: str | Image.Image,
        library: str,
        profile: str,
        own: SessionLibrary,
        **shown: Any,
    ) -> tuple[Any, ...]:
        """What a search finds, in the page's parts; a sentence if it finds nothing or too many wait for it."""
        search = partial(self._search, query, library, profile, own, **shown)
        try:
            return await self._lines.searching.do(caller_of(visit)[0], search)
        except SENTENCES as error:
            return _nothing(str(error))

    def _search(
        self, query: str | Image.Image, library: str, profile: str, own: SessionLibrary, **shown: Any
    ) -> tuple[Any, ...]:
        opened = self._opened(library, own)
        found = self._runner.search(query, _FOUND, library, profile, own=own.folder)
        items = [{**vars(one), "credit": credit_of(opened.row(one.id).extra)} for one in found]
        summary = render("summary.html", found=len(found), **shown)
        cards = render("library.html", items=items, scored=True)
        return summary, cards, gr.update(visible=False), gr.skip(), gr.skip(), 0


def credit_of(extra: Mapping[str, Any]) -> str:
    """Who made a picture or where it is from, and its licence, as far as its metadata have them."""
    said = {key.lower(): value for key, value in extra.items() if isinstance(value, str) and value.strip()}
    origin = next((said[key] for key in _ORIGINS if key in said), "")
    licence = next((said[key] for key in _LICENCES if key in said), "")
    return " · ".join(part.split(". ")[0][:80] for part in (origin, licence) if part)


def _nothing(sentence: str) -> tuple[Any, ...]:
    summary = render("summary.html", sentence=sentence)
    return summary, "", gr.update(visible=False), gr.skip(), gr.skip(), 0
