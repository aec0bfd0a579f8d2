"""Start the page: build it, answer at once, and load the models beside it."""

from __future__ import annotations

import os
from functools import partial

# Set before Gradio is imported: pages rendered on a second server and usage reports are both opt-in here.
os.environ.setdefault("GRADIO_SSR_MODE", "false")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from ragdemo.backend import BackendError, EngineProcess, LocalBackend, ProcessBackend
from ragdemo.evaluation.checklist import Checklist
from ragdemo.methods import METHODS
from ragdemo.pocket.vocabulary import caption_phrases, vocabulary
from ragdemo.profiles import ASSETS
from ragdemo.ui.page import build_page
from ragdemo.ui.theme import launch_options
from ragdemo.ui.vocabulary import Vocabulary

engine = EngineProcess(backend=LocalBackend, checklist=partial(Checklist, ASSETS / "pocket" / "oracle"))
backend = ProcessBackend(engine, front=LocalBackend())
demo = build_page(
    backend,
    tuple(METHODS.values()),
    Vocabulary.from_lists({**vocabulary(), "words": caption_phrases()}),
    engine_errors=(BackendError,),
    checklist=partial(engine.call, "checklist", "__call__"),
)


def main() -> None:
    """Serve until interrupted; address and port come from Gradio's own environment variables."""
    demo.launch(prevent_thread_lock=True, **launch_options())
    backend.warm_up()
    demo.block_thread()


if __name__ == "__main__":
    main()
