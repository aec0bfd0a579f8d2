"""Start the page: build it, answer at once, and load the models behind it."""

from __future__ import annotations

import os
import threading

# Set before Gradio is imported: pages rendered on a second server and usage reports are both opt-in here.
os.environ.setdefault("GRADIO_SSR_MODE", "false")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from ragdemo.backend import BackendError, LocalBackend
from ragdemo.evaluation.checklist import Checklist
from ragdemo.methods import METHODS
from ragdemo.pocket.vocabulary import caption_phrases, vocabulary
from ragdemo.profiles import ASSETS
from ragdemo.ui.page import build_page
from ragdemo.ui.theme import launch_options
from ragdemo.ui.vocabulary import Vocabulary

# Importing the model libraries holds the interpreter's lock: the first visitor's page goes before it.
_HEAD_START_SECONDS = 4.0


backend = LocalBackend()
visited = threading.Event()
demo = build_page(
    backend,
    tuple(METHODS.values()),
    Vocabulary.from_lists({**vocabulary(), "words": caption_phrases()}),
    on_visit=visited.set,
    engine_errors=(BackendError,),
    checklist=Checklist(ASSETS / "pocket" / "oracle"),
)


def main() -> None:
    """Serve until interrupted; address and port come from Gradio's own environment variables."""
    demo.launch(prevent_thread_lock=True, **launch_options())
    visited.wait(_HEAD_START_SECONDS)
    backend.warm_up()
    demo.block_thread()


if __name__ == "__main__":
    main()
