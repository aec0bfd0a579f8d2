"""A toy method, made as docs/adding-a-method.md says: its folder, and one line in each of two tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ragdemo.methods import METHODS
from ragdemo.profiles import PROFILES, Profile, Spec
from ragdemo.run.inprocess import InProcess
from tests.toy.method import Toy

PROFILE = Profile("toy", {"painter": Spec("tests.toy.painter:load_painter", "none", defaults={"shade": 40})})


@contextmanager
def registered() -> Iterator[None]:
    """The toy among the methods and its profile among the profiles."""
    METHODS[Toy.name], PROFILES[PROFILE.name] = Toy(), PROFILE
    try:
        yield
    finally:
        del METHODS[Toy.name], PROFILES[PROFILE.name]


def toy_runner() -> InProcess:
    """What a child process makes: a runner that knows the toy."""
    METHODS[Toy.name], PROFILES[PROFILE.name] = Toy(), PROFILE
    return InProcess("cpu", profile=PROFILE.name)
