"""The models of one profile, loaded when a role is first asked for."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

from ragdemo.models.base import ONE_AT_A_TIME, Role
from ragdemo.models.downloads import check_downloads
from ragdemo.profiles import Profile
from ragdemo.weights import check_files

T = TypeVar("T")


class Models:
    """Loads each role of a profile at most once; after a failure the next request tries again."""

    def __init__(self, profile: Profile, device: str = "auto") -> None:
        self.profile = profile
        self._device = device
        self._loaded: dict[str, Any] = {}

    def get(self, role: Role[T]) -> T:
        """The model of a role; raises `UserError` if the profile has none or its weights are missing or damaged."""
        spec = self.profile.spec(role.name)
        if role.name not in self._loaded:  # what is loaded waits for no other
            with ONE_AT_A_TIME:
                if role.name not in self._loaded:
                    for place in filter(os.path.isabs, spec.folders):
                        check_files(Path(place), spec.remedy)
                    check_downloads(spec)
                    module, function = spec.loader.split(":")
                    self._loaded[role.name] = getattr(import_module(module), function)(spec, self._device)
        return cast(T, self._loaded[role.name])

    def has(self, role: Role[Any]) -> bool:
        """Whether the profile fills a role."""
        return role.name in self.profile.roles
