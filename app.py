"""Start the page: build it, answer at once, and load the models beside it."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from threading import Thread

from ragdemo.files import cache_folder, cache_root, exit_on_signal, remove_older

# Set before Gradio is imported: pages rendered on a second server and usage reports are both opt-in here.
os.environ.setdefault("GRADIO_SSR_MODE", "false")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio's own folder in the system's temporary one may belong to another user.
os.environ.setdefault("GRADIO_TEMP_DIR", str(cache_folder("uploads")))
# The address in front of the hub's own proxies counts as the visitor's; elsewhere the operator names the proxy here.
if os.environ.get("SPACE_ID"):
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16")

from ragdemo.evaluation.checklist import Checklist
from ragdemo.invention import Inventor
from ragdemo.library.catalogue import Catalogue
from ragdemo.log import BoundedLog
from ragdemo.profiles import ASSETS
from ragdemo.run.base import check_visit
from ragdemo.run.child import ChildProcess
from ragdemo.run.examples import examples, recorded
from ragdemo.run.inchild import InChild
from ragdemo.run.inprocess import InProcess
from ragdemo.run.offers import find_offers
from ragdemo.sessions import remove_left
from ragdemo.ui.blocks import Services
from ragdemo.ui.page import build_page
from ragdemo.ui.style import launch_options
from ragdemo.ui.vocabulary import Vocabulary
from ragdemo.world.vocabulary import caption_phrases, vocabulary

child = ChildProcess(runner=InProcess, checklist=partial(Checklist, ASSETS / "pocket" / "oracle"))
runner = InChild(child)
services = Services(
    runner=runner,
    catalogue=Catalogue(),
    offers=find_offers(),
    vocabulary=Vocabulary.from_lists({**vocabulary(), "words": caption_phrases()}),
    check=check_visit,
    recorded=recorded,
    checklist=partial(child.call, "checklist", "__call__"),
    inventor=Inventor(),
    examples=examples(),
)
demo = build_page(services)


def main() -> None:
    """Serve until interrupted; address and port come from Gradio's own environment variables."""
    sys.stderr = BoundedLog(sys.stderr)  # type: ignore[assignment]
    with exit_on_signal():
        demo.launch(prevent_thread_lock=True, **launch_options())
        try:
            runner.start(services.profile(""))
            Thread(target=keep_clean, name="clean", daemon=True).start()
            demo.block_thread()
        finally:
            demo.close(verbose=False)


def keep_clean() -> None:
    """Remove, now and every hour, what visitors and killed servers have left: Gradio knows only its own run's files."""
    while True:
        remove_older(cache_root() / "uploads", 2)
        remove_left()
        time.sleep(3600)


if __name__ == "__main__":
    main()
