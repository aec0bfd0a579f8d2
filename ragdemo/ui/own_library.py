"""The visitor's own library in its tab: pictures and archives come in, groups are named, removed, taken home."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from ragdemo.errors import UserError
from ragdemo.library.session import MOST_BYTES, MOST_PICTURES, SessionLibrary, uploaded
from ragdemo.request import OWN_LIBRARY
from ragdemo.ui.blocks import SENTENCES, carried
from ragdemo.ui.doors import caller_of
from ragdemo.ui.line import Desk
from ragdemo.ui.markup import render
from ragdemo.ui.style import html

if TYPE_CHECKING:
    from ragdemo.library.sources import Skipped
    from ragdemo.run.base import Runner

KEPT = (
    f"At most {MOST_PICTURES} pictures and {MOST_BYTES // 10**6} MB, kept on this server for your session alone: "
    "nobody else sees them, and they are deleted with it."
)
_AT_A_TIME = 8
_MOST_NAMED = 6
_MOST_COVERS = 96  # pictures that are shown of all groups together
_SCRIPT = Path(__file__).with_name("groups.js").read_text(encoding="utf-8")


class OwnLibrary:
    """Builds the part inside the current Blocks context; the tab wires what follows a change of it."""

    def __init__(
        self, runner: Runner, own: gr.State, profile: gr.Dropdown, quiet: dict[str, Any], reading: Desk
    ) -> None:
        self._runner, self._reading = runner, reading
        with (
            gr.Accordion("Your own library", open=True, elem_id="own-library"),
            gr.Row(elem_id="own-library-row"),
        ):
            with gr.Column(scale=2, min_width=260):
                self.name = gr.Textbox(
                    label="What do the pictures show? (as you would ask for it)",
                    placeholder="our new teapot — or leave it to the names of files and folders",
                    elem_id="own-library-group",
                )
                self.files = gr.File(
                    file_count="multiple",
                    file_types=["image", ".zip"],
                    label="Pictures or a zip archive",
                    show_label=False,
                    height=130,
                    elem_id="own-library-files",
                )
                html(render("sentence.html", text=KEPT), elem_id="own-library-kept")
            with gr.Column(scale=3, min_width=300):
                self.progress = html("", elem_id="own-library-progress")
                self.groups = html(
                    render("groups.html", groups=[]), js_on_load=_SCRIPT, elem_id="own-library-groups"
                )
                with gr.Row(elem_id="own-library-take"):
                    self.pack = gr.Button(
                        "Pack for download", size="sm", visible=False, scale=0, min_width=170
                    )
                    self.packed = gr.DownloadButton("Save", size="sm", visible=False, scale=0, min_width=170)
        self.added = self.files.upload(
            self._add,
            [self.files, self.name, own, profile],
            [self.progress, self.files, own],
            api_visibility="private",
            show_progress="hidden",
            concurrency_limit=None,  # who waits, waits in a line of the page's own
        )
        self.changed = self.groups.click(self._change, own, [self.progress, own], **quiet)
        self.pack.click(self._pack, own, [self.packed, self.progress], **quiet)

    @property
    def outputs(self) -> list[Any]:
        """What `shown` fills, in order."""
        return [self.groups, self.pack, self.packed]

    def shown(self, own: SessionLibrary) -> tuple[Any, ...]:
        """The groups as they are now; what was packed before is out of date."""
        has_any = len(own) > 0
        return _groups(own), gr.update(visible=has_any), gr.update(visible=False, value=None)

    async def _add(
        self, files: list[str] | None, name: str | None, own: SessionLibrary, profile: str, visit: gr.Request
    ) -> AsyncGenerator[tuple[Any, Any, Any], None]:
        """Take files in, where all pictures are read, and say how far it is.

        The library is set anew, as Gradio deletes no state that never was.
        """
        steps = self._taking(files or (), name or "", own, profile)
        try:
            while (said := await self._reading.do(caller_of(visit)[0], next, steps, None)) is not None:
                yield said, gr.skip(), own
        except UserError as error:
            yield _said(fault=str(error)), gr.skip(), own
        finally:
            steps.close()
        yield gr.skip(), None, own

    def _taking(
        self, files: Sequence[str], name: str, own: SessionLibrary, profile: str
    ) -> Generator[Markup, None, None]:
        """Take files in one by one and embed them in batches."""
        skipped: list[Skipped] = []
        known = taken = done = 0
        fault = ""
        for file in map(Path, files):
            try:
                with uploaded(file) as source:
                    skipped += source.skipped
                    total = done + source.count
                    for entry in source.entries():
                        found = own.take(entry, name)
                        skipped += found.skipped
                        known, taken, done = known + found.known, taken + len(found.ids), done + 1
                        if done % _AT_A_TIME == 0:
                            self._embed(own, profile)
                            yield _said(done=done, total=total)
            except UserError as error:
                fault = str(error)
            finally:
                file.unlink(missing_ok=True)
        self._embed(own, profile)
        yield _said(
            taken=taken,
            known=known,
            skipped=skipped[:_MOST_NAMED],
            more=len(skipped) - _MOST_NAMED,
            fault=fault,
        )

    def _embed(self, own: SessionLibrary, profile: str) -> None:
        """Embed what is new, if there are models to do it; else the first search does."""
        if own.folder is None or self._runner.status(profile).state != "ready":
            return
        try:
            self._runner.search("picture", 1, OWN_LIBRARY, profile, own=own.folder)
        except SENTENCES:
            return  # the first search says it

    async def _change(
        self, own: SessionLibrary, event: gr.EventData, visit: gr.Request
    ) -> tuple[Markup, SessionLibrary]:
        """Rename or remove a group."""
        group, name = carried(event, "id"), carried(event, "name")
        changes = {"rename": partial(own.rename, group, name), "remove": partial(own.remove, group)}
        try:
            if (change := changes.get(carried(event, "act"))) is not None:
                await self._reading.do(caller_of(visit)[0], change)
        except UserError as error:
            return _said(fault=str(error)), own
        return Markup(""), own

    async def _pack(self, own: SessionLibrary, visit: gr.Request) -> tuple[Any, Markup]:
        """Pack the library where Gradio may send it from."""
        try:
            place = Path(self.packed.GRADIO_CACHE)
            path = await self._reading.do(caller_of(visit)[0], own.packed, place)
        except UserError as error:
            return gr.update(visible=False), _said(fault=str(error))
        size = path.stat().st_size / 1e6
        return gr.update(value=str(path), label=f"Save {path.name} · {size:.1f} MB", visible=True), Markup("")


def _groups(own: SessionLibrary) -> Markup:
    """The groups with their first pictures; nothing while another press changes them."""
    groups, shown = own.groups, []
    each = max(1, min(4, _MOST_COVERS // max(1, len(groups))))
    try:
        library = own.library
        for place, group in enumerate(groups):
            ids = group.ids[: each if place < _MOST_COVERS else 0]
            images = [library.image(image_id) for image_id in ids]
            shown.append({"name": group.name, "count": len(group.ids), "images": images})
    except UserError:
        shown = []
    return render("groups.html", groups=shown)


def _said(**values: Any) -> Markup:
    """How far an upload is, or what came of it."""
    return render(
        "taken.html",
        **{"fault": "", "skipped": (), "more": 0, "known": 0, "taken": None, "total": 0, **values},
    )
