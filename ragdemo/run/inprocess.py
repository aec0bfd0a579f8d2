"""The models in this process: loaded when first needed, one run at a time."""

from __future__ import annotations

import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ragdemo.counterfactuals import draw_changes
from ragdemo.errors import ModelError, UserError
from ragdemo.events import Event, Reference
from ragdemo.files import without_folders
from ragdemo.library.catalogue import Catalogue
from ragdemo.library.session import open_own
from ragdemo.library.store import Library
from ragdemo.methods import get_method
from ragdemo.methods.base import Tools
from ragdemo.methods.closed import run_within_vocabulary
from ragdemo.methods.evidence import reference_of
from ragdemo.models.base import ENCODER, Role
from ragdemo.models.downloads import require_downloads
from ragdemo.models.fingerprints import weights_of
from ragdemo.models.registry import Models
from ragdemo.profiles import DEFAULT_PROFILE, PROFILES, Profile, get_profile
from ragdemo.request import OWN_LIBRARY, Request, folded
from ragdemo.run.base import Pictures, Status, check_request, offered_methods
from ragdemo.run.child_server import cancelled
from ragdemo.run.imports import cannot_load, is_failed_import, needs_new_process
from ragdemo.run.versions import versions

if TYPE_CHECKING:
    from ragdemo.library.search import Searcher as LibrarySearcher
    from ragdemo.library.searchers import Searchers
    from ragdemo.library.vectors import Embedded

MOST_PROFILES = 2
# What models and drivers raise when they run out of memory, lose a device or meet numbers that they cannot handle.
_BREAKDOWNS = (RuntimeError, OSError, MemoryError, ArithmeticError, ImportError)


class InProcess:
    """A `Runner` whose models live in this process.

    Of several profiles the least recently used one is dropped. The searcher is ready before the generator is, so that
    a library can be searched early. After a failed load the next use tries again.
    """

    def __init__(
        self,
        device: str = "auto",
        allow_download: bool | None = None,
        allow_paths: bool = False,
        profile: str = DEFAULT_PROFILE,
        library: str = "pocket",
    ) -> None:
        """Loads nothing yet. `profile` and `library` are what `start` loads.

        `allow_download` is that of `require_downloads`; `allow_paths` accepts the folder of a library in the place of
        its name.
        """
        self.catalogue = Catalogue(allow_paths=allow_paths)
        self._may_download = allow_download
        self._device = device
        self._first = (profile, library)
        self._slot = threading.Lock()  # a Lock, as a generator may be closed by another thread than ran it
        self._changing = threading.RLock()
        self._profiles: OrderedDict[str, _Loading] = OrderedDict()
        self._kept_searchers: Searchers | None = None

    def start(self, profile: str | None = None) -> None:
        """See `Runner.start`; what is loaded already, or on its way, is left alone."""
        first, library = self._first
        self._loading(get_profile(profile or first)).begin(
            lambda models: self._prepare_search(models, library)
        )

    def status(self, profile: str = DEFAULT_PROFILE) -> Status:
        """See `Runner.status`."""
        loading = self._profiles.get(profile)
        future = None if loading is None else loading.future
        if future is None or not future.done():
            return Status("loading", f"{profile} models are loading")
        error = future.exception()
        if error is not None:
            return Status("failed", str(readable(error)))
        return Status("ready", f"{profile} models")

    def tools(
        self,
        profile: str = DEFAULT_PROFILE,
        library: str = "pocket",
        needs: Sequence[Role[Any]] | None = None,
        own: Path | None = None,
    ) -> Tools:
        """Models and a library for one run, also for measuring them apart from a method.

        Waits until the roles in `needs`, without them all roles of the profile, are loaded.
        """
        row, opened = get_profile(profile), self._opened(library, own)
        models = self._ready(row, all_roles(row) if needs is None else needs)
        names = versions() | {"profile": row.name} | _other_critic(row)
        searcher = partial(self._searcher, models, opened)
        return Tools(models, searcher, opened, row, names, weights_of(row), opened.searched_split)

    def run(
        self,
        request: Request,
        known: Sequence[Event] = (),
        pictures: Pictures | None = None,
        own: Path | None = None,
    ) -> Generator[Event, None, None]:
        """See `Runner.run`."""
        check_request(request)
        method = get_method(request.method)
        # before the slot is taken: nobody waits for what only this run has to load
        tools = self.tools(request.profile, request.library, method.needs, own)
        tools = replace(tools, pictures=pictures or {})
        yield from self._alone(lambda: run_within_vocabulary(method, request, tools, known))

    def counterfactuals(
        self, request: Request, events: Sequence[Event], own: Path | None = None
    ) -> Generator[Event, None, None]:
        """See `Runner.counterfactuals`."""
        check_request(request)
        tools = self.tools(request.profile, request.library, get_method(request.method).needs, own)
        yield from self._alone(lambda: draw_changes(request, events, tools))

    def search(
        self,
        query: str | Image.Image,
        k: int,
        library: str = "pocket",
        profile: str = DEFAULT_PROFILE,
        hybrid: bool = True,
        split: str | None = None,
        own: Path | None = None,
        where: Mapping[str, str] | None = None,
        one_of_each: bool = False,
    ) -> list[Reference]:
        """See `Runner.search`."""
        query = folded(query, "query") if isinstance(query, str) else query
        opened = self._opened(library, own)
        models = self._ready(get_profile(profile), (ENCODER,))
        try:
            hits = self._searcher(models, opened).look_up(query, k, split, where, hybrid, one_of_each)
        except _BREAKDOWNS as error:
            raise readable(error) from error
        concept = query if isinstance(query, str) else ""
        return [reference_of(hit, concept, opened) for hit in hits]

    def _alone(self, start: Callable[[], Generator[Event, None, None]]) -> Generator[Event, None, None]:
        """Events from the one slot of this process, with breakdowns in words."""
        with self._slot:
            if cancelled():  # while it waited
                return
            try:
                with closing(start()) as events:  # type: ignore[type-var]
                    yield from events
            except _BREAKDOWNS as error:
                raise readable(error) from error

    def _ready(self, profile: Profile, needs: Sequence[Role[Any]]) -> Models:
        """The models of a profile once the roles in `needs` are loaded; raises what stopped them in words."""
        loading = self._loading(profile)
        if list(needs) != [ENCODER]:  # a search leaves the rest alone
            loading.begin(lambda models: self._prepare_search(models, self._first[1]))
        try:
            loading.load(needs)
        except _BREAKDOWNS as error:
            raise readable(error) from error
        return loading.models

    def _loading(self, profile: Profile) -> _Loading:
        """The entry of a profile, which becomes the most recently used one."""
        with self._changing:
            if profile.name not in self._profiles:
                self._profiles[profile.name] = _Loading(profile, self._device, self._may_download)
                while len(self._profiles) > MOST_PROFILES:
                    self._profiles.popitem(last=False)
            self._profiles.move_to_end(profile.name)
            return self._profiles[profile.name]

    @property
    def _searchers(self) -> Searchers:
        from ragdemo.library.searchers import Searchers  # not before it is needed: it imports faiss

        with self._changing:
            self._kept_searchers = self._kept_searchers or Searchers()
            return self._kept_searchers

    def _prepare_search(self, models: Models, library: str) -> None:
        if models.has(ENCODER):
            self._searcher(models, self.catalogue.open(library))

    def _opened(self, library: str, own: Path | None) -> Library:
        """The library of a name; that of a visitor is in the folder `own`."""
        is_own = library == OWN_LIBRARY and own is not None
        return open_own(own) if is_own and own is not None else self.catalogue.open(library)

    def _searcher(self, models: Models, library: Library) -> LibrarySearcher:
        from ragdemo.library.search import read_known_words

        encoder = models.get(ENCODER)
        file = models.profile.spec(ENCODER.name).options.get("known_words")
        known_words = read_known_words(Path(file)) if file else None
        return self._searchers.get(library, encoder, known_words, _say_progress)


class _Loading:
    """One profile's models on their way: all of them in a thread behind the callers, who wait for what they need."""

    def __init__(self, profile: Profile, device: str, may_download: bool | None) -> None:
        self.models = Models(profile, device)
        self.future: Future[None] | None = None
        self._may_download = may_download
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._starting = threading.Lock()

    def begin(self, first: Callable[[Models], object]) -> None:
        """Load all roles behind the caller, `first` being called as soon as the encoder is there.

        Nothing happens if that is done or under way; after a failure it is tried again.
        """
        with self._starting:
            error = self.future.exception() if self.future is not None and self.future.done() else None
            # a child that needs a new process is replaced by one
            if self.future is None or (error is not None and not needs_new_process(error)):
                self.future = self._worker.submit(self._load_all, first)

    def load(self, needs: Sequence[Role[Any]]) -> None:
        """Load some roles, or wait until they are loaded; downloads of other roles are not asked for."""
        profile = self.models.profile
        names = [role.name for role in needs]
        require_downloads(profile, names, self._may_download)
        if profile.cpu_threads:
            import torch

            torch.set_num_threads(profile.cpu_threads)
        for role in needs:
            self.models.get(role)

    def _load_all(self, first: Callable[[Models], object]) -> None:
        if self.models.has(ENCODER):
            self.load([ENCODER])
            first(self.models)
        self.load(useful_roles(self.models.profile))


def all_roles(profile: Profile) -> list[Role[Any]]:
    """Every role that a profile fills."""
    return [Role(name, "") for name in profile.roles]


def useful_roles(profile: Profile) -> list[Role[Any]]:
    """The roles of the methods of which no folder is missing; every role if there is no such method."""
    methods = offered_methods(profile)
    able = [one for one in methods if not any(profile.spec(role.name).is_missing for role in one.needs)]
    return list({role.name: role for method in able for role in method.needs}.values()) or all_roles(profile)


def readable(error: BaseException) -> Exception:
    """`UserError` and `ModelError` as they are; others as a `ModelError` of one sentence."""
    if isinstance(error, UserError | ModelError):
        return error
    traceback.print_exception(error)  # the sentence is for visitors, this is for whoever runs the program
    if is_failed_import(error):
        return cannot_load(error)
    cause = without_folders(" ".join(str(error).split()))[:160] or type(error).__name__
    return ModelError(f"The models stopped ({cause}); run it again, and restart the program if it repeats.")


def _other_critic(profile: Profile) -> dict[str, str]:
    """The critic that the environment named in the place of the profile's own."""
    known = PROFILES.get(profile.name)
    if "critic" not in profile.roles or (known and known.roles["critic"] == profile.roles["critic"]):
        return {}
    critic = profile.roles["critic"].weights
    return {"critic": critic if critic.startswith("openai:") else Path(critic).name}


def _say_progress(embedded: Embedded) -> None:
    if embedded.done < embedded.total:
        done = f"{embedded.done:,} of {embedded.total:,} pictures"
        print(f"ragdemo: embedding the library: {done}", file=sys.stderr, flush=True)
