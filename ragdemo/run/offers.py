"""What this machine can run, and what it lacks for the rest; asks neither the network nor a model library."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache

from ragdemo.methods.base import Method
from ragdemo.models.downloads import downloads_allowed, missing_downloads
from ragdemo.profiles import PROFILES, Profile, get_profile
from ragdemo.run.base import offered_methods

_ASK = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Offer:
    """A profile, and the methods that can run under it; one at least."""

    profile: Profile
    methods: tuple[Method, ...]


@dataclass(frozen=True)
class Offers:
    """The profiles that can run here, one at least, and a line for each profile or method that cannot."""

    here: tuple[Offer, ...]
    lacking: tuple[str, ...] = ()


def find_offers() -> Offers:
    """Of all profiles; if none can run, the first is offered all the same, so that its runs say why."""
    here, lacking = [], []
    profiles = [get_profile(name) for name in PROFILES]
    for profile in profiles:
        lacks = {method: _lacks(method, profile) for method in offered_methods(profile)}
        able = tuple(method for method in lacks if not lacks[method])
        if able:
            here.append(Offer(profile, able))
            unable = [(f"{profile.name}, {method.title}", said) for method, said in lacks.items() if said]
        else:  # the first method stands for all
            unable = [(profile.name, said) for said in lacks.values()][:1]
        lacking += [f"{name}: needs {' and '.join(said)}." for name, said in unable]
    return Offers(tuple(here) or (Offer(profiles[0], offered_methods(profiles[0])),), tuple(lacking))


def _lacks(method: Method, profile: Profile) -> list[str]:
    """What this machine lacks of a method's roles under a profile."""
    needed = {role.name: profile.spec(role.name) for role in method.needs}
    lacks = []
    if profile.memory_gigabytes and profile.memory_gigabytes > gpu_gigabytes():
        lacks.append(f"a GPU with {profile.memory_gigabytes:.0f} GB")
    missing = [] if downloads_allowed() else missing_downloads(needed.values())
    if missing:
        size = sum(download.gigabytes for download in missing)
        lacks.append(f"{size:.1f} GB of downloads (allowed by RAGDEMO_ALLOW_DOWNLOAD=1)")
    gone = {name: spec for name, spec in needed.items() if spec.is_missing}
    return lacks + [f"the weights of its {name} ({spec.remedy})" for name, spec in gone.items()]


@cache
def gpu_gigabytes() -> float:
    """The memory of the largest NVIDIA GPU, in gigabytes (10⁹ bytes); 0 without one."""
    try:
        said = subprocess.run(_ASK, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0.0
    return max((int(line) * 2**20 / 1e9 for line in said.split() if line.isdigit()), default=0.0)
