"""The whole page: a header with the models' state, and one tab per view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr
from gradio.queueing import Queue

from ragdemo.types import UserError
from ragdemo.ui.components import html, quiet_options
from ragdemo.ui.explore import Checklist, Explore
from ragdemo.ui.library_tab import LibraryTab
from ragdemo.ui.markup import escape
from ragdemo.ui.programs import build_programs
from ragdemo.ui.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ragdemo.backend.base import Backend, Status
    from ragdemo.methods import MethodSpec

TITLE = "Seen, missed, found"
SUBTITLE = "what retrieval does to an image generator"
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 5.0  # a failed load is tried again by the next run


class _Queue(Queue):
    """Gradio's queue, which left alone looks for work a thousand times a second, with a twentieth of a core.

    It looks often enough that a run begins at once, and seldom beside a run, which needs the processor.
    """

    at_rest, beside_a_run = 0.005, 0.03  # seconds

    @property
    def sleep_when_free(self) -> float:
        """Seconds from one look to the next."""
        return self.beside_a_run if any(self.active_jobs) else self.at_rest

    @sleep_when_free.setter
    def sleep_when_free(self, seconds: float) -> None:
        pass


def build_page(
    backend: Backend,
    methods: Sequence[MethodSpec],
    vocabulary: Vocabulary,
    engine_errors: tuple[type[Exception], ...] = (),
    checklist: Checklist = lambda _prompt, _image: (),
) -> gr.Blocks:
    """The page as Blocks, ready for `launch(**launch_options())`.

    `engine_errors` are what the backend raises with a sentence for people as its message, beside `UserError`.
    `checklist` says what of a prompt a picture shows; it is shown under the pictures and told to no method.
    """
    told_errors = (UserError, *engine_errors)
    with gr.Blocks(title=f"{TITLE}: {SUBTITLE}", fill_width=True, delete_cache=(3600, 3600)) as page:
        with gr.Row(elem_id="masthead"):
            html(f"<h1>{TITLE}</h1><p>{SUBTITLE}</p>", elem_id="title")
            pill = html(status_pill(backend.status()), elem_id="pill")
        quiet = quiet_options(pill)
        with gr.Tabs(elem_id="views"):
            with gr.Tab("Explore"):
                explore = Explore(backend, methods, vocabulary, told_errors, quiet, checklist)
            with gr.Tab("Library"):
                library = LibraryTab(backend, vocabulary.kinds, told_errors, quiet)
        timer = gr.Timer(_POLL_SECONDS)

        def poll() -> tuple[str, gr.Timer]:
            status = backend.status()
            seconds = _RETRY_SECONDS if status.state == "failed" else _POLL_SECONDS
            return status_pill(status), gr.Timer(seconds, active=status.state != "ready")

        timer.tick(poll, None, [pill, timer], **quiet)
        page.load(poll, None, [pill, timer], **quiet)
        page.load(library.show_first, None, library.outputs, **quiet)
        page.load(explore.open_link, None, explore.link_outputs, **quiet)
        build_programs(backend, told_errors)
    page.queue(max_size=64)
    page._queue.__class__ = _Queue
    page._queue.progress_update_sleep_when_free = 1.0  # no event tells progress in Gradio's way
    return page


def status_pill(status: Status) -> str:
    """The models' state as a dot and a phrase; a failure is the whole sentence."""
    text = f"{status.message} · ready" if status.state == "ready" else status.message
    return f'<p class="pill {status.state}" role="status"><i aria-hidden="true"></i>{escape(text)}</p>'
