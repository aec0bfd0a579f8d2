"""The models in this process: loaded behind the first visitor, one run at a time."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from PIL import Image

from ragdemo import __version__
from ragdemo.backend.base import BackendError, LibraryItem, LibraryPage, Status, check_request
from ragdemo.backend.recorder import prompt_slug, read_run
from ragdemo.events import Draft, Event
from ragdemo.library.store import Library, open_library
from ragdemo.methods import get_method
from ragdemo.methods.base import Toolbox
from ragdemo.methods.running import told_drawing
from ragdemo.models.interfaces import Drawing
from ragdemo.profiles import ASSETS, PROFILES, get_profile
from ragdemo.types import Reference, Request, UserError, check_prompt, check_seed

if TYPE_CHECKING:
    from ragdemo.library.search import Searcher

REFERENCE_SPLIT = "eval"  # what training never saw; a library without splits is searched whole
KNOWN_WORDS_FILE = "known_words.txt"
RECORDINGS = "recordings"
HEADS = "realrag"
# What models and drivers raise when they run out of memory, lose a device or meet numbers that they cannot handle.
_BREAKDOWNS = (RuntimeError, OSError, MemoryError, ArithmeticError)


class LocalBackend:
    """Loads one profile and one library, then runs methods through a single slot.

    The searcher is ready before the generator is, so that the library can be searched early. After a failed load the
    next use tries again.
    """

    def __init__(
        self,
        profile: str = "pocket",
        library: str = "pocket",
        device: str = "auto",
        allow_download: bool | None = None,
    ) -> None:
        """Loads nothing yet; raises `UserError` where there is no such profile.

        `allow_download` None leaves it to the environment's `RAGDEMO_ALLOW_DOWNLOAD`.
        """
        self._profile = get_profile(profile)
        allowed_by_environment = os.environ.get("RAGDEMO_ALLOW_DOWNLOAD", "") not in ("", "0")
        self._may_download = allowed_by_environment if allow_download is None else allow_download
        self._library_name = library
        self._device = device
        self._slot = threading.Lock()  # a Lock, as a generator may be closed by another thread than ran it
        self._starting = threading.Lock()
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._searcher: Future[Searcher] | None = None
        self._toolbox: Future[Toolbox] | None = None
        self._opened: Library | None = None

    def warm_up(self) -> None:
        """See `Backend.warm_up`; what is loaded already, or on its way, is left alone."""
        with self._starting:
            if _is_needed(self._searcher):
                self._searcher = self._loader.submit(self._load_searcher)
            if _is_needed(self._toolbox):
                self._toolbox = self._loader.submit(self._load_toolbox, self._searcher)

    def status(self) -> Status:
        """See `Backend.status`."""
        toolbox = self._toolbox
        if toolbox is None or not toolbox.done():
            return Status("loading", f"{self._profile.name} models are loading")
        if (error := toolbox.exception()) is not None:
            return Status("failed", str(_readable(error)))
        return Status("ready", f"{self._profile.name} models")

    def toolbox(self) -> Toolbox:
        """The loaded models and library, for measuring them apart from a method; waits until they are loaded."""
        self.warm_up()
        return _result(self._toolbox)

    def run(self, request: Request, replay: Sequence[Event] = ()) -> Iterator[Event]:
        """See `Backend.run`; a request for another profile or library than this backend's raises `UserError`."""
        self.check(request)
        method = get_method(request.method).build(self.toolbox())
        yield from self._alone(lambda: method.run(request, replay))

    def draw(self, prompt: str, seed: int, settings: Mapping[str, Any]) -> Iterator[Event]:
        """See `Backend.draw`."""
        check_prompt(prompt)
        check_seed(seed)
        generator = self.toolbox().generator

        def events() -> Iterator[Event]:
            start = time.perf_counter()
            drawing = Drawing(prompt, seed, (), settings.get("steps"), settings.get("guidance_scale"))
            image = yield from told_drawing(generator, drawing, "draft")
            yield Draft(image, time.perf_counter() - start)

        yield from self._alone(events)

    def alike(self, image_id: str, seed: int) -> str:
        """See `Backend.alike`; what a run would not search is not drawn either."""
        library = self._library()
        own = library.row(image_id).extra if image_id in library else {}
        split = REFERENCE_SPLIT if REFERENCE_SPLIT in library.splits else None
        others = [
            row.id
            for row in library.rows_of(split)
            if row.id != image_id
            and row.extra.get("kind") == own.get("kind", row.extra.get("kind"))
            and (row.extra.get("species") != own.get("species") or "species" not in own)
        ]
        if not others:
            raise UserError(f"The library has no picture like {image_id!r}; choose another reference.")
        return Random(f"{image_id}/{seed}").choice(others)

    def recorded(self, prompt: str) -> Sequence[Event]:
        """See `Backend.recorded`; recordings are folders as `run --out` writes them, named by their prompts."""
        folder = ASSETS / self._profile.name / RECORDINGS / prompt_slug(prompt)
        return read_run(folder, self._library().image) if folder.is_dir() else ()

    def _alone(self, start: Callable[[], Iterator[Event]]) -> Iterator[Event]:
        """Events from the one slot of this backend, with breakdowns in words."""
        with self._slot:
            try:
                with closing(start()) as events:
                    yield from events
            except _BREAKDOWNS as error:
                raise _readable(error) from error

    def search(
        self, query: str | Image.Image, k: int, hybrid: bool | None = None, split: str | None = None
    ) -> list[Reference]:
        """See `Backend.search`."""
        self.warm_up()
        searcher = _result(self._searcher)
        if isinstance(query, str):
            hits = searcher.search_text(query, k, split, hybrid=hybrid)
        else:
            hits = searcher.search_image(query, k, split)
        concept = query if isinstance(query, str) else ""
        library = self._library()
        return [
            Reference(hit.id, hit.caption, hit.score, concept, library.image(hit.id), hit.keyword_score)
            for hit in hits
        ]

    def browse(self, kind: str | None, offset: int, limit: int) -> LibraryPage:
        """See `Backend.browse`; the kind is the metadata's column of that name."""
        library = self._library()
        rows = [row for row in library.rows if kind is None or row.extra.get("kind") == kind]
        shown = rows[max(offset, 0) : max(offset, 0) + max(limit, 0)]
        return LibraryPage(
            tuple(LibraryItem(row.id, row.caption, library.image(row.id)) for row in shown), len(rows)
        )

    def check(self, request: Request) -> None:
        """See `Backend.check`; a request for another profile or library than this backend's raises `UserError`."""
        check_request(request)
        if request.profile != self._profile.name:
            raise UserError(
                f"The profile {request.profile!r} is not loaded here; use {self._profile.name!r} or start it anew."
            )
        if request.library != self._library_name:
            raise UserError(
                f"The library {request.library!r} is not loaded here; use {self._library_name!r} or start it anew."
            )

    def _library(self) -> Library:
        if self._opened is None:
            self._opened = open_library(self._library_name)
        return self._opened

    def _load_searcher(self) -> Searcher:
        library = self._library()
        if self._profile.downloads:
            from ragdemo.models.downloads import require_downloads

            require_downloads(self._profile, self._may_download, _say)
        import torch

        from ragdemo.library.search import Searcher, read_known_words
        from ragdemo.models.encoder import load_encoder

        if self._profile.cpu_threads:
            torch.set_num_threads(self._profile.cpu_threads)
        encoder = load_encoder(self._profile.encoder, "cpu")
        folder = Path(self._profile.encoder.removeprefix("local-dir:"))
        return Searcher(library, encoder, known_words=read_known_words(folder / KNOWN_WORDS_FILE))

    def _load_toolbox(self, searcher: Future[Searcher]) -> Toolbox:
        # the loader has one thread: the searcher is done, or failed, before this starts
        found = searcher.result()
        from ragdemo.methods.realrag.retrievers import load_retrievers
        from ragdemo.models.critic import load_critic
        from ragdemo.models.diffusion import load_generator

        library = self._library()
        return Toolbox(
            generator=load_generator(self._profile, self._device),
            critic=load_critic(self._profile.critic, self._device),
            searcher=found,
            library=library,
            profile=self._profile,
            retrievers=load_retrievers(found, ASSETS / self._profile.name / HEADS),
            versions=versions() | {"profile": self._profile.name} | self._other_critic(),
            split=REFERENCE_SPLIT if REFERENCE_SPLIT in library.splits else None,
        )

    def _other_critic(self) -> dict[str, str]:
        """The critic that the environment named in the place of the profile's own."""
        critic = self._profile.critic
        is_own = self._profile.name in PROFILES and critic == PROFILES[self._profile.name].critic
        return {} if is_own else {"critic": critic if critic.startswith("openai:") else Path(critic).name}


def versions() -> dict[str, str]:
    """The versions that a recipe names."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "transformers")}
    return {"ragdemo": __version__, "python": platform.python_version()} | packages


def _say(what: str) -> None:
    print(f"ragdemo: {what}", file=sys.stderr, flush=True)


def _is_needed(future: Future | None) -> bool:
    return future is None or (future.done() and future.exception() is not None)


def _result(future: Future) -> Toolbox | Searcher:
    """What was loaded; waits for it, and raises what stopped it in words for people."""
    try:
        return future.result()
    except _BREAKDOWNS as error:
        raise _readable(error) from error


def _readable(error: BaseException) -> Exception:
    """`UserError` and `BackendError` as they are; others as a `BackendError` of one sentence."""
    if isinstance(error, UserError | BackendError):
        return error
    cause = " ".join(str(error).split())[:160] or type(error).__name__
    return BackendError(f"The models stopped ({cause}); run it again, and restart the program if it repeats.")
