"""The library tab: every reference picture, and what a search finds among them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.images import read_image
from ragdemo.library.catalogue import group_of, page_of
from ragdemo.library.session import SessionLibrary
from ragdemo.request import OWN_LIBRARY
from ragdemo.ui.ask import SCRIPT, Ask
from ragdemo.ui.blocks import SENTENCES, Services, carried
from ragdemo.ui.choice import libraries_of
from ragdemo.ui.doors import caller_of
from ragdemo.ui.line import Lines
from ragdemo.ui.markup import render
from ragdemo.ui.own_library import OwnLibrary
from ragdemo.ui.sought import Sought, card_of, filters_of
from ragdemo.ui.style import html

if TYPE_CHECKING:
    from ragdemo.library.store import Library

PAGE_SIZE = 24
FOUND = 12


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
            filters = self._filters(names[0], SessionLibrary())
            self.kind = gr.Dropdown(
                **filters[0], label="Kind", elem_id="library-kind", scale=1, min_width=150
            )
            self.tier = gr.Dropdown(
                **filters[1], label="Names", elem_id="library-tier", scale=1, min_width=150
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
        self._build_switches()
        self.summary = html(js_on_load=SCRIPT, elem_id="library-summary")
        self.cards = html(js_on_load=SCRIPT, elem_id="library-cards")
        with gr.Row(elem_id="library-pager") as self.pager:
            self.previous = gr.Button("← Previous", size="sm", scale=0, min_width=110)
            self.next = gr.Button("Next →", size="sm", scale=0, min_width=110)
        self.mine = OwnLibrary(self._runner, own, ask.profile, quiet, lines.reading)
        self._page = gr.State(0)
        self._wire(quiet)

    def _build_switches(self) -> None:
        with gr.Row(elem_id="library-switches"):
            self.one_of_each = gr.Checkbox(label="One picture of each species", elem_id="library-each")
            self.looks = gr.Checkbox(label="Search by looks alone, not in captions", elem_id="library-looks")
        with gr.Accordion("Search by a picture", open=False, elem_id="library-by-picture"):
            self.picture = gr.File(
                file_types=["image"], show_label=False, label="Picture", height=120, elem_id="library-picture"
            )

    @property
    def outputs(self) -> list[Any]:
        """What `show_first` fills, in order."""
        return [self.summary, self.cards, self.pager, self.previous, self.next, self._page]

    @property
    def all_outputs(self) -> list[Any]:
        """What `show_own` fills, in order."""
        filters = [self.kind, self.tier, self.query]
        return [self._ask.library, self.library, *filters, *self.outputs, *self.mine.outputs]

    def show_first(self, library: str, own: SessionLibrary) -> tuple[Any, ...]:
        """The first page of everything."""
        return self._browsed(Sought(), library, own)

    def show_own(self, own: SessionLibrary) -> tuple[Any, ...]:
        """The visitor's own library, which is asked and shown from now on; the first one if theirs is empty."""
        offered = libraries_of(self._catalogue, own, OWN_LIBRARY)
        filters = [gr.update(**options) for options in self._filters(offered["value"], own)]
        shown = self.show_first(offered["value"], own)
        return gr.update(**offered), gr.update(**offered), *filters, "", *shown, *self.mine.shown(own)

    def opened(self, library: str, own: SessionLibrary) -> Library:
        """The library of a name; raises `UserError` if there is none, or the visitor's own is empty."""
        return own.library if library == OWN_LIBRARY else self._catalogue.open(library)

    def _filters(self, library: str, own: SessionLibrary) -> list[dict[str, Any]]:
        try:
            return filters_of(self.opened(library, own).rows)
        except UserError:
            return filters_of(())  # the tab says it

    def _sought_in(self, data: Mapping[Any, Any]) -> Sought:
        fields = (self.kind, self.tier, self.one_of_each, self.looks)
        return Sought(data[self.query] or "", *(data[field] for field in fields))

    def _wire(self, quiet: dict[str, Any]) -> None:
        searching: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "minimal",
            "show_progress_on": [self.summary],
            "concurrency_limit": None,  # who waits, waits in a line of the page's own
        }
        fields = {self.query, self.kind, self.tier, self.one_of_each, self.looks}
        inputs = {*fields, self.library, self._own, self._profile}
        switches = [self.kind.input, self.tier.input, self.one_of_each.input, self.looks.input]
        gr.on([self.query.submit, *switches], self._search_words, inputs, self.outputs, **searching)
        self.summary.click(self._cleared, inputs, [self.query, *self.outputs], **quiet)
        self.library.input(
            self._changed_library,
            [self.library, self._own],
            [self.kind, self.tier, self.query, *self.outputs],
            **quiet,
        )
        for button, step in ((self.previous, -1), (self.next, 1)):
            button.click(partial(self._turned, step), {*inputs, self._page}, self.outputs, **quiet)
        for change in (self.mine.added, self.mine.changed):
            change.then(self.show_own, self._own, self.all_outputs, **quiet)
        uploaded = [*self.outputs, self.picture]
        self.picture.upload(self._search_picture, {*inputs, self.picture}, uploaded, **searching)
        self.cards.click(self._search_card, inputs, [self.query, *self.outputs], **searching)

    # Browsing

    def _turned(self, step: int, data: dict[Any, Any]) -> tuple[Any, ...]:
        page = data[self._page] + step
        return self._browsed(self._sought_in(data), data[self.library], data[self._own], page)

    def _cleared(self, data: dict[Any, Any]) -> tuple[Any, ...]:
        sought = replace(self._sought_in(data), words="")
        return "", *self._browsed(sought, data[self.library], data[self._own])

    def _changed_library(self, library: str, own: SessionLibrary) -> list[Any]:
        filters = [gr.update(**options) for options in self._filters(library, own)]
        return [*filters, "", *self.show_first(library, own)]

    def _browsed(self, sought: Sought, library: str, own: SessionLibrary, page: int = 0) -> tuple[Any, ...]:
        page = max(page, 0)
        try:
            opened = self.opened(library, own)
            found = page_of(opened, sought.where, page * PAGE_SIZE, PAGE_SIZE, sought.one_of_each)
            sizes = found.sizes or (1,) * len(found.rows)
            pairs = zip(found.rows, sizes, strict=True)
            items = [card_of(opened, row.id, opened.image(row.id), size) for row, size in pairs]
        except UserError as error:
            return _nothing(str(error))
        last = max(0, (found.total - 1) // PAGE_SIZE)
        summary = {"total": found.total, "sought": sought, "page": page + 1, "pages": last + 1}
        return (
            render("summary.html", **summary, **self._facts(opened)),
            render("library.html", items=items, scored=False),
            gr.update(visible=last > 0),
            gr.update(interactive=page > 0),
            gr.update(interactive=page < last),
            page,
        )

    def _facts(self, library: Library) -> dict[str, Any]:
        """What is to be said of a library: whether models can draw it, and how much of it runs look into."""
        kinds = self._services.vocabulary.kinds
        draws_all = any(offer.profile.vocabulary is None for offer in self._services.offers.here)
        strange = not draws_all and not any(row.extra.get("kind") in kinds for row in library.rows)
        searched = len(library.rows_of(library.searched_split))
        return {"strange": strange, "searched": searched if searched < len(library) else 0}

    # Searching

    async def _search_words(self, data: dict[Any, Any], visit: gr.Request) -> tuple[Any, ...]:
        """What the words find among all that passes the filters; without words, all of that."""
        sought = self._sought_in(data)
        if not sought.words.strip():
            return await asyncio.to_thread(self._browsed, sought, data[self.library], data[self._own])
        return await self._searched(visit, sought.words, sought, data)

    async def _search_picture(self, data: dict[Any, Any], visit: gr.Request) -> tuple[Any, ...]:
        """What looks like a picture that was dropped here."""
        file = data[self.picture]
        if not file:
            return *[gr.skip() for _ in self.outputs], None
        try:
            image = await self._lines.reading.do(caller_of(visit)[0], read_image, file)
        except UserError as error:
            return *_nothing(str(error)), None
        return *await self._searched(visit, image, self._sought_in(data), data), None

    async def _search_card(
        self, data: dict[Any, Any], event: gr.EventData, visit: gr.Request
    ) -> tuple[Any, ...]:
        """What looks like a card's picture, or all pictures of its group; other buttons are the first tab's."""
        act, image_id, sought = carried(event, "act"), carried(event, "id"), self._sought_in(data)
        if act not in ("like", "group"):
            return gr.skip(), *[gr.skip() for _ in self.outputs]
        try:
            opened = self.opened(data[self.library], data[self._own])
            query = opened.image(image_id) if act == "like" else group_of(opened.row(image_id))
        except UserError as error:
            return gr.skip(), *_nothing(str(error))
        if isinstance(query, str):
            sought = replace(sought, one_of_each=False)
        words = query if isinstance(query, str) else ""
        return words, *await self._searched(visit, query, sought, data)

    async def _searched(
        self, visit: gr.Request, query: str | Image.Image, sought: Sought, data: Mapping[Any, Any]
    ) -> tuple[Any, ...]:
        """What a search finds, in the page's parts; a sentence if it finds nothing or too many wait for it."""
        place = (data[self.library], data[self._own], data[self._profile])
        try:
            search = partial(self._search, query, sought, *place)
            return await self._lines.searching.do(caller_of(visit)[0], search)
        except SENTENCES as error:
            return _nothing(str(error))

    def _search(
        self, query: str | Image.Image, sought: Sought, library: str, own: SessionLibrary, profile: str
    ) -> tuple[Any, ...]:
        opened = self.opened(library, own)
        how = {"where": sought.where, "one_of_each": sought.one_of_each, "hybrid": not sought.by_looks}
        found = self._runner.search(query, FOUND, library, profile, own=own.folder, **how)  # type: ignore[arg-type]
        items = [{**vars(one), **card_of(opened, one.id, one.image)} for one in found]
        shown = {"words": query} if isinstance(query, str) else {"picture": query}
        summary = render("summary.html", found=len(found), sought=sought, **self._facts(opened), **shown)
        cards = render("library.html", items=items, scored=True)
        return summary, cards, gr.update(visible=False), gr.skip(), gr.skip(), 0


def _nothing(sentence: str) -> tuple[Any, ...]:
    summary = render("summary.html", sentence=sentence)
    return summary, "", gr.update(visible=False), gr.skip(), gr.skip(), 0
