"""What every home of the models offers, in this process or in another."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image

from ragdemo.errors import UserError
from ragdemo.events import Event, Reference
from ragdemo.methods import METHODS, get_method
from ragdemo.methods.base import Method
from ragdemo.methods.settings import MOST_STEPS
from ragdemo.profiles import DEFAULT_PROFILE, Profile, get_profile
from ragdemo.request import Request

Pictures = Mapping[str, Image.Image]
"""A request's own pictures as RGB, by their sha256."""


@dataclass(frozen=True)
class Status:
    """How far the models are; `message` is a short phrase, or the one sentence of what failed."""

    state: Literal["loading", "ready", "failed"]
    message: str


class Runner(Protocol):
    """Runs methods, one at a time, and searches libraries; bad input raises `UserError`, broken models `ModelError`.

    Closing an iterator stops the models at their next step. Searching and status never wait behind a run.
    """

    def start(self, profile: str | None = None) -> None:
        """Begin to load a profile's models, without one those of the runner's own; answers at once."""
        ...

    def status(self, profile: str = DEFAULT_PROFILE) -> Status:
        """The state of a profile's models; answers at once."""
        ...

    def run(
        self,
        request: Request,
        known: Sequence[Event] = (),
        pictures: Pictures | None = None,
        own: Path | None = None,
    ) -> Generator[Event, None, None]:
        """The events of one run as they happen (see `Method.run`); waits for the models and for other runs.

        `own` is the folder of the visitor's library, which the name `OWN_LIBRARY` stands for; here and below.
        """
        ...

    def counterfactuals(
        self, request: Request, events: Sequence[Event], own: Path | None = None
    ) -> Generator[Event, None, None]:
        """Progress, and a `Counterfactual` for each thing that can be changed about a finished run."""
        ...

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
    ) -> Sequence[Reference]:
        """The `k` best pictures of a library for words or a picture, an exact name's first; waits for the encoder only.

        `where` are values that the columns of a picture's row must have. `one_of_each` leaves the best of
        each group. `hybrid` False leaves captions out.
        """
        ...


def check_request(request: Request) -> None:
    """Raise `UserError` if method, profile or settings are wrong; imports no model library."""
    profile, method = get_profile(request.profile), get_method(request.method)
    for role in missing_roles(method, profile):
        profile.spec(role)
    method.check(request)


def check_visit(request: Request) -> None:
    """As `check_request`, for those who share the models: a run of theirs has a bounded number of steps."""
    check_request(request)
    steps = request.settings.get("steps")
    if isinstance(steps, int) and steps > MOST_STEPS:
        raise UserError(f"The setting steps is {steps}; on a shared page choose {MOST_STEPS} or fewer.")


def missing_roles(method: Method, profile: Profile) -> tuple[str, ...]:
    """The roles that a method needs and a profile does not fill."""
    return tuple(role.name for role in method.needs if role.name not in profile.roles)


def offered_methods(profile: Profile) -> tuple[Method, ...]:
    """The methods that run under a profile."""
    return tuple(method for method in METHODS.values() if not missing_roles(method, profile))
